#!/usr/bin/env bash
# Kills the broker and cuts its power under load, then accounts for every acknowledged record.
#
#   e2e/crash/run.sh --whole    at least 50 kills, and power loss where root allows; writes docs/results/crash.md
#   e2e/crash/run.sh --slice    a few kills, for `make test`
#   --seed N                    repeats the random choices of an earlier run
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/runner" "$@"
