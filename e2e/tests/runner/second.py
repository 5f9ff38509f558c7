"""A Kubernetes that is lost, and another one that takes over what its brokers had on disk.

Owns the case and the second cluster, which is beside the first and gone afterwards. It lays copies of data directories on volumes
as docs/how-to/recover-metadata.md says; nothing else comes over: no object, no Secret. Suites mix it in.
"""

import json
import subprocess
import time

from scene import BIN, CLUSTER, ROOT, Scene
from stage import PATIENCE, TOOLS, expect, until

MOVED, COUNT, GROUP = "moved", 2000, "movers"


def committed(scene):
    """Where the group stands on each partition."""
    (group,) = json.loads(scene.ottla("group", "describe", GROUP, "-o", "json"))
    return {one["partition"]: one["committed"] for one in group["partitions"]}


class Second(Scene):
    """Another Kubernetes, of the same make."""

    def install(self):
        self.tool("up.sh")
        self.tool("load-ottla")
        self.kubectl("apply", "-k", ROOT / "deploy/local", "--server-side")
        self.kubectl("-n", "ottla-system", "rollout", "status", "deployment/ottla-operator", f"--timeout={PATIENCE}s")

    def lay(self, claim, size, zone, folder):
        """A claim that the Cluster will take for its own by name and label, and a data directory on its volume."""
        wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "labels": {"ottla.dev/cluster": CLUSTER}},
                  "spec": {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": size}}}}
        self.kubectl("apply", "-f", "-", input=json.dumps(wanted))
        with self.held(claim, zone) as pod:
            command = ["tar", "-cf", "-", "-C", folder.parent, folder.name]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
                subprocess.run([TOOLS / "kubectl", "exec", "-i", pod, "--", "tar", "-xf", "-", "-C", "/data"], stdin=reader.stdout,
                               env=self.environment, check=True)
            expect(reader.returncode == 0, f"{folder} could not be read")


class Cases:
    def a_second_kubernetes_takes_the_volumes_over(self):
        self.ottla("topic", "create", MOVED, "--partitions", 6, "--replicas", 3)
        sent = [f"record {number}" for number in range(COUNT)]
        self.kubectl("exec", "-i", f"{CLUSTER}-main-0", "--", "ottla", "produce", MOVED, "--quiet", input="".join(f"{one}\n" for one in sent))
        self.ottla("consume", MOVED, "--group", GROUP)
        stands = committed(self)
        expect(sum(stands.values()) == COUNT, f"the group stands at {stands}")
        identity, brokers, ledger = self.declared()["status"]["clusterId"], len(self.brokers()), self.read and self.records()
        self.annotate("hibernate=true")
        until("no broker runs", lambda: not self.brokers())
        copies = {claim["metadata"]["name"]: (claim["spec"]["resources"]["requests"]["storage"], self.copied(claim["metadata"]["name"]))
                  for claim in self.claims(CLUSTER)}
        other = Second(f"{self.cluster.name}2")
        try:
            began = time.monotonic()
            other.install()
            installed = time.monotonic()
            # A broker in each zone, as there were.
            for (claim, (size, folder)), node in zip(sorted(copies.items()), other.cluster.workers, strict=True):
                other.lay(claim, size, node.zone, folder)
            self.recover(other, [folder for _, folder in copies.values()])
            other.kubectl("apply", "-f", "-", input=other.example())
            other.whole(2 * PATIENCE)
            self.note(f"{installed - began:.1f} s for the other Kubernetes and the operator, {time.monotonic() - installed:.1f} s to a whole cluster of "
                      f"{brokers} brokers there")
            self.the_same(other, identity, sorted(sent), ledger)
            expect(committed(other) == stands, f"the group stands at {committed(other)}, and stood at {stands}")
        finally:
            other.tool("down.sh", check=False)
            self.annotate("hibernate-")
        self.whole(2 * PATIENCE)

    def recover(self, other, folders):
        """The documents of the metadata, made in the other Kubernetes out of the brokers' copies."""
        command = [BIN / "ottla", "cluster", "recover-metadata", CLUSTER, "-n", "default", *(f"--data-dir={folder}" for folder in folders)]
        planned = other.tool("enter", *command).stdout
        expect("no acknowledged record is lost" in planned and "Nothing was changed" in planned, f"the plan is {planned}")
        other.tool("enter", *command, "--yes")

    def the_same(self, other, identity, sent, ledger):
        found = other.declared()["status"]["clusterId"]
        expect(found == identity, f"it is {found}, the first was {identity}")
        expect(sorted(other.ottla("consume", MOVED).splitlines()) == sent, "it has other records")
        expect(not ledger or other.records() == ledger, "it has other records in the ledger")
        other.kubectl("wait", "--for=condition=Ready", "topics.ottla.dev/orders", f"--timeout={PATIENCE}s")
        other.kubectl("exec", "-i", f"{CLUSTER}-main-1", "--", "ottla", "produce", MOVED, "--quiet", input="one more\n")
        expect(sorted(other.ottla("consume", MOVED).splitlines()) == sorted([*sent, "one more"]), "a record that was added there is not there")
