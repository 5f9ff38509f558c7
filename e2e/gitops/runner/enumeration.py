"""Which number of writes is played next, and whether every number was.

Owns the count; plays nothing. How many writes an operation takes differs by a few from play to play: a number that one play has not
come to is played again as long as it is known that there are operations with more. Must never take an operation for enumerated while a
number between two others is missing.
"""

import itertools
import threading
from collections import Counter

# How often a number is tried that an operation did not come to, although another one came to a greater one.
TRIES = 8
# What is less is no operation.
LEAST = 3


class Enumeration:
    """The numbers from 1 on, each until an operation was killed after so many writes; several threads take from it."""

    def __init__(self):
        self.lock, self.playing, self.short, self.killed = threading.Lock(), set(), Counter(), {}

    def take(self):
        """The number to play next, or None: whatever there is is played, or was."""
        with self.lock:
            most = max(self.killed, default=0)
            for number in itertools.count(1):
                if number in self.killed or number in self.playing:
                    continue
                if self.short[number] < (TRIES if number < most else 1):
                    self.playing.add(number)
                    return number
                if number > most:
                    return None

    def played(self, number, last_write):
        """What came of it: the write that it was killed after, or None if the operation was over before."""
        with self.lock:
            self.playing.discard(number)
            if last_write is None:
                self.short[number] += 1
            else:
                self.killed[number] = last_write

    def wrong(self):
        """Why it is none, or nothing."""
        if sorted(self.killed) != list(range(1, len(self.killed) + 1)):
            return f"only after these writes: {sorted(self.killed)}"
        return "" if len(self.killed) >= LEAST else f"an operation of {len(self.killed)} writes is none"
