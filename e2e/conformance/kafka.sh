#!/usr/bin/env bash
# Apache Kafka itself, one node, from Maven's jars: the reference that every case runs against too.
#
#   e2e/conformance/kafka.sh start PORT [KEY=VALUE]...   starts it (port 0: any free one), prints its bootstrap address
#   e2e/conformance/kafka.sh stop PORT                   ends it and removes its data
#   e2e/conformance/kafka.sh classpath                   prints the class path of the broker and its tools
#
# Owns one folder per port under $HOME/.cache/ottla/run; listens on loopback only. KAFKA_HEAP sets the heap (1g);
# with KAFKA_NO_WAIT it does not wait until the broker answers.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
version=$(python3 -c 'import tomllib,sys; print(tomllib.load(open(sys.argv[1],"rb"))["kafka"])' "$here/versions.toml")
libs="$HOME/.cache/ottla/tools/kafka-$version/libs"

fetch() {
  if [ -f "$libs/.whole" ]; then return; fi
  "$here/../setup/need" kafka
  echo "setup: fetching Apache Kafka $version from Maven into $libs (once, about 100 MB)" >&2
  mkdir -p "$libs"
  mvn -q -B -ntp -f "$here/java/pom.xml" "-Dkafka.version=$version" dependency:copy-dependencies \
    "-DoutputDirectory=$libs" -DincludeScope=runtime >&2
  touch "$libs/.whole"
}

free_port() {
  python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'
}

start() {
  local port=$1
  shift
  fetch
  if [ "$port" = 0 ]; then port=$(free_port); fi
  local run="$HOME/.cache/ottla/run/kafka-$port"
  if [ -f "$run/pid" ] && kill -0 "$(cat "$run/pid")" 2>/dev/null; then
    echo "kafka: already running on 127.0.0.1:$port (pid $(cat "$run/pid"))" >&2
    exit 1
  fi
  rm -rf "$run"
  mkdir -p "$run/data"
  local controller
  controller=$(free_port)
  cat >"$run/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$run/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
  for setting in "$@"; do echo "$setting" >>"$run/server.properties"; done
  local heap=${KAFKA_HEAP:-1g}
  local id # of the cluster; must not begin with a dash
  id=$(python3 -c 'import os,base64; print("K" + base64.urlsafe_b64encode(os.urandom(16)).decode()[1:22])')
  java -cp "$libs/*" kafka.tools.StorageTool format -t "$id" -c "$run/server.properties" >"$run/format.log" 2>&1 || { cat "$run/format.log" >&2; exit 1; }
  cut -d' ' -f1 /proc/uptime >"$run/began" # on the monotonic clock, for who measures the start
  setsid java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -cp "$libs/*" kafka.Kafka "$run/server.properties" \
    >"$run/server.log" 2>&1 </dev/null &
  echo $! >"$run/pid"
  if [ -n "${KAFKA_NO_WAIT:-}" ]; then return; fi
  python3 - "$port" "$(cat "$run/pid")" "$run/server.log" <<'PY'
import os, socket, struct, sys, time
port, pid, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    try:
        os.kill(pid, 0)
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            # ApiVersions v0: a broker that answers serves.
            body = struct.pack(">hhi", 18, 0, 1) + struct.pack(">h", 4) + b"wait"
            s.sendall(struct.pack(">i", len(body)) + body)
            if len(s.recv(4)) == 4:
                sys.exit(0)
    except ProcessLookupError:
        break
    except OSError:
        time.sleep(0.1)
print("kafka: did not start:", file=sys.stderr)
print(open(log).read()[-4000:], file=sys.stderr)
sys.exit(1)
PY
  echo "127.0.0.1:$port"
}

stop() {
  local run="$HOME/.cache/ottla/run/kafka-$1"
  if [ ! -f "$run/pid" ]; then
    echo "kafka: nothing runs on port $1" >&2
    return
  fi
  python3 - "$(cat "$run/pid")" <<'PY'
import os, signal, sys, time
pid = int(sys.argv[1])
for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
    try:
        os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        break
PY
  rm -rf "$run"
}

case "${1:-}" in
  start) [ $# -ge 2 ] || exit 2; shift; start "$@" ;;
  stop) [ $# -eq 2 ] || exit 2; stop "$2" ;;
  classpath) fetch; echo "$libs/*" ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
