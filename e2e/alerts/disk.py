"""A file system of its own for one broker's data directory, which can be filled, and which can fail.

Owns an ext4 in a file, mounted where only this suite sees it: `enclose` has made that place. It fails by `EXT4_IOC_SHUTDOWN`,
as a disk that is pulled out: every write is an error, and what was not synced is lost. Needs root and loop devices.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import sys

from cases import until

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = struct.pack("I", 2)
DISK_BYTES = 1 << 30
ENCLOSE = ["unshare", "--mount", "--"]


def run(*words):
    subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, env=os.environ | {"PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})


def enclose():
    """Goes on where mounts end with the last process of this suite; there is no such place but for root."""
    if os.environ.get("ALERTS_ENCLOSED") or not shutil.which("unshare"):
        return
    if subprocess.run([*ENCLOSE, "true"], capture_output=True).returncode == 0:
        os.environ["ALERTS_ENCLOSED"] = "1"
        os.execvp(ENCLOSE[0], [*ENCLOSE, sys.executable, *sys.argv])


def missing():
    """Why there are no disks here; None if there are."""
    if not os.environ.get("ALERTS_ENCLOSED"):
        return "no mounts of its own here: this needs root and unshare (util-linux)"
    return None if os.path.exists("/dev/loop-control") else "no loop devices here"


class Disk:
    def __init__(self, folder, image):
        self.folder, self.image, self.filler = folder, image, folder / "filler"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        # Nothing is reserved for root: what is free is free for the broker.
        run("mkfs.ext4", "-q", "-m", "0", image)
        folder.mkdir(parents=True)
        self.mount()
        # A broker formats only a directory that is empty.
        (folder / "lost+found").rmdir()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.folder)

    def unmount(self):
        def gone():
            return subprocess.run(["umount", self.folder], capture_output=True).returncode == 0
        until(f"{self.folder} can be unmounted", gone)

    def fill(self, left):
        """Takes all but this part of the space."""
        space = os.statvfs(self.folder)
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, (space.f_bavail - int(space.f_blocks * left)) * space.f_frsize)

    def empty(self):
        self.filler.unlink()
        # A file system that fails before its journal has this would be full again once it is mended.
        handle = os.open(self.folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def fail(self):
        handle = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(handle)

    def mend(self):
        """Once the broker is gone."""
        self.unmount()
        self.mount()
