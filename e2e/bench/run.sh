#!/usr/bin/env bash
# Ottla beside Apache Kafka in one run.
#
#   e2e/bench/run.sh --whole    interleaved rounds; writes docs/results/bench.md
#   e2e/bench/run.sh --slice    one small round for `make test`: shows that the benchmark works, says nothing about speed
#   e2e/bench/run.sh --cluster  three brokers of each, then 10,000 partitions; writes docs/results/cluster.md
#   e2e/bench/run.sh --operator  what the operator costs; writes docs/results/operator.md
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = --cluster ]; then
  "$here/../kubernetes/build.sh" >/dev/null
  python=$(cd "$here/../conformance/runner" && python3 -c 'import setup; print(setup.python()[0])')
  exec "$python" "$here/cluster"
fi
if [ "${1:-}" = --operator ]; then
  "$here/../kubernetes/build.sh" >/dev/null
  KUBECTL=$("$here/../kubernetes/build.sh" kubectl)/kubectl
  export KUBECTL
  exec python3 "$here/operator" --whole
fi
exec python3 "$here/runner" "$@"
