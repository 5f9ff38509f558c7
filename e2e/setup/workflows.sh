#!/usr/bin/env bash
# The workflows of .github, checked by actionlint, which is built from its Go module once, into the cache. Needs Go 1.26, and the
# network the first time.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
version=1.7.12
actionlint=$HOME/.cache/ottla/tools/actionlint-$version/actionlint
if [ ! -x "$actionlint" ]; then
  echo "setup: building actionlint $version into $actionlint (once, less than a minute)" >&2
  mkdir -p "$(dirname "$actionlint")"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  go mod init example.com/actionlint 2>/dev/null
  go get -tool "github.com/rhysd/actionlint/cmd/actionlint@v$version" >&2
  CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags '-s -w' -o actionlint github.com/rhysd/actionlint/cmd/actionlint >&2
  cp actionlint "$actionlint.new"
  mv "$actionlint.new" "$actionlint"
fi
cd "$root"
"$actionlint" .github/workflows/*.yml
echo "1 passed, 0 failed"
