// What the tools that people deliver YAML with make of an object: kstatus, Flux with the expressions of our how-to, Argo CD
// with the script that we ship. Each by its own code, of the versions in go.mod.
//
// Owns nothing but the question. Objects come as JSON on standard input, one a line; for each a line of verdicts goes out. Must
// never judge anything by rules of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// How Argo CD's ConfigMap argocd-cm names the health of a kind: this, the group, an underscore, the kind.
const healthKey = "resource.customizations.health."

// rules is what users give their tools.
type rules struct {
	// data of argocd-cm
	ArgoCD map[string]string `json:"argocd"`
	// spec.healthCheckExprs of a Flux Kustomization
	Flux []kustomize.CustomHealthCheck `json:"flux"`
}

type judge struct {
	argo lua.ResourceHealthOverrides
	flux map[string]*cel.StatusEvaluator
}

func newJudge(given rules) (*judge, error) {
	made := &judge{argo: lua.ResourceHealthOverrides{}, flux: map[string]*cel.StatusEvaluator{}}
	for key, script := range given.ArgoCD {
		kind, of := strings.CutPrefix(key, healthKey)
		if group, name, both := strings.Cut(kind, "_"); of && both {
			made.argo[group+"/"+name] = v1alpha1.ResourceOverride{HealthLua: script}
		}
	}
	for _, check := range given.Flux {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, fmt.Errorf("healthCheckExprs of %s: %w", check.Kind, err)
		}
		made.flux[check.APIVersion+" "+check.Kind] = evaluator
	}
	return made, nil
}

// verdict is what three tools say of one version of an object.
type verdict struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Kstatus string `json:"kstatus"`
	Flux    string `json:"flux"`
	Argo    string `json:"argo"`
	// What a person reads beside it.
	KstatusMessage string `json:"kstatusMessage"`
	ArgoMessage    string `json:"argoMessage"`
}

func (j *judge) look(object *unstructured.Unstructured) (verdict, error) {
	seen := verdict{Kind: object.GetKind(), Name: object.GetName(), Version: object.GetResourceVersion()}
	computed, err := status.Compute(object)
	if err != nil {
		return seen, fmt.Errorf("kstatus: %w", err)
	}
	seen.Kstatus, seen.KstatusMessage = computed.Status.String(), computed.Message
	// Flux asks kstatus about everything that it has no expressions for, and about what is going.
	seen.Flux = seen.Kstatus
	if evaluator, has := j.flux[object.GetAPIVersion()+" "+object.GetKind()]; has && object.GetDeletionTimestamp() == nil {
		evaluated, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return seen, fmt.Errorf("healthCheckExprs: %w", err)
		}
		seen.Flux = evaluated.Status.String()
	}
	judged, err := health.GetResourceHealth(object, j.argo)
	if err != nil {
		return seen, fmt.Errorf("health.lua: %w", err)
	}
	if judged != nil {
		seen.Argo, seen.ArgoMessage = string(judged.Status), judged.Message
	}
	return seen, nil
}

func run(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var given rules
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	judge, err := newJudge(given)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("an object: %w", err)
		}
		seen, err := judge.look(object)
		if err != nil {
			return fmt.Errorf("%s %s at %s: %w", seen.Kind, seen.Name, seen.Version, err)
		}
		if err := out.Encode(seen); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("judge RULES.json < OBJECTS")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal("judge: ", err)
	}
}
