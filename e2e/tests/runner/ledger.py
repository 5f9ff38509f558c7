"""What a producer was promised, held against what is read back and against what a consumer group was given.

Owns the verdict. Pure: it is given lines. Must never forgive an acknowledged record that is missing, moved or changed, nor a
committed offset that went back.
"""

import json
from collections import Counter


class Ledger:
    """What the producer in ledger.c has said."""

    def __init__(self, lines):
        self.acked, self.complaints, self.sent, self.open = {}, [], None, None
        for line in lines:
            match line.split():
                case ["acked", partition, offset, value]:
                    self.acked[int(partition), int(offset)] = value
                case ["sent", sent, "open", left]:
                    self.sent, self.open = int(sent), int(left)
                case ["failed" | "fatal", *_]:
                    self.complaints.append(line.strip())


def records(lines):
    """What `ottla consume -o json` prints, as values by partition and offset."""
    found = (json.loads(line) for line in lines)
    return {(one["partition"], one["offset"]): one["value"] for one in found}


def verdict(ledger, read):
    """Everything that is wrong, as sentences; none when every promise was kept."""
    wrong = [f"the producer says: {one}" for one in ledger.complaints]
    if ledger.sent is None:
        wrong.append("the producer has not said its last word")
    elif ledger.open or ledger.sent != len(ledger.acked):
        wrong.append(f"{ledger.sent} records were sent, {len(ledger.acked)} acknowledged, {ledger.open} are open")
    lost = [place for place, value in ledger.acked.items() if read.get(place) != value]
    wrong += [f"{ledger.acked[place]} was acknowledged at {place}, where there is {read.get(place)}" for place in lost[:5]]
    if len(lost) > 5:
        wrong.append(f"and so for {len(lost) - 5} more")
    twice = [value for value, count in Counter(read.values()).items() if count > 1]
    if twice:
        wrong.append(f"{len(twice)} records stand twice, {twice[0]} among them")
    return wrong


class Group:
    """What the members of a consumer group in ledger.c have said, each in its own order."""

    def __init__(self, members):
        self.wrong, self.read, self.again, self.assignments = [], set(), 0, 0
        self.commits, self.begins = [], []
        for name, lines in members.items():
            self.hear(name, lines)

    def hear(self, name, lines):
        asked, after = {}, {}
        for line in lines:
            match line.split():
                case ["assigned", ms, partition]:
                    asked[int(partition)], _ = int(ms), after.pop(int(partition), None)
                    self.assignments += 1
                case ["read", partition, offset]:
                    partition, offset = int(partition), int(offset)
                    if partition in asked:
                        self.begins.append((asked.pop(partition), partition, offset))
                    elif offset != after.get(partition):
                        self.wrong.append(f"{name} read {offset} of partition {partition}, where {after.get(partition)} was next")
                    after[partition] = offset + 1
                    self.again += (partition, offset) in self.read
                    self.read.add((partition, offset))
                case ["committed", ms, partition, offset]:
                    self.commits.append((int(ms), int(partition), int(offset)))
                case ["fatal", *_]:
                    self.wrong.append(f"{name} says: {line.strip()}")

    def unread(self, ledger):
        """Acknowledged records that no member was given."""
        return sorted(ledger.acked.keys() - self.read)

    def verdict(self, ledger):
        """Everything that is wrong, as sentences. A member may be given again what nobody had committed, and nothing else."""
        wrong = list(self.wrong)
        for asked, partition, offset in self.begins:
            before = [commit for ms, place, commit in self.commits if place == partition and ms < asked]
            if before and offset < max(before):
                wrong.append(f"partition {partition} was begun at {offset}, although {max(before)} was committed")
        unread = self.unread(ledger)
        if unread:
            wrong.append(f"{len(unread)} acknowledged records were given to no member, {ledger.acked[unread[0]]} among them")
        if not self.commits:
            wrong.append("nothing was committed")
        return wrong
