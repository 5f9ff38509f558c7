#!/usr/bin/env bash
# Coordination, the operator, and a broker that keeps its metadata there, against a real kube-apiserver with a real etcd.
# Both are built from their Go modules once, and run in a directory of their own for as long as this takes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
plane=$(mktemp -d)
trap '"$here/control-plane" stop "$plane"; rm -rf "$plane"' EXIT
"$here/control-plane" start "$plane"
export KUBECONFIG="$plane/kubeconfig" OTTLA_CONTROL_PLANE="$plane"
cd "$here/../.."
rocksdb_env="$(broker/state/build-rocksdb.sh)"
eval "$rocksdb_env"
cargo test --locked -p ottla-coordination --features api-server-tests --test kubernetes
cargo test --locked -p ottla-operator --features api-server-tests --test api_server
if [ -z "${OTTLA_BROKER:-}" ]; then
  cargo build --locked -p ottla-broker --bin ottla-broker
  OTTLA_BROKER=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/ottla-broker
fi
OTTLA_BROKER=$OTTLA_BROKER cargo test --locked -p ottla-operator --features api-server-tests --test topics --test scaling
cargo test --locked -p ottla-broker --features api-server-tests --test kubernetes --test recover
