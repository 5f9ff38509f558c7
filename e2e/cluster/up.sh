#!/usr/bin/env bash
# Starts a Kubernetes of four nodes, or what is missing of it; the last line says how to reach it.
# PROVIDER=local|kind (default: kind where it works, else local), CLUSTER=name (default: ottla).
set -euo pipefail
exec python3 "$(dirname "$0")/runner" up
