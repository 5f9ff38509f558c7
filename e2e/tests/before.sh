#!/usr/bin/env bash
# Builds the broker and the command of the oldest commit whose brokers may share a cluster with those of this tree, from git,
# and prints the folder that holds them. Older ones show no certificates, and would be refused.
#
# Owns which commit that is. Exit code 2: this checkout does not reach back to it (a shallow clone).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
commit=d9dd99bd4914efc94d2a7f18b3a4ceaace2e76c7
kept=$HOME/.cache/ottla/before/$commit
if [ ! -e "$kept/.whole" ]; then
  git -C "$here" cat-file -e "$commit^{commit}" 2>/dev/null || { echo "before: commit $commit is not in this checkout" >&2; exit 2; }
  tree=$(mktemp -d)
  trap 'git -C "$here" worktree remove --force "$tree" >&2' EXIT
  git -C "$here" worktree add --detach --quiet "$tree" "$commit" >&2
  cd "$tree"
  eval "$(broker/state/build-rocksdb.sh)"
  # Its own: cargo takes crates of the same name and an older time for the same ones.
  export CARGO_TARGET_DIR=$HOME/.cache/ottla/before/target
  cargo build --locked -p ottla-broker -p ottla-cli >&2
  mkdir -p "$kept"
  # With its symbols, an unoptimised binary fills a node's disk.
  for name in ottla ottla-broker; do strip -o "$kept/$name" "$CARGO_TARGET_DIR/debug/$name"; done
  touch "$kept/.whole"
fi
echo "$kept"
