"""How the suite reads README and judges a ledger."""

import tempfile
import unittest
from pathlib import Path

import ledger
import readme


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


if __name__ == "__main__":
    unittest.main()
