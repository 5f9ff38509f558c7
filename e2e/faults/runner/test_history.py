"""The checker against histories made by hand: each bad one names its anomaly, the good ones nothing."""

import unittest

from history import ANOMALIES, judge


def send(value, offset=None, outcome="ok", writer="w", partition=0, idempotent=True):
    return {"op": "send", "writer": writer, "topic": "t", "partition": partition, "value": value, "outcome": outcome,
            "offset": offset, "round": "r", "idempotent": idempotent}


def poll(value, offset, reader="end", partition=0):
    return {"op": "poll", "reader": reader, "topic": "t", "partition": partition, "offset": offset, "value": value,
            "final": reader == "end"}


RESET = {"op": "reset", "reader": "early", "topic": "t", "partition": 0, "why": "out of range"}

# What happened, and the anomalies that are in it.
CASES = {
    "nothing": ([], []),
    "all acknowledged and read": ([send("a", 0), send("b", 1), poll("a", 0), poll("b", 1)], []),
    "unknown, and there": ([send("a", 0), send("b", None, "info"), poll("a", 0), poll("b", 1)], []),
    "unknown, and not there": ([send("a", 0), send("b", None, "info"), poll("a", 0)], []),
    "refused, and not there": ([send("a", None, "fail"), send("b", 0), poll("b", 0)], []),
    "an offset without a value": ([send("a", 0), send("b", 2), poll("a", 0), poll("b", 2)], []),
    "two partitions": ([send("a", 0), send("b", 0, partition=1), poll("a", 0), poll("b", 0, partition=1)], []),
    "read early and at the end": ([send("a", 0), poll("a", 0, "early"), poll("a", 0)], []),
    "read from the middle": ([send("a", 0), send("b", 1), poll("b", 1, "early"), poll("a", 0), poll("b", 1)], []),
    "twice, without idempotence": ([send("a", None, "info", idempotent=False), poll("a", 0), poll("a", 1)], []),
    "two writers": ([send("a", 1, writer="v"), send("b", 0), poll("b", 0), poll("a", 1)], []),

    "an acknowledged value is gone": ([send("a", 0), send("b", 1), poll("a", 0)], ["lost-write"]),
    "read early, and gone": ([send("a", None, "info"), poll("a", 0, "early")], ["lost-write"]),
    "acknowledged, read early, and gone": ([send("a", 0), poll("a", 0, "early")], ["lost-write"]),
    "another took its offset": (
        [send("a", 0), send("b", None, "info", "v"), poll("b", 0)], ["inconsistent-offsets", "lost-write"]),
    "twice": ([send("a", 0), poll("a", 0), poll("a", 1)], ["duplicate"]),
    "unknown, and twice": ([send("a", None, "info"), poll("a", 0), poll("a", 1)], ["duplicate"]),
    "acknowledged elsewhere": ([send("a", 1), poll("a", 0)], ["inconsistent-offsets"]),
    "one offset acknowledged twice": (
        [send("a", 0), send("b", 0, writer="v"), poll("a", 0), poll("b", 1)], ["inconsistent-offsets"] * 2),
    "moved between two readings": (
        [send("a", 0), send("b", None, "info", "v"), poll("b", 0, "early"), poll("a", 0), poll("b", 1)],
        ["inconsistent-offsets"] * 2),
    "acknowledged out of order": (
        [send("a", 1), send("b", 0), poll("b", 0), poll("a", 1)], ["nonmonotonic-send"]),
    "a reader went back": (
        [send("a", 0), send("b", 1), poll("a", 0, "early"), poll("b", 1, "early"), poll("a", 0, "early"), poll("a", 0),
         poll("b", 1)], ["nonmonotonic-poll"]),
    "a reader was given the same again": (
        [send("a", 0), poll("a", 0, "early"), poll("a", 0, "early"), poll("a", 0)], ["nonmonotonic-poll"]),
    "a reader missed one": (
        [send("a", 0), send("b", 1), send("c", 2), poll("a", 0, "early"), poll("c", 2, "early"), poll("a", 0), poll("b", 1),
         poll("c", 2)], ["poll-skip"]),
    "refused, and there": ([send("a", None, "fail"), poll("a", 0)], ["failed-write-read"]),
    "nobody sent it": ([poll("a", 0)], ["unwritten"]),
    "a reader stood too far": ([send("a", 0), poll("a", 0), RESET], ["reset"]),
}


class Histories(unittest.TestCase):
    def test_each_history_is_judged(self):
        for name, (lines, wanted) in CASES.items():
            with self.subTest(name):
                self.assertEqual(sorted(one["anomaly"] for one in judge(lines)["wrong"]), sorted(wanted))

    def test_every_anomaly_has_a_history(self):
        self.assertEqual({anomaly for _, wanted in CASES.values() for anomaly in wanted}, set(ANOMALIES))

    def test_the_verdict_counts_and_names_the_round(self):
        verdict = judge([send("a", 0), send("b", None, "fail"), send("c", None, "info"), send("d", 1), poll("a", 0)])
        counts = {name: verdict[name] for name in ("sent", "acked", "failed", "unknown", "read")}
        self.assertEqual(counts, {"sent": 4, "acked": 2, "failed": 1, "unknown": 1, "read": 1})
        self.assertEqual([one["round"] for one in verdict["wrong"]], ["r"])


if __name__ == "__main__":
    unittest.main()
