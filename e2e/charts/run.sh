#!/usr/bin/env bash
# The charts, by a real Helm: linted, rendered, compared with what `kubectl apply -k` applies, installed on a real API server,
# upgraded and uninstalled there. No node runs: that Pods start is e2e/tests' to show.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
HELM=$("$here/build-helm.sh")
KUBECTL=$("$here/../kubernetes/build.sh" kubectl)/kubectl
plane=$(mktemp -d)
trap '"$here/../kubernetes/control-plane" stop "$plane"; rm -rf "$plane"' EXIT
"$here/../kubernetes/control-plane" start "$plane" >/dev/null
# Helm's own files belong to this run.
export HELM KUBECTL KUBECONFIG="$plane/kubeconfig" HELM_CACHE_HOME="$plane/helm" HELM_CONFIG_HOME="$plane/helm" HELM_DATA_HOME="$plane/helm"
python3 "$here/charts.py"
