"""A namespace with a Cluster and operators of its own, which are killed when their gate says so.

Owns what is compared: everything that an operator is answerable for, without what differs from one run to the next. The scene that it is
given has an API server, and starts the operator; with nodes or without is no matter here.
"""

import json
import re
import signal
import sys
import threading
import time

import yaml
from api import ours, path
from declared import conditions, told
from gate import Gate
from operators import ROOT, SYSTEM

sys.path.append(str(ROOT / "e2e/kubernetes"))
from cases import expect  # noqa: E402

PATIENCE = 300
# What an operator ends with that has lost its lease.
LOST = 1
# How many Clusters are made at once: that is what takes processor time.
MADE = threading.Semaphore(4)
KINDS = [("", "v1", kind) for kind in ("configmaps", "persistentvolumeclaims", "pods", "serviceaccounts", "services")] + [
    ("networking.k8s.io", "v1", "networkpolicies"), ("policy", "v1", "poddisruptionbudgets"), ("coordination.k8s.io", "v1", "leases"),
    ("rbac.authorization.k8s.io", "v1", "roles"), ("rbac.authorization.k8s.io", "v1", "rolebindings")]
# What the API server, its controllers, kubelets and brokers fill in, and stamps of content that is compared itself.
FILLED_IN = {"clusterIP", "clusterIPs", "volumeName", "nodeName", "uid", "leaseTransitions", "renewTime", "acquireTime", "holderIdentity",
             "volume.kubernetes.io/selected-node", "topology.kubernetes.io/zone", "topology.kubernetes.io/region"}
STAMPS = {"ottla.dev/applied", "ottla.dev/revision", "ottla.dev/declared", "ottla.dev/declared-at-start"}


def bare(value):
    """A value without what differs from one run to the next."""
    if isinstance(value, dict):
        return {key: "stamped" if key in STAMPS else bare(inner) for key, inner in value.items() if key not in FILLED_IN}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


class World:
    """A namespace with a Cluster and operators of its own, which reach the API server through a gate."""

    def __init__(self, scene, name, of):
        self.scene, self.name, self.of, self.turn = scene, name, of, 0
        self.folder = scene.folder / name
        self.folder.mkdir()
        scene.namespace(name)
        for item in yaml.safe_load_all((ROOT / "deploy/operator/common/election.yaml").read_text()):
            for subject in item.get("subjects", []):
                subject["namespace"] = SYSTEM
            resource = item["kind"].lower() + "s"
            scene.api.apply(path(resource, name, item["metadata"]["name"], "rbac.authorization.k8s.io"), item)
        self.gate, self.lock, self.dead = Gate(scene.api), threading.Lock(), threading.Event()
        with MADE:
            self.begin()
            self.declare()
            for item in of.topics:
                scene.api.apply(ours("topics", name, item["metadata"]["name"]), item)
            self.wait("it serves", lambda: self.settled() and self.well())

    def begin(self):
        """Starts an operator; the lease of one that was killed is nobody's."""
        self.scene.api.delete(path("leases", self.name, "ottla-operator", "coordination.k8s.io"))
        self.operator = self.scene.operator(self.folder, self.gate.url(), ("--watch-namespaces", self.name, "--lease-namespace", self.name))

    def declare(self):
        item = self.of.declaration(self.turn)
        self.scene.api.apply(ours("clusters", self.name, "c"), item)
        self.brokers = sum(pool["replicas"] for pool in item["spec"]["pools"])

    def cluster(self):
        return self.scene.find("clusters", self.name, "c")

    def objects(self, group, version, resource):
        return self.scene.api.get(path(resource, self.name, group=group, version=version) + "?labelSelector=ottla.dev%2Fcluster%3Dc")["items"]

    def settled(self):
        """Whether the newest declaration has been seen, and nothing is left to do about it."""
        found = self.cluster()
        is_now, status = conditions(found), found.get("status", {})
        idle = all(is_now.get(kind, {}).get("status") == "False" for kind in ("Reconciling", "UpdatePending"))
        if not idle or status["observedGeneration"] != found["metadata"]["generation"] or "operation" in status:
            return False
        counts = [len(self.objects("", "v1", resource)) for resource in ("pods", "persistentvolumeclaims")]
        topics = self.scene.api.get(ours("topics", self.name))["items"]
        return counts == [self.brokers] * 2 and all(conditions(one).get("Ready", {}).get("status") == "True" for one in topics)

    def well(self):
        """Whether replicas are in sync, too: they follow a moment after the operation, and the disruption budget follows them."""
        is_now = conditions(self.cluster())
        followed = [one["spec"]["minAvailable"] for one in self.objects("policy", "v1", "poddisruptionbudgets")] == [self.brokers - 1]
        return followed and all(is_now.get(kind, {}).get("status") == "True" for kind in ("Ready", "DataSafe", "Balanced", "CertificatesValid"))

    def final(self):
        """The state, if nothing is still to come; looked at twice, for it is not read in one moment."""
        before = self.state() if self.well() and self.settled() else None
        return before if before and self.well() and self.settled() and self.state() == before else None

    def state(self):
        """Everything that the operator is answerable for, in a text that is the same wherever it is the same."""
        found = {}
        for group, version, resource in KINDS:
            for item in self.objects(group, version, resource):
                kept = {key: bare(value) for key, value in item.items() if key not in ("metadata", "status", "apiVersion", "kind")}
                meta = {key: bare(item["metadata"].get(key)) for key in ("labels", "annotations", "ownerReferences", "finalizers")}
                serves = [one["status"] for one in item.get("status", {}).get("conditions", []) if one["type"] == "Ready"]
                found[f"{resource} {item['metadata']['name']}"] = [meta, kept, serves]
        found["shards"] = sorted(item["metadata"]["name"] for item in self.scene.api.get(ours("metadatashards", self.name))["items"])
        for item in [self.cluster(), *self.scene.api.get(ours("topics", self.name))["items"]]:
            status = item.get("status", {})
            said = [f"{one['type']}={one['status']} {one['reason']}: {one['message']}" for one in status.get("conditions", [])]
            shown = {key: status.get(key) for key in ("pools", "version", "partitions", "operation", "drift", "listeners")}
            found[f"status {item['kind']} {item['metadata']['name']}"] = [said, shown, item["metadata"].get("finalizers")]
        text = json.dumps(found, sort_keys=True, indent=1).replace(self.name, "SPACE")
        text = re.sub(r"kube-api-access-\w+", "kube-api-access", text)
        for name, item in sorted(found.items()):
            if name.startswith("configmaps c-broker-"):
                new = self.of.plain(json.dumps(item), self.turn) != json.dumps(item) or not self.of.configures
                text = text.replace(name.split()[1], f"c-broker-{'new' if new else 'old'}")
        return self.of.plain(text, self.turn)

    def wait(self, what, holds):
        """What `holds` gives, once it gives anything."""
        ends = time.monotonic() + PATIENCE
        while not (held := holds()):
            self.look()
            expect(time.monotonic() < ends, f"{self.name}: not within {PATIENCE} s: {what}; {told(self.cluster())}")
            time.sleep(0.5)
        return held

    def look(self):
        """Starts the operator again if it has ended by itself, as Kubernetes does: one that is not answered in time loses its lease."""
        with self.lock:
            code = self.operator.process.poll()
            if code == LOST and not self.dead.is_set():
                self.begin()
        expect(code in (None, LOST, -signal.SIGKILL), f"{self.name}: its operator has ended with {code}, see {self.folder}")

    def end(self):
        """Nothing is played here any more."""
        self.operator.kill()
        self.operator.process.wait()

    def undisturbed(self):
        """The state that the next declaration ends in."""
        self.turn += 1
        self.declare()
        return self.wait("the operation is over, and nothing is still to come", self.final)

    def killed(self, after, expected):
        """Plays the next declaration with the operator killed after that many writes. What was written until then; None if the
        operation was over before."""
        self.turn += 1
        self.dead.clear()
        self.gate.arm(after, self.kill)
        self.declare()
        self.wait("the operation is over, or the operator is dead", lambda: self.dead.is_set() or self.settled() and self.state() == expected)
        writes = self.gate.arm(None, None)[:after]
        if not self.dead.is_set():
            return None
        self.operator.process.wait()
        self.dead.clear()
        self.begin()
        self.follows(expected, after, writes)
        return writes

    def kill(self):
        with self.lock:
            self.operator.kill()
            self.dead.set()

    def follows(self, expected, after, writes):
        try:
            self.wait("the next operator has finished it", lambda: self.settled() and self.state() == expected)
        except AssertionError as late:
            (self.folder / "expected.json").write_text(expected)
            (self.folder / "is.json").write_text(self.state())
            lines = zip(expected.splitlines(), self.state().splitlines())
            other = next(((was, now) for was, now in lines if was != now), "the rest of it")
            raise AssertionError(f"killed after write {after} ({writes[-1]}): {late}; expected and found: {other}") from None
