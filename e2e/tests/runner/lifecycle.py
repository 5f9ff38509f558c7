"""A Cluster of six brokers in two pools, over three zones: what becomes of it while a producer goes on.

Owns the Cluster `pools`, its topic, the Pod that keeps a ledger of it, and the cases about them; suites mix it in. Whichever case is played
first makes it. Other Clusters are not touched.
"""

import contextlib
import json
import pathlib
import subprocess
import time
from datetime import UTC, datetime

import ledger
import watched
from scene import LEDGER, MANY
from stage import PATIENCE, TOOLS, expect, until

NAME, TOPIC, CLERK = "pools", "entries", "clerk"
# What a node keeps of a container's log, 10 MiB, is enough for 25 minutes of it.
PER_SECOND = 100
ZONE = "topology.kubernetes.io/zone"


def pool(name, **more):
    return {"name": name, "replicas": 3, "rack": ZONE, "storage": {"volumes": [{"name": "data", "size": "5Gi"}]}} | more


DECLARED = {"apiVersion": "ottla.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": NAME}, "spec": {
    "pools": [pool("a"), pool("b")],
    "config": {"default.replication.factor": 3, "min.insync.replicas": 2, "auto.create.topics.enable": False},
    "updates": {"canary": 1, "maxUnavailablePerZone": 2},
    "repair": {"replaceLostAfter": "10s"}}}


class Cases:
    clerk = None

    def one_zone_of_two_pools_is_restarted_at_a_time_after_a_canary(self):
        self.with_pools()
        pods = self.brokers(NAME)
        zones = {pod["metadata"]["name"]: pod["metadata"]["labels"][ZONE] for pod in pods}
        counts = [list(zones.values()).count(zone) for zone in "abc"]
        expect(counts == [2, 2, 2], f"the brokers stand in {zones}")
        before, wrong, began, in_sync = self.uids(NAME), set(), datetime.now(UTC), []
        with self.watching() as seen:
            self.change(NAME, {"config": {"auto.leader.rebalance.enable": False}})
            until("a broker is restarted", lambda: self.uids(NAME) != before)

            def over():
                conditions = self.conditions(NAME)
                if conditions["Ready"]["status"] != "True":
                    wrong.add(conditions["Ready"]["message"])
                in_sync.append(self.fewest_in_sync())
                return conditions["Reconciling"]["status"] == "False"
            until("the roll is over", over, 4 * PATIENCE)
            until("the watch has seen its end", lambda: watched.away(watched.events(seen.read_text()), zones)[-1] == frozenset())
        ended = datetime.now(UTC)
        expect(not set(self.uids(NAME).values()) & set(before.values()), "a broker was not restarted")
        expect(not wrong, f"the Cluster was not Ready: {wrong}")
        expect(min(in_sync) >= 2, f"a partition had {min(in_sync)} in-sync replicas, and min.insync.replicas is 2")
        steps = watched.away(watched.events(seen.read_text()), zones)
        batches = watched.batches(steps)
        told = " then ".join("+".join(f"{name.removeprefix('pools-')}({zones[name]})" for name in sorted(batch)) for batch in batches)
        expect(len(batches[0]) == 1, f"the first was not alone: {told}")
        expect(all(len({zones[name] for name in step}) <= 1 for step in steps), f"brokers of two zones were away at once: {told}")
        expect(max(map(len, steps)) == 2, f"never were two brokers of a zone away at once: {told}")
        silence = self.clerk.silence(began, ended)
        self.note(f"in {(ended - began).total_seconds():.0f} s {told}; no partition had fewer than {min(in_sync)} in-sync replicas at "
                  f"{len(in_sync)} looks; the longest time without an acknowledgement was {silence:.2f} s")
        expect(silence < 5, f"for {silence:.1f} s nothing was acknowledged")
        self.pools_go_on()

    def a_cluster_that_is_paused_is_left_alone(self):
        self.with_pools()
        before = self.uids(NAME)
        pod = sorted(before)[-1]
        self.kubectl("annotate", "clusters.ottla.dev", NAME, "ottla.dev/pause=true")
        until("it says so", lambda: self.conditions(NAME)["Reconciling"]["reason"] == "Paused")
        self.change(NAME, {"config": {"auto.leader.rebalance.enable": True}})
        self.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

        def seen():
            conditions, pools = self.conditions(NAME), self.declared(NAME)["status"]["pools"]
            said = conditions["Reconciling"]
            return said["reason"] == "Paused" and "wait" in said["message"] and "ottla.dev/pause" in said["message"] and sum(
                one["ready"] for one in pools) == 5
        until("the operator has seen both", seen)
        self.pools_go_on(whole=False)
        left = {name: uid for name, uid in before.items() if name != pod}
        expect(self.uids(NAME) == left, f"it was not left alone: {self.uids(NAME)}, and the brokers were {before}")
        expect({"Paused"} <= self.told(NAME), f"its Events are {sorted(self.told(NAME))}")
        self.kubectl("annotate", "clusters.ottla.dev", NAME, "ottla.dev/pause-")
        until("every broker is another one", lambda: len(set(self.uids(NAME).values()) - set(before.values())) == 6, 4 * PATIENCE)
        self.pools_go_on()

    def a_broker_that_finds_no_node_halts_a_roll(self):
        self.with_pools()
        before = self.uids(NAME)
        pools = self.declared(NAME)["spec"]["pools"]
        self.change(NAME, {"pools": [pools[0], pools[1] | {"resources": {"requests": {"cpu": "1000"}}}]})
        until("the roll is halted", lambda: self.conditions(NAME)["UpdatePending"]["reason"] == "RollHalted")
        (pending,) = [name for name, uid in self.uids(NAME).items() if uid not in before.values()]
        said = self.conditions(NAME)["UpdatePending"]["message"]
        wanted = (f"Pod {pending} has no node", "Insufficient cpu", "template of its pool", "when spec changes")
        expect(all(one in said for one in wanted), f"it says {said!r}")
        self.pools_go_on(whole=False)
        self.change(NAME, {"pools": pools})
        self.pools_go_on()
        after = self.uids(NAME)
        expect({name for name in after if after[name] != before[name]} == {pending}, f"others were restarted: {after} of {before}")

    def a_broker_whose_volume_is_gone_is_replaced(self):
        self.with_pools()
        lost = sorted(self.uids(NAME))[-1]
        began = time.monotonic()
        self.lose(lost)
        self.replaced(lost)
        self.note(f"{time.monotonic() - began:.1f} s from the deletion of Pod and volume until every replica was in sync again")
        self.pools_go_on()

    def a_lost_broker_that_alone_has_records_is_not_given_up(self):
        self.with_pools()
        lost = sorted(self.uids(NAME))[-1]
        broker = int(lost.rsplit("-", 1)[1])
        self.ottla_of_pools("topic", "create", "alone", "--partitions", 12, "--replicas", 1)
        (told,) = json.loads(self.ottla_of_pools("topic", "describe", "alone", "-o", "json"))
        held = [f"alone-{one['partition']}" for one in told["partitions"] if one["replicas"] == [broker]]
        expect(held, f"{lost} has none of {told}")
        before = self.uids(NAME)
        self.lose(lost)
        until("the Cluster says so", lambda: self.conditions(NAME)["Stalled"]["reason"] == "DataAtRisk")
        said = self.conditions(NAME)["Stalled"]["message"]
        expect(f"broker {broker} " in said and all(one in said for one in held), f"{held} are lost, and it says {said!r}")
        self.pools_go_on(whole=False)
        left = {name: uid for name, uid in self.uids(NAME).items() if name in before}
        expect(left == {name: uid for name, uid in before.items() if name != lost}, f"others were restarted: {left} of {before}")
        # Its pool has another one by then; what matters is that nobody forgets who has those records.
        expect(broker in self.known(), f"the cluster has forgotten it: {self.known()}")
        self.ottla_of_pools("topic", "delete", "alone", "--yes")
        self.replaced(lost)
        self.pools_go_on()

    def a_pool_is_replaced_by_another_in_one_change(self):
        self.with_pools()
        began = time.monotonic()
        kept = {name for name in self.uids(NAME) if name.startswith(f"{NAME}-a-")}
        self.change(NAME, {"pools": [pool("a"), pool("c")]})

        def replaced():
            names = set(self.uids(NAME))
            return len(names) == len(self.claims(NAME)) == 6 and sum(name.startswith(f"{NAME}-c-") for name in names) == 3
        until("the new pool has the old one's place", replaced, 4 * PATIENCE)
        self.pools_go_on()
        expect(kept < set(self.uids(NAME)), "brokers of the other pool have left")
        self.note(f"{time.monotonic() - began:.0f} s, three brokers for three")

    def nothing_acknowledged_by_two_pools_is_lost(self):
        self.with_pools()
        account = self.clerk.end()
        read = ledger.records(self.ottla_of_pools("consume", TOPIC, "-o", "json").splitlines())
        expect(len(account.acked) > 2 * MANY, f"only {len(account.acked)} records were acknowledged")
        wrong = ledger.verdict(account, read)
        expect(not wrong, "; ".join(wrong))
        self.note(f"{len(account.acked)} records were acknowledged, {len(read)} read; none lost, none twice")
        self.change(NAME, {"volumes": {"onDelete": "Delete"}})
        self.kubectl("delete", "clusters.ottla.dev", NAME, f"--timeout={PATIENCE}s")
        until("its volumes are gone", lambda: not self.claims(NAME))

    # --- what the cases use -------------------------------------------------------------------------------------------

    def with_pools(self):
        """The Cluster and its producer; whole."""
        if self.clerk is None:
            self.kubectl("apply", "-f", "-", input=json.dumps(DECLARED))
            self.pools_are_whole()
            self.ottla_of_pools("topic", "create", TOPIC, "--partitions", 12, "--replicas", 3, "--if-not-exists")
            self.load_ledger()
            self.clerk = Clerk(self)
            self.clerk.goes_on()

    def pools_are_whole(self):
        self.whole(4 * PATIENCE, NAME)

    def pools_go_on(self, whole=True):
        self.clerk.goes_on()
        if whole:
            self.pools_are_whole()

    def ottla_of_pools(self, *words):
        pod = next(pod["metadata"]["name"] for pod in self.brokers(NAME) if watched.is_ready(pod))
        return self.kubectl("exec", pod, "--", "ottla", *words).stdout

    def fewest_in_sync(self):
        (told,) = json.loads(self.ottla_of_pools("topic", "describe", TOPIC, "-o", "json"))
        return min(len(one["in_sync"]) for one in told["partitions"])

    @contextlib.contextmanager
    def watching(self):
        """Has everything that becomes of the Pods written into a file, from how they are now on."""
        seen = pathlib.Path(self.folder.name) / "watched"
        words = ["get", "pods", "-l", f"ottla.dev/cluster={NAME}", "--watch", "--output-watch-events", "-o", "json"]
        with open(seen, "wb") as out, subprocess.Popen([TOOLS / "kubectl", *words], env=self.environment, stdout=out) as watch:
            try:
                until("the watch has begun", lambda: watched.away(watched.events(seen.read_text()), self.uids(NAME)))
                yield seen
            finally:
                watch.terminate()

    def lose(self, pod):
        """A broker's Pod and volume, for good."""
        (claim,) = [one for one in self.claims(NAME) if one["metadata"]["name"] == f"data-{pod}"]
        self.kubectl("delete", "pvc", f"data-{pod}", "--wait=false")
        until("the Cluster says that it goes", lambda: self.conditions(NAME)["Stalled"]["reason"] == "VolumeGoing")
        expect(pod in self.conditions(NAME)["Stalled"]["message"], f"it says {self.conditions(NAME)['Stalled']}")
        self.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        volume = claim["spec"]["volumeName"]
        until("the volume is gone", lambda: volume not in {one["metadata"]["name"] for one in self.items("pv")})

    def replaced(self, pod):
        """Waits until another broker has its place, and the cluster has forgotten it."""
        def is_replaced():
            names = self.uids(NAME)
            return pod not in names and len(names) == 6 and self.settled(NAME) and self.conditions(NAME)["DataSafe"]["status"] == "True"
        until("another broker has its place", is_replaced, 2 * PATIENCE)
        known = self.known()
        expect(len(known) == 6 and int(pod.rsplit("-", 1)[1]) not in known, f"the cluster knows {known}")

    def known(self):
        return {broker["id"] for broker in json.loads(self.ottla_of_pools("cluster", "describe", "-o", "json"))["brokers"]}


class Clerk:
    """A producer in a Pod, which keeps everything that it says: nobody has to follow it."""

    def __init__(self, scene):
        self.scene = scene
        settings = json.dumps({"spec": {"terminationGracePeriodSeconds": 70, "securityContext": {"runAsNonRoot": True}}})
        scene.kubectl("run", CLERK, f"--image={LEDGER}", "--restart=Never", f"--overrides={settings}", "--",
                      "produce", f"{NAME}-bootstrap:9092", TOPIC, PER_SECOND)
        scene.kubectl("wait", "--for=condition=Ready", f"pod/{CLERK}", f"--timeout={PATIENCE}s")

    def goes_on(self):
        before = self.newest()
        until("the producer goes on", lambda: self.newest() > before + MANY)

    def newest(self):
        """The number of the record that was acknowledged last."""
        lines = self.scene.kubectl("logs", CLERK, "--tail=5").stdout.splitlines()
        return max((int(line.rsplit("-", 1)[1]) for line in lines if line.startswith("acked ")), default=0)

    def silence(self, began, ended):
        return self.scene.silence(began, ended, CLERK)

    def end(self):
        self.scene.end(CLERK)
        said = self.scene.kubectl("logs", CLERK).stdout
        self.scene.kubectl("delete", "pod", CLERK)
        return ledger.Ledger(said.splitlines())
