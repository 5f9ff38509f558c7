#!/usr/bin/env bash
# Builds MetalLB's controller and speaker from their Go module, once for each version in metallb/go.mod, into the cache; prints the
# folder that holds them. A module of its own: its Kubernetes libraries are older than those of the other add-ons. Needs Go
# 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
module=$here/metallb
folder=$HOME/.cache/ottla/tools/metallb-$(cat "$module"/go.* | sha256sum | cut -c1-16)
build_one() {
  CGO_ENABLED=0 nice -n 10 go build -C "$module" -mod=readonly -trimpath -ldflags '-s -w' -o "$PWD/" "go.universe.tf/metallb/$name"
}
for name in controller speaker; do
  # Each has a folder to be removed when its shell ends.
  (kept "$folder/$name" "MetalLB's $name (once, both about three minutes)" build_one)
done
echo "$folder"
