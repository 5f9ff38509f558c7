# What run.sh and stop.sh share: where things are, and whether the demo's Ottla runs. Sourced, never run.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
state="${OTTLA_DEMO_DIR:-$root/.ottla/demo}"
pid_file="$state/pid"
ready_file="$state/bootstrap"
log="$state/ottla.log"

say() { printf '%s\n' "$*"; }
step() { printf '\n==> %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# The id of the demo's Ottla, if it runs. A pid file alone proves nothing: the process must be ours.
running() {
  local pid
  pid="$(cat "$pid_file" 2>/dev/null)" || return 1
  [[ "$pid" =~ ^[0-9]+$ ]] || return 1
  [[ "$(ps -p "$pid" -o args= 2>/dev/null)" == *" dev "*"$ready_file"* ]] || return 1
  printf '%s' "$pid"
}
