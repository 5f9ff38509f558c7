#!/usr/bin/env bash
# Kills, stops, pauses and cuts off brokers of a cluster of three under load, then accounts for every record.
#
#   e2e/faults/run.sh --whole    every fault, several times, and Apache Kafka beside it; writes docs/results/faults.md
#   e2e/faults/run.sh --slice    a few of them, for `make test`
#   --only FAULT, --times N      one fault alone (may be repeated), another number of times: for developing
#   --session NAME               only those on the machine's disk (brokers), on file systems in files (disks), or Kafka's
#   --keep                       leaves logs, data and history where they are, and says where
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# The first time this takes longer than a broker may take to start.
"$here/../kubernetes/build.sh" >/dev/null
exec python3 "$here/runner" "$@"
