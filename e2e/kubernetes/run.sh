#!/usr/bin/env bash
# Coordination against a real kube-apiserver with a real etcd, faults scripted in front of it.
# Both are built from their Go modules once, and run in a directory of their own for as long as this takes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
plane=$(mktemp -d)
trap '"$here/control-plane" stop "$plane"; rm -rf "$plane"' EXIT
"$here/control-plane" start "$plane"
export KUBECONFIG="$plane/kubeconfig"
cd "$here/../.."
cargo test --locked -p ottla-coordination --features kubernetes,conformance --test kubernetes
