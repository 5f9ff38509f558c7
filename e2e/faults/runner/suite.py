"""Faults, one round each: what is done to the brokers, how long nobody was acknowledged, and the account at the end."""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/conformance/runner"))

import history  # noqa: E402
from brokers import COUNT, Brokers  # noqa: E402
from load import Prober, Reader, Record, Writer, create, read_all  # noqa: E402

LEDGER, PARTITIONS = "ledger", 6
WRITERS, PER_SECOND = 2, 50
PAUSE_SECONDS = 5
API_DOWN_SECONDS = 20
# How long nobody brings the API server back after a broker was killed without it.
HOLD_SECONDS = 5
# Generous: what is promised is measured by --whole on an idle machine, not asserted on a busy one.
GAP_SECONDS_MAX = 10
# How many acknowledgements a round waits for before and after.
STEADY = 5


def say(line):
    print(f"faults: {line}", flush=True)


class Round:
    """One fault: a topic of its own, whose leaders are spread over all brokers, and a prober on one partition of it."""

    def __init__(self, brokers, record, name, number, hurt):
        self.brokers, self.record, self.topic, self.hurt = brokers, record, f"round-{number}", hurt
        self.wrong, self.gap, self.quiet, self.healed, self.prober = [], None, None, None, None
        record.round = name
        self.create()

    def create(self):
        create(self.brokers.bootstrap, self.topic, COUNT)
        self.brokers.wait_whole([LEDGER, self.topic])
        self.controller = self.brokers.controller()
        self.leaders = {partition: self.brokers.leader(self.topic, partition) for partition in range(COUNT)}

    def partition_led(self, by_controller):
        """Of several, one whose leader was done something to least often: who comes and goes is let back in later."""
        found = [partition for partition, leader in self.leaders.items() if (leader == self.controller) == by_controller]
        if found:
            return min(found, key=lambda partition: self.hurt[self.leaders[partition]])
        raise RuntimeError(f"{self.topic}: {self.controller} is the controller, and the leaders are {self.leaders}")

    def probe(self, partition):
        prober = self.prober = Prober(self.record, f"prober-{self.topic}", self.brokers.bootstrap, self.topic, partition)
        if prober.wait_acks(0, STEADY) is None:
            self.wrong.append(f"{self.topic}-{partition}: nothing is acknowledged before anything was done")
        return prober

    def wait_gap(self, prober, at, what):
        first = prober.wait_acks(at, 1)
        if first is None:
            self.wrong.append(f"{what}: nothing is acknowledged within 60 s")
            return
        self.gap = first - at
        if self.gap > GAP_SECONDS_MAX:
            self.wrong.append(f"{what}: nobody was acknowledged for {self.gap:.1f} s")

    def finish(self, prober, at):
        self.healed = self.brokers.wait_whole([LEDGER, self.topic])
        if prober.wait_acks(time.monotonic(), STEADY) is None:
            self.wrong.append("nothing is acknowledged although the cluster is whole")
        prober.stop()
        self.quiet = prober.silence(at)
        self.wrong += prober.failures

    def fails(self, how, victim, partition):
        """A broker goes, others take over, it comes back."""
        prober = self.probe(partition)
        self.hurt[victim] += 1
        at = getattr(self.brokers, how)(victim)
        self.wait_gap(prober, at, f"{how} {victim}")
        self.brokers.start(victim)
        self.finish(prober, at)

    def kill_leader(self):
        partition = self.partition_led(by_controller=False)
        self.fails("kill", self.leaders[partition], partition)

    def kill_controller(self):
        self.fails("kill", self.controller, self.partition_led(by_controller=False))

    def kill_both(self):
        self.fails("kill", self.controller, self.partition_led(by_controller=True))

    def stop_leader(self):
        partition = self.partition_led(by_controller=False)
        self.fails("stop", self.leaders[partition], partition)

    def pause_leader(self):
        partition = self.partition_led(by_controller=False)
        prober, victim = self.probe(partition), self.leaders[partition]
        self.hurt[victim] += 1
        at = self.brokers.pause(victim)
        prober.done.wait(at + PAUSE_SECONDS - time.monotonic())
        self.brokers.ask("resume", victim)
        self.wait_gap(prober, at, f"pause {victim}")
        self.finish(prober, at)

    def take_api(self):
        """Nobody may notice."""
        prober = self.probe(0)
        at = time.monotonic()
        self.brokers.ask("api-down")
        prober.done.wait(at + API_DOWN_SECONDS - time.monotonic())
        self.brokers.ask("api-up")
        back = time.monotonic()
        self.wait_gap(prober, at, "api-down")
        self.finish(prober, at)
        refused = prober.refused(at, back)
        if refused:
            self.wrong.append(f"{len(refused)} records were not acknowledged without the API server, the first: {refused[0]}")

    def without_api(self, victim, partition):
        """The gap is counted from the API server's return: until then, nobody can be promised anything."""
        prober = self.probe(partition)
        self.brokers.ask("api-down")
        down = time.monotonic()
        if prober.wait_acks(down, STEADY) is None:
            self.wrong.append("nothing is acknowledged without the API server")
        self.hurt[victim] += 1
        at = self.brokers.kill(victim)
        prober.done.wait(HOLD_SECONDS)
        self.brokers.ask("api-up")
        self.wait_gap(prober, time.monotonic(), f"api-down, kill {victim}, api-up")
        self.brokers.start(victim)
        self.finish(prober, at)

    def kill_follower_without_api(self):
        partition = self.partition_led(by_controller=False)
        others = set(range(COUNT)) - {self.leaders[partition], self.controller}
        self.without_api(others.pop(), partition)

    def kill_leader_without_api(self):
        partition = self.partition_led(by_controller=False)
        self.without_api(self.leaders[partition], partition)

    def kill_controller_without_api(self):
        self.without_api(self.controller, self.partition_led(by_controller=False))


# Name, what is done, how often in a slice, how often in the whole.
FAULTS = [
    ("leader killed", Round.kill_leader, 3, 10),
    ("controller killed", Round.kill_controller, 1, 10),
    ("controller that leads killed", Round.kill_both, 1, 10),
    ("leader stopped (SIGTERM)", Round.stop_leader, 1, 10),
    (f"leader paused for {PAUSE_SECONDS} s", Round.pause_leader, 1, 10),
    (f"API server down for {API_DOWN_SECONDS} s", Round.take_api, 1, 5),
    ("API server down, follower killed", Round.kill_follower_without_api, 0, 5),
    ("API server down, leader killed", Round.kill_leader_without_api, 0, 5),
    ("API server down, controller killed", Round.kill_controller_without_api, 0, 5),
]


def play(brokers, record, plan):
    """Every round, under writers and a reader that never stop. Returns what was found of each, and what is wrong."""
    rounds, wrong, topics, hurt = defaultdict(list), [], [], defaultdict(int)
    writers = [Writer(record, f"writer-{number}", brokers.bootstrap, LEDGER, PARTITIONS, PER_SECOND) for number in range(WRITERS)]
    reader = Reader(record, "reader", brokers.bootstrap, LEDGER, PARTITIONS)
    try:
        for number, (name, act) in enumerate(plan):
            one = Round(brokers, record, name, number, hurt)
            topics.append(one.topic)
            try:
                act(one)
            finally:
                if one.prober is not None:
                    one.prober.stop()
            rounds[name].append(one)
            failures = [failure for task in (*writers, reader) for failure in task.failures]
            wrong += [f"round {number}, {name}: {line}" for line in one.wrong + failures]
            show = lambda seconds: "none" if seconds is None else f"{seconds:.2f} s"  # noqa: E731
            say(f"round {number}, {name}: gap {show(one.gap)}, longest silence {show(one.quiet)}, whole after {show(one.healed)}")
            if failures:
                break
    except RuntimeError as error:
        wrong.append(f"round {number}, {name}: {error}")
    for task in writers:
        task.finish()
    # What was acknowledged must reach the reader; it stops when nothing comes any more.
    reader.done.wait(1)
    reader.stop()
    wrong += [failure for task in (*writers, reader) for failure in task.failures if not any(failure in line for line in wrong)]
    return rounds, wrong, topics


def compare(brokers, topics):
    """Every replica's log, byte for byte; the brokers have stopped."""
    wrong = []
    for topic, count in topics.items():
        for partition in range(count):
            logs = []
            for index in range(COUNT):
                folder = brokers.scratch / f"data-{index}" / f"{topic}-{partition}"
                logs.append(b"".join(segment.read_bytes() for segment in sorted(folder.glob("*.log"))))
            if len(set(logs)) != 1:
                wrong.append(f"{topic}-{partition}: the replicas differ: {', '.join(f'{len(log)} bytes' for log in logs)}")
    return wrong


def account(brokers, record, topics):
    """The final reading and the verdict; then the logs of the replicas."""
    sizes = {LEDGER: PARTITIONS} | dict.fromkeys(topics, COUNT)
    for topic, partitions in sizes.items():
        read_all(record, brokers.bootstrap, topic, partitions)
    record.write(brokers.scratch / "history.jsonl")
    verdict = history.judge(json.loads(line) for line in open(brokers.scratch / "history.jsonl"))
    wrong = [f"{one['anomaly']}: {one['topic']}-{one['partition']}: {one['detail']} ({one['round']})" for one in verdict["wrong"]]
    wrong += brokers.ended()
    brokers.down()
    return verdict, wrong + compare(brokers, sizes)


def report(command, rounds, verdict, wrong, record, seconds):
    import report as conformance_report
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    acked = defaultdict(int)
    for line in record.lines:
        acked[line.get("round")] += line.get("outcome") == "ok"
    lines = [
        "# Faults", "",
        f"* command: `{command}`",
        f"* commit: {commit}",
        f"* date: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}",
        f"* machine: {conformance_report.machine()}; three brokers, etcd, kube-apiserver and the clients on it",
        f"* load: {WRITERS} idempotent writers with acks=all, {PER_SECOND} records a second each; a reader; a prober that opens a"
        " connection for every record and gives it up after half a second",
        f"* took: {seconds / 60:.1f} minutes",
        f"* records: {verdict['sent']} sent, {verdict['acked']} acknowledged, {verdict['failed']} refused, {verdict['unknown']}"
        f" unknown; {verdict['read']} read at the end; the replicas' logs compared byte for byte",
        f"* wrong: {len(wrong)} things", "",
        "Gap: from the fault to the acknowledgement of a record sent after it, to the partition that was hit (where the API",
        "server was down as well: from its return). Silence: the longest time without one until the cluster was whole again.",
        "Whole: from the broker's start (or the end of the fault) until every replica was in sync again.", "",
        "| fault | times | acked | lost | duplicated | gap, median | gap, worst | silence, worst | whole, worst |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, found in rounds.items():
        of = lambda anomaly: sum(one["anomaly"] == anomaly and one["round"] == name for one in verdict["wrong"])  # noqa: E731, B023
        gaps = [one.gap for one in found if one.gap is not None]
        lines.append(f"| {name} | {len(found)} | {acked[name]} | {of('lost-write')} | {of('duplicate')} | "
                     f"{statistics.median(gaps):.2f} s | {max(gaps):.2f} s | {max(one.quiet for one in found):.2f} s | "
                     f"{max(one.healed for one in found):.1f} s |")
    (ROOT / "docs/results").mkdir(exist_ok=True)
    (ROOT / "docs/results/faults.md").write_text("\n".join([*lines, ""]))


def parse():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--whole", action="store_true")
    arguments.add_argument("--slice", action="store_true")
    arguments.add_argument("--only", action="append", metavar="FAULT", choices=[fault[0] for fault in FAULTS])
    arguments.add_argument("--times", type=int)
    return arguments.parse_args()


def main():
    chosen = parse()
    # Ended by whoever runs the suites: the brokers must not stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("faults: told to stop"))
    plan = []
    for name, act, few, many in FAULTS:
        if not chosen.only or name in chosen.only:
            plan += [(name, act)] * (chosen.times or (many if chosen.whole or chosen.only else few))
    scratch = Path(tempfile.mkdtemp(prefix="ottla-faults-"))
    began = time.monotonic()
    brokers, record = Brokers(scratch), Record()
    try:
        brokers.start_all()
        create(brokers.bootstrap, LEDGER, PARTITIONS)
        brokers.wait_whole([LEDGER])
        rounds, wrong, topics = play(brokers, record, plan)
        verdict, more = account(brokers, record, topics)
        wrong += more
    finally:
        record.write(scratch / "history.jsonl")
        brokers.down()
    say(f"{len(plan)} rounds, {verdict['sent']} records sent, {verdict['acked']} acknowledged, {verdict['failed']} refused, "
        f"{verdict['unknown']} unknown, {verdict['read']} read; {time.monotonic() - began:.0f} s")
    for line in wrong[:20]:
        say(f"WRONG: {line}")
    if chosen.whole and not chosen.only and sum(map(len, rounds.values())) == len(plan):
        command = f"e2e/faults/run.sh --whole --times {chosen.times}" if chosen.times else "make faults"
        report(command, rounds, verdict, wrong, record, time.monotonic() - began)
    if wrong:
        say(f"{len(wrong)} things are wrong; everything is kept in {scratch}")
        print(f"{sum(map(len, rounds.values()))} passed, {len(wrong)} failed")
        sys.exit(1)
    shutil.rmtree(scratch)
    print(f"{len(plan)} passed, 0 failed")


if __name__ == "__main__":
    main()
