"""What cases run against: started on free loopback ports, stopped by process ids.

Owns the processes and, where brokers are killed on purpose, who is killed when. Must never kill a second broker before
every partition is whole again: no client has been promised anything about two at once.
"""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "faults/runner"))

import driver  # noqa: E402


class Kafka:
    """Apache Kafka, one KRaft node."""

    name, replicas, kills_brokers = "kafka", 1, False

    def __init__(self, root, scratch):
        self.script = root / "e2e/conformance/kafka.sh"
        started = subprocess.run([self.script, "start", "0"], capture_output=True, text=True, timeout=300)
        if started.returncode != 0:
            raise SystemExit(f"Apache Kafka did not start:\n{started.stderr}")
        self.bootstrap = started.stdout.split()[-1]
        import setup
        self.version = f"Apache Kafka {setup.VERSIONS['kafka']}"

    def gone(self):
        return None

    def stop(self):
        subprocess.run([self.script, "stop", self.bootstrap.rsplit(":")[-1]], timeout=60, check=False)


class Ottla:
    """`ottla dev`, one broker."""

    name, replicas, kills_brokers = "ottla", 1, False

    def __init__(self, root, scratch):
        binary = Path(os.environ.get("OTTLA_BIN", root / "bin/ottla"))
        if not binary.exists():
            raise SystemExit("bin/ottla is not there: make build")
        ready = scratch / "ready"
        self.log = scratch / "ottla.log"
        self.process = subprocess.Popen(
            [binary, "dev", "--data-dir", scratch / "data", "--kafka-port", "0", "--http-port", "0", "--ready-file", ready,
             "-c", "group.initial.rebalance.delay.ms=0"],
            stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"ottla dev did not become ready:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        self.bootstrap = ready.read_text().strip()
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        self.version = version or "ottla"

    def gone(self):
        """Why the broker no longer runs, if so."""
        if self.process.poll() is None:
            return None
        return f"ottla ended with {self.process.returncode}:\n{self.log.read_text(errors='replace')[-2000:]}"

    def stop(self):
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


class Three:
    """Three `ottla-broker` processes on a real API server, of which one after another is killed and started again."""

    name, replicas, kills_brokers = "three", 3, True
    COUNT = 3
    # Between a kill and the start of the next process, and between that and the next kill: longer than clients and
    # brokers need to notice.
    DEAD_SECONDS, ALIVE_SECONDS = 2, 5
    # A broker that left in-sync sets again and again waits up to a minute before it is let in.
    WHOLE_SECONDS = 120

    def __init__(self, root, scratch):
        self.nodes = driver.NODES
        subprocess.run([root / "e2e/kubernetes/build.sh"], stdout=subprocess.DEVNULL, check=True)
        self.script, self.port = driver.load(), driver.free_base(self.COUNT)
        self.environment = os.environ | {
            "NODES_DIR": str(scratch / "nodes"), "NODES_COUNT": str(self.COUNT), "NODES_PORT": str(self.port),
            "NODES_PROPS": "group.initial.rebalance.delay.ms=0\nmin.insync.replicas=1"}
        starting = [subprocess.Popen([self.nodes, "start", str(index)], env=self.environment) for index in range(self.COUNT)]
        if any([process.wait() for process in starting]):
            self.stop()
            raise SystemExit(f"the brokers did not start; see {scratch}/nodes")
        self.bootstrap = self.ask("bootstrap")
        self.version = "three brokers, one killed at a time"
        self.kills, self.trouble = 0, None
        self.over = threading.Event()
        self.killer = threading.Thread(target=self.kill_and_start, daemon=True)
        self.killer.start()

    def ask(self, verb, *words):
        return subprocess.run([self.nodes, verb, *map(str, words)], env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def kill_and_start(self):
        try:
            while not self.over.is_set():
                index = self.kills % self.COUNT
                self.ask("kill", index)
                self.kills += 1
                self.over.wait(self.DEAD_SECONDS)
                self.ask("start", index)
                self.wait_whole()
                self.over.wait(self.ALIVE_SECONDS)
        except (subprocess.CalledProcessError, TimeoutError) as problem:
            self.trouble = f"after {self.kills} kills: {problem}"

    def wait_whole(self):
        deadline = time.monotonic() + self.WHOLE_SECONDS
        while not self.over.wait(0.1):
            short = self.short()
            if not short:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not whole after {self.WHOLE_SECONDS} s: {short[:5]}")

    def short(self):
        """What some broker says is not whole: no leader, or replicas out of sync."""
        found = []
        for index in range(self.COUNT):
            try:
                _, partitions = self.script.describe(self.port + index, None)
            except (OSError, struct.error) as problem:
                found.append(f"broker {index} does not answer ({problem})")
                continue
            found += [f"broker {index}: {name} is led by {leader}, in sync {in_sync} of {replicas}"
                      for name, (_, leader, replicas, in_sync) in partitions.items()
                      if leader < 0 or set(in_sync) != set(replicas)]
        return found

    def gone(self):
        """Why a killed broker did not come back, if so."""
        return self.trouble

    def stop(self):
        if hasattr(self, "over"):
            self.over.set()
            self.killer.join(60)
            self.version = f"three brokers, killed one at a time, {self.kills} kills"
        subprocess.run([self.nodes, "down"], env=self.environment, stdin=subprocess.DEVNULL, check=False)
