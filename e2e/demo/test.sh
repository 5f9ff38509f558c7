#!/usr/bin/env bash
# The demo as a test, in a folder and on a port of its own: from nothing, again while it runs, and again after it was
# killed. run.sh itself fails when kcat does not read back every record.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
OTTLA_DEMO_DIR=$(mktemp -d "${TMPDIR:-/tmp}/ottla-demo-XXXXXX")
export OTTLA_DEMO_DIR OTTLA_DEMO_PORT=0
trap '"$here/stop.sh" > /dev/null; rm -rf "$OTTLA_DEMO_DIR"' EXIT

passed=0
check() {
  local what=$1
  shift
  if ! "$@" > "$OTTLA_DEMO_DIR/output" 2>&1; then
    cat "$OTTLA_DEMO_DIR/output"
    echo "demo: $what: failed"
    echo "$passed passed, 1 failed"
    exit 1
  fi
  passed=$((passed + 1))
  echo "demo: $what: ok"
}

check "from nothing" "$here/run.sh"
check "again while it runs" "$here/run.sh"
cp "$OTTLA_DEMO_DIR/output" "$OTTLA_DEMO_DIR/said"
check "nothing is loaded twice" grep -q "are there already" "$OTTLA_DEMO_DIR/said"
kill -KILL "$(cat "$OTTLA_DEMO_DIR/pid")"
check "again after it was killed" "$here/run.sh"
cp "$OTTLA_DEMO_DIR/output" "$OTTLA_DEMO_DIR/said"
check "nothing was lost" grep -q "are there already" "$OTTLA_DEMO_DIR/said"
check "stop" "$here/stop.sh"
check "stop when nothing runs" "$here/stop.sh"
echo "$passed passed, 0 failed"
