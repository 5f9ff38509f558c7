"""What the charts promise, one after another, by a real Helm and a real API server.

Owns the namespaces and releases that it makes there. HELM and KUBECTL are the programs, KUBECONFIG says where. What a chart
renders is compared with the files that `kubectl apply -k` applies: one of the two ways to install must never fall behind.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import perform, until  # noqa: E402

CHARTS = ROOT / "charts"
CRDS, OPERATOR, CLUSTER = (CHARTS / f"ottla-{name}" for name in ("crds", "operator", "cluster"))
# Only a chart says who installed something.
OF_A_CHART = {"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}


def run(*words, fails=False):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{' '.join(map(str, words[1:]))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stderr if fails else done.stdout


def helm(*words, **how):
    return run(os.environ["HELM"], *words, **how)


def kubectl(*words, **how):
    return run(os.environ["KUBECTL"], *words, **how)


def items(kind, *words):
    return json.loads(kubectl("get", kind, *words, "-o", "json"))["items"]


def objects(text):
    """By kind and name."""
    found = [one for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def rendered(chart, *words, release="ottla-operator", namespace="ottla-system"):
    return objects(helm("template", release, chart, "-n", namespace, *words))


def plain(one):
    """Without what only a chart says, and as the API server would have it: no names of namespaces that are the default."""
    if isinstance(one, dict):
        inner = {key: plain(value) for key, value in one.items() if key not in OF_A_CHART}
        return {key: value for key, value in inner.items() if value not in ({}, None)}
    return [plain(value) for value in one] if isinstance(one, list) else one


def every_chart_passes_lint():
    for chart in (CRDS, OPERATOR, CLUSTER):
        helm("lint", "--strict", chart)
    helm("lint", "--strict", OPERATOR, "--set", "watchNamespaces={a,b}")


def values_that_are_no_values_are_refused_by_name():
    cases = [(OPERATOR, "replicas=two", "replicas"), (OPERATOR, "watchNamespaces={A_B}", "watchNamespaces"),
             (OPERATOR, "replica=3", "replica"), (OPERATOR, "image.digest=sha1:00", "digest"),
             (CLUSTER, "pools=null", "pools"), (CLUSTER, "config.a.b=1", "config"), (CLUSTER, "topics[0].partitions=3", "name"),
             (CRDS, "keep=perhaps", "keep")]
    for chart, value, name in cases:
        said = helm("template", "r", chart, "--set", value, fails=True)
        assert name in said and "schema" in said, f"{value}: {said}"


def definitions_are_the_files_and_stay():
    files = {one["metadata"]["name"]: one for path in (ROOT / "crds/yaml").glob("*.yaml") for one in yaml.safe_load_all(path.read_text())}
    of_chart = {name: one for (kind, name), one in rendered(CRDS).items()}
    assert of_chart.keys() == files.keys() and len(files) == 5, of_chart.keys()
    for name, one in of_chart.items():
        annotations = one["metadata"].pop("annotations")
        assert annotations.pop("helm.sh/resource-policy") == "keep", name
        assert annotations == files[name]["metadata"].pop("annotations", {}), name
        assert one == files[name], name
    loose = rendered(CRDS, "--set", "keep=false")
    assert all("helm.sh/resource-policy" not in one["metadata"].get("annotations", {}) for one in loose.values())


def the_operator_is_what_kustomize_installs():
    with_kustomize = objects(kubectl("kustomize", ROOT / "deploy/operator", "--load-restrictor=LoadRestrictionsNone"))
    with_kustomize = {name: one for name, one in with_kustomize.items() if name[0] not in ("CustomResourceDefinition", "Namespace")}
    by_chart = rendered(OPERATOR)
    assert by_chart.keys() == with_kustomize.keys(), by_chart.keys() ^ with_kustomize.keys()
    # What the chart says aloud is what the program does without being told.
    defaults = {"OTTLA_OPERATOR_BROKER_VERSION", "OTTLA_OPERATOR_CONCURRENCY", "OTTLA_OPERATOR_LOG_LEVEL", "OTTLA_OPERATOR_LOG_FORMAT"}
    for name, one in by_chart.items():
        if name[0] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            container["env"] = [each for each in container["env"] if each["name"] not in defaults]
            assert container.pop("imagePullPolicy") == "IfNotPresent"
        for each in (one, with_kustomize[name]):
            if each["metadata"].get("labels"):
                each["metadata"]["labels"].pop("app.kubernetes.io/name", None)
        assert plain(one) == plain(with_kustomize[name]), f"{name}: {json.dumps(plain(one))} is not {json.dumps(plain(with_kustomize[name]))}"


def a_priority_is_given_by_a_value_or_by_a_component():
    priority = "system-cluster-critical"
    with tempfile.TemporaryDirectory() as folder:
        operator = os.path.relpath(ROOT / "deploy/operator", os.path.realpath(folder))
        lines = {"resources": [operator], "components": [f"{operator}/priority"]}
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(lines))
        with_kustomize = objects(kubectl("kustomize", folder, "--load-restrictor=LoadRestrictionsNone"))
    by_chart = rendered(OPERATOR, "--set", f"priorityClassName={priority}")
    for found in (by_chart, with_kustomize):
        assert found[("Deployment", "ottla-operator")]["spec"]["template"]["spec"]["priorityClassName"] == priority
    plainly = rendered(OPERATOR)[("Deployment", "ottla-operator")]["spec"]["template"]["spec"]
    assert "priorityClassName" not in plainly, "without it nobody is put before anybody"


def an_operator_of_some_namespaces_has_no_rights_beyond_them():
    found = rendered(OPERATOR, "--set", "watchNamespaces={a,b}")
    assert not [name for name in found if name[0].startswith("Cluster")], found.keys()
    text = helm("template", "ottla-operator", OPERATOR, "-n", "ottla-system", "--set", "watchNamespaces={a,b}")
    roles = [one for one in yaml.safe_load_all(text) if one and one["kind"] in ("Role", "RoleBinding")]
    spaces = sorted((one["kind"], one["metadata"]["namespace"]) for one in roles if not one["metadata"]["name"].endswith("-election"))
    assert spaces == [("Role", "a"), ("Role", "b"), ("RoleBinding", "a"), ("RoleBinding", "b")], spaces
    env = found[("Deployment", "ottla-operator")]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "OTTLA_OPERATOR_WATCH_NAMESPACES", "value": "a,b"} in env, env


def established():
    definitions = json.loads(kubectl("get", "crd", "-o", "json"))["items"]
    conditions = [{one["type"]: one["status"] for one in item.get("status", {}).get("conditions") or []} for item in definitions]
    return all(one.get("Established") == "True" for one in conditions)


def all_three_install_upgrade_and_uninstall():
    helm("install", "ottla-crds", CRDS, "-n", "ottla-system", "--create-namespace")
    # kubectl does not wait for conditions where there are none yet: it fails.
    until("the definitions are served", established)
    helm("install", "ottla-operator", OPERATOR, "-n", "ottla-system")
    kubectl("create", "namespace", "shop")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        values.write(yaml.safe_dump({"topics": [{"name": "orders", "partitions": 12, "config": {"retention.ms": 604800000}}]}))
        values.flush()
        helm("install", "events", CLUSTER, "-n", "shop", "-f", values.name)
        (cluster,), (topic,) = items("clusters.ottla.dev", "-n", "shop"), items("topics.ottla.dev", "-n", "shop")
        assert cluster["metadata"]["name"] == topic["spec"]["clusterRef"]["name"] == "events"
        assert topic["spec"]["partitions"] == 12 and topic["spec"]["config"] == {"retention.ms": 604800000}, topic["spec"]
        helm("upgrade", "events", CLUSTER, "-n", "shop", "-f", values.name, "--set", "config.min\\.insync\\.replicas=1")
        assert items("clusters.ottla.dev", "-n", "shop")[0]["spec"]["config"]["min.insync.replicas"] == 1
        said = helm("upgrade", "events", CLUSTER, "-n", "shop", "-f", values.name, "--set", "pools[0].name=A", "--set",
                    "pools[0].replicas=1", "--set", "pools[0].storage.volumes[0].name=data", fails=True)
        assert "spec.pools" in said, f"the API server says why: {said}"
    helm("upgrade", "ottla-operator", OPERATOR, "-n", "ottla-system", "--set", "watchNamespaces={shop}")
    assert not items("clusterroles", "-l", "app.kubernetes.io/instance=ottla-operator"), "the cluster-wide rights are gone"
    assert [one["metadata"]["name"] for one in items("roles", "-n", "shop")] == ["ottla-operator"]
    helm("uninstall", "events", "-n", "shop")
    assert not items("clusters.ottla.dev", "-A") and not items("topics.ottla.dev", "-A")
    helm("install", "events", CLUSTER, "-n", "shop")
    for release in ("ottla-operator", "ottla-crds"):
        helm("uninstall", release, "-n", "ottla-system")
    assert len(items("crd")) == 5, "the definitions stay"
    assert len(items("clusters.ottla.dev", "-A")) == 1, "and every Cluster with them"
    helm("install", "ottla-crds", CRDS, "-n", "ottla-system", "--take-ownership")


CASES = [every_chart_passes_lint, values_that_are_no_values_are_refused_by_name, definitions_are_the_files_and_stay,
         the_operator_is_what_kustomize_installs, a_priority_is_given_by_a_value_or_by_a_component, an_operator_of_some_namespaces_has_no_rights_beyond_them,
         all_three_install_upgrade_and_uninstall]


if __name__ == "__main__":
    perform(CASES)
