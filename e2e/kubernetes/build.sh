#!/usr/bin/env bash
# Builds Kubernetes and etcd from their published Go modules, once, into the cache; prints the directory that holds them.
#
#   build.sh                  kube-apiserver and etcd: a control plane without nodes
#   build.sh cluster          also what nodes run: kubelet, kube-proxy, kube-scheduler, kube-controller-manager, kubectl,
#                             and the add-ons of e2e/cluster, under add-ons/ of that directory
#   build.sh add-ons          those add-ons and kubectl only, for nodes of another make
#   build.sh kubectl          kubectl only
#
# Needs Go 1.26 or newer, and the network the first time. Calls beside one another wait for each other. Nothing is
# written but whole binaries.
set -euo pipefail

kubernetes=1.36.3
etcd=3.6.7
here=$(cd "$(dirname "$0")" && pwd)
tools=${HOME}/.cache/ottla/tools
bin=$tools/kubernetes-$kubernetes-etcd-$etcd
staged=v0.${kubernetes#1.}

# The modules that Kubernetes keeps in its own tree and publishes beside itself, under versions of their own.
staging=(api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
  code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming
  csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator
  kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission
  sample-apiserver sample-cli-plugin sample-controller streaming)

case ${1:-control-plane} in
control-plane) commands=(kube-apiserver) ;;
cluster) commands=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl) ;;
add-ons | kubectl) commands=(kubectl) ;;
*) sed -n '2,11p' "$0" >&2; exit 2 ;;
esac

mkdir -p "$bin/add-ons"
exec 9>"$tools/.kubernetes.lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0

# keep FILE AS: a built file into its place, whole or not at all.
keep() {
  cp "$1" "$2.new"
  mv "$2.new" "$2"
}

# kubernetes_module: a module in $work/kubernetes of which the commands of Kubernetes can be built.
kubernetes_module() {
  mkdir "$work/kubernetes"
  cd "$work/kubernetes"
  {
    printf 'module example.com/kubernetes\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$kubernetes"
    for name in "${staging[@]}"; do printf '\tk8s.io/%s => k8s.io/%s %s\n' "$name" "$name" "$staged"; done
    printf ')\n\ntool (\n'
    for name in "${commands[@]}"; do printf '\tk8s.io/kubernetes/cmd/%s\n' "$name"; done
    printf ')\n'
  } >go.mod
  go mod tidy -e >&2
}

for command in "${commands[@]}"; do
  [ ! -x "$bin/$command" ] || continue
  echo "setup: building $command $kubernetes into $bin (once; all of Kubernetes takes about 8 minutes on two cores)" >&2
  [ -d "$work/kubernetes" ] || kubernetes_module
  cd "$work/kubernetes"
  version=k8s.io/component-base/version client=k8s.io/client-go/pkg/version
  nice -n 10 go build -trimpath -tags selinux,notest,grpcnotrace -o out/ \
    -ldflags "-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=36 \
      -X $client.gitVersion=v$kubernetes" "k8s.io/kubernetes/cmd/$command" >&2
  keep "out/$command" "$bin/$command"
done

wants_etcd() { case ${1:-control-plane} in control-plane | cluster) true ;; *) false ;; esac; }
wants_add_ons() { case ${1:-} in cluster | add-ons) true ;; *) false ;; esac; }

if wants_etcd "$@" && [ ! -x "$bin/etcd" ]; then
  echo "setup: building etcd $etcd into $bin (once, about a minute)" >&2
  mkdir "$work/etcd"
  cd "$work/etcd"
  go mod init example.com/etcd 2>/dev/null
  go get -tool "go.etcd.io/etcd/server/v3@v$etcd" >&2
  nice -n 10 go build -trimpath -ldflags '-s -w' -o out/ tool >&2
  keep out/server "$bin/etcd"
fi

if wants_add_ons "$@"; then
  # Their versions are in go.mod; one module, so that what they share is compiled once.
  source=$here/../cluster
  sum=$(cat "$source"/go.* "$source"/{dns,volumes}/*.go | sha256sum | cut -c1-16)
  if [ "$(cat "$bin/add-ons/.sources" 2>/dev/null)" != "$sum" ]; then
    echo "setup: building the add-ons of e2e/cluster into $bin/add-ons (once, about three minutes)" >&2
    (cd "$source" && nice -n 10 go build -trimpath -ldflags '-s -w' -o "$work/add-ons/" ./dns ./volumes tool) >&2
    for name in dns volumes csi-provisioner csi-resizer; do keep "$work/add-ons/$name" "$bin/add-ons/$name"; done
    echo "$sum" >"$bin/add-ons/.sources"
  fi
fi

echo "$bin"
