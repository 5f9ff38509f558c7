"""Faults of disks: power, space, errors, flipped bits, and data directories that are not what they were; and of clocks.

Owns the file systems of the brokers' data directories where they are needed (an ext4 in a file each, mounted where only
this suite sees it), and the library that shifts a clock. Power is lost by `EXT4_IOC_SHUTDOWN`, which drops what was not
synced.
"""

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import room
from brokers import COUNT
from load import read_what_can_be
from rounds import LEDGER

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = struct.pack("I", 2)
DISK_BYTES = 1 << 30
FULL_SECONDS = 5
DAY = 24 * 3600
CLOCK = Path(__file__).resolve().parent / "clock.c"
OFFLINE, EIO = "data directory is offline", "os error 5"
REFUSED_SECONDS = 20
# A leader is too slow when that was seen three times in 10 s.
HANDED_OVER_SECONDS = 60


def missing_mounts():
    if not room.ENCLOSED:
        return "no mounts of its own here: this needs root, unshare (util-linux) and ip (iproute2)"
    absent = [name for name in ("mkfs.ext4", "losetup", "mount") if shutil.which(name, path=os.environ["PATH"] + ":/sbin") is None]
    if absent:
        return f"{', '.join(absent)} is not installed"
    return None if list(Path("/sys/block").glob("loop*")) or Path("/dev/loop-control").exists() else "no loop devices here"


def missing_strace():
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace cannot inject errors here: {done.stderr.strip()}"


def missing_cc():
    return None if shutil.which("cc") else "cc is not installed"


class Disks:
    """A file system for each broker."""

    def __init__(self, brokers):
        self.brokers = brokers
        for index in range(COUNT):
            with open(self.image(index), "wb") as file:
                file.truncate(DISK_BYTES)
            room.run("mkfs.ext4", "-q", self.image(index))
            brokers.data(index).mkdir()
            self.mount(index)
            # A broker formats only a directory that is empty.
            (brokers.data(index) / "lost+found").rmdir()

    def image(self, index):
        return self.brokers.scratch / f"disk-{index}.img"

    def mount(self, index):
        room.run("mount", "-o", "loop", self.image(index), self.brokers.data(index))

    def unmount(self, index):
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", self.brokers.data(index)], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"cannot unmount {self.brokers.data(index)}")
            time.sleep(0.05)

    def close(self):
        """The brokers are down; nothing of the file systems is needed any more."""
        for index in range(COUNT):
            self.unmount(index)

    def lose_power(self, index):
        """Nothing that was not synced is there any more; then the machine is gone too."""
        # It may notice in between.
        self.brokers.expected += [OFFLINE, EIO]
        handle = os.open(self.brokers.data(index), os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(handle)
        at = self.brokers.kill(index)
        self.unmount(index)
        self.mount(index)
        return at


def leader_loses_power(one):
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    one.probe(partition)
    one.hurt[victim] += 1
    at = one.brokers.disks.lose_power(victim)
    one.wait_gap(at, f"power of {victim}")
    one.brokers.start(victim)
    one.finish(at)


def all_lose_power(one):
    one.probe(one.partition_led(by_controller=False))
    for index in range(COUNT):
        one.hurt[index] += 1
        one.brokers.disks.lose_power(index)
    at = time.monotonic()
    one.brokers.start_all()
    one.wait_gap(at, "power of all")
    one.finish(at)


def fill(path):
    """Takes all space that is left."""
    with open(path, "wb") as file:
        size = 64 << 20
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), file.tell(), size)
                file.seek(size, os.SEEK_CUR)
            except OSError:
                size //= 2


def leader_full(one):
    """Nothing but retriable errors; what was there can be read; it goes on when there is space again."""
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    prober, filler = one.probe(partition), one.brokers.data(victim) / "filler"
    at = time.monotonic()
    fill(filler)
    one.hold(FULL_SECONDS)
    meanwhile = len(prober.acks(at + 1))
    filler.unlink()
    back = time.monotonic()
    one.notes.append(f"{meanwhile} acknowledged while it was full")
    one.wait_gap(back, f"space of {victim}")
    one.finish(at)


@contextmanager
def injecting(pid, calls, what):
    """Something happens to every one of these system calls of a process, until the end."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:{what}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()


def leader_gets_errors(one, calls):
    """The directory goes offline and others take over (S2); a restart brings it back."""
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    one.probe(partition)
    one.hurt[victim] += 1
    one.brokers.expected += [OFFLINE, EIO]
    ends = one.log_ends()
    with injecting(one.brokers.pids[victim], calls, "error=EIO"):
        # Until it says so, strace may not have got hold of every thread.
        one.wait_log(OFFLINE, [victim], ends)
        at = time.monotonic()
        one.wait_gap(at, f"EIO at {victim}")
    if not one.brokers.lives(victim):
        one.notes.append("the broker ended by itself")
    one.brokers.kill(victim)
    one.brokers.start(victim)
    one.finish(at)


def leader_is_slow(one):
    """A disk that has not failed: followers have records long before the leader itself. It hands its partition over."""
    partition = one.partition_led(by_controller=False)
    victim = one.leaders[partition]
    one.probe(partition)
    one.hurt[victim] += 1
    at = time.monotonic()
    with injecting(one.brokers.pids[victim], "fsync,fdatasync", "delay_enter=1000000"):
        while one.brokers.leader(one.topic, partition) == victim and time.monotonic() < at + HANDED_OVER_SECONDS:
            time.sleep(0.05)
        if one.brokers.leader(one.topic, partition) == victim:
            one.wrong.append(f"{victim} still leads after {HANDED_OVER_SECONDS} s with a slow disk")
        one.notes.append(f"handed over after {time.monotonic() - at:.1f} s")
    one.wait_gap(at, f"slow disk at {victim}")
    one.finish(at)


def leader_cannot_sync(one):
    leader_gets_errors(one, "fsync,fdatasync")


def leader_cannot_write(one):
    leader_gets_errors(one, "pwrite64,pwritev,pwritev2")


def replaced(one, change, victim):
    """The directory of a broker that is stopped becomes something else; it must end up like the others all the same."""
    one.probe(next(partition for partition, leader in one.leaders.items() if leader != victim))
    one.hurt[victim] += 1
    at = one.brokers.stop(victim)
    change()
    one.brokers.start(victim)
    one.wait_gap(at, one.name)
    one.finish(at)


def emptied(one):
    victim, _ = one.follower()
    folder = one.brokers.data(victim)
    replaced(one, lambda: shutil.rmtree(folder), victim)


def restored(one):
    """As a volume from a snapshot: of a stopped broker, which has run since."""
    victim, _ = one.follower()
    folder = one.brokers.data(victim)
    copy = one.brokers.scratch / "copy"
    one.brokers.stop(victim)
    shutil.copytree(folder, copy)
    one.brokers.start(victim)
    one.brokers.wait_whole([LEDGER, one.topic])

    def change():
        shutil.rmtree(folder)
        copy.rename(folder)
    replaced(one, change, victim)


def swapped(one):
    """Both are refused with a sentence; swapped back, they serve."""
    brokers = one.brokers
    pair = [index for index in range(COUNT) if index != one.controller]
    a, b, aside = *map(brokers.data, pair), brokers.scratch / "aside"

    def swap():
        a.rename(aside)
        b.rename(a)
        aside.rename(b)
    one.probe(next(partition for partition, leader in one.leaders.items() if leader == one.controller))
    for index in pair:
        one.hurt[index] += 1
        brokers.stop(index)
    swap()
    for index in pair:
        said = alone(brokers, index, brokers.scratch / f"broker-{index}.properties")
        if "cannot stand on a copy of it" not in said:
            one.wrong.append(f"broker {index} is not refused on the directory of another: {said[-300:]}")
    swap()
    back = time.monotonic()
    brokers.start_all()
    one.wait_gap(back, one.name)
    one.finish(back)


def bit_flipped(one):
    """In what was synced long ago, of a stopped broker. It must never be given to anybody, wherever it is noticed."""
    victim, _ = one.follower()
    brokers = one.brokers
    _, partitions = brokers.script.describe(brokers.port + one.controller, [LEDGER], brokers.room.hosts[one.controller])
    # Where it is the second in line: it leads when the first is gone.
    partition = next(partition for (_, partition), (_, _, replicas, _) in partitions.items() if replicas[1] == victim)
    folder = brokers.data(victim) / f"{LEDGER}-{partition}"

    def change():
        segment = max(folder.glob("*.log"), key=lambda path: path.stat().st_size)
        at = random.randrange(64, segment.stat().st_size // 2)
        with open(segment, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << random.randrange(8)]))
    brokers.expected += ["damaged on disk", "may have lost its end", "checksum", "quarantined", "damaged"]
    ends = one.log_ends()
    replaced(one, change, victim)
    noticed = any("amaged" in line for line in brokers.log(victim)[ends[victim]:].splitlines())
    one.notes.append("noticed at the start" if noticed else "not noticed at the start")
    led_by_victim(one, victim, partition)
    one.not_compared.add((LEDGER, partition))


def led_by_victim(one, victim, partition):
    """Has the broker with the damage lead, by stopping whoever leads before it; what it gives to readers is checked."""
    brokers = one.brokers
    for _ in range(COUNT):
        if (first := brokers.leader(LEDGER, partition)) == victim:
            break
        brokers.stop(first)
        if brokers.leader(LEDGER, partition) == victim:
            break
        brokers.start(first)
        brokers.wait_whole([LEDGER, one.topic])
    leader = brokers.leader(LEDGER, partition)
    count, errors = read_what_can_be(one.record, f"{one.topic}-damaged", brokers.bootstrap, LEDGER, partition)
    led = "led by it" if leader == victim else f"it never led, {leader} did"
    one.notes.append(f"{led}, {count} records were read" + (f", then: {errors}" if errors else ""))
    brokers.start(first)
    brokers.wait_whole([LEDGER, one.topic])
    # Readers at the end are to be served by one that has everything.
    brokers.stop(victim)
    brokers.leader(LEDGER, partition)
    brokers.start(victim)
    brokers.wait_whole([LEDGER, one.topic])


def started_twice(one):
    """A second process under a living id, on a directory of its own and on the same one: refused with a sentence."""
    victim, partition = one.follower()
    brokers = one.brokers
    one.probe(partition)
    at = time.monotonic()
    for folder, words in ((brokers.scratch / f"twin-{victim}", "is alive as run"), (brokers.data(victim), "in use")):
        said = twin(brokers, victim, folder)
        if words not in said:
            one.wrong.append(f"a second broker {victim} on {folder.name} is not told {words!r}: {said[-300:]}")
    if not brokers.lives(victim):
        one.wrong.append(f"broker {victim} ended because of its twin")
    one.wait_gap(at, "started twice")
    one.finish(at)


def twin(brokers, index, folder):
    """What a second process under the id says."""
    keys = dict(line.split("=", 1) for line in (brokers.scratch / f"broker-{index}.properties").read_text().splitlines())
    host = brokers.room.hosts[index]
    keys |= {"listeners": f"PLAINTEXT://{host}:0", "log.dirs": str(folder), "ottla.http.listener": f"{host}:0",
             "ottla.grpc.listener": f"{host}:{brokers.port + 500}", "ottla.grpc.advertised": f"{host}:{brokers.port + 500}"}
    file = brokers.scratch / "twin.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
    return alone(brokers, index, file)


def alone(brokers, index, file):
    """Runs a broker that is to be refused; all that it says until it ends or its time is over."""
    process = subprocess.Popen([brokers.room.runner().format(index=index), brokers.binary, "--config", file],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=os.environ | {"NO_COLOR": "1"})
    try:
        return process.communicate(timeout=REFUSED_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0] + " (still runs)"


def clock_jumps(one):
    """A day ahead, then a day back, while it leads. What is sent a day back is from the future there, and refused, as in
    Kafka (message.timestamp.after.max.ms)."""
    victim = one.leaders[one.partition_led(by_controller=False)]
    library, shift = one.brokers.scratch / "clock.so", one.brokers.scratch / "clock"
    if not library.exists():
        room.run("cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl")
    shift.write_text("0")
    one.brokers.stop(victim)
    one.brokers.room.set_preload(victim, {"LD_PRELOAD": library, "CLOCK_SHIFT": shift})
    one.brokers.start(victim)
    one.take_topic(f"{one.topic}-shifted")
    one.probe(next(place for place, leader in one.leaders.items() if leader == victim))
    at = time.monotonic()
    for seconds in (DAY, -DAY):
        shift.write_text(str(seconds))
        one.hold(3)
    one.wait_gap(at, f"clock of {victim}")
    one.brokers.room.set_preload(victim, {})
    one.brokers.stop(victim)
    one.brokers.start(victim)
    one.finish(at)
