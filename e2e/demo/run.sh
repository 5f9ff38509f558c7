#!/usr/bin/env bash
# Starts Ottla from deploy/examples/quickstart.yaml, loads real data, reads it back with kcat and with our own command.
#
# Owns .ottla/demo: the data directory, the log, the pid, the data sets as records. Everything can be run again at any
# time: what runs is reused, what is loaded is not loaded twice. OTTLA_DEMO_DIR, OTTLA_DEMO_PORT and OTTLA_BIN say
# otherwise where the defaults do not fit.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ottla="${OTTLA_BIN:-$root/bin/ottla}"
port="${OTTLA_DEMO_PORT:-9092}"
version="3.2.1"
checksum="6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3"
topics=(flights earthquakes stocks)

[[ -x "$ottla" ]] || fail "$ottla is not there: run \`make build\`, or \`make demo\`, which does"
"$root/e2e/setup/need" demo
mkdir -p "$state"

# --- the data ------------------------------------------------------------------------------------------------------

package="$HOME/.cache/ottla/demo/vega-datasets-$version.tgz"

fetch() {
  [[ -s "$package" ]] && return
  step "Fetching vega-datasets $version from the npm registry (17 MB, once; kept in $(dirname "$package"))"
  local folder
  folder="$(mktemp -d)"
  (cd "$folder" && npm pack --loglevel=error "vega-datasets@$version")
  mkdir -p "$(dirname "$package")"
  mv "$folder/vega-datasets-$version.tgz" "$package"
  rmdir "$folder"
}

unpack() {
  local found
  found="$(python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$package")"
  [[ "$found" == "$checksum" ]] || fail "$package is damaged (SHA-256 $found): remove it and run this again"
  mkdir -p "$state/sets"
  tar -xzf "$package" -C "$state/sets" --strip-components=2 \
    package/data/flights-20k.json package/data/earthquakes.json package/data/stocks.csv
  for topic in "${topics[@]}"; do
    "$root/e2e/demo/records.py" "$state/sets" "$topic" > "$state/sets/$topic.jsonl.new"
    mv "$state/sets/$topic.jsonl.new" "$state/sets/$topic.jsonl"
  done
}

fetch
[[ -s "$state/sets/stocks.jsonl" ]] || unpack

# --- Ottla ---------------------------------------------------------------------------------------------------------

busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local http=9644
  if busy "$port"; then
    say "Port $port is taken by another program; taking any free one instead (OTTLA_DEMO_PORT chooses)."
    port=0
  fi
  if [[ "$port" == 0 ]] || busy "$http"; then http=0; fi
  rm -f "$ready_file"
  local begin=(nohup)
  command -v setsid > /dev/null && begin=(setsid nohup)
  "${begin[@]}" "$ottla" dev -f "$root/deploy/examples/quickstart.yaml" --data-dir "$state/data" \
    --kafka-port "$port" --http-port "$http" --watch --ready-file "$ready_file" < /dev/null >> "$log" 2>&1 &
  echo $! > "$pid_file"
  for _ in $(seq 300); do
    [[ -s "$ready_file" ]] && return
    # Not `running`: between fork and exec the process does not look like ours yet.
    kill -0 "$(cat "$pid_file")" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$log" >&2
  fail "Ottla did not start; its log is $log"
}

if pid="$(running)" && [[ -s "$ready_file" ]]; then
  step "Ottla runs already (process $pid)"
else
  step "Starting Ottla from deploy/examples/quickstart.yaml"
  start
  pid="$(running)"
fi
bootstrap="$(cat "$ready_file")"
export OTTLA_BOOTSTRAP="$bootstrap"
say "It listens on $bootstrap. Process $pid, log $log"

# --- load ----------------------------------------------------------------------------------------------------------

# How many records a topic has, as a client that is not ours counts them.
count() { kcat -b "$bootstrap" -C -t "$1" -o beginning -e -q -u -f '.\n' | wc -l | tr -d ' '; }

# Waits until a topic that was deleted is there again: it is declared, and what is declared is made so.
declared_again() {
  for _ in $(seq 100); do
    "$ottla" --quiet topic describe "$1" > /dev/null 2>&1 && return
    sleep 0.1
  done
  fail "topic $1 did not come back after it was deleted; the log is $log"
}

step "Loading real data: keyed JSON records with headers and the times of the events"
for topic in "${topics[@]}"; do
  expected="$(wc -l < "$state/sets/$topic.jsonl" | tr -d ' ')"
  found="$(count "$topic")"
  if (( found >= expected )); then
    say "$topic: its $expected records are there already"
    continue
  fi
  if [[ "$found" != 0 ]]; then
    say "$topic: has $found of $expected records, from a run that was interrupted; beginning again"
    "$ottla" --quiet topic delete "$topic" --yes
    declared_again "$topic"
  fi
  "$ottla" produce "$topic" --format json --compression zstd "$state/sets/$topic.jsonl"
done

# --- read back -----------------------------------------------------------------------------------------------------

step "Reading it back with kcat, a client that is not ours"
read_total=0
for topic in "${topics[@]}"; do
  found="$(count "$topic")"
  expected="$(wc -l < "$state/sets/$topic.jsonl" | tr -d ' ')"
  (( found >= expected )) || fail "kcat read $found of $expected records of $topic"
  say "$topic: kcat read $found records, every one that was loaded"
  read_total=$((read_total + found))
done
kcat -b "$bootstrap" -C -t stocks -o -2 -e -q -f '  %t[%p] offset %o, time %T, key %k, headers %h\n    %s\n'

step "Reading it back with our own command"
say "\$ ottla topic list"
"$ottla" topic list
say "\$ ottla consume earthquakes --from -2 --count 3"
"$ottla" consume earthquakes --from -2 --count 3

# --- what next -----------------------------------------------------------------------------------------------------

step "Done: $read_total records in ${#topics[@]} topics, written by ottla, read by kcat and by ottla"
cat <<END
Ottla goes on running: any Kafka client can connect to $bootstrap.

Try next:
  export PATH="$(dirname "$ottla"):\$PATH" OTTLA_BOOTSTRAP=$bootstrap
  ottla consume flights --from -5                          the last records of each partition
  ottla consume earthquakes --group demo --from beginning  as a consumer group; then: ottla group describe demo
  kcat -b $bootstrap -C -t flights -o beginning -c 3 -J    the same with another client
  echo '{"key":"PRG","value":{"to":"VIE"}}' | ottla produce flights --format json
  edit deploy/examples/quickstart.yaml                     more partitions, another topic: applied as you save it
  make demo-stop                                           stops it and keeps the records
END
