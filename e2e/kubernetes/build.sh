#!/usr/bin/env bash
# Builds kube-apiserver and etcd from their published Go modules, once, into the cache; prints the directory that holds
# them. Needs Go 1.26 or newer and the network the first time.
set -euo pipefail

kubernetes=1.36.3
etcd=3.6.7
bin="${HOME}/.cache/ottla/tools/kubernetes-$kubernetes-etcd-$etcd"
staged=v0.${kubernetes#1.}

# The modules that Kubernetes keeps in its own tree and publishes beside itself, under versions of their own.
staging=(api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
  code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming
  csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator
  kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission
  sample-apiserver sample-cli-plugin sample-controller streaming)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$bin"

if [ ! -x "$bin/kube-apiserver" ]; then
  echo "setup: building kube-apiserver $kubernetes into $bin (once, about 8 minutes on two cores)" >&2
  mkdir "$work/kubernetes"
  cd "$work/kubernetes"
  {
    printf 'module example.com/kubernetes\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$kubernetes"
    for name in "${staging[@]}"; do printf '\tk8s.io/%s => k8s.io/%s %s\n' "$name" "$name" "$staged"; done
    printf ')\n\ntool k8s.io/kubernetes/cmd/kube-apiserver\n'
  } >go.mod
  go mod tidy -e >&2
  version=k8s.io/component-base/version
  CGO_ENABLED=0 go build -trimpath -tags selinux,notest,grpcnotrace -o out/ \
    -ldflags "-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${staged#v0.}" tool >&2
  mv out/kube-apiserver "$bin/"
fi

if [ ! -x "$bin/etcd" ]; then
  echo "setup: building etcd $etcd into $bin (once, about a minute)" >&2
  mkdir "$work/etcd"
  cd "$work/etcd"
  go mod init example.com/etcd 2>/dev/null
  go get -tool "go.etcd.io/etcd/server/v3@v$etcd" >&2
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o out/ tool >&2
  mv out/server "$bin/etcd"
fi

echo "$bin"
