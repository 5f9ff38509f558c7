#!/usr/bin/env bash
# Builds Helm from its Go module, once, into the cache; prints the program. Needs Go 1.26, and the network the first time.
set -euo pipefail

source "$(dirname "$0")/../setup/kept.sh"
version=3.22.0
helm=$HOME/.cache/ottla/tools/helm-$version/helm
build() {
  go mod init example.com/helm 2>/dev/null
  go get -tool "helm.sh/helm/v3/cmd/helm@v$version"
  # As Helm's own Makefile: which Kubernetes `helm template` renders for where there is none.
  local module=helm.sh/helm/v3 minor flags package
  minor=$(go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
  flags="-s -w -X $module/internal/version.version=v$version"
  for package in lint/rules chartutil; do
    flags+=" -X $module/pkg/$package.k8sVersionMajor=1 -X $module/pkg/$package.k8sVersionMinor=$minor"
  done
  CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags "$flags" -o helm "$module/cmd/helm"
}
kept "$helm" "Helm $version (once, about three minutes)" build
echo "$helm"
