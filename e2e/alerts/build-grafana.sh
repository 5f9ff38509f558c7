#!/usr/bin/env bash
# Builds the check of dashboards from Grafana's schemas, once for each version of its sources, into the cache; prints the program.
# Needs Go 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
sum=$(cat "$here"/grafana/{go.mod,go.sum,main.go} | sha256sum | cut -c1-16)
grafana=$HOME/.cache/ottla/tools/grafana-$sum/grafana
if [ ! -x "$grafana" ]; then
  echo "setup: building the check of dashboards into $grafana (once, about a minute)" >&2
  mkdir -p "$(dirname "$grafana")"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$here/grafana"
  CGO_ENABLED=0 nice -n 10 go build -mod=readonly -trimpath -ldflags '-s -w' -o "$work/grafana" . >&2
  cp "$work/grafana" "$grafana.new"
  mv "$grafana.new" "$grafana"
fi
echo "$grafana"
