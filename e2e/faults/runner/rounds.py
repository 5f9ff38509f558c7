"""A round: one fault, under load, from a whole cluster to a whole cluster; and the faults of processes and the API server.

Owns what is measured and what is asked of every round. What a fault does is a function that takes its round; those of
networks, disks and Kubernetes objects are in files of their own.
"""

import time

from brokers import COUNT
from load import Prober, create, leader_alone_acknowledges, read_what_can_be

LEDGER, PARTITIONS = "ledger", 6
PAUSE_SECONDS = 5
# A moment for `make test`, and what is promised.
API_DOWN_SECONDS, API_DOWN_LONG_SECONDS = 20, 600
# How long nobody brings the API server back after a broker was killed without it: longer than the Lease holds (10 s).
HOLD_SECONDS = 12
# Generous: what is promised is measured by --whole on an idle machine, not asserted on a busy one.
GAP_SECONDS_MAX = 30
# How many acknowledgements a round waits for before and after.
STEADY = 5


class Round:
    """A topic of its own, whose leaders are spread over all brokers, and a prober on one partition of it."""

    def __init__(self, brokers, record, name, number, hurt):
        self.brokers, self.record, self.topic, self.hurt = brokers, record, f"round-{number}", hurt
        self.name, self.wrong, self.notes = name, [], []
        self.gap, self.quiet, self.healed, self.prober = None, None, None, None
        self.not_compared = set()
        self.topics = []
        record.round = name
        self.take_topic(self.topic)

    def take_topic(self, topic):
        """A new one: leaders that went to another broker do not come back by themselves."""
        self.topic = topic
        self.topics.append(topic)
        create(self.brokers.bootstrap, topic, COUNT)
        self.brokers.wait_whole([LEDGER, topic])
        self.controller = self.brokers.controller()
        self.leaders = {partition: self.brokers.leader(topic, partition) for partition in range(COUNT)}

    def partition_led(self, by_controller):
        """Of several, one whose leader was done something to least often: who comes and goes is let back in later."""
        found = [partition for partition, leader in self.leaders.items() if (leader == self.controller) == by_controller]
        if found:
            return min(found, key=lambda partition: self.hurt[self.leaders[partition]])
        raise RuntimeError(f"{self.topic}: {self.controller} is the controller, and the leaders are {self.leaders}")

    def follower(self):
        """A broker that is neither the controller nor leads the partition, and that partition."""
        partition = self.partition_led(by_controller=False)
        return (set(range(COUNT)) - {self.leaders[partition], self.controller}).pop(), partition

    def others(self, index):
        return [other for other in range(COUNT) if other != index]

    def probe(self, partition):
        prober = self.prober = Prober(self.record, f"prober-{self.topic}", self.brokers.bootstrap, self.topic, partition)
        if prober.wait_acks(0, STEADY) is None:
            self.wrong.append(f"{self.topic}-{partition}: nothing is acknowledged before anything was done")
        return prober

    def hold(self, seconds):
        """The fault lasts."""
        self.prober.done.wait(seconds)

    def wait_gap(self, at, what):
        first = self.prober.wait_acks(at, 1)
        if first is None:
            self.wrong.append(f"{what}: nothing is acknowledged within 60 s")
            return
        self.gap = first - at
        if self.gap > GAP_SECONDS_MAX:
            self.wrong.append(f"{what}: nobody was acknowledged for {self.gap:.1f} s")

    def finish(self, at):
        self.healed = self.brokers.wait_whole([LEDGER, self.topic])
        if self.prober.wait_acks(time.monotonic(), STEADY) is None:
            self.wrong.append("nothing is acknowledged although the cluster is whole")
        self.prober.stop()
        self.quiet = self.prober.silence(at)
        self.wrong += self.prober.failures

    def wait_log(self, words, indices=range(COUNT), since=None, seconds=30):
        """Until one of the brokers has written these words; which one, and the line."""
        deadline = time.monotonic() + seconds
        while True:
            for index in indices:
                text = self.brokers.log(index)[(since or {}).get(index, 0):]
                for line in text.splitlines():
                    if words in line:
                        return index, line
            if time.monotonic() > deadline:
                self.wrong.append(f"no broker says {words!r} within {seconds} s")
                return None, ""
            time.sleep(0.05)

    def log_ends(self):
        return {index: len(self.brokers.log(index)) for index in range(COUNT)}


def fails(one, how, victim, partition):
    """A broker goes, others take over, it comes back."""
    one.probe(partition)
    one.hurt[victim] += 1
    at = getattr(one.brokers, how)(victim)
    one.wait_gap(at, f"{how} {victim}")
    one.brokers.start(victim)
    one.finish(at)


def kill_leader(one):
    partition = one.partition_led(by_controller=False)
    fails(one, "kill", one.leaders[partition], partition)


def kill_follower(one):
    victim, partition = one.follower()
    fails(one, "kill", victim, partition)


def kill_controller(one):
    fails(one, "kill", one.controller, one.partition_led(by_controller=False))


def kill_both(one):
    fails(one, "kill", one.controller, one.partition_led(by_controller=True))


def stop_leader(one):
    partition = one.partition_led(by_controller=False)
    fails(one, "stop", one.leaders[partition], partition)


def pause(one, victim, partition):
    one.probe(partition)
    one.hurt[victim] += 1
    at = one.brokers.pause(victim)
    one.hold(at + PAUSE_SECONDS - time.monotonic())
    one.brokers.resume(victim)
    one.wait_gap(at, f"pause {victim}")
    one.finish(at)


def pause_leader(one):
    partition = one.partition_led(by_controller=False)
    pause(one, one.leaders[partition], partition)


def pause_both(one):
    pause(one, one.controller, one.partition_led(by_controller=True))


def take_api(one, seconds=API_DOWN_SECONDS):
    """Nobody may be refused. Who was not answered in the half second that a probe waits is noted."""
    one.probe(0)
    at = time.monotonic()
    one.brokers.ask("api-down")
    one.hold(at + seconds - time.monotonic())
    one.brokers.ask("api-up")
    back = time.monotonic()
    one.wait_gap(at, "api-down")
    one.finish(at)
    late = one.prober.unacknowledged(at, back)
    refused = [line for line in late if line["outcome"] == "fail"]
    if refused:
        one.wrong.append(f"{len(refused)} records were refused without the API server, the first: {refused[0]}")
    if late:
        one.notes.append(f"{len(late)} probes were not answered within half a second")


def take_api_for_long(one):
    take_api(one, API_DOWN_LONG_SECONDS)


def without_api(one, victim, partition):
    """The gap of acks=all is counted from the API server's return: it needs a smaller in-sync set. A leader that lives is
    confirmed by the controller, whose Lease has run out by then, if that lives too: acks=1 and reading go on."""
    prober = one.probe(partition)
    one.brokers.ask("api-down")
    down = time.monotonic()
    if prober.wait_acks(down, STEADY) is None:
        one.wrong.append("nothing is acknowledged without the API server")
    one.hurt[victim] += 1
    at = one.brokers.kill(victim)
    one.hold(HOLD_SECONDS)
    early = prober.acks(at + 1)
    if victim != one.leaders[partition]:
        count, errors = read_what_can_be(one.record, f"{one.topic}-meanwhile", one.brokers.bootstrap, one.topic, partition)
        one.notes.append(f"{count} records read meanwhile{f' ({errors})' if errors else ''}")
        refused = leader_alone_acknowledges(one.record, f"{one.topic}-acks-1", one.brokers.bootstrap, one.topic, partition)
        if victim != one.controller and (errors or not count or refused):
            one.wrong.append(f"a follower died without the API server: {count} records read ({errors}), acks=1: {refused or 'ok'}")
    one.brokers.ask("api-up")
    back = time.monotonic()
    one.notes.append(f"{len(early)} acknowledged meanwhile")
    one.wait_gap(back, f"api-down, kill {victim}, api-up")
    one.brokers.start(victim)
    one.finish(back)


def kill_follower_without_api(one):
    without_api(one, *one.follower())


def kill_leader_without_api(one):
    partition = one.partition_led(by_controller=False)
    without_api(one, one.leaders[partition], partition)


def kill_controller_without_api(one):
    without_api(one, one.controller, one.partition_led(by_controller=False))
