"""One operation on real nodes, with its operator killed after each of its writes, under the ledgers of producers.

    killing.py FOLDER KUBECONFIG OPERATION SIDE_BY_SIDE

Runs in the network of a node, where Pods and names are reached as in any Pod with `hostNetwork`: operators and their gates (e2e/gitops) are
processes there, everything else is what Kubernetes runs. Owns the ledgers: a producer per namespace, from before the first write to after
the last one. The last line is what was seen, as JSON.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "e2e/gitops/runner"))
import kills  # noqa: E402
import ledger  # noqa: E402
from api import Api, ours, path  # noqa: E402
from declared import cluster  # noqa: E402
from operators import ACCOUNT, BIN, SYSTEM, Operator, write_kubeconfig  # noqa: E402
from world import World, expect  # noqa: E402

IMAGE = "localhost/ottla/ledger:dev"
PER_SECOND = 20
# How many acknowledgements show that a producer goes on.
MANY = 40
# What a producer has to say its last word.
GRACE_SECONDS = 70


class Scene:
    """The API server of the nodes, and operators that reach it through a gate."""

    def __init__(self, folder, kubeconfig):
        self.folder, self.kubeconfig, self.api = pathlib.Path(folder), kubeconfig, Api(kubeconfig)
        self.port, self.lock = 19000, threading.Lock()

    def namespace(self, name):
        self.api.create(path("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def find(self, resource, namespace, name):
        return self.api.find(ours(resource, namespace, name))

    def operator(self, folder, server, more):
        own = folder / "operator.kubeconfig"
        write_kubeconfig(self.kubeconfig, own, SYSTEM, ACCOUNT, server)
        with self.lock:
            self.port += 1
            port = self.port
        return Operator(folder, own, port, ("--broker-image", "localhost/ottla/broker", "--broker-version", "dev", *more))


class Ledger:
    """A producer in a Pod of its own, and everything that it says."""

    def __init__(self, world):
        self.world, self.said = world, world.folder / "ledger"
        self.place = path("pods", world.name, "ledger")
        self.servers = f"c-bootstrap.{world.name}.svc:9092"
        container = {"name": "ledger", "image": IMAGE, "imagePullPolicy": "Never", "args": ["produce", self.servers, "t", str(PER_SECOND)]}
        world.scene.api.create(path("pods", world.name), {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ledger"},
            "spec": {"restartPolicy": "Never", "securityContext": {"runAsNonRoot": True}, "terminationGracePeriodSeconds": GRACE_SECONDS,
                     "containers": [container]}})
        world.wait("its producer runs", lambda: world.scene.api.get(self.place)["status"]["phase"] == "Running")
        self.follower = threading.Thread(target=self.follow, daemon=True)
        self.follower.start()
        self.goes_on()

    def follow(self):
        line = self.world.scene.api.connection(timeout=3600)
        line.request("GET", f"{self.place}/log?follow=true", headers=self.world.scene.api.headers)
        answer = line.getresponse()
        with open(self.said, "wb") as file:
            while data := answer.read1(1 << 16):
                file.write(data)
                file.flush()

    def acks(self):
        return self.said.read_bytes().count(b"acked ") if self.said.exists() else 0

    def goes_on(self):
        before = self.acks()
        self.world.wait("the producer goes on", lambda: self.acks() > before + MANY)

    def account(self):
        """Has the producer say its last word. How many records were acknowledged, all of which are there, once."""
        self.goes_on()
        self.world.scene.api.delete(self.place)
        self.follower.join()
        account = ledger.Ledger(self.said.read_text().splitlines())
        command = [BIN / "ottla", "-b", self.servers, "consume", "t", "-o", "json"]
        read = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=GRACE_SECONDS)
        expect(read.returncode == 0, f"{self.world.name}: {read.stderr}")
        wrong = ledger.verdict(account, ledger.records(read.stdout.splitlines()))
        expect(not wrong, f"{self.world.name}: {'; '.join(wrong)}")
        return len(account.acked)


class Kept(World):
    """A namespace whose Cluster has a producer."""

    accounts = []

    def __init__(self, *words):
        super().__init__(*words)
        self.ledger = Ledger(self)

    def end(self):
        super().end()
        self.accounts.append(self.ledger.account())


class Growth(kills.Growth):
    topics = kills.Roll.topics


class ScaleIn(kills.ScaleIn):
    """One of three brokers leaves; whoever is away comes back before the next turn."""

    topics, fresh, returns = kills.Roll.topics, False, True

    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=2 if turn % 2 else 3)


OPERATIONS = {of.__name__.lower(): of for of in (kills.Roll, Growth, ScaleIn)}


def main():
    folder, kubeconfig, name, side_by_side = sys.argv[1:]
    scene, began = Scene(folder, kubeconfig), time.monotonic()
    play = kills.Play(scene, OPERATIONS[name](), Kept, int(side_by_side))
    play.start()
    wrong = play.wait()
    print(json.dumps({"wrong": wrong, "killed": play.numbers.killed, "acked": Kept.accounts, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
