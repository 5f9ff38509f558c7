"""The provider `local`: a cluster out of namespaces of this machine, as root, without Docker.

Owns the cluster's folder and every process of the cluster. Whatever it makes is inside a network, a mount and a process
namespace of which keeper.py is process 1; of the machine itself it changes nothing but control groups, which `down`
removes. It must never end a process that is not noted as one of its own.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cgroups
import images
import pki
import settings
import units
from api import BOOT_SECONDS, END_SECONDS, Provider
from settings import Failed, wait

HERE = os.path.dirname(os.path.abspath(__file__))
NEW_NODE = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--net", "--uts", "--ipc",
            "--propagation", "private"]
NEW_KEEPER = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"]


def birth(command, log, *more):
    """Starts a process that goes through other ones, and says what its id is out here; and the line to it.

    The command gets the number of a socket as an argument, after which come those of `more`. The kernel itself says who
    speaks on it: inside its namespaces a process does not know its id out here.
    """
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ours.settimeout(END_SECONDS)
    numbers = [theirs.fileno(), *(one.fileno() for one in more)]
    with open(log, "ab") as out:
        subprocess.Popen([*command, *map(str, numbers)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=numbers,
                         env=settings.home_tools(), start_new_session=True)
    theirs.close()
    try:
        data, found, _, _ = ours.recvmsg(2, socket.CMSG_SPACE(struct.calcsize("3i")))
    except TimeoutError:
        data = b""
    if data != b"up":
        raise Failed(f"a process of the cluster ended before it began; its last words are in {log}")
    pid, _, _ = struct.unpack("3i", found[0][2][:struct.calcsize("3i")])
    return pid, ours


def digest(archive):
    try:
        with open(archive, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Failed(f"cannot read {archive}: {error.strerror}") from error


class Local(Provider):
    # --- start and end ------------------------------------------------------------------------------------------------

    def up(self):
        if os.geteuid() != 0:
            raise Failed("PROVIDER=local makes namespaces and mounts: run it as root, or use PROVIDER=kind where there is Docker")
        subprocess.run([settings.ROOT / "e2e/setup/need", "cluster"], check=True)
        binaries = images.build("cluster")
        if self.keeper() is None:
            self.down()
            self.fresh(binaries)
        with ThreadPoolExecutor(4) as threads:
            made = threads.submit(images.add_ons, self.cluster.folder / "images", binaries)
            started = [threads.submit(self.start, node) for node in self.cluster.nodes if settings.noted(node.note) is None]
            for one in [*started, made]:
                one.result()
        where = {"control": [self.cluster.control], "workers": self.cluster.workers, "all": self.cluster.nodes}
        self.loads([(archive, where[kind]) for archive, kind in made.result()])
        self.wait_api()

    def fresh(self, binaries):
        """A new keeper, with certificates and a port for it."""
        folder = self.cluster.folder
        shutil.rmtree(folder / "logs", ignore_errors=True)
        for node in self.cluster.nodes:
            node.folder.mkdir(parents=True)
            node.logs.mkdir(parents=True)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        self.cluster.write(provider="local", bin=binaries, port=port)
        pki.Pki(self.cluster).make(port)
        command = [*NEW_KEEPER, sys.executable, f"{HERE}/keeper.py", str(folder), self.cluster.name]
        pid, line = birth(command, folder / "logs/keeper.log", listener)
        line.close()
        settings.note(self.cluster.note, pid)

    def down(self):
        """Ends everything and removes it, but for the logs."""
        keeper = self.keeper()
        if keeper is not None:
            # With process 1 of a namespace the kernel ends all others in it.
            os.kill(keeper, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        notes = [self.cluster.note, *(node.note for node in self.cluster.nodes)]
        wait(deadline, lambda: f"processes of cluster {self.cluster.name} do not end",
             lambda: True if all(settings.noted(one) is None for one in notes) else None)
        self.remove_groups(self.cluster.cgroup, deadline)
        for name in ("nodes", "pki", "images"):
            shutil.rmtree(self.cluster.folder / name, ignore_errors=True)
        for file in (self.cluster.note, self.cluster.kubeconfig, self.cluster.file):
            file.unlink(missing_ok=True)

    @staticmethod
    def remove_groups(name, deadline):
        wait(deadline, lambda: f"control groups {name} cannot be removed: something still runs in them",
             lambda: True if cgroups.remove(name) else None)

    def keeper(self):
        return settings.noted(self.cluster.note)

    def living_keeper(self):
        keeper = self.keeper()
        if keeper is None:
            raise Failed(f"cluster {self.cluster.name} does not run: `make cluster-up` starts it")
        return keeper

    # --- nodes --------------------------------------------------------------------------------------------------------

    def start(self, node):
        """Has a node run, with the disk that it had. What it ran in before is gone by then."""
        if settings.noted(node.note) is not None:
            return
        keeper = self.living_keeper()
        group = f"{self.cluster.cgroup}/{node.name}"
        self.remove_groups(group, time.monotonic() + END_SECONDS)
        cgroups.make(group)
        command = ["nsenter", f"--target={keeper}", "--net", "--mount", "--pid", "--", *NEW_NODE, sys.executable,
                   f"{HERE}/node.py", str(self.cluster.folder), self.cluster.name, str(node.index)]
        pid, line = birth(command, node.logs / "node.log")
        settings.note(node.note, pid)
        self.plug_in(keeper, node, pid)
        line.sendall(b"go")
        line.close()

    def plug_in(self, keeper, node, pid):
        """A cable from the bridge to the node. That of an earlier process goes by itself, a moment after it."""
        ip = ["nsenter", f"--net=/proc/{keeper}/ns/net", "--", "ip"]
        card = f"node{node.index}"

        def plugged():
            subprocess.run([*ip, "link", "del", card], capture_output=True)
            done = subprocess.run([*ip, "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", str(pid)],
                                  capture_output=True)
            return True if done.returncode == 0 else None
        wait(time.monotonic() + END_SECONDS, lambda: f"{node.name} gets no network card", plugged)
        subprocess.run([*ip, "link", "set", card, "master", settings.BRIDGE, "up"], check=True)

    def kill(self, node):
        pid = settings.noted(node.note)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait(time.monotonic() + END_SECONDS, lambda: f"{node.name} does not end",
                 lambda: True if settings.noted(node.note) is None else None)

    def runs(self, node):
        return settings.noted(node.note) is not None

    def shell(self, node, command):
        """Becomes the command, inside a node."""
        pid = settings.noted(node.note)
        if pid is None:
            raise Failed(f"{node.name} does not run")
        os.execvp("nsenter", ["nsenter", f"--target={pid}", "--mount", "--net", "--uts", "--ipc", "--pid", "--", *command])

    def stop_api(self):
        """Ends the API server as a crash would; etcd, and everything that runs in pods, goes on."""
        (self.cluster.control.folder / "stop/kube-apiserver").touch()
        self.wait_no_api()

    def start_api(self):
        (self.cluster.control.folder / "stop/kube-apiserver").unlink(missing_ok=True)
        self.wait_api()

    # --- what others need ---------------------------------------------------------------------------------------------

    def enter(self, command):
        """Becomes the command, in the network that the nodes are in, but outside of the cluster."""
        os.execvpe("nsenter", ["nsenter", f"--net=/proc/{self.living_keeper()}/ns/net", "--", *command], os.environ)

    def load(self, archives):
        self.loads([(pathlib.Path(archive), self.cluster.nodes) for archive in archives])

    def loads(self, wanted):
        """Pairs of an archive and the nodes that get it."""
        with ThreadPoolExecutor(4) as threads:
            done = [threads.submit(self.load_one, archive, node) for archive, nodes in wanted for node in nodes]
        for one in done:
            one.result()

    def load_one(self, archive, node):
        pid = settings.noted(node.note)
        if pid is None:
            raise Failed(f"{node.name} does not run")
        # What a node has on its disk it need not be given again: `up` is repeated.
        sum_file, found = node.folder / "loaded" / archive.name, digest(archive)
        if sum_file.exists() and sum_file.read_text() == found:
            return
        door = f"/proc/{pid}/root{units.CONTAINERD}"

        def ctr(*words):
            return subprocess.run(["ctr", "--address", door, "--namespace", "k8s.io", *words], capture_output=True, text=True)
        wait(time.monotonic() + BOOT_SECONDS, lambda: f"containerd of {node.name} does not answer; see {node.logs}/containerd.log",
             lambda: True if ctr("version").returncode == 0 else None)
        done = ctr("images", "import", str(archive))
        if done.returncode != 0:
            raise Failed(f"{node.name} does not take {archive}: {done.stderr.strip()}")
        sum_file.parent.mkdir(exist_ok=True)
        sum_file.write_text(found)
