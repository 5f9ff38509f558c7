"""What Ottla promises on Kubernetes, shown one after another on real nodes.

Owns the cases and their order; how they are played and told is stage.py's, what they look at scene.py's. A producer and a consumer group of another make keep
ledgers as Pods while brokers are killed, drained and restarted. It speaks only Kubernetes and, through clients in Pods, Kafka.
"""

import argparse
import functools
import json
import pathlib
import subprocess
import sys
import time
from datetime import UTC, datetime

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/cluster/runner"))
sys.path.append(str(ROOT / "e2e/page"))
import dynamic  # noqa: E402
import installs  # noqa: E402
import killed  # noqa: E402
import ledger  # noqa: E402
import lifecycle  # noqa: E402
import outside  # noqa: E402
import page  # noqa: E402
import plugin  # noqa: E402
import policies  # noqa: E402
import readme  # noqa: E402
import second  # noqa: E402
from scene import BIN, CLUSTER, LEDGER, MANY, MEMBERS, QUICKSTART, TOPIC, Scene  # noqa: E402
from stage import PATIENCE, expect, perform, title, until  # noqa: E402

HEADING = "## On Kubernetes"
PARTITIONS, PER_SECOND = 6, 200


class Suite(dynamic.Cases, installs.Cases, killed.Cases, lifecycle.Cases, outside.Cases, plugin.Cases, policies.Cases, second.Cases, Scene):
    def nodes_come_up(self):
        self.tool("up.sh")

    def readme_is_right_word_for_word(self):
        steps = readme.block(ROOT / "README.md", HEADING)
        done = subprocess.run(["bash", "-c", readme.script(steps)], cwd=ROOT, env=self.environment, capture_output=True, text=True,
                              timeout=4 * PATIENCE)
        printed = readme.printed(done.stdout)
        expect(done.returncode == 0, f"{steps[max(printed, default=0)][0]}: {done.stderr.strip()[-1000:]}")
        for number, (command, wanted) in enumerate(steps):
            expect(not wanted or printed[number] == wanted, f"{command} prints {printed[number]}, README says {wanted}")

    def brokers_stand_in_three_zones_and_know_it(self):
        zones = {node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in self.items("nodes")}
        stand = {pod["spec"]["nodeName"]: zones[pod["spec"]["nodeName"]] for pod in self.brokers()}
        expect(sorted(stand.values()) == ["a", "b", "c"], f"the brokers stand in {stand}")
        told = json.loads(self.ottla("cluster", "describe", "-o", "json"))
        expect(sorted(broker["rack"] for broker in told["brokers"]) == ["a", "b", "c"], f"they say {told}")

    def brokers_are_what_restricted_namespaces_allow(self):
        level = "pod-security.kubernetes.io/enforce=restricted"
        done = self.kubectl("label", "--dry-run=server", "namespace", "default", level)
        expect(CLUSTER not in done.stderr, f"they are not: {done.stderr}")

    def a_producer_and_a_group_begin_their_ledgers(self):
        self.ottla("topic", "create", TOPIC, "--partitions", PARTITIONS, "--replicas", 3)
        self.load_ledger()
        settings = json.dumps({"spec": {"nodeSelector": {"topology.kubernetes.io/zone": "a"}, "securityContext": {"runAsNonRoot": True},
                                        "terminationGracePeriodSeconds": 70}})
        asked = {"ledger": ["produce", f"{CLUSTER}-bootstrap:9092", TOPIC, PER_SECOND]}
        asked |= {member: ["consume", f"{CLUSTER}-bootstrap:9092", TOPIC, "readers"] for member in MEMBERS}
        for pod, words in asked.items():
            self.kubectl("run", pod, f"--image={LEDGER}", "--restart=Never", f"--overrides={settings}", "--", *words)
        self.kubectl("wait", "--for=condition=Ready", *(f"pod/{pod}" for pod in asked), f"--timeout={PATIENCE}s")
        self.follow()
        self.goes_on()

    def a_killed_pod_is_made_again(self):
        pod, before = f"{CLUSTER}-main-0", self.uids()
        self.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        until(f"another {pod} serves", lambda: self.uids().get(pod, before[pod]) != before[pod] and self.serving() == 3)
        self.goes_on()
        self.whole()

    def a_drain_takes_one_broker_and_ends(self):
        first, second = (pod["spec"]["nodeName"] for pod in self.elsewhere())
        words = ["--ignore-daemonsets", "--delete-emptydir-data"]
        try:
            self.kubectl("drain", first, *words, f"--timeout={PATIENCE}s")
            self.goes_on()
            refused = self.kubectl("drain", second, *words, "--timeout=10s", check=False)
            expect(refused.returncode != 0 and "disruption budget" in refused.stderr,
                   f"a second broker may go while one is away: {refused.stdout} {refused.stderr}")
            expect(self.serving() == 2, f"{self.serving()} brokers serve")
        finally:
            self.kubectl("uncordon", first, second)
        self.whole()

    def a_zone_without_power_stops_nobody(self):
        node = self.elsewhere()[0]["spec"]["nodeName"]
        self.tool("node", "kill", node)
        try:
            until("the Cluster says that replicas are missing", lambda: self.conditions()["DataSafe"]["status"] == "False")
            self.goes_on()
            until("the broker is not Ready", lambda: self.serving() == 2)
        finally:
            self.tool("node", "start", node)
        self.whole(2 * PATIENCE)

    def records_go_on_without_the_api_server(self):
        self.without_the_api_server(["stop-api"], ["start-api"])

    def records_go_on_while_the_control_plane_has_no_power(self):
        (node,) = (node.name for node in self.cluster.nodes if node.control)
        self.without_the_api_server(["kill", node], ["start", node])

    def without_the_api_server(self, away, back):
        began = datetime.now(UTC)
        self.tool("node", *away)
        try:
            expect(self.kubectl("get", "nodes", "--request-timeout=3s", check=False).returncode != 0, "the API server still answers")
        finally:
            self.tool("node", *back)
        until("every node is Ready", lambda: all(self.condition(node.name) == "True" for node in self.cluster.nodes))
        ended = datetime.now(UTC)
        self.follow()
        self.whole()
        silence = self.silence(began, ended)
        self.note(f"{(ended - began).total_seconds():.1f} s; the longest time without an acknowledgement was {silence:.2f} s")
        expect(silence < 5, f"for {silence:.1f} s of {(ended - began).total_seconds():.1f} s nothing was acknowledged")

    def a_changed_config_restarts_one_broker_at_a_time(self):
        self.roll({"config": {"queued.max.requests": 4}})

    def a_roll_goes_on_when_its_operator_is_killed(self):
        def holder():
            lease = self.kubectl("-n", "ottla-system", "get", "lease", "ottla-operator", "-o", "jsonpath={.spec.holderIdentity}").stdout
            return lease.rsplit("_", 1)[0]

        def kill():
            acts = holder()
            self.kubectl("-n", "ottla-system", "delete", "pod", acts, "--grace-period=0", "--force")
            until("another operator acts", lambda: holder() not in ("", acts))
        self.roll({"config": {"queued.max.requests": 5}}, kill)

    def an_evicted_broker_serves_soon_after_its_operator_is_back(self):
        """Within 15 s."""
        scale = ("-n", "ottla-system", "scale", "deployment/ottla-operator")
        self.kubectl(*scale, "--replicas=0")
        until("no operator is left", lambda: not self.items("pods", "-n", "ottla-system"))
        pod = f"{CLUSTER}-main-1"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
        self.kubectl("create", "--raw", f"/api/v1/namespaces/default/pods/{pod}/eviction", "-f", "-", input=json.dumps(eviction))
        until("its Pod is gone", lambda: pod not in self.uids())
        self.goes_on()
        began = time.monotonic()
        self.kubectl(*scale, "--replicas=2")
        until("it serves again", lambda: self.serving() == 3)
        took = time.monotonic() - began
        self.note(f"{took:.1f} s from `kubectl scale` of the operator to the broker's being ready")
        expect(took < 15, f"it took {took:.1f} s")
        self.whole()

    def the_certificate_authority_is_replaced_and_nobody_is_restarted(self):
        self.whole()
        before, lives = self.uids(), self.restarts()
        believed = self.secret(f"{CLUSTER}-ca-cert", "ca.crt")
        began = time.monotonic()
        self.annotate("rotate-ca=one", "--overwrite")
        until("it begins", lambda: self.secret(f"{CLUSTER}-ca-cert", "ca.crt") != believed)

        def done():
            now = self.secret(f"{CLUSTER}-ca-cert", "ca.crt")
            return now.count("BEGIN CERTIFICATE") == 1 and now != believed and self.conditions()["CertificatesValid"]["reason"] == "CertificatesCurrent"
        # Kubelets look at what is mounted once a minute or so, twice.
        until("the old authority is gone", done, 5 * PATIENCE)
        self.note(f"{time.monotonic() - began:.0f} s, three brokers, none restarted")
        self.goes_on()
        self.whole()
        expect((self.uids(), self.restarts()) == (before, lives), f"brokers were restarted: {self.uids()}, {self.restarts()}")
        expect({"RotationBegun", "RotationDone"} <= self.told(), f"its Events are {sorted(self.told())}")

    def brokers_of_an_older_version_take_turns_with_ours(self):
        """Up, down and up again; in the middle of each roll both are in one cluster."""
        folder = subprocess.run([ROOT / "e2e/tests/before.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        self.load("localhost/ottla/broker:before", f"{folder}/ottla-broker", f"{folder}/ottla")
        for version in ("before", "dev", "before", "dev"):
            self.roll({"version": version})
            told = self.declared()["status"]["version"]
            expect(told["current"] == version, f"the status says {told}, and the brokers are {version}")
        self.note(f"`{pathlib.Path(folder).name[:12]}`, built from git, and this commit: four rolls")

    def a_cluster_sleeps_and_wakes_under_its_producer(self):
        disks = {claim["metadata"]["uid"] for claim in self.claims(CLUSTER)}
        self.annotate("hibernate=true")

        def asleep():
            conditions = self.conditions()
            states = [conditions[kind_of]["status"] for kind_of in ("Ready", "Reconciling", "Stalled")]
            return not self.brokers() and conditions["Ready"]["reason"] == "Hibernated" and states == ["False"] * 3
        until("no broker runs and nothing is wrong", asleep)
        acked = self.acks()
        pools = self.declared()["status"]["pools"]
        expect([pool["ready"] for pool in pools] == [0], f"the pools are {pools}")
        expect({claim["metadata"]["uid"] for claim in self.claims(CLUSTER)} == disks, "they are other volumes")
        expect(self.acks() == acked, "somebody acknowledges")
        self.annotate("hibernate-")
        self.whole(2 * PATIENCE)
        self.goes_on()
        expect({claim["metadata"]["uid"] for claim in self.claims(CLUSTER)} == disks, "they are other volumes")
        told = self.told()
        expect({"Hibernated", "Woken"} <= told, f"its Events are {sorted(told)}")

    def a_restart_that_a_person_asks_for_reaches_every_broker_once(self):
        before = self.uids()
        self.annotate("restart=2026-02-01T10:00:00Z", "--overwrite")
        until("every broker is another one", lambda: len(set(self.uids().values()) - set(before.values())) == 3, 2 * PATIENCE)
        self.goes_on()
        self.whole()
        after = self.uids()
        self.kubectl("annotate", "pod", f"{CLUSTER}-main-1", "ottla.dev/restart=once-more")
        until("that one is another one", lambda: self.uids()[f"{CLUSTER}-main-1"] != after[f"{CLUSTER}-main-1"])
        self.whole()
        expect(len(set(self.uids().values()) - set(after.values())) == 1, "more than one broker was restarted")
        expect({"RollBegun", "BrokerRestarted", "RollDone"} <= self.told(), f"its Events are {sorted(self.told())}")

    def a_cluster_grows_and_shrinks(self):
        """By `replicas` alone, there and back."""
        pools = self.declared()["spec"]["pools"]

        def held(broker):
            (told,) = json.loads(self.ottla("topic", "describe", TOPIC, "-o", "json"))
            replicas = [partition["replicas"] for partition in told["partitions"]]
            expect(all(len(set(some)) == 3 for some in replicas), f"the replicas are {replicas}")
            return sum(broker in some for some in replicas)
        began = time.monotonic()
        self.change(CLUSTER, {"pools": [pools[0] | {"replicas": 4}]})
        until("a fourth broker serves", lambda: self.serving() == 4, 2 * PATIENCE)
        # About half of what the other broker of its zone had: no partition gets into fewer zones.
        until("it has its share", lambda: held(3) >= PARTITIONS // 3 and self.conditions()["Balanced"]["status"] == "True")
        self.goes_on()
        self.whole()
        grown = time.monotonic() - began
        self.change(CLUSTER, {"pools": pools})
        until("it has left with its volume", lambda: len(self.uids()) == len(self.claims(CLUSTER)) == 3, 2 * PATIENCE)
        expect(f"{CLUSTER}-main-3" not in self.uids(), f"the brokers are {sorted(self.uids())}")
        expect(held(3) == 0, "it holds replicas")
        told = json.loads(self.ottla("cluster", "describe", "-o", "json"))
        expect(len(told["brokers"]) == 3, f"the cluster knows {told}")
        self.goes_on()
        self.whole()
        self.note(f"{grown:.1f} s from three brokers to four that are even, {time.monotonic() - began - grown:.1f} s back")
        expect({"BrokerAdded", "RebalanceBegun", "RebalanceDone", "BrokerUnregistered", "BrokerLeft"} <= self.told(),
               f"its Events are {sorted(self.told())}")

    def a_volume_grows_under_its_broker(self):
        """And the file system on it, which is what brokers see of it."""
        def seen():
            brokers = json.loads(self.ottla("cluster", "describe", "-o", "json"))["brokers"]
            return [one["total_bytes"] for broker in brokers for one in broker["directories"]]
        before, sizes, lives = self.uids(), seen(), self.restarts()
        pools = self.declared()["spec"]["pools"]
        pools[0]["storage"]["volumes"][0]["size"] = "11Gi"
        began = datetime.now(UTC)
        self.change(CLUSTER, {"pools": pools})
        # Of the new GiB, XFS keeps a little for itself.
        until("every broker has more room", lambda: [size > old + 0.9 * 2**30 for size, old in zip(seen(), sizes, strict=True)] == [True] * 3,
              2 * PATIENCE)
        ended = datetime.now(UTC)
        until("the claims say so", lambda: {claim["status"]["capacity"]["storage"] for claim in self.claims(CLUSTER)} == {"11Gi"})
        self.goes_on()
        self.whole()
        expect((self.uids(), self.restarts()) == (before, lives), "brokers were restarted")
        silence = self.silence(began, ended)
        self.note(f"{(ended - began).total_seconds():.1f} s until every broker saw {min(seen()) / 2**30:.1f} GiB instead of "
                  f"{max(sizes) / 2**30:.1f}; the longest time without an acknowledgement was {silence:.2f} s")
        expect(silence < 5, f"for {silence:.1f} s nothing was acknowledged")

    def nothing_acknowledged_is_lost(self):
        self.end("ledger")
        self.following.wait(PATIENCE)
        if ledger.Ledger(self.said.read_text().splitlines()).sent is None:
            self.follow()
            self.following.wait(PATIENCE)
        self.kubectl("delete", "pod", "ledger")
        self.read = self.records()
        account = ledger.Ledger(self.said.read_text().splitlines())
        expect(len(account.acked) > 10 * MANY, f"only {len(account.acked)} records were acknowledged")
        wrong = ledger.verdict(account, self.read)
        expect(not wrong, "; ".join(wrong))
        self.note(f"{len(account.acked)} records were acknowledged, {len(self.read)} read; none lost, none twice")
        until("the group has read all of it", lambda: not self.group().unread(account))
        group = self.group()
        self.kubectl("delete", "pod", *MEMBERS, f"--timeout={PATIENCE}s")
        wrong = group.verdict(account)
        expect(not wrong, "; ".join(wrong[:5]))
        self.note(f"the group committed {len(group.commits)} times, was assigned partitions {group.assignments} times and read "
                  f"{group.again} records again, none that was committed")

    def deleted_and_declared_again_the_records_are_there(self):
        expect(self.read, "nothing was read before")
        identity = self.declared()["status"]["clusterId"]
        self.kubectl("delete", "clusters.ottla.dev", CLUSTER, f"--timeout={PATIENCE}s")
        until("every broker is gone", lambda: not self.brokers(), 2 * PATIENCE)
        left = [len(self.items(kind_of, "-l", f"ottla.dev/cluster={CLUSTER}")) for kind_of in ("pvc", "services", "configmaps", "pdb")]
        expect(left == [3, 0, 0, 0], f"claims, Services, ConfigMaps and budgets that are left: {left}")
        self.kubectl("apply", "-f", "-", input=self.example())
        self.whole()
        expect(self.declared()["status"]["clusterId"] == identity, "it is another cluster")
        expect(self.records() == self.read, "it has other records")

    def metadata_that_was_lost_is_made_again_from_the_volumes(self):
        """As docs/how-to/recover-metadata.md says, from copies: no Pod can have the volumes of three nodes."""
        identity = self.declared()["status"]["clusterId"]
        self.kubectl("annotate", "clusters.ottla.dev", CLUSTER, "ottla.dev/pause=true")
        documents = [one["metadata"]["name"] for one in self.items("metadatashards.ottla.dev", "-l", f"ottla.dev/cluster={CLUSTER}")]
        self.kubectl("delete", "metadatashards.ottla.dev", *documents, "--wait=false")
        for name in documents:
            self.kubectl("patch", "metadatashards.ottla.dev", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')
        self.kubectl("delete", "pods", "-l", f"ottla.dev/cluster={CLUSTER}", f"--timeout={PATIENCE}s")
        folders = [self.copied(claim["metadata"]["name"]) for claim in self.claims(CLUSTER)]
        recover = [BIN / "ottla", "cluster", "recover-metadata", CLUSTER, "-n", "default", *(f"--data-dir={folder}" for folder in folders)]
        planned = self.tool("enter", *recover).stdout
        expect("no acknowledged record is lost" in planned and "Nothing was changed" in planned, f"the plan is {planned}")
        # The last controller's Lease has to run out first.
        until("it is carried out", lambda: self.tool("enter", *recover, "--yes"))
        self.kubectl("annotate", "clusters.ottla.dev", CLUSTER, "ottla.dev/pause-")
        self.whole(2 * PATIENCE)
        expect(self.declared()["status"]["clusterId"] == identity, "it is another cluster")
        expect(self.records() == self.read, "it has other records")

    def topics_are_as_declared(self):
        self.kubectl("wait", "--for=condition=Ready", "topics.ottla.dev/orders", f"--timeout={PATIENCE}s")
        self.kubectl("patch", "topics.ottla.dev/orders", "--type=merge", '--patch={"spec": {"partitions": 9}}')

        def grown():
            (told,) = json.loads(self.ottla("topic", "describe", "orders", "-o", "json"))
            return [len(partition["replicas"]) for partition in told["partitions"]] == [3] * 9
        until("the topic has nine partitions of three replicas", grown)

    def an_image_that_is_not_there_halts_a_roll(self):
        before = self.uids()
        self.change(CLUSTER, {"version": "missing"})
        until("the Cluster says so", lambda: self.conditions()["Stalled"]["reason"] == "ImageUnavailable")
        said = self.conditions()["Stalled"]["message"]
        expect("localhost/ottla/broker:missing" in said and "spec.version" in said, f"it says {said!r}")
        until("and that nothing follows", lambda: self.conditions()["UpdatePending"]["reason"] == "RollHalted")
        expect(self.serving() == 2, f"{self.serving()} brokers serve")
        self.change(CLUSTER, {"version": "dev"})
        self.whole()
        expect(len(set(self.uids().values()) - set(before.values())) == 1, "more than one broker was restarted")
        expect(self.records() == self.read, "it has other records")

    def a_broker_that_crashes_halts_a_roll_until_spec_changes(self):
        self.load("localhost/ottla/broker:crash", "/bin/false")
        before = self.uids()
        self.change(CLUSTER, {"version": "crash"})
        until("the roll is halted", lambda: self.conditions()["UpdatePending"]["reason"] == "RollHalted")
        (restarted,) = [name for name, uid in self.uids().items() if uid not in before.values()]
        said = self.conditions()["UpdatePending"]["message"]
        expect(f"Pod {restarted} " in said and "--previous" in said, f"it says {said!r}")
        expect(self.serving() == 2, f"{self.serving()} brokers serve")
        expect("RollHalted" in self.told(), f"its Events are {sorted(self.told())}")
        self.change(CLUSTER, {"version": "dev"})
        self.whole()
        expect(len(set(self.uids().values()) - set(before.values())) == 1, "more than one broker was restarted")
        expect(self.records() == self.read, "it has other records")

    def the_first_record_is_acknowledged_soon(self):
        """Within 15 s of `kubectl apply`, with images loaded."""
        began = time.monotonic()
        self.kubectl("apply", "-f", QUICKSTART)
        produce = ("exec", "-i", "quickstart-main-0", "--", "ottla", "produce", "first")
        until("a record is acknowledged", lambda: self.kubectl(*produce, input="first\n"))
        took = time.monotonic() - began
        self.note(f"{took:.1f} s from kubectl apply to the first acknowledged record")
        expect(took < 15, f"it took {took:.1f} s")

    def a_broker_alone_can_be_restarted(self):
        self.whole(name="quickstart")
        before = self.uids("quickstart")
        self.change("quickstart", {"config": {"queued.max.requests": 4}})
        until("it runs what is declared", lambda: self.settled("quickstart") and self.uids("quickstart") != before)
        self.whole(name="quickstart")

    def volumes_go_with_the_cluster_only_if_that_is_declared(self):
        self.change("quickstart", {"volumes": {"onDelete": "Delete"}})
        until("its volume has an owner", lambda: all(claim["metadata"].get("ownerReferences") for claim in self.claims("quickstart")))
        self.kubectl("delete", "clusters.ottla.dev", "quickstart", f"--timeout={PATIENCE}s")
        until("its volume is gone", lambda: not self.claims("quickstart"))
        kinds = "pods,metadatashards.ottla.dev,leases"
        until("and what belonged to it", lambda: not self.items(kinds, "-l", "ottla.dev/cluster=quickstart"))
        expect(len(self.claims(CLUSTER)) == 3, "the other cluster's volumes are gone as well")

    def a_namespace_goes_with_all_that_is_in_it(self):
        self.kubectl("create", "namespace", "short")
        self.kubectl("apply", "-n", "short", "-f", QUICKSTART)
        self.kubectl("wait", "-n", "short", "--for=condition=Ready", "clusters.ottla.dev/quickstart", f"--timeout={PATIENCE}s")
        self.kubectl("delete", "namespace", "short", f"--timeout={PATIENCE}s")

    def a_broker_whose_node_is_gone_is_replaced(self):
        """Under another id: its node has no power and is deleted, as whoever runs the nodes would do it."""
        self.change(CLUSTER, {"repair": {"replaceLostAfter": "10s"}})
        lost = next(pod for pod in self.brokers() if pod["metadata"]["name"] != f"{CLUSTER}-main-0")
        name, node = lost["metadata"]["name"], lost["spec"]["nodeName"]
        self.tool("node", "kill", node)
        try:
            self.kubectl("delete", "node", node)
            began = time.monotonic()

            def replaced():
                named = {claim["metadata"]["name"] for claim in self.claims(CLUSTER)}
                return f"data-{name}" not in named and self.settled() and self.conditions()["DataSafe"]["status"] == "True"
            until("another broker has its place, and it is forgotten", replaced, 4 * PATIENCE)
            self.note(f"{time.monotonic() - began:.1f} s until every replica was in sync again, of which 10 s were waited")
            expect(self.serving() == 3 and name not in self.uids(), f"the brokers are {sorted(self.uids())}")
            expect(self.records() == self.read, "it has other records")
            expect({"BrokerLost", "BrokerReplaced"} <= self.told(), f"its Events are {sorted(self.told())}")
        finally:
            self.tool("node", "start", node)


CASES = [
    Suite.nodes_come_up, Suite.readme_is_right_word_for_word, Suite.brokers_stand_in_three_zones_and_know_it,
    Suite.brokers_are_what_restricted_namespaces_allow, Suite.a_producer_and_a_group_begin_their_ledgers, Suite.a_killed_pod_is_made_again,
    Suite.a_drain_takes_one_broker_and_ends, Suite.a_zone_without_power_stops_nobody,
    Suite.records_go_on_without_the_api_server, Suite.records_go_on_while_the_control_plane_has_no_power,
    Suite.a_config_that_kafka_changes_at_run_time_restarts_nobody,
    Suite.a_changed_config_restarts_one_broker_at_a_time, Suite.a_roll_goes_on_when_its_operator_is_killed,
    Suite.an_evicted_broker_serves_soon_after_its_operator_is_back, Suite.a_cluster_sleeps_and_wakes_under_its_producer,
    Suite.a_restart_that_a_person_asks_for_reaches_every_broker_once, Suite.a_cluster_grows_and_shrinks,
    Suite.the_certificate_authority_is_replaced_and_nobody_is_restarted, Suite.brokers_of_an_older_version_take_turns_with_ours,
    Suite.a_volume_grows_under_its_broker,
    Suite.nothing_acknowledged_is_lost, Suite.deleted_and_declared_again_the_records_are_there,
    Suite.metadata_that_was_lost_is_made_again_from_the_volumes, Suite.a_second_kubernetes_takes_the_volumes_over, Suite.topics_are_as_declared,
    Suite.the_plugin_says_how_a_cluster_is, Suite.the_plugin_runs_commands_in_a_pod,
    Suite.the_rights_that_its_page_names_are_enough_and_others_are_named,
    Suite.clients_outside_produce_and_consume_while_brokers_restart, Suite.a_report_has_everything_but_secrets,
    Suite.clients_outside_connect_through_node_ports, Suite.a_node_port_that_changes_reaches_clients_without_a_restart,
    Suite.a_broker_that_starts_again_is_found_again, Suite.clients_outside_connect_through_load_balancers,
    Suite.an_address_moves_when_its_node_has_no_power, Suite.a_listener_that_is_not_declared_any_more_leaves_nothing,
    Suite.an_image_that_is_not_there_halts_a_roll,
    Suite.a_broker_that_crashes_halts_a_roll_until_spec_changes,
    Suite.one_zone_of_two_pools_is_restarted_at_a_time_after_a_canary, Suite.a_cluster_that_is_paused_is_left_alone,
    Suite.a_broker_that_finds_no_node_halts_a_roll, Suite.a_broker_whose_volume_is_gone_is_replaced,
    Suite.a_lost_broker_that_alone_has_records_is_not_given_up, Suite.a_pool_is_replaced_by_another_in_one_change,
    Suite.nothing_acknowledged_by_two_pools_is_lost,
    Suite.the_first_record_is_acknowledged_soon, Suite.a_broker_alone_can_be_restarted,
    Suite.the_plugin_puts_a_cluster_to_sleep_and_wakes_it,
    Suite.volumes_go_with_the_cluster_only_if_that_is_declared, Suite.a_namespace_goes_with_all_that_is_in_it,
    Suite.a_roll_goes_on_after_each_single_write_of_its_operator,
    Suite.a_growth_of_volumes_goes_on_after_each_single_write_of_its_operator,
    Suite.a_scale_in_goes_on_after_each_single_write_of_its_operator,
    Suite.a_broker_whose_node_is_gone_is_replaced, Suite.ports_that_no_client_needs_are_closed_to_other_pods,
    Suite.helm_takes_the_operator_over_and_no_broker_is_restarted, Suite.a_cluster_by_helm_keeps_its_volumes_when_it_is_uninstalled,
    Suite.an_operator_of_one_namespace_sees_no_other,
]
# What needs nodes whose network this machine can enter.
LOCAL_ONLY = {case for case in CASES if title(case).endswith("after each single write of its operator")}

# How many of them every other one builds on.
BEGIN = 2


# What `make test` has time for: two minutes.
SLICE = [
    Suite.nodes_come_up, Suite.readme_is_right_word_for_word, Suite.brokers_stand_in_three_zones_and_know_it,
    Suite.brokers_are_what_restricted_namespaces_allow, Suite.a_producer_and_a_group_begin_their_ledgers, Suite.a_killed_pod_is_made_again,
    Suite.a_drain_takes_one_broker_and_ends, Suite.nothing_acknowledged_is_lost,
]


def report(began, played):
    """docs/results/operations.md"""
    wrong = [one for one in played if one.wrong is not None]
    kept = [f"| {one.name} | {one.seconds:.1f} s | {'**red**' if one.wrong is not None else 'holds'} | {'; '.join(one.seen)} |" for one in played]
    page.write("operations", [
        "# Operations on Kubernetes", "",
        *page.origin("make e2e", time.monotonic() - began, "; a control plane and three workers, each with a kubelet and containerd of its own"),
        f"* result: {len(played) - len(wrong)} of {len(played)} cases hold", "",
        "In this order, each once, on what those before have left. While brokers are killed, drained and rolled, a Pod with an idempotent",
        f"acks=all producer sends {PER_SECOND} records a second and keeps a ledger of what was acknowledged, and a consumer group of",
        f"{len(MEMBERS)} Pods keeps one of what it was given and what it committed.", "",
        "| case | took | | seen |", "|---|---:|---|---|", *kept,
        *[f"\n{one.name}: `{one.wrong[:300]}`" for one in wrong]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slice", action="store_true", help="the cases of `make test`; writes no page")
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="installing, and cases in whose name one of these is; writes no page")
    asked = parser.parse_args()
    if asked.slice:
        perform(Suite, SLICE)
    elif asked.only:
        perform(Suite, CASES[:BEGIN] + [case for case in CASES[BEGIN:] if any(word in title(case) for word in asked.only)], LOCAL_ONLY)
    else:
        perform(Suite, CASES, LOCAL_ONLY, report=functools.partial(report, time.monotonic()))
