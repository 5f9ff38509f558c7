#!/usr/bin/env bash
# Builds the judge from its Go modules, once for each version of its sources, into the cache; prints the program. Needs Go 1.26,
# and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
sum=$(cat "$here"/judge/{go.mod,go.sum,main.go} | sha256sum | cut -c1-16)
judge=$HOME/.cache/ottla/tools/judge-$sum/judge
if [ ! -x "$judge" ]; then
  echo "setup: building kstatus, Flux's and Argo CD's judgement of health into $judge (once, about four minutes)" >&2
  mkdir -p "$(dirname "$judge")"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$here/judge"
  CGO_ENABLED=0 nice -n 10 go build -mod=readonly -trimpath -ldflags '-s -w' -o "$work/judge" . >&2
  cp "$work/judge" "$judge.new"
  mv "$judge.new" "$judge"
fi
echo "$judge"
