#!/usr/bin/env bash
# Ottla under GitOps: health as kstatus, Flux and Argo CD judge it by their own code, the examples under `kubectl diff`, and an
# operator that is killed after each of its writes. A real API server, the real operator, real brokers; no nodes. At the end a small
# run of the operator's benchmark shows that it works; it says nothing about speed.
#
#   e2e/gitops/run.sh [WORD...]    only cases whose names have these words
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# Built while the network is there.
JUDGE=$("$here/build-judge.sh")
KUBECTL=$("$here/../kubernetes/build.sh" kubectl)/kubectl
"$here/../kubernetes/build.sh" >/dev/null
export JUDGE KUBECTL
python3 "$here/runner" "$@"
[ $# -gt 0 ] || python3 "$here/../bench/operator" --slice
