"""How the suite reads README, judges a ledger, says who was away, and counts the writes that an operator is killed after."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "gitops/runner"))
import ledger  # noqa: E402
import readme  # noqa: E402
import watched  # noqa: E402
from enumeration import TRIES, Enumeration  # noqa: E402


class Readme(unittest.TestCase):
    def test_every_line_of_the_block_is_a_command_or_what_it_prints(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "README.md"
            file.write_text("# A\n```\n$ no\n```\n## B\ntext\n```\n$ one\n$ two\nsays\nmore\n```\n")
            steps = readme.block(file, "## B")
            self.assertEqual(steps, [("one", []), ("two", ["says", "more"])])
            with self.assertRaisesRegex(LookupError, "## C"):
                readme.block(file, "## C")
        self.assertEqual(readme.printed("=== 0\n=== 1\nsays\nmore\n"), {0: [], 1: ["says", "more"]})


class Verdict(unittest.TestCase):
    LINES = ["acked 0 0 record-0", "acked 1 0 record-1", "%6|noise", "sent 2 open 0"]
    READ = ['{"partition":0,"offset":0,"value":"record-0"}', '{"partition":1,"offset":0,"value":"record-1"}']

    def judged(self, lines, read):
        return ledger.verdict(ledger.Ledger(lines), ledger.records(read))

    def test_kept_promises_are_no_complaint(self):
        self.assertEqual(self.judged(self.LINES, self.READ), [])

    def test_every_broken_promise_is_named(self):
        cases = [
            (self.LINES, self.READ[:1], "record-1 was acknowledged"),
            (self.LINES, [self.READ[0], self.READ[1].replace("record-1", "record-7")], "where there is record-7"),
            (self.LINES, [*self.READ, self.READ[1].replace('"offset":0', '"offset":1')], "1 records stand twice"),
            ([*self.LINES, "failed record-2 _MSG_TIMED_OUT"], self.READ, "_MSG_TIMED_OUT"),
            (self.LINES[:3], self.READ, "last word"),
            ([*self.LINES[:3], "sent 3 open 1"], self.READ, "3 records were sent, 2 acknowledged, 1 are open"),
        ]
        for lines, read, named in cases:
            self.assertIn(named, " ".join(self.judged(lines, read)))

class Members(unittest.TestCase):
    ACKED = ledger.Ledger(["acked 0 0 record-0", "acked 0 1 record-1", "acked 0 2 record-2"])
    FIRST = ["assigned 10 0", "read 0 0", "read 0 1", "committed 20 0 2"]

    def judged(self, first, second=()):
        return ledger.Group({"first": first, "second": second}).verdict(self.ACKED)

    def test_what_was_not_committed_may_be_given_again(self):
        self.assertEqual(self.judged(self.FIRST, ["assigned 30 0", "read 0 2"]), [])
        group = ledger.Group({"first": [*self.FIRST, "read 0 2"], "second": ["assigned 30 0", "read 0 2"]})
        self.assertEqual((group.verdict(self.ACKED), group.again, group.assignments), ([], 1, 2))

    def test_every_broken_promise_is_named(self):
        cases = [
            (self.FIRST, ["assigned 30 0", "read 0 1", "read 0 2"], "begun at 1, although 2"),
            (self.FIRST, [], "1 acknowledged records were given to no member, record-2"),
            (["assigned 10 0", "read 0 0", "read 0 2"], ["assigned 30 0", "read 0 1"], "where 1 was next"),
            (["assigned 10 0", "read 0 0", "read 0 1", "read 0 2"], [], "nothing was committed"),
            ([*self.FIRST, "read 0 2", "fatal X"], [], "first says: fatal X"),
            (["read 0 0", *self.FIRST, "read 0 2"], [], "where None was next"),
        ]
        for first, second, named in cases:
            self.assertIn(named, " ".join(self.judged(first, second)))


class Away(unittest.TestCase):
    @staticmethod
    def event(name, ready=True, kind="MODIFIED", going=False):
        metadata = {"name": name} | ({"deletionTimestamp": "2026-02-01T10:00:00Z"} if going else {})
        status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        return json.dumps({"type": kind, "object": {"metadata": metadata, "status": status}}, indent=1)

    def steps(self, *lines):
        return watched.away(watched.events("\n".join(lines)), ["a", "b", "c"])

    def test_nothing_is_told_before_all_were_there(self):
        self.assertEqual(self.steps(self.event("a"), self.event("b", False), self.event("c")), [])

    def test_who_is_asked_to_go_is_away_until_another_of_its_name_is_ready(self):
        there = [self.event(name, kind="ADDED") for name in "abc"]
        a = [self.event("a", going=True), self.event("a", False, going=True), self.event("a", False, "DELETED"), self.event("a", False, "ADDED")]
        b = [self.event("b", going=True), self.event("c", going=True), self.event("c"), self.event("b")]
        steps = self.steps(*there, *a, self.event("a"), *b, self.event("c")[:40])
        self.assertEqual(list(map(sorted, steps)), [[], ["a"], [], ["b"], ["b", "c"], ["b"], []])
        self.assertEqual(list(map(sorted, watched.batches(steps))), [["a"], ["b", "c"]])


class Writes(unittest.TestCase):
    @staticmethod
    def played(operations, lanes):
        """The enumeration after threads in turns have played operations of so many writes, the last of them again and again; and the
        numbers in the order in which they were taken."""
        numbers, at_work, taken = Enumeration(), [], []
        while True:
            while len(at_work) < lanes and (number := numbers.take()):
                at_work.append(number)
                taken.append(number)
            if not at_work:
                return numbers, taken
            number, writes = at_work.pop(0), operations.pop(0) if len(operations) > 1 else operations[0]
            numbers.played(number, f"write {number}" if number <= writes else None)

    def test_each_number_is_played_once_where_every_operation_is_as_long(self):
        for lanes in (1, 2, 5):
            numbers, taken = self.played([9], lanes)
            self.assertEqual((numbers.wrong(), sorted(numbers.killed)), ("", list(range(1, 10))))
            self.assertEqual(taken, list(range(1, 10 + lanes)))
            self.assertEqual(numbers.killed[7], "write 7")

    def test_a_number_that_one_play_did_not_come_to_is_played_again(self):
        numbers, taken = self.played([9, 9, 2, 9, 9, 9, 9, 9, 8], lanes=3)
        self.assertEqual((numbers.wrong(), taken.count(3)), ("", 2))
        self.assertGreaterEqual(len(numbers.killed), 8)

    def test_a_gap_is_named_and_tried_no_more_often_than_said(self):
        numbers = Enumeration()
        for number in (1, 2, 3, 4):
            self.assertEqual(numbers.take(), number)
        for number in (1, 2, 4):
            numbers.played(number, "a write")
        numbers.played(3, None)
        for _ in range(TRIES - 1):
            self.assertEqual(numbers.take(), 3)
            numbers.played(3, None)
        self.assertEqual(numbers.take(), 5)
        numbers.played(5, None)
        self.assertIsNone(numbers.take())
        self.assertIn("[1, 2, 4]", numbers.wrong())

    def test_what_is_hardly_an_operation_is_none(self):
        self.assertIn("2 writes", self.played([2], lanes=2)[0].wrong())


if __name__ == "__main__":
    unittest.main()
