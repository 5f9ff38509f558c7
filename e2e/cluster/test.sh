#!/usr/bin/env bash
# Shows what e2e/cluster promises, on a cluster that it makes and removes; about three minutes when all is built.
# PROVIDER=local|kind as for up.sh. What cannot be shown on this machine is skipped, by name.
set -euo pipefail
exec python3 "$(dirname "$0")/runner/suite.py" "$@"
