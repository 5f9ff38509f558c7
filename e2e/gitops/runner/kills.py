"""An operator that is killed after each of its writes, one by one: whoever follows it ends where nobody was killed.

Owns what is compared. An operation is played once undisturbed; then again and again, with the operator killed after its first write,
after its second, and so on until an operation is over before that many writes. The one that follows starts with nothing but what it
finds. Several namespaces play side by side, each with its own share of the numbers.
"""

import json
import threading
import time
import traceback

import yaml
from api import ours, path
from gate import Gate
from scene import ROOT, SYSTEM, cluster, conditions, expect, told, topic

PATIENCE = 300
SIDE_BY_SIDE = 6
# How many Clusters are made at once: that is what takes processor time.
MADE = threading.Semaphore(4)
KINDS = [("", "v1", kind) for kind in ("configmaps", "persistentvolumeclaims", "pods", "serviceaccounts", "services")] + [
    ("networking.k8s.io", "v1", "networkpolicies"), ("policy", "v1", "poddisruptionbudgets"), ("coordination.k8s.io", "v1", "leases"),
    ("rbac.authorization.k8s.io", "v1", "roles"), ("rbac.authorization.k8s.io", "v1", "rolebindings")]
# What the API server, kubelets and brokers fill in, and stamps of content that is compared itself.
FILLED_IN = {"clusterIP", "clusterIPs", "volumeName", "nodeName", "uid", "leaseTransitions", "renewTime", "acquireTime", "holderIdentity"}
STAMPS = {"ottla.dev/applied", "ottla.dev/revision", "ottla.dev/declared"}


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
        self.gate = Gate(scene.api)
        with MADE:
            self.begin()
            self.declare()
            for item in of.topics:
                scene.api.apply(ours("topics", name, item["metadata"]["name"]), item)
            self.wait("it serves", lambda: self.settled() and conditions(self.cluster()).get("Ready", {}).get("status") == "True")

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
        for name, item in sorted(found.items()):
            if name.startswith("configmaps c-broker-"):
                new = self.of.plain(json.dumps(item), self.turn) != json.dumps(item) or not self.of.configures
                text = text.replace(name.split()[1], f"c-broker-{'new' if new else 'old'}")
        return self.of.plain(text, self.turn)

    def wait(self, what, holds):
        ends = time.monotonic() + PATIENCE
        while not holds():
            expect(time.monotonic() < ends, f"{self.name}: not within {PATIENCE} s: {what}; {told(self.cluster())}")
            time.sleep(0.2)

    def undisturbed(self):
        """The state that the next declaration ends in."""
        self.turn += 1
        self.declare()
        self.wait("the operation is over", self.settled)
        return self.state()

    def killed(self, after, expected):
        """Plays the next declaration with the operator killed after that many writes. What was written until then; None if the
        operation was over before."""
        self.turn += 1
        operator, dead = self.operator, threading.Event()

        def kill():
            operator.kill()
            dead.set()
        self.gate.arm(after, kill)
        self.declare()
        self.wait("the operation is over, or the operator is dead", lambda: dead.is_set() or self.settled() and self.state() == expected)
        if not dead.is_set():
            self.gate.arm(None, None)
            return None
        operator.process.wait()
        writes = list(self.gate.told)
        self.gate.arm(None, None)
        self.begin()
        self.follows(expected, after, writes)
        return writes

    def follows(self, expected, after, writes):
        try:
            self.wait("the next operator has finished it", lambda: self.settled() and self.state() == expected)
        except AssertionError as late:
            (self.folder / "expected.json").write_text(expected)
            (self.folder / "is.json").write_text(self.state())
            lines = zip(expected.splitlines(), self.state().splitlines())
            other = next(((was, now) for was, now in lines if was != now), "the rest of it")
            raise AssertionError(f"killed after write {after} ({writes[-1]}): {late}; expected and found: {other}") from None


class Operation:
    """What is done again and again: declarations, and their text without the number of the turn. `configures` if it changes the
    configuration of brokers, `fresh` if each time needs another Cluster."""

    topics, fresh, configures = (), False, False

    @property
    def name(self):
        return type(self).__name__.lower()

    @staticmethod
    def plain(text, _):
        return text


class Roll(Operation):
    topics, configures = (topic("t", "c", partitions=2, replicas=2),), True

    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=2, config={"num.io.threads": 100 + turn})

    @staticmethod
    def plain(text, turn):
        return text.replace(f"num.io.threads={100 + turn}", "num.io.threads=NEW")


class Growth(Operation):
    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=2, size=f"{10 + turn}Gi")

    @staticmethod
    def plain(text, turn):
        return text.replace(f'"storage": "{10 + turn}Gi"', '"storage": "NEW"')


class ScaleIn(Operation):
    # Some of its partitions have to leave the broker that goes.
    topics, fresh = (topic("t", "c", partitions=2, replicas=1),), True

    @staticmethod
    def declaration(turn):
        return cluster("c", brokers=1 if turn else 2)


class Kills:
    def __init__(self, scene):
        self.scene, self.plays = scene, {}

    def share(self, of, expected, lane, killed, failures):
        """Plays every SIDE_BY_SIDE-th number of writes, from `lane` on, until an operation is over before."""
        world, after = None, lane
        try:
            while not failures:
                if world is None or of.fresh:
                    if world:
                        world.operator.kill()
                    world = World(self.scene, f"{of.name}-{lane}-{after}", of)
                writes = world.killed(after, expected)
                if writes is None:
                    break
                killed[after] = writes[-1]
                after += SIDE_BY_SIDE
        except Exception as error:
            failures.append(str(error) if isinstance(error, AssertionError) else traceback.format_exc())
        if world:
            world.operator.kill()

    def play(self, of, killed, failures):
        try:
            first = World(self.scene, f"{of.name}-0", of)
            expected = first.undisturbed()
            first.operator.kill()
        except Exception as error:
            failures.append(str(error) if isinstance(error, AssertionError) else traceback.format_exc())
            return
        lanes = [threading.Thread(target=self.share, args=(of, expected, lane, killed, failures)) for lane in range(1, SIDE_BY_SIDE + 1)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()

    def begin(self):
        """All operations are played at once: what they do most is wait."""
        for of in (Roll(), Growth(), ScaleIn()):
            killed, failures = {}, []
            thread = threading.Thread(target=self.play, args=(of, killed, failures))
            self.plays[of.name] = (thread, killed, failures)
            thread.start()

    def cases(self):
        def case(name, title):
            def shown():
                if not self.plays:
                    self.begin()
                thread, killed, failures = self.plays[name]
                thread.join()
                expect(not failures, "; ".join(failures))
                expect(sorted(killed) == list(range(1, len(killed) + 1)), f"only after these writes: {sorted(killed)}")
                expect(len(killed) >= 3, f"an operation of {len(killed)} writes is none")
                print(f"       killed after each of {len(killed)} writes", flush=True)
            shown.__name__ = f"{title}_is_finished_whenever_its_operator_is_killed"
            return shown
        return [case("roll", "a_roll"), case("growth", "a_growth_of_volumes"), case("scalein", "a_scale_in")]
