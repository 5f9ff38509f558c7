#!/usr/bin/env bash
# Ottla on a real Kubernetes of four nodes, which is made for it and removed: install, produce, kill, drain, roll, delete.
#
#   e2e/tests/run.sh           every case; writes docs/results/operations.md
#   e2e/tests/run.sh --slice   the cases of `make test`, in two minutes; writes no page
#   e2e/tests/run.sh --only WORD...   installing, and the cases in whose name one of these is; writes no page
#
# PROVIDER=local|kind as for e2e/cluster/up.sh; CLUSTER is the name of what is made (default: e2e),
# BIN the folder of the binaries (default: bin). What cannot be shown on this
# machine is skipped, by name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../setup/need" librdkafka
"$here/../setup/need" kcat
"$here/../setup/need" yaml
exec python3 "$here/runner" "$@"
