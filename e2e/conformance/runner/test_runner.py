"""What counts as a case that holds: the parts of the runner that decide."""

import unittest

from cases import judge, load
from records import difference, numbered, various


def same(words):
    return words


class Judge(unittest.TestCase):
    def test_exit_code(self):
        self.assertIsNone(judge({}, same, 0, ""))
        self.assertIn("ended with 1", judge({}, same, 1, ""))
        self.assertIsNone(judge({"exit": 1}, same, 1, ""))

    def test_patterns(self):
        self.assertIsNone(judge({"expect": ["^b$"]}, same, 0, "a\nb\n"))
        self.assertIn("nothing matches", judge({"expect": ["^c$"]}, same, 0, "a\nb\n"))
        self.assertIn("something matches", judge({"never": ["^a$"]}, same, 0, "a\nb\n"))

    def test_exact_ignores_order_and_nothing_else(self):
        self.assertIsNone(judge({"exact": "b\na\n"}, same, 0, "a\nb\n"))
        self.assertIsNotNone(judge({"exact": "a\n"}, same, 0, "a\na\n"))
        self.assertIsNotNone(judge({"exact": "a\n"}, same, 0, "a\nb\n"))


def read_back(lines):
    """What a consumer writes of records that were stored faithfully."""
    ends, seen = {}, []
    for line in lines:
        partition, rest = line.split("\t", 1)
        seen.append(f"{partition}\t{ends.setdefault(partition, 0)}\t{rest}")
        ends[partition] += 1
    return seen


class Difference(unittest.TestCase):
    def test_faithful_records_pass_in_any_order(self):
        lines = various()
        self.assertIsNone(difference(lines, list(reversed(read_back(lines))), []))

    def test_every_kind_of_damage_is_found(self):
        lines = numbered(6, 2)
        seen = read_back(lines)
        self.assertIn("offsets", difference(lines, seen[:-1], []))
        self.assertIn("offsets", difference(lines, seen + seen[:1], []))
        self.assertIn("partition 0 offset 0", difference(lines, ["0\t0\t5\t-\t-\t", *seen[1:]], []))
        self.assertIn("records in partitions", difference(lines, [*seen, "7\t0\t5\t-\t-\t"], []))

    def test_null_and_empty_differ(self):
        sent = ["0\t1\t-\t\ta:-"]
        self.assertIsNone(difference(sent, ["0\t0\t1\t-\t\ta:-"], []))
        self.assertIsNotNone(difference(sent, ["0\t0\t1\t\t\ta:-"], []), "key")
        self.assertIsNotNone(difference(sent, ["0\t0\t1\t-\t-\ta:-"], []), "value")
        self.assertIsNotNone(difference(sent, ["0\t0\t1\t-\t\ta:"], []), "header")
        self.assertIsNone(difference(sent, ["0\t0\t1\t-\t\ta:"], ["null header"]), "a client that cannot tell")


class Cases(unittest.TestCase):
    def test_no_case_is_there_twice(self):
        keys = [case.key for case in load()]
        self.assertEqual(len(keys), len(set(keys)))

    def test_the_slice_has_every_client_but_rare_tools(self):
        clients = {case.client for case in load() if case.slice}
        self.assertLessEqual({"kcat", "confluent-kafka", "java", "librdkafka-c", "librdkafka-cpp", "franz-go", "kafkajs",
                              "kafka-topics", "kafka-console-consumer", "kafka-consumer-groups"}, clients)


if __name__ == "__main__":
    unittest.main()
