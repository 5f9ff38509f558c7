"""Kills, power loss, and the account that is taken afterwards."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/conformance/runner"))
sys.path.append(str(ROOT / "e2e/page"))

import page  # noqa: E402
import power  # noqa: E402
from broker import Broker, free_port  # noqa: E402
from load import Load, create, read_all, verdict  # noqa: E402

PARTITIONS = 16
PER_SECOND = 6000
PHASES = ["segment roll", "journal recycle", "retention", "recovery"]
# Records leave `fleeting` all the time, so that retention has work; nothing leaves `kept`.
TOPICS = {
    "kept": {"segment.bytes": "1048576", "retention.ms": "-1"},
    "fleeting": {"segment.bytes": "1048576", "retention.bytes": "2097152"},
}


def say(line):
    print(f"crash: {line}", flush=True)


def kill_loop(broker, kills, wanted, chance):
    """Kills `kills` times, and goes on until every phase has been died in; returns how often each was."""
    inside = dict.fromkeys(PHASES, 0)
    done = 0
    while done < kills or (wanted and done < 3 * kills and not all(inside.values())):
        missing = [phase for phase in PHASES if not inside[phase]]
        target = chance.choice(missing) if missing and chance.random() < 0.8 else None
        if target == "recovery" or target is None and chance.random() < 0.15:
            # Dies once more while it comes back.
            died = broker.kill()
            broker.start()
            broker.wait_phase("recovery", 10)
            time.sleep(chance.random() * 0.01)
        elif target is not None:
            broker.wait_phase(target, 20)
        else:
            broker.wait_phase("never", 0.2 + chance.random() * 1.8)
        died = broker.kill()
        done += 1
        for phase in died:
            inside[phase] = inside.get(phase, 0) + 1
        broker.start()
        broker.wait_ready()
        if done % 10 == 0 or done == kills:
            say(f"{done} kills; inside {', '.join(f'{phase} {count}' for phase, count in inside.items())}")
    return done, inside


def journal_recycled(log_path):
    return sum('phase="journal recycle" at="begin"' in line for line in open(log_path, errors="replace"))


def run_kills(binary, scratch, kills, wanted, seed):
    chance = random.Random(seed)
    broker = Broker(binary, scratch / "data", free_port(), scratch / "broker.log")
    broker.start()
    broker.wait_ready()
    loads, started = [], time.monotonic()
    for topic, config in TOPICS.items():
        create(broker.bootstrap, topic, PARTITIONS, config)
        loads.append(Load(broker.bootstrap, topic, PARTITIONS, PER_SECOND / 2, scratch / "ledger"))
    for load in loads:
        load.start()
    done, inside = kill_loop(broker, kills, wanted, chance)
    for load in loads:
        load.finish()
    seconds = time.monotonic() - started
    wrong = [f"{load.topic}: {failure}" for load in loads for failure in load.failures[:5]]
    acked = 0
    for topic in TOPICS:
        found, starts = read_all(broker.bootstrap, topic, PARTITIONS)
        more, count = verdict(scratch / "ledger", topic, found, starts)
        wrong += more
        acked += count
        if topic == "fleeting" and not any(starts):
            wrong.append("nothing left the topic that retention was to work on")
    broker.stop()
    recycled = journal_recycled(scratch / "broker.log")
    if wanted:
        wrong += [f"never died inside {phase}" for phase, count in inside.items() if count == 0]
        if recycled < 3:
            wrong.append(f"the journal was recycled {recycled} times only")
    say(f"{done} kills, {acked} acknowledged records ({acked / seconds:.0f} a second), journal recycled {recycled} times")
    return wrong, {"kills": done, "acked": acked, "per second": round(acked / seconds), "inside": inside,
                   "journal recycled": recycled, "seconds": round(seconds)}


def report(found, lost, seed):
    inside = ", ".join(f"{phase} {count}" for phase, count in found["inside"].items())
    lines = [
        "# Crashes", "", *page.origin("make crash", detail=f" (seed {seed})"),
        f"* load: idempotent, acks=all, 1 KiB records to {2 * PARTITIONS} partitions, {found['per second']} acknowledged a second"
        " over the whole run, downtime included",
        f"* SIGKILL: {found['kills']} times in {found['seconds']} s; inside {inside}",
        f"* journal files recycled: {found['journal recycled']}",
        f"* acknowledged records: {found['acked']}; each found once, at its offset, in order",
        f"* power loss: {lost}"]
    page.write("crash", lines)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--whole", action="store_true")
    arguments.add_argument("--slice", action="store_true")
    arguments.add_argument("--kills", type=int)
    arguments.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    chosen = arguments.parse_args()
    binary = ROOT / "bin/ottla-broker"
    if not binary.exists():
        sys.exit("bin/ottla-broker is not there: make build")
    kills = chosen.kills or (50 if chosen.whole else 6)
    say(f"seed {chosen.seed}")
    scratch = Path(tempfile.mkdtemp(prefix="ottla-crash-"))
    wrong, found = run_kills(binary, scratch, kills, chosen.whole, chosen.seed)
    lost = "not run in a slice"
    if chosen.whole:
        more, lost = power.run(binary, scratch, chosen.seed)
        wrong += more
    for line in wrong[:20]:
        say(f"WRONG: {line}")
    if wrong:
        say(f"{len(wrong)} things are wrong; repeat with --seed {chosen.seed}; everything is kept in {scratch}")
        print("0 passed, 1 failed")
        sys.exit(1)
    shutil.rmtree(scratch)
    if chosen.whole:
        report(found, lost, chosen.seed)
    print("1 passed, 0 failed")


main()
