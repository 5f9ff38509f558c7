#!/usr/bin/env bash
# The workflows of .github, checked by actionlint, which is built from its Go module once, into the cache. Needs Go 1.26, and the
# network the first time.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/e2e/setup/kept.sh"
version=1.7.12
actionlint=$HOME/.cache/ottla/tools/actionlint-$version/actionlint
build() {
  go mod init example.com/actionlint 2>/dev/null
  go get -tool "github.com/rhysd/actionlint/cmd/actionlint@v$version"
  CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags '-s -w' -o actionlint github.com/rhysd/actionlint/cmd/actionlint
}
kept "$actionlint" "actionlint $version (once, less than a minute)" build
cd "$root"
"$actionlint" .github/workflows/*.yml
echo "1 passed, 0 failed"
