#!/usr/bin/env bash
# Builds the check of dashboards from Grafana's schemas, once for each version of its sources, into the cache; prints the program.
# Needs Go 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
kept_module "$here/grafana" "the check of dashboards (once, about a minute)"
