#!/usr/bin/env bash
# Ends the Ottla that `make demo` left running. Its records stay.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ! pid="$(running)"; then
  say "demo: nothing runs"
  rm -f "$pid_file"
  exit 0
fi
kill -TERM "$pid"
for _ in $(seq 150); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
if kill -0 "$pid" 2>/dev/null; then
  say "demo: process $pid did not stop within 15 s; it is killed (nothing that was acknowledged is lost)"
  kill -KILL "$pid"
fi
rm -f "$pid_file" "$ready_file"
say "demo: stopped. Its records are kept in $state; \`make demo\` goes on with them, \`rm -r $state\` forgets them."
