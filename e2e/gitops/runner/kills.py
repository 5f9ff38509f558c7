"""An operator that is killed after each of its writes, one by one: whoever follows it ends where nobody was killed.

Owns the operations. One is played once undisturbed; then again and again, with the operator killed after its first write, after its
second, and so on until an operation is over before that many writes. The one that follows starts with nothing but what it finds.
Several namespaces play side by side.
"""

import threading
import time
import traceback

from declared import cluster, topic
from enumeration import Enumeration
from world import World, expect

SIDE_BY_SIDE = 6


class Operation:
    """What is done again and again: declarations, and their text without the number of the turn. `configures` if it changes the
    configuration of brokers, `fresh` if each time needs another Cluster, `returns` if every second turn takes back what the one
    before has done."""

    topics, fresh, returns, configures = (), False, False, False

    @property
    def name(self):
        return type(self).__name__.lower()

    @staticmethod
    def plain(text, _):
        return text


class Roll(Operation):
    topics, configures = (topic("t", "c", partitions=2, replicas=2),), True

    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=2, config={"queued.max.requests": 100 + turn})

    @staticmethod
    def plain(text, turn):
        return text.replace(f"queued.max.requests={100 + turn}", "queued.max.requests=NEW")


class Growth(Operation):
    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=2, size=f"{10 + turn}Gi")

    @staticmethod
    def plain(text, turn):
        return text.replace(f'"storage": "{10 + turn}Gi"', '"storage": "NEW"')


class ScaleIn(Operation):
    # Some of its partitions have to leave the broker that goes.
    topics, fresh = (topic("t", "c", partitions=2, replicas=1),), True

    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=1 if turn else 2)


class Play:
    """One operation, in several namespaces side by side."""

    def __init__(self, scene, of, world=World, side_by_side=SIDE_BY_SIDE):
        self.scene, self.of, self.world = scene, of, world
        self.numbers, self.failures = Enumeration(), []
        self.expected, self.known, self.began = None, threading.Event(), time.monotonic()
        self.lanes = [threading.Thread(target=self.lane, args=(lane,)) for lane in range(side_by_side)]

    def start(self):
        for lane in self.lanes:
            lane.start()

    def wait(self):
        """Until it is over; what is wrong, or nothing."""
        for lane in self.lanes:
            lane.join()
        return "; ".join(self.failures) or self.numbers.wrong()

    def lane(self, lane):
        worlds = []
        try:
            self.share(lane, worlds)
            if worlds and not self.failures:
                worlds[-1].end()
        except Exception as error:
            self.failures.append(str(error) if isinstance(error, AssertionError) else traceback.format_exc())
        finally:
            # Whoever waits for it waits in vain.
            self.known.set()

    def share(self, lane, worlds):
        """Plays one number after another; the first lane first says where an operation ends that nobody disturbs."""
        def fresh():
            worlds.append(self.world(self.scene, f"{self.of.name}-{lane}-{len(worlds)}", self.of))
            return worlds[-1]
        world = fresh()
        if lane == 0:
            self.expected = world.undisturbed()
            (self.scene.folder / f"{self.of.name}.json").write_text(self.expected)
            self.known.set()
        self.known.wait()
        while not self.failures and (number := self.numbers.take()):
            if self.of.fresh and world.turn:
                world.end()
                world = fresh()
            if self.of.returns and world.turn % 2:
                world.undisturbed()
            writes = world.killed(number, self.expected)
            self.numbers.played(number, writes and writes[-1])
            self.tell(f"{world.name}: {f'killed after write {number}, {writes[-1]}' if writes else f'over before write {number}'}")

    def tell(self, line):
        """For whoever reads along in the folder."""
        with self.numbers.lock, open(self.scene.folder / f"{self.of.name}.log", "a") as log:
            log.write(f"{time.monotonic() - self.began:6.1f} s  {line}\n")


class Kills:
    def __init__(self, scene):
        self.scene, self.plays = scene, {}

    def begin(self):
        """All operations are played at once: what they do most is wait."""
        for of in (Roll(), Growth(), ScaleIn()):
            self.plays[of.name] = Play(self.scene, of)
            self.plays[of.name].start()

    def cases(self):
        def case(name, title):
            def shown():
                if not self.plays:
                    self.begin()
                play = self.plays[name]
                wrong = play.wait()
                expect(not wrong, wrong)
                print(f"       killed after each of {len(play.numbers.killed)} writes", flush=True)
            shown.__name__ = f"{title}_is_finished_whenever_its_operator_is_killed"
            return shown
        return [case("roll", "a_roll"), case("growth", "a_growth_of_volumes"), case("scalein", "a_scale_in")]
