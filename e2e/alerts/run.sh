#!/usr/bin/env bash
# The dashboards of deploy/grafana, by Grafana's own schemas; then the alerts of deploy/prometheus: checked and tested by promtool, and
# seen to fire and to clear by a real Prometheus, while brokers on a real API server are killed, their disks filled and their logs damaged.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
GRAFANA=$("$here/build-grafana.sh") python3 "$here/dashboards.py"
# The first time this takes longer than a broker may take to start.
"$here/../kubernetes/build.sh" >/dev/null
exec python3 "$here/alerts.py"
