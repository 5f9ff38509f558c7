#!/usr/bin/env bash
# Builds kube-router from its Go module, once for each version in kube-router/go.mod, into the cache; prints the program. Needs Go
# 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
module=$here/kube-router
program=$HOME/.cache/ottla/tools/kube-router-$(cat "$module"/go.* | sha256sum | cut -c1-16)/kube-router
build() {
  CGO_ENABLED=0 nice -n 10 go build -C "$module" -mod=readonly -trimpath -ldflags '-s -w' -o "$PWD/" tool
}
kept "$program" "kube-router (once, about three minutes)" build
echo "$program"
