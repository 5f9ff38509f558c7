"""Faults of the network: who does not hear whom, for a while. What is between brokers is in room.py.

Each cut lasts longer than it takes to be taken for dead. Clients reach every broker all the time: what a broker that is
cut off still acknowledges would be found as lost, or as two records at one offset.
"""

import json
import time

CUT_SECONDS = 6
# Longer than the Lease holds (10 s), so that others take it.
API_CUT_SECONDS = 15


def lasts(one, partition, victim, seconds, begin):
    one.probe(partition)
    one.hurt[victim] += 1
    begin(one.brokers.room)
    at = time.monotonic()
    try:
        one.hold(seconds)
    finally:
        one.brokers.room.heal()
    one.wait_gap(at, f"{one.name}: {victim}")
    one.finish(at)


def leader_cut_off(one):
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    lasts(one, partition, victim, CUT_SECONDS, lambda room: room.cut(victim, one.others(victim)))


def controller_cut_off(one):
    victim = one.controller
    lasts(one, one.partition_led(by_controller=True), victim, CUT_SECONDS, lambda room: room.cut(victim, one.others(victim)))


def follower_cut_off(one):
    victim, partition = one.follower()
    lasts(one, partition, victim, CUT_SECONDS, lambda room: room.cut(victim, one.others(victim)))


def leader_deaf(one):
    """It hears nobody; everybody hears it."""
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    lasts(one, partition, victim, CUT_SECONDS, lambda room: room.deafen(victim, one.others(victim)))


def leader_mute(one):
    """Nobody hears it; it hears everybody."""
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]

    def begin(room):
        for other in one.others(victim):
            room.deafen(other, [victim])
    lasts(one, partition, victim, CUT_SECONDS, begin)


def leader_and_follower(one):
    """The two that are not the controller lose each other; the controller hears both."""
    victim, partition = one.follower()
    lasts(one, partition, victim, CUT_SECONDS, lambda room: room.cut(victim, [one.leaders[partition]]))


def api_port(brokers):
    return json.loads((brokers.scratch / "plane/settings.json").read_text())["api"]


def leader_without_api(one):
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    lasts(one, partition, victim, CUT_SECONDS, lambda room: room.cut_api(victim, api_port(one.brokers)))


def controller_without_api(one):
    lasts(one, one.partition_led(by_controller=True), one.controller, API_CUT_SECONDS,
          lambda room: room.cut_api(one.controller, api_port(one.brokers)))
