"""Judges a history: JSON lines in, verdict out. Knows nothing of clients and brokers, and talks to nobody.

    history.py FILE    prints the verdict as JSON; 1 if anything is wrong

One object a line. A value is sent once, by one writer, to one partition; nobody else ever sends it.

    {"op": "send", "writer": W, "topic": T, "partition": P, "value": V, "outcome": "ok", "offset": O, "round": R,
     "idempotent": true}
        in the order of sending, per writer and partition. `ok`: acknowledged at that offset; `fail`: it provably was not
        appended; `info`: nobody knows. Without idempotence, a value that was sent again may stand twice.
    {"op": "poll", "reader": N, "topic": T, "partition": P, "offset": O, "value": V, "final": true}
        in the order of reading. A final reader read everything from the beginning after the last send had an outcome.
    {"op": "reset", "reader": N, "topic": T, "partition": P, "why": S}
        a reader was told that the offset where it stood does not exist.

Offsets are the witness order. What is reported:

    lost-write            an acknowledged value, or one that somebody has read, is not in the final reading
    duplicate             a value of an idempotent writer stands at two offsets of the final reading
    inconsistent-offsets  one offset held two values, or an acknowledged value stands somewhere else
    nonmonotonic-send     a later send of a writer was acknowledged at an offset that is not higher
    nonmonotonic-poll     a reader was given an offset that is not higher than the one before
    poll-skip             a reader was not given an offset between two that it was given, which others were
    failed-write-read     a value that provably was not appended was read
    unwritten             a value that nobody sent was read
    reset                 a reader was told that its offset does not exist
"""

import json
import sys
from collections import defaultdict

ANOMALIES = ["lost-write", "duplicate", "inconsistent-offsets", "nonmonotonic-send", "nonmonotonic-poll", "poll-skip",
             "failed-write-read", "unwritten", "reset"]


class History:
    """What was sent and read, by partition, and what is wrong with it."""

    def __init__(self, lines):
        self.sends = {}
        self.polls = defaultdict(list)
        self.final = defaultdict(dict)
        self.held = defaultdict(set)
        self.found = []
        last_sent = {}
        for line in lines:
            place = (line["topic"], line["partition"])
            if line["op"] == "send":
                self.sends[place, line["value"]] = line
                if line["outcome"] == "ok":
                    self.held[place, line["offset"]].add(line["value"])
                    self.in_order(place, line, last_sent)
            elif line["op"] == "poll":
                self.polls[line["reader"], place].append(line["offset"])
                self.held[place, line["offset"]].add(line["value"])
                self.read(place, line)
            elif line["op"] == "reset":
                self.report("reset", place, f"{line['reader']} stood where nothing is: {line['why']}")
            else:
                raise ValueError(f"no such op: {line}")

    def report(self, what, place, sentence, value=None):
        send = self.sends.get((place, value))
        self.found.append({"anomaly": what, "topic": place[0], "partition": place[1], "detail": sentence,
                           "round": send and send.get("round")})

    def in_order(self, place, line, last_sent):
        before = last_sent.get((line["writer"], place))
        if before is not None and line["offset"] <= before["offset"]:
            self.report("nonmonotonic-send", place, f"{line['value']} was acknowledged at {line['offset']}, {before['value']} "
                        f"before it at {before['offset']}", line["value"])
        last_sent[line["writer"], place] = line

    def read(self, place, line):
        if line.get("final"):
            at = self.final[place].setdefault(line["value"], set())
            at.add(line["offset"])

    def check(self):
        everywhere = defaultdict(set)
        for (place, offset), values in self.held.items():
            everywhere[place].add(offset)
            if len(values) > 1:
                self.report("inconsistent-offsets", place, f"{offset} held {', '.join(sorted(values))}", min(values))
            for value in values:
                self.check_value(place, offset, value)
        for (place, value), line in self.sends.items():
            if line["outcome"] == "ok" and value not in self.final[place]:
                self.report("lost-write", place, f"{value} was acknowledged at {line['offset']}", value)
        for place, values in self.final.items():
            for value, offsets in values.items():
                if len(offsets) > 1 and self.sends.get((place, value), {}).get("idempotent", True):
                    self.report("duplicate", place, f"{value} stands at {', '.join(map(str, sorted(offsets)))}", value)
        for (reader, place), offsets in self.polls.items():
            self.check_polls(reader, place, offsets, everywhere[place])
        return self.found

    def check_value(self, place, offset, value):
        """A value that an acknowledgement or a reader has seen at an offset."""
        send = self.sends.get((place, value))
        stands = self.final[place].get(value)
        if send is None:
            self.report("unwritten", place, f"nobody sent {value}, which was read at {offset}")
        elif send["outcome"] == "fail":
            self.report("failed-write-read", place, f"{value} was refused, and read at {offset}", value)
        elif stands is None and send["outcome"] != "ok":
            self.report("lost-write", place, f"{value} was read at {offset} before", value)
        elif stands is not None and offset not in stands:
            self.report("inconsistent-offsets", place, f"{value} was at {offset}, and stands at {min(stands)}", value)

    def check_polls(self, reader, place, offsets, known):
        for before, after in zip(offsets, offsets[1:]):
            if after <= before:
                self.report("nonmonotonic-poll", place, f"{reader} was given {after} after {before}")
            for skipped in sorted(known.intersection(range(before + 1, after))):
                self.report("poll-skip", place, f"{reader} was given {after} after {before}, not {skipped}")


def judge(lines):
    """The verdict on a history: counts, and everything that is wrong."""
    history = History(lines)
    outcomes = [line["outcome"] for line in history.sends.values()]
    return {"sent": len(outcomes), "acked": outcomes.count("ok"), "failed": outcomes.count("fail"),
            "unknown": outcomes.count("info"), "read": sum(map(len, history.final.values())), "wrong": history.check()}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        verdict = judge(json.loads(line) for line in file)
    print(json.dumps(verdict, indent=2))
    sys.exit(1 if verdict["wrong"] else 0)


if __name__ == "__main__":
    main()
