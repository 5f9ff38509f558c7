#!/usr/bin/env bash
# Ottla beside Apache Kafka in one run.
#
#   e2e/bench/run.sh --whole    interleaved rounds; writes docs/results/bench.md
#   e2e/bench/run.sh --slice    one small round for `make test`: shows that the benchmark works, says nothing about speed
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/runner" "$@"
