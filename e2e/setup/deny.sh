#!/usr/bin/env bash
# Licences, duplicates, bans, sources and advisories of every dependency, by cargo-deny.
# Builds cargo-deny once into the cache. The advisory database comes from the network; where it cannot be had that one
# check is named as not run, the others still count.
set -euo pipefail

version=0.20.2
tools="${HOME}/.cache/ottla/tools/cargo-deny-$version"
deny="$tools/bin/cargo-deny"

if [ ! -x "$deny" ]; then
  echo "setup: building cargo-deny $version into $tools (once, about 10 minutes on two cores)"
  CARGO_TARGET_DIR="$tools/target" cargo install --locked --root "$tools" --version "$version" cargo-deny
  rm -rf "$tools/target"
fi

"$deny" --locked check --hide-inclusion-graph licenses bans sources

if "$deny" fetch db >"$tools/fetch.log" 2>&1; then
  "$deny" --locked check --hide-inclusion-graph advisories
else
  echo "deny: advisories NOT checked: the advisory database cannot be fetched here (see $tools/fetch.log)"
fi
