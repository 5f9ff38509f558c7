"""What a cluster of e2e/cluster is made of: its name, its folder, its nodes, their addresses.

Owns the names and numbers; starts nothing. Node names are those that kind gives, so that both providers say the same.
"""

import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/faults/runner"))
import driver  # noqa: E402

# `nodes` has what waits, locks and says why not; here it is the same.
_nodes = driver.load()
Failed, locked, process_stat, wait = _nodes.Failed, _nodes.locked, _nodes.Node.stat, _nodes.wait

NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
# What a node mounts something over: a cluster's folder in there would be out of its sight.
HIDDEN = ("/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev")
ZONES = ("a", "a", "b", "c")

SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
# Where the nodes are; the outside of the cluster is the last address. Addresses from 200 on are for load balancers.
NODE_NET = "10.199.0"
OUTSIDE = f"{NODE_NET}.254"
BRIDGE = "nodes"
API_PORT = 6443


class Node:
    def __init__(self, cluster, folder, index):
        self.index = index
        self.control = index == 0
        # kind's names: the first worker has no number.
        suffix = "control-plane" if self.control else f"worker{index if index > 1 else ''}"
        self.name = f"{cluster}-{suffix}"
        self.zone = ZONES[index]
        self.address = f"{NODE_NET}.{index + 1}"
        self.pods = f"10.244.{index}.0/24"
        self.folder = folder / "nodes" / self.name
        self.note = self.folder / "pid"
        self.logs = folder / "logs" / self.name


class Cluster:
    """One cluster of this machine, by its name; several may run beside each other."""

    def __init__(self, name, folder):
        if not NAME.fullmatch(name):
            raise Failed(f"CLUSTER is {name!r}; it must be letters, digits and dashes, at most 20")
        self.name = name
        self.folder = pathlib.Path(folder).resolve()
        for hidden in HIDDEN:
            if self.folder.is_relative_to(hidden):
                raise Failed(f"the cluster's folder {self.folder} is under {hidden}, which nodes cannot see; set CLUSTER_DIR")
        self.nodes = [Node(name, self.folder, index) for index in range(len(ZONES))]
        self.control = self.nodes[0]
        self.workers = self.nodes[1:]
        self.pki = self.folder / "pki"
        self.kubeconfig = self.folder / "kubeconfig"
        self.note = self.folder / "keeper.pid"
        self.cgroup = f"ottla-cluster-{name}"
        self.file = self.folder / "settings.json"

    @classmethod
    def of(cls, environment):
        name = environment.get("CLUSTER") or "ottla"
        cache = pathlib.Path.home() / f".cache/ottla/run/cluster-{name}"
        return cls(name, environment.get("CLUSTER_DIR") or cache)

    def read(self):
        """What `up` has written down: provider, binaries, the port of the API server on this machine."""
        try:
            return json.loads(self.file.read_text())
        except OSError:
            raise Failed(f"there is no cluster {self.name}: `make cluster-up` starts it") from None

    def write(self, **settings):
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(settings))
        fresh.rename(self.file)

    def find(self, text):
        """The node of a number (0 is the control plane) or a name, with or without the cluster's in front."""
        for node in self.nodes:
            if text in (str(node.index), node.name, node.name.removeprefix(self.name + "-")):
                return node
        raise Failed(f"there is no node {text!r}; there are {', '.join(f'{node.index} ({node.name})' for node in self.nodes)}")


def note(path, pid):
    """Writes down a process so that it is known again: its id, and when it began."""
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{pid} {process_stat(pid)[1]}\n")
    fresh.rename(path)


def noted(path):
    """The process id of what was written down, if that very process still lives."""
    try:
        pid, began = path.read_text().split()
        state, since = process_stat(int(pid))
    except (OSError, ValueError):
        return None
    return int(pid) if since == began and state not in "ZX" else None


def say(line):
    print(f"cluster: {line}", file=sys.stderr, flush=True)


def home_tools():
    """What every process of the cluster is started with: nothing of the caller's settings but where programs are."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    # Debian keeps mkfs and nft where a user's PATH does not look.
    return {"PATH": f"{path}:/usr/sbin:/sbin", "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}
