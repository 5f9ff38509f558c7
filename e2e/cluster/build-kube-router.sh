#!/usr/bin/env bash
# Builds kube-router from its Go module, once for each version in kube-router/go.mod, into the cache; prints the program. Needs Go
# 1.26, and the network the first time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/kept.sh"
kept_module "$here/kube-router" "kube-router (once, about three minutes)" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
