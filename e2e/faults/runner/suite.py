"""The faults that there are, which of them are tried, and the account at the end."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/conformance/runner"))

import disks  # noqa: E402
import history  # noqa: E402
import kafka  # noqa: E402
import network  # noqa: E402
import objects  # noqa: E402
import results  # noqa: E402
import room  # noqa: E402
import rounds  # noqa: E402
from brokers import COUNT, Brokers  # noqa: E402
from confluent_kafka import KafkaException  # noqa: E402
from load import Reader, Record, Unread, Writer, create, read_all  # noqa: E402
from rounds import API_DOWN_LONG_SECONDS, API_DOWN_SECONDS, LEDGER, PARTITIONS, PAUSE_SECONDS, Round  # noqa: E402

WRITERS, PER_SECOND = 2, 50


def say(line):
    print(f"faults: {line}", flush=True)


@dataclass
class Fault:
    name: str
    act: object
    few: int
    many: int
    session: str = "brokers"
    # Says why it cannot be tried here.
    missing: object = field(default=lambda: None)


PAUSED = f"leader paused for {PAUSE_SECONDS} s"
# In a session of their own each: processes, networks and objects on the machine's own disk; disks in files; Kafka.
FAULTS = [
    Fault("leader killed", rounds.kill_leader, 2, 10),
    Fault("follower killed", rounds.kill_follower, 0, 2),
    Fault("controller killed", rounds.kill_controller, 1, 3),
    Fault("controller that leads killed", rounds.kill_both, 1, 10),
    Fault("leader stopped (SIGTERM)", rounds.stop_leader, 1, 3),
    Fault(PAUSED, rounds.pause_leader, 1, 2),
    Fault(f"controller that leads paused for {PAUSE_SECONDS} s", rounds.pause_both, 0, 1),
    Fault("leader cut off from both others", network.leader_cut_off, 1, 2, missing=room.missing),
    Fault("controller cut off from both others", network.controller_cut_off, 0, 2, missing=room.missing),
    Fault("follower cut off from both others", network.follower_cut_off, 0, 1, missing=room.missing),
    Fault("leader hears nobody, all hear it", network.leader_deaf, 0, 2, missing=room.missing),
    Fault("nobody hears the leader, it hears all", network.leader_mute, 1, 2, missing=room.missing),
    Fault("leader and a follower lose each other", network.leader_and_follower, 0, 1, missing=room.missing),
    Fault("leader cut off from the API server", network.leader_without_api, 0, 1, missing=room.missing),
    Fault("controller that leads cut off from the API server", network.controller_without_api, 0, 1, missing=room.missing),
    Fault(f"API server down for {API_DOWN_SECONDS} s", rounds.take_api, 1, 1),
    Fault(f"API server down for {API_DOWN_LONG_SECONDS // 60} minutes", rounds.take_api_for_long, 0, 1),
    Fault("API server down, follower killed", rounds.kill_follower_without_api, 1, 1),
    Fault("API server down, leader killed", rounds.kill_leader_without_api, 1, 1),
    Fault("API server down, controller killed", rounds.kill_controller_without_api, 1, 1),
    Fault("controller killed that alone knows new partitions", objects.controller_alone_has_news, 1, 3),
    Fault("Lease deleted", objects.delete_lease, 0, 2),
    Fault("Lease edited", objects.edit_lease, 0, 2),
    Fault("clock of the leader a day ahead, a day back", disks.clock_jumps, 0, 1, missing=disks.missing_cc),
    Fault("same id started twice", disks.started_twice, 0, 1),
    Fault("every sync of the leader takes a second", disks.leader_is_slow, 0, 2, missing=disks.missing_strace),
    Fault("EIO on every sync of the leader", disks.leader_cannot_sync, 0, 1, missing=disks.missing_strace),
    Fault("EIO on every write of the leader", disks.leader_cannot_write, 0, 1, missing=disks.missing_strace),
    Fault("data directory emptied", disks.emptied, 0, 1),
    Fault("data directory restored from an older copy", disks.restored, 0, 1),
    Fault("data directories of two brokers swapped", disks.swapped, 0, 1),
    Fault("every MetadataShard deleted", objects.delete_documents, 0, 1),
    Fault("every MetadataShard put back to an earlier state", objects.restore_documents, 0, 1),
    Fault("bit flipped in a segment of a stopped broker", disks.bit_flipped, 0, 1),
    Fault("leader loses power", disks.leader_loses_power, 1, 3, "disks", disks.missing_mounts),
    Fault("all three lose power", disks.all_lose_power, 1, 2, "disks", disks.missing_mounts),
    Fault("disk of the leader full for 5 s", disks.leader_full, 0, 2, "disks", disks.missing_mounts),
    Fault("leader killed", rounds.kill_leader, 0, 3, "kafka"),
    Fault("controller that leads killed", rounds.kill_both, 0, 3, "kafka"),
    Fault("leader stopped (SIGTERM)", rounds.stop_leader, 0, 1, "kafka"),
    Fault(PAUSED, rounds.pause_leader, 0, 1, "kafka"),
]


class Session:
    """Rounds against one cluster, and the account of them."""

    def __init__(self, name, plan, scratch):
        self.name, self.plan, self.scratch = name, plan, scratch
        self.rounds, self.wrong, self.record, self.verdict = defaultdict(list), [], Record(), None
        scratch.mkdir()
        self.brokers = kafka.Kafka(scratch) if name == "kafka" else Brokers(scratch)

    def run(self):
        began = time.monotonic()
        try:
            if self.name == "disks":
                self.brokers.disks = disks.Disks(self.brokers)
            self.brokers.start_all()
            create(self.brokers.bootstrap, LEDGER, PARTITIONS)
            self.brokers.wait_whole([LEDGER])
            say(f"{self.brokers.name} serves after {time.monotonic() - began:.0f} s")
            self.play()
            self.account()
        finally:
            self.record.write(self.scratch / "history.jsonl")
            self.brokers.down()

    def play(self):
        """Every round, under writers and a reader that never stop."""
        names = [f"writer-{number}" for number in range(WRITERS)]
        writers = [Writer(self.record, name, self.brokers.bootstrap, LEDGER, PARTITIONS, PER_SECOND) for name in names]
        reader = Reader(self.record, "reader", self.brokers.bootstrap, LEDGER, PARTITIONS)
        hurt, tasks = defaultdict(int), (*writers, reader)
        for number, fault in enumerate(self.plan):
            try:
                one = self.play_round(fault, number, hurt)
            except Exception as error:  # noqa: BLE001: whatever it was belongs into the verdict, and the others are played
                self.wrong.append(f"round {number}, {fault.name}: {error!r}")
                say(f"{self.brokers.name}, round {number}, {fault.name}: {error!r}")
                if not self.repaired():
                    break
                continue
            failures = [failure for task in tasks for failure in task.failures]
            self.wrong += [f"round {number}, {fault.name}: {line}" for line in one.wrong + failures]
            if failures:
                break
        for task in writers:
            task.finish()
        # What was acknowledged must reach the reader; it stops when nothing comes any more.
        reader.done.wait(1)
        reader.stop()
        late = [failure for task in tasks for failure in task.failures]
        self.wrong += [failure for failure in late if not any(failure in line for line in self.wrong)]

    def repaired(self):
        """Whether the next round finds a whole cluster although this one did not get to its end."""
        try:
            self.brokers.repair()
            self.brokers.wait_whole([LEDGER])
            return True
        except RuntimeError as error:
            self.wrong.append(f"not to be repaired: {error}")
            return False

    def play_round(self, fault, number, hurt):
        one = Round(self.brokers, self.record, fault.name, number, hurt)
        self.rounds[fault.name].append(one)
        try:
            fault.act(one)
        finally:
            if one.prober is not None:
                one.prober.stop()
        show = lambda seconds: "none" if seconds is None else f"{seconds:.2f} s"  # noqa: E731
        say(f"{self.brokers.name}, round {number}, {fault.name}: gap {show(one.gap)}, longest silence {show(one.quiet)}, "
            f"whole after {show(one.healed)}{''.join(f'; {note}' for note in one.notes)}")
        return one

    def account(self):
        """The final reading and the verdict; then the logs of the replicas."""
        played = [one for found in self.rounds.values() for one in found]
        sizes = {LEDGER: PARTITIONS} | {topic: COUNT for one in played for topic in one.topics}
        unread = set()
        for topic, partitions in sizes.items():
            try:
                read_all(self.record, self.brokers.bootstrap, topic, partitions)
            except (KafkaException, Unread) as error:
                self.wrong.append(f"{topic} cannot be read at the end, so nothing is said of its records: {error}")
                unread.add(topic)
        self.record.write(self.scratch / "history.jsonl")
        self.verdict = history.judge(json.loads(line) for line in open(self.scratch / "history.jsonl"))
        self.wrong += [f"{one['anomaly']}: {one['topic']}-{one['partition']}: {one['detail']} ({one['round']})"
                       for one in self.verdict["wrong"] if one["topic"] not in unread]
        self.wrong += self.brokers.ended()
        self.brokers.down()
        if self.name != "kafka":
            self.wrong += self.compare(sizes, {place for one in played for place in one.not_compared})

    def compare(self, sizes, left_out):
        """Every replica's log, byte for byte; the brokers have stopped."""
        wrong = []
        for topic, partition in ((topic, partition) for topic, count in sizes.items() for partition in range(count)):
            folders = [self.brokers.data(index) / f"{topic}-{partition}" for index in range(COUNT)]
            logs = [b"".join(segment.read_bytes() for segment in sorted(folder.glob("*.log"))) for folder in folders]
            if len(set(logs)) != 1 and (topic, partition) not in left_out:
                wrong.append(f"{topic}-{partition}: the replicas differ: {', '.join(f'{len(log)} bytes' for log in logs)}")
        return wrong


def parse():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--whole", action="store_true")
    arguments.add_argument("--slice", action="store_true")
    arguments.add_argument("--only", action="append", metavar="FAULT", choices=[fault.name for fault in FAULTS])
    arguments.add_argument("--session", choices=["brokers", "disks", "kafka"])
    arguments.add_argument("--times", type=int)
    arguments.add_argument("--keep", action="store_true")
    return arguments.parse_args()


def plan(chosen):
    """What is tried, by session, and what cannot be tried here, with the reason."""
    found, skipped = defaultdict(list), {}
    for fault in FAULTS:
        if chosen.only and fault.name not in chosen.only or chosen.session and fault.session != chosen.session:
            continue
        times = chosen.times or (fault.many if chosen.whole or chosen.only else fault.few)
        # Kafka is the yardstick of whole runs, and comes when it is asked for.
        if not times or (fault.session == "kafka" and not chosen.whole and chosen.session != "kafka"):
            continue
        if (reason := fault.missing()) is not None:
            skipped[fault.name] = reason
            say(f"SKIPPED {fault.name}: {reason}")
            continue
        found[fault.session] += [fault] * times
    return found, skipped


def main():
    chosen = parse()
    # Ended by whoever runs the suites: the brokers must not stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("faults: told to stop"))
    found, skipped = plan(chosen)
    scratch = Path(tempfile.mkdtemp(prefix="ottla-faults-"))
    began, sessions = time.monotonic(), []
    for name, faults in found.items():
        session = Session(name, faults, scratch / name)
        sessions.append(session)
        session.run()
        verdict = session.verdict
        say(f"{session.brokers.name}: {len(faults)} rounds, {verdict['sent']} records sent, {verdict['acked']} acknowledged, "
            f"{verdict['failed']} refused, {verdict['unknown']} unknown, {verdict['read']} read; {time.monotonic() - began:.0f} s")
    # What Kafka loses is told, and is not our failure.
    wrong = [line for session in sessions if session.name != "kafka" for line in session.wrong]
    for session in sessions:
        for line in session.wrong[:20]:
            say(f"{'WRONG' if session.name != 'kafka' else 'KAFKA'}: {line}")
    if chosen.whole and not chosen.only and not chosen.session:
        times = f" --times {chosen.times}" if chosen.times else ""
        elsewhere = "OTTLA_BROKER=... OTTLA=... " if os.environ.get("OTTLA_BROKER") else ""
        command = f"{elsewhere}e2e/faults/run.sh --whole{times}" if times or elsewhere else "make faults"
        results.write(results.Run(command, sessions, skipped, wrong, time.monotonic() - began))
    played = sum(len(found) for session in sessions for found in session.rounds.values())
    if wrong:
        say(f"{len(wrong)} things are wrong; everything is kept in {scratch}")
        print(f"{played} passed, {len(wrong)} failed")
        sys.exit(1)
    if chosen.keep:
        say(f"everything is kept in {scratch}")
    else:
        for session in sessions:
            if session.name == "disks":
                session.brokers.disks.close()
        shutil.rmtree(scratch)
    print(f"{played} passed, 0 failed")


if __name__ == "__main__":
    main()
