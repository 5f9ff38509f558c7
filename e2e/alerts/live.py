"""The alerts that a real Prometheus sees fire and clear, one trouble of real brokers after another.

Owns the order of the troubles: what one leaves behind (brokers that have just begun, and hold nothing in memory) the next needs.
Every alert is waited for twice: until it fires, and until nothing does any more.
"""

import disk
from watched import COUNT, Watched

# Less than the 5 % of OttlaDiskNearlyFull.
NEARLY_FULL = 0.03
RECORD = "a record that is to be found damaged " * 30


def flip_a_bit(folder):
    """In the middle of the only segment that holds something."""
    segment = max(folder.glob("*.log"), key=lambda path: path.stat().st_size)
    with open(segment, "r+b") as file:
        file.seek(segment.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def nobody_decides(watched):
    """The controller and another are gone, and one alone elects nobody. Which they were."""
    lead = int(watched.nodes("controller"))
    # The controller last: with two left, another would take its place before the second is gone.
    gone = ((lead + 1) % COUNT, lead)
    for one in gone:
        watched.nodes("kill", one)
    watched.fire("OttlaNoController")
    watched.start(*range(COUNT))
    watched.balance()
    return gone


def a_disk_fills(watched, victim):
    watched.disks[victim].fill(NEARLY_FULL)
    watched.fire("OttlaDiskNearlyFull", "OttlaDiskFillsUp")
    watched.disks[victim].empty()
    watched.only()


def a_disk_fails(watched, victim):
    watched.disks[victim].fail()
    # Every broker has a copy of this, before any record is written.
    watched.ottla("topic", "config", "three", "--set", "retention.ms=86400000")
    watched.fire("OttlaDataDirectoryOffline")


def a_broker_dies_and_another_is_damaged(watched, victim, damaged):
    """The only other replica of what is damaged is gone. Once it is back, it is what the log is copied from."""
    watched.nodes("kill", victim)
    watched.fire("OttlaBrokerGone", "OttlaUnderReplicated", "OttlaWritesRefused", "OttlaPartitionsWithoutLeader")
    partition = shared(watched, victim, damaged)
    flip_a_bit(watched.data(damaged) / f"two-{partition}")
    watched.fire("OttlaLogDamaged")
    if watched.disks:
        watched.disks[victim].mend()
    watched.start(victim)
    watched.only("OttlaNotBalanced")
    watched.balance()


def shared(watched, *brokers):
    """The partition of topic `two` that just these brokers hold."""
    return next(partition for partition, replicas in watched.replicas("two").items() if set(replicas) == set(brokers))


def a_real_prometheus_sees_them_fire_and_clear(rules):
    watched = Watched(rules)
    try:
        watched.start(*range(COUNT))
        watched.watch()
        for topic, replicas, least in (("three", 3, 2), ("two", 2, 2), ("one", 1, 1)):
            watched.ottla("topic", "create", topic, "--partitions", 6, "--replicas", replicas, "--config", f"min.insync.replicas={least}")
        for partition in range(6):
            watched.ottla("produce", "two", "--partition", partition, records=f"{RECORD}\n")
        watched.only()
        begun = nobody_decides(watched)
        # Not the controller, so that no alert is late; and damage is found on a disk, not by one who has it all in memory.
        victim = next(one for one in range(COUNT) if one != int(watched.nodes("controller")))
        damaged = next(one for one in begun if one != victim)
        if reason := disk.missing():
            print(f"SKIPPED alerts of the disk: {reason}", flush=True)
        else:
            a_disk_fills(watched, victim)
            a_disk_fails(watched, victim)
        a_broker_dies_and_another_is_damaged(watched, victim, damaged)
    finally:
        watched.end()
