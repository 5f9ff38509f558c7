"""Power loss: an ext4 of its own in a file, shut down under the broker without writing anything back.

Owns the file system: a loop device, mounted below the scratch folder, always unmounted. Needs root; without it the part
is skipped by name. `EXT4_IOC_SHUTDOWN` drops what was not synced, as a machine does that loses its power.
"""

import fcntl
import os
import random
import struct
import subprocess
import time

from broker import Broker, free_port
from load import Load, create, read_all, verdict

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = struct.pack("I", 2)
ROUNDS = 5
PARTITIONS = 16


def mount(image, folder):
    subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True, text=True)


def unmount(folder):
    for _ in range(50):
        if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit(f"cannot unmount {folder}")


def run(binary, scratch, seed):
    """Returns what is wrong, and a sentence for the report."""
    image, folder = scratch / "disk.img", scratch / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(3 << 30)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True, text=True)
        mount(image, folder)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = f"SKIPPED power loss: no loop mount here ({error})"
        print(f"crash: {reason}", flush=True)
        return [], reason
    chance = random.Random(seed)
    broker = Broker(binary, folder / "data", free_port(), scratch / "power.log")
    load = None
    try:
        broker.start()
        broker.wait_ready()
        create(broker.bootstrap, "kept", PARTITIONS, {"segment.bytes": "4194304"})
        load = Load(broker.bootstrap, "kept", PARTITIONS, 5000, scratch / "power-ledger")
        load.start()
        for done in range(1, ROUNDS + 1):
            time.sleep(1 + chance.random() * 2)
            handle = os.open(folder, os.O_RDONLY)
            fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
            os.close(handle)
            broker.kill()
            unmount(folder)
            mount(image, folder)
            broker.start()
            broker.wait_ready()
            print(f"crash: power lost {done} times", flush=True)
        load.finish()
        wrong = [f"power loss: {failure}" for failure in load.failures[:5]]
        found, starts = read_all(broker.bootstrap, "kept", PARTITIONS)
        more, acked = verdict(scratch / "power-ledger", "kept", found, starts)
        broker.stop()
        return wrong + more, f"{ROUNDS} times by EXT4_IOC_SHUTDOWN, {acked} acknowledged records, each found once, at its offset, in order"
    finally:
        if load is not None:
            load.done.set()
        if broker.alive():
            broker.process.kill()
            broker.process.wait()
        unmount(folder)
