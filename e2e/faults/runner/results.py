"""Writes what a whole run found: docs/results/faults.md."""

import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "page"))
import page  # noqa: E402


@dataclass
class Run:
    command: str
    sessions: list
    skipped: dict
    wrong: list
    seconds: float


INTRODUCTION = """\
Gap: from the fault to the acknowledgement of a record sent after it, to the partition that was hit. It is counted from
the return of what was taken where nothing can be promised before: the API server with a broker, the power of all, space,
two directories, documents. Silence: the longest time without an acknowledgement from the fault until the cluster was whole
again. Whole: from the broker's start (or the end of the fault) until every replica was in sync again. Lost and duplicated
count idempotent writers and probes; a probe is not idempotent, and may stand twice where its leader changed (as in Kafka).
"""


def seconds(values, show):
    known = [value for value in values if value is not None]
    return f"{show(known):.2f} s" if known else "–"


def row(session, name, rounds, yardstick):
    acked = defaultdict(int)
    for line in session.record.lines:
        acked[line.get("round")] += line.get("outcome") == "ok"
    of = lambda anomaly: sum(one["anomaly"] == anomaly and one["round"] == name for one in session.verdict["wrong"])  # noqa: E731
    gaps, theirs = [one.gap for one in rounds], [one.gap for one in yardstick]
    kafkas = f"{seconds(theirs, statistics.median)} / {seconds(theirs, max)}" if yardstick else ""
    return (f"| {name} | {len(rounds)} | {acked[name]} | {of('lost-write')} | {of('duplicate')} | "
            f"{seconds(gaps, statistics.median)} | {seconds(gaps, max)} | {kafkas} | "
            f"{seconds([one.quiet for one in rounds], max)} | {seconds([one.healed for one in rounds], max)} |")


def notes(session):
    said = defaultdict(list)
    for name, rounds in session.rounds.items():
        for one in rounds:
            said[name] += [note for note in one.notes if note not in said[name]]
    return [f"* {name}: {'; '.join(found)}" for name, found in said.items() if found]


def write(run):
    ours = [session for session in run.sessions if session.name != "kafka"]
    kafka = next((session for session in run.sessions if session.name == "kafka"), None)
    total = lambda key: sum(session.verdict[key] for session in ours)  # noqa: E731
    lines = [
        "# Faults", "",
        *page.origin(run.command, run.seconds, "; three brokers, each in a network of its own, etcd, kube-apiserver and the clients on it"),
        "* load: 2 idempotent writers with acks=all, 50 records a second each; a reader; a prober that opens a connection for"
        " every record and gives it up after half a second",
        f"* records: {total('sent')} sent, {total('acked')} acknowledged, {total('failed')} refused, {total('unknown')} unknown;"
        f" {total('read')} read at the end; the replicas' logs compared byte for byte",
        "* beside it: Apache Kafka, three KRaft brokers on the same machine, its defaults, the same load and probes",
        f"* wrong: {len(run.wrong)} things", "", INTRODUCTION,
        "| fault | times | acked | lost | duplicated | gap, median | gap, worst | Kafka's gap, median / worst | silence, worst |"
        " whole, worst |", "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for session in ours:
        lines += [row(session, name, found, kafka.rounds.get(name, []) if kafka else []) for name, found in session.rounds.items()]
    lines += ["", "## What was seen beside it", *[line for session in ours for line in notes(session)]]
    if run.skipped:
        lines += ["", "## What could not be tried here", *[f"* {name}: {reason}" for name, reason in run.skipped.items()]]
    if run.wrong:
        lines += ["", "## What is wrong", *[f"* {line}" for line in run.wrong]]
    if kafka and kafka.wrong:
        lines += ["", "## What is wrong with Kafka", *[f"* {line}" for line in kafka.wrong]]
    page.write("faults", lines)
