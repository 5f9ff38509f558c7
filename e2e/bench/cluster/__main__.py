"""Three brokers of Ottla beside three of Apache Kafka: replicated produce; and what many partitions cost Ottla.

Owns what is measured and the page docs/results/cluster.md. The brokers are those of e2e/faults: real processes on a real
API server. CPU is that of the brokers' processes alone, from /proc; it says more than a rate does where clients, brokers
and etcd share a few cores.
"""

import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# First those of the faults: they have brokers, too.
for folder in ("faults/runner", "conformance/runner", "bench/runner", "page"):
    sys.path.append(str(ROOT / "e2e" / folder))

from brokers import COUNT, Brokers  # noqa: E402
import page  # noqa: E402
from kafka import Kafka  # noqa: E402
from measure import TOGETHER, build_load, cpu_seconds, memory_mib, peer, run_load, spread  # noqa: E402
from objects import DOCUMENTS, ask  # noqa: E402

TOPICS, PARTITIONS = 10, 1000
ROUNDS, MESSAGES = 5, 500_000
IDLE_SECONDS, FAILOVERS, FLAPPING_SECONDS = 60, 6, 600
WHOLE_SECONDS = 120


def load(system, topic, messages, partitions, replicas):
    """One run of the producer against all brokers of a system: its rate, and their CPU for each 1,000 records."""
    before = {index: cpu_seconds(pid) for index, pid in system.pids.items()}
    found = run_load(system.bootstrap, topic, messages, partitions, [f"replicas={replicas}"])
    spent = sum(cpu_seconds(pid) - before[index] for index, pid in system.pids.items())
    return messages / found["seconds"], spent / messages * 1e6


def replicated(rounds, messages, scratch):
    """Interleaved rounds; everybody runs all the time, one is loaded at a time."""
    systems = [Kafka(scratch / "kafka"), Brokers(scratch / "ottla")]
    found = {system.name: [] for system in systems}
    try:
        for system in systems:
            system.start_all()
            load(system, "warm", messages // 10, 12, COUNT)
        for number in range(rounds):
            for system in systems if number % 2 else systems[::-1]:
                one = load(system, f"load-{number}", messages, 12, COUNT)
                found[system.name].append(one)
                print(f"round {number + 1}: {system.name}: {one[0]:,.0f} records/s, {one[1]:.1f} µs of broker CPU a record", flush=True)
    finally:
        for system in systems:
            system.down()
    return found


class Many:
    """A cluster of Ottla with many partitions, three replicas each."""

    def __init__(self, scratch):
        self.brokers = Brokers(scratch / "many")
        self.plane = scratch / "many/plane"
        self.rows = []

    def note(self, what, goal, found):
        self.rows.append((what, goal, found))
        print(f"{what}: {found}", flush=True)

    def state(self, index):
        """(topic, partition) -> (leader epoch, leader, replicas, in-sync replicas), as that broker says."""
        return self.brokers.script.describe(self.brokers.port + index, None, self.brokers.room.hosts[index])[1]

    def until(self, what, indexes, holds):
        """Asks these brokers until each says so of every partition; how long that took."""
        began, waiting = time.monotonic(), set(indexes)
        while waiting:
            waiting -= {index for index in waiting if all(map(holds, self.state(index).values()))}
            if time.monotonic() > began + WHOLE_SECONDS:
                raise RuntimeError(f"{what}: not after {WHOLE_SECONDS} s on brokers {sorted(waiting)}")
        return time.monotonic() - began

    def create(self):
        began = time.monotonic()
        names = [f"many-{number}" for number in range(TOPICS)]
        command = [ROOT / "bin/ottla", "-b", self.brokers.bootstrap, "topic", "create", *names, "-p", PARTITIONS, "-r", COUNT]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        self.until("created", range(COUNT), lambda partition: len(partition[3]) == COUNT)
        self.note(f"create {TOPICS * PARTITIONS:,} partitions until every broker serves its part", "", f"{time.monotonic() - began:.1f} s")

    def idle(self, seconds):
        before = {index: cpu_seconds(pid) for index, pid in self.brokers.pids.items()}
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        shares = [(cpu_seconds(pid) - before[index]) / took for index, pid in self.brokers.pids.items()]
        self.note(f"CPU of each broker, idle for {seconds} s", "≤ 2 % of a core", ", ".join(f"{share:.1%}" for share in shares))
        memory = [memory_mib(pid)[1] for pid in self.brokers.pids.values()]
        self.note("memory of each broker (anonymous)", "", ", ".join(f"{mib:.0f} MiB" for mib in memory))

    def metadata(self):
        size = sum(len(json.dumps(item)) for item in ask(self.brokers, "GET", DOCUMENTS)["items"])
        self.note("metadata in Kubernetes for each partition", "≤ 2 KiB", f"{size / TOPICS / PARTITIONS:.0f} bytes")

    def failover(self, times):
        took, whole = [], []
        for number in range(times):
            dead = number % COUNT
            others = [index for index in range(COUNT) if index != dead]
            began = self.brokers.kill(dead)
            self.until("led by others", others, lambda partition: partition[1] not in (dead, -1))
            took.append(time.monotonic() - began)
            self.brokers.start(dead)
            self.until("whole", range(COUNT), lambda partition: len(partition[3]) == COUNT)
            whole.append(time.monotonic() - began)
        seconds = "{:.2f} s".format
        self.note(f"a broker killed (SIGKILL), until every partition is led by another and both others say so, {times} times",
                  "≤ 3 s", spread(took, seconds))
        self.note("the same, the broker started again, until every partition has three in-sync replicas", "", spread(whole, seconds))

    def written(self):
        """Bytes that etcd has written to its log."""
        settings = json.loads((self.plane / "settings.json").read_text())
        text = urllib.request.urlopen(f"http://127.0.0.1:{settings['etcd']}/metrics", timeout=5).read().decode()
        return float(re.search(r"^etcd_disk_wal_write_bytes_total (\S+)", text, re.MULTILINE)[1])

    def flap(self, seconds):
        """A follower that is paused for 3 s and runs for 3 s, over and over."""
        leaders = Counter(partition[1] for partition in self.state(0).values())
        controller = self.brokers.controller()
        follower = min((index for index in range(COUNT) if index != controller), key=lambda index: leaders[index])
        before, began, times = self.written(), time.monotonic(), 0
        while time.monotonic() < began + seconds:
            self.brokers.pause(follower)
            time.sleep(3)
            self.brokers.resume(follower)
            time.sleep(3)
            times += 1
        rate = (self.written() - before) / (time.monotonic() - began)
        self.note(f"written to etcd while a broker is paused 3 s and runs 3 s, {times} times", "≤ 256 KiB/s", f"{rate / 1024:.1f} KiB/s")
        self.until("whole", range(COUNT), lambda partition: len(partition[3]) == COUNT)

    def run(self, idle, times, flapping):
        try:
            self.brokers.start_all()
            self.create()
            self.metadata()
            self.idle(idle)
            self.failover(times)
            self.flap(flapping)
        finally:
            self.brokers.down()
        return self.rows


def report(found, rows, rounds, messages, seconds):
    cpu = {name: statistics.median(one[1] for one in ones) for name, ones in found.items()}
    ratio = cpu[Brokers.name] / cpu[Kafka.name]
    lines = [
        "# Benchmark: three brokers", "", *page.origin("make bench-cluster", seconds, TOGETHER), f"* peer: {peer()}",
        f"* load: librdkafka, linger 5 ms, acks=all, {messages:,} records of 1 KiB a run into 12 partitions of three replicas, of which",
        f"  two must be in sync; {rounds} rounds, alternating; Kafka with its default of no fsync before an ack, Ottla with every in-sync",
        "  replica's fsync before it", "",
        "| | records/s | µs of CPU of all three brokers for each record |", "|---|---|---|"]
    for name, ones in found.items():
        rate, spent = spread([one[0] for one in ones], "{:,.0f}".format), spread([one[1] for one in ones], "{:.1f}".format)
        lines.append(f"| {name} | {rate} | {spent} |")
    lines += ["", f"CPU of Ottla for each of Kafka: **{ratio:.2f}** (goal: ≤ 0.5).", "",
              f"## {TOPICS * PARTITIONS:,} partitions of three replicas on three brokers of Ottla", "", "| | goal | measured |", "|---|---|---|"]
    lines += [f"| {what} | {goal} | {value} |" for what, goal, value in rows]
    page.write("cluster", lines)
    print("\n".join(lines))


def main():
    # A run that is stopped from outside must not leave its brokers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    build_load()
    scratch = Path(tempfile.mkdtemp(prefix="ottla-bench-"))
    began = time.monotonic()
    for name in ("kafka", "ottla", "many"):
        (scratch / name).mkdir()
    try:
        found = replicated(ROUNDS, MESSAGES, scratch)
        rows = Many(scratch).run(IDLE_SECONDS, FAILOVERS, FLAPPING_SECONDS)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report(found, rows, ROUNDS, MESSAGES, time.monotonic() - began)


if __name__ == "__main__":
    main()
