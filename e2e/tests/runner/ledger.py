"""What a producer was promised, held against what is read back.

Owns the verdict. Pure: it is given lines. Must never forgive an acknowledged record that is missing, moved or changed.
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
