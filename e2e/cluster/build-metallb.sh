#!/usr/bin/env bash
# Builds MetalLB's controller and speaker from their Go module, once for each version in metallb/go.mod, into the cache; prints the
# folder that holds them. A module of its own: its Kubernetes libraries are older than those of the other add-ons. Needs Go
# 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
for name in controller speaker; do
  program=$(kept_module "$here/metallb" "MetalLB's $name (once, both about three minutes)" "go.universe.tf/metallb/$name")
done
dirname "$program"
