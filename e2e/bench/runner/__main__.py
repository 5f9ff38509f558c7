"""Ottla beside Apache Kafka: throughput, CPU, memory and start-up, in one run on one machine.

Owns what is measured and how: rounds alternate who comes first, each system runs alone, a round during which others used
more than a tenth of the machine is run again a few times and then marked. Rows never compare one system's page cache with
the other's disk: `page cache` and `durable` mean the same for both.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from brokers import Kafka, Ottla
from first import first_ack
from measure import RECORD_BYTES, ROOT, TOGETHER, build_load, cpu_seconds, machine_cpu_seconds, memory_mib, peer, run_load, spread

sys.path.append(str(ROOT / "e2e/page"))
import page  # noqa: E402

FOREIGN_MAX = 0.1  # of the machine
ROWS = [(acks, partitions) for acks in ("page cache", "durable") for partitions in (1, 16)]


class Measured:
    """One load against one running broker."""

    def __init__(self, broker, acks, partitions, messages, topic):
        configs = {"file.delete.delay.ms": "1000", **(broker.durable if acks == "durable" else broker.cached)}
        busy, own, began = machine_cpu_seconds(), cpu_seconds(broker.pid), time.monotonic()
        found = run_load(broker.address, topic, messages, partitions, [f"config={k}={v}" for k, v in configs.items()])
        took = time.monotonic() - began
        spent = cpu_seconds(broker.pid) - own
        foreign = machine_cpu_seconds() - busy - spent - found["client_cpu"]
        gigabytes = messages * RECORD_BYTES / 1e9
        self.foreign = max(0.0, foreign / took / os.cpu_count())
        self.rate = messages / found["seconds"]
        self.broker_cpu = spent / gigabytes
        self.client_cpu = found["client_cpu"] / gigabytes


def quiet(measure, tries):
    """Runs until others left the machine alone, at most `tries` times; the last run counts, marked by its `foreign`."""
    for _ in range(tries):
        found = measure()
        if found.foreign <= FOREIGN_MAX:
            break
    return found


def start_fresh(kind, scratch):
    broker = kind(ROOT, scratch)
    began = broker.start()
    try:
        return broker, first_ack(broker.address, began)
    except BaseException:
        broker.stop()
        raise


def starts(rounds, scratch):
    found = {Kafka.name: [], Ottla.name: []}
    for round_number in range(rounds):
        for kind in (Kafka, Ottla) if round_number % 2 == 0 else (Ottla, Kafka):
            shutil.rmtree(scratch / "ottla", ignore_errors=True)
            broker, seconds = start_fresh(kind, scratch)
            broker.stop()
            found[kind.name].append(seconds)
            print(f"start {kind.name}: {seconds * 1000:.0f} ms", flush=True)
    return found


def throughput(rounds, messages, tries, scratch):
    shutil.rmtree(scratch / "ottla", ignore_errors=True)
    brokers, memory = [], {}
    found = {(name, row): [] for name in (Kafka.name, Ottla.name) for row in ROWS}
    try:
        for kind in (Kafka, Ottla):
            brokers.append(start_fresh(kind, scratch)[0])
        time.sleep(2)
        for broker in brokers:
            memory[broker.name] = {"idle": memory_mib(broker.pid)[1]}
        for round_number in range(rounds):
            for number, (acks, partitions) in enumerate(ROWS):
                order = brokers if (round_number + number) % 2 == 0 else brokers[::-1]
                for broker in order:
                    attempts = iter(range(100))

                    def measure():
                        topic = f"load-{round_number}-{number}-{next(attempts)}"
                        return Measured(broker, acks, partitions, messages, topic)

                    one = quiet(measure, tries)
                    found[broker.name, (acks, partitions)].append(one)
                    print(f"round {round_number + 1}: {acks}, {partitions} partitions, {broker.name}: {one.rate:,.0f} records/s, "
                          f"{one.broker_cpu:.2f} broker CPU-s/GB, {one.client_cpu:.2f} client CPU-s/GB, foreign {one.foreign:.0%}",
                          flush=True)
        for broker in brokers:
            memory[broker.name]["peak"], memory[broker.name]["loaded"] = memory_mib(broker.pid)
    finally:
        for broker in brokers:
            broker.stop()
    return found, memory


def report(found, memory, started, rounds, messages, seconds):
    noisy = sum(one.foreign > FOREIGN_MAX for ones in found.values() for one in ones)
    lines = [
        "# Benchmark: Ottla beside Apache Kafka", "", *page.origin("make bench", seconds, TOGETHER), f"* peer: {peer()}",
        "* one broker of each; Kafka with a heap of 1 GiB",
        f"* load: librdkafka, linger 5 ms, acks=all, {messages:,} records of 1 KiB a run, uncompressed; {rounds} rounds, alternating",
        f"* runs in which others used more than {FOREIGN_MAX:.0%} of the machine: {noisy} of {sum(map(len, found.values()))}"
        + (" (**read the numbers with that in mind**)" if noisy else ""),
        "",
        "Medians, with the smallest and largest of the rounds. *Page cache*: the answer comes when the operating system has the",
        "records (Kafka's default; `flush.messages` raised in Ottla). *Durable*: it comes after an fsync (Ottla's default;",
        "`flush.messages=1` in Kafka).", "",
        "| acknowledged | partitions | | records/s | broker CPU-s/GB | client CPU-s/GB |", "|---|---|---|---|---|---|"]
    for acks, partitions in ROWS:
        for name in (Kafka.name, Ottla.name):
            ones = found[name, (acks, partitions)]
            lines.append(
                f"| {acks} | {partitions} | {name} | {spread([o.rate for o in ones], '{:,.0f}'.format)} | "
                f"{spread([o.broker_cpu for o in ones], '{:.2f}'.format)} | {spread([o.client_cpu for o in ones], '{:.2f}'.format)} |")
    lines += ["", "| | Apache Kafka | Ottla |", "|---|---|---|"]
    rows = [("memory after start (anonymous), MiB", "idle"), ("memory after the load (anonymous), MiB", "loaded"),
            ("memory at its highest (resident, page cache mappings included), MiB", "peak")]
    for title, key in rows:
        lines.append(f"| {title} | {memory[Kafka.name][key]:.0f} | {memory[Ottla.name][key]:.0f} |")
    form = "{:.0f}".format
    first = {name: spread([1000 * s for s in values], form) for name, values in started.items()}
    lines.append(f"| start of the process to the first acknowledged record, empty directory, ms | {first[Kafka.name]} | {first[Ottla.name]} |")
    page.write("bench", lines)
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(prog="e2e/bench/run.sh")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--slice", action="store_true")
    options = parser.parse_args()
    # A run that is stopped from outside must not leave its brokers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    rounds, messages, tries = (5, 1_000_000, 3) if options.whole else (1, 30_000, 1)
    if not (ROOT / "bin/ottla").exists():
        sys.exit("bin/ottla is not there: make build")
    build_load()
    scratch = Path(tempfile.mkdtemp(prefix="ottla-bench-"))
    began = time.monotonic()
    try:
        started = starts(rounds, scratch)
        found, memory = throughput(rounds, messages, tries, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if options.whole:
        report(found, memory, started, rounds, messages, time.monotonic() - began)
    print(f"{len(ROWS) + 1} passed, 0 failed")


if __name__ == "__main__":
    main()
