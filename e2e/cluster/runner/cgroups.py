"""Control groups for nodes: a folder of their own in every hierarchy of this machine, and nothing of it left afterwards.

Owns /sys/fs/cgroup/**/ottla-cluster-*. Knows version 1 (a hierarchy for each controller) and version 2 (one for all). It
must never move a process of others, and never change a group that it has not made, except that version 2 has to hand its
controllers down from the top.
"""

import os
import pathlib

# What kubelet counts with; without these in version 2 it does not start.
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


class Missing(Exception):
    """This machine does not give what nodes need; the sentence says what."""


def hierarchies(mounts="/proc/self/mounts"):
    """Version 1 hierarchies and version 2 hierarchies, as two lists of folders."""
    first, second = [], []
    for line in pathlib.Path(mounts).read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup":
            first.append(pathlib.Path(folder))
        elif kind == "cgroup2":
            second.append(pathlib.Path(folder))
    return first, second


def hand_down(folder):
    """Gives the controllers of a version 2 group to the groups below it."""
    offered = (folder / "cgroup.controllers").read_text().split()
    given = (folder / "cgroup.subtree_control").read_text().split()
    absent = [name for name in CONTROLLERS if name not in offered]
    if absent:
        raise Missing(f"{folder} does not offer the controllers {', '.join(absent)}; nodes need them")
    try:
        for name in CONTROLLERS:
            if name not in given:
                (folder / "cgroup.subtree_control").write_text(f"+{name}")
    except OSError as error:
        raise Missing(f"{folder} does not hand its controllers down ({error.strerror}): processes stand in that group itself, "
                      "as in a container without an init; move them into a group below it") from error


def make(name, mounts="/proc/self/mounts"):
    """Makes the group `name` (folders separated by /) wherever kubelet looks for it."""
    first, second = hierarchies(mounts)
    if not first and not second:
        raise Missing("no cgroup file system is mounted at /sys/fs/cgroup")
    # Where both are mounted, the controllers are in version 1, and kubelet looks only there.
    for top in first or second:
        group = top
        for part in name.split("/"):
            if not first:
                hand_down(group)
            above, group = group, group / part
            try:
                make_one(above, group, first)
            except OSError as error:
                raise Missing(f"the control group {group} cannot be made: {error.strerror}") from error


def make_one(above, group, version_1):
    group.mkdir(exist_ok=True)
    for file in ("cpuset.cpus", "cpuset.mems"):
        # In version 1 a new group may run nowhere until it is said where.
        if version_1 and (group / file).exists() and not (group / file).read_text().strip():
            (group / file).write_text((above / file).read_text())


def remove(name, mounts="/proc/self/mounts"):
    """Removes the group with all below it; True once nothing is left. Processes in it must have ended."""
    left = False
    for top in sum(hierarchies(mounts), []):
        for folder, _, _ in os.walk(top / name, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                left = True
    return not left
