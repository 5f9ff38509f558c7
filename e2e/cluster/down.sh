#!/usr/bin/env bash
# Ends the cluster and removes everything that it left, but for its logs.
# PROVIDER=local|kind (default: kind where it works, else local), CLUSTER=name (default: ottla).
set -euo pipefail
exec python3 "$(dirname "$0")/runner" down
