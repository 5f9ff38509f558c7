"""Where brokers run: each in a network of its own, and what is between these networks.

Owns the bridge, the links and the packet filters of one run. They exist only in the private network that `__main__` has
made, so nothing of the machine is touched; every namespace ends with the process that holds it. Where there is no such
network, brokers share loopback, and `missing` says what cannot be tried.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

ENCLOSED = os.environ.get("FAULTS_ENCLOSED") == "1"
NETWORK = "10.77.0"
HUB = f"{NETWORK}.1"
TABLE = "faults"


def run(*command, text=None):
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def missing():
    """Why there are no networks to cut; None if there are."""
    if not ENCLOSED:
        return "no private network here: this needs root, unshare (util-linux) and ip (iproute2)"
    absent = [name for name in ("ip", "nft", "nsenter") if shutil.which(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else None


class Room:
    def __init__(self, scratch, count):
        self.scratch, self.holders, self.preload = scratch, {}, {}
        self.networked = missing() is None
        self.hosts = [f"{NETWORK}.{10 + index}" for index in range(count)] if self.networked else ["127.0.0.1"] * count
        self.hub = HUB if self.networked else "127.0.0.1"
        if self.networked:
            self.connect()
        for index in range(count):
            self.write_runner(index)

    def connect(self):
        # A second run in the same room finds the bridge there.
        if subprocess.run(["ip", "link", "show", "hub"], capture_output=True).returncode != 0:
            run("ip", "link", "add", "hub", "type", "bridge")
            run("ip", "address", "add", f"{HUB}/24", "dev", "hub")
            run("ip", "link", "set", "hub", "up")
        for index, host in enumerate(self.hosts):
            holder = self.holders[index] = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            self.wait_namespace(holder.pid)
            run("ip", "link", "add", f"broker{index}", "type", "veth", "peer", "name", "eth0", "netns", holder.pid)
            run("ip", "link", "set", f"broker{index}", "master", "hub", "up")
            for words in (["address", "add", f"{host}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                          ["link", "set", "lo", "up"]):
                run("nsenter", f"--net=/proc/{holder.pid}/ns/net", "ip", *words)

    @staticmethod
    def wait_namespace(pid):
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if time.monotonic() > deadline:
                raise RuntimeError("unshare makes no network")
            time.sleep(0.01)

    def runner(self):
        """What `nodes` is to run brokers with."""
        return str(self.scratch / "run-{index}")

    def set_preload(self, index, variables):
        """Has the broker's next process begin with these variables."""
        self.preload[index] = variables
        self.write_runner(index)

    def write_runner(self, index):
        words = ["exec"]
        if self.networked:
            words += ["nsenter", f"--net=/proc/{self.holders[index].pid}/ns/net"]
        words += ["env", *(f"{name}='{value}'" for name, value in self.preload.get(index, {}).items()), '"$@"']
        script = Path(self.runner().format(index=index))
        fresh = script.with_suffix(".new")
        fresh.write_text(f"#!/bin/sh\n{' '.join(words)}\n")
        fresh.chmod(0o755)
        fresh.rename(script)

    def filter(self, index, rule):
        """Drops what reaches a broker's network and fits the rule; one way only: what it sends goes out."""
        lines = f"table inet {TABLE} {{\nchain arriving {{\ntype filter hook input priority 0;\n{rule} drop\n}}\n}}\n"
        run("nsenter", f"--net=/proc/{self.holders[index].pid}/ns/net", "nft", "-f", "-", text=lines)

    def deafen(self, index, others):
        """The broker hears nothing any more of what those send it."""
        self.filter(index, f"ip saddr {{ {', '.join(self.hosts[other] for other in others)} }}")

    def cut(self, index, others):
        """Neither hears the other."""
        self.deafen(index, others)
        for other in others:
            self.deafen(other, [index])

    def cut_api(self, index, port):
        """The broker hears nothing of the API server; clients stand at the same address, and reach it."""
        self.filter(index, f"ip saddr {self.hub} tcp sport {port}")

    def heal(self):
        for holder in self.holders.values():
            namespace = f"--net=/proc/{holder.pid}/ns/net"
            # To make it first makes it sure that it can be deleted.
            run("nsenter", namespace, "nft", "-f", "-", text=f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")

    def close(self):
        for index, holder in self.holders.items():
            subprocess.run(["ip", "link", "delete", f"broker{index}"], capture_output=True)
            holder.kill()
            holder.wait()
        self.holders.clear()
