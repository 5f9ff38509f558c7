#!/usr/bin/env bash
# Builds the judge from its Go modules, once for each version of its sources, into the cache; prints the program. Needs Go 1.26,
# and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
kept_module "$here/judge" "kstatus, Flux's and Argo CD's judgement of health (once, about four minutes)"
