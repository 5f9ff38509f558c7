#!/usr/bin/env python3
"""Process 1 of one node of a local cluster: whoever kills it takes the node away, as a power cut would.

    node.py FOLDER NAME INDEX SOCKET

Runs in mount, process, network, UTS and IPC namespaces of its own, inside those of keeper.py. Owns what is mounted in
them, the configuration of the node, and its daemons: one that ends is started again after a second, unless there is a
file with its name in the node's folder `stop`, which also ends it. It must never write outside the node's folder: what
daemons write elsewhere (/var/lib, /var/log, /run, three sysctls of the whole kernel) is the node's own under that name.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid

import settings
import units

AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.1
# kubelet writes these for the whole machine; it gets files that hold what it wants.
SYSCTLS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}


def run(*words):
    subprocess.run(words, check=True)


def mounts(node):
    """The node's own view of the file system. Nothing is made on the machine's: only what is there is covered."""
    run("mount", "--make-rshared", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("netns", "lock", "containerd", "cni"):
        os.mkdir(f"/run/{name}")
    state = node.folder / "var-lib"
    for name in ("kubelet", "containerd", "cni", "ottla-volumes", "etcd"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (node.logs / "pods").mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", str(state), "/var/lib")
    run("mount", "--bind", str(node.logs), "/var/log")
    files = {f"/proc/sys/{name}": value for name, value in SYSCTLS.items()}
    # By these kubelet tells machines, and starts of one machine, from each other.
    files["/proc/sys/kernel/random/boot_id"] = str(uuid.uuid4())
    files["/etc/machine-id"] = uuid.uuid5(uuid.NAMESPACE_DNS, node.name).hex
    for path, value in files.items():
        if os.path.exists(path):
            cover = node.folder / "covers" / path.strip("/").replace("/", "-")
            cover.parent.mkdir(exist_ok=True)
            cover.write_text(value + "\n")
            run("mount", "--bind", str(cover), path)


def network(cluster, node):
    """The node's card, and the ways to the pods of the other nodes. The card was put here before we were told to go on."""
    for line in (f"addr add {node.address}/24 dev eth0", "link set eth0 up", "link set lo up",
                 f"route add default via {settings.OUTSIDE}"):
        run("ip", *line.split())
    for other in cluster.nodes:
        if other is not node:
            run("ip", "route", "add", other.pods, "via", other.address)
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Daemons:
    """The processes of the node, by name."""

    def __init__(self, node, wanted):
        self.node, self.wanted = node, wanted
        self.running = {}
        self.due = dict.fromkeys(wanted, 0.0)
        self.stops = node.folder / "stop"
        self.stops.mkdir(exist_ok=True)

    def start(self, name):
        with open(self.node.logs / f"{name}.log", "ab") as log:
            process = subprocess.Popen(self.wanted[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=settings.home_tools(), start_new_session=True)
        self.running[name] = process.pid

    def reap(self):
        """Notes who has ended: daemons, and whatever lost its parent in here."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, running in list(self.running.items()):
                if running == pid:
                    del self.running[name]
                    self.due[name] = time.monotonic() + AGAIN_SECONDS

    def look(self):
        for name in self.wanted:
            stopped = (self.stops / name).exists()
            if name in self.running and stopped:
                os.kill(self.running[name], signal.SIGKILL)
            elif name not in self.running and not stopped and time.monotonic() >= self.due[name]:
                self.start(name)

    def keep(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        while True:
            self.reap()
            self.look()
            signal.sigtimedwait([signal.SIGCHLD], LOOK_SECONDS)


def main():
    cluster = settings.Cluster(sys.argv[2], sys.argv[1])
    node = cluster.nodes[int(sys.argv[3])]
    born = socket.socket(fileno=int(sys.argv[4]))
    born.sendall(b"up")
    if born.recv(2) != b"go":
        sys.exit("whoever started this node has ended")
    born.close()
    socket.sethostname(node.name)
    mounts(node)
    network(cluster, node)
    known = units.Units(cluster, node, cluster.read()["bin"])
    known.write()
    Daemons(node, known.commands()).keep()


if __name__ == "__main__":
    main()
