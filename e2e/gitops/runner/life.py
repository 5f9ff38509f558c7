"""The life of a Cluster and its Topics, as kstatus, Flux and Argo CD see it.

Owns which verdict each state has to have. Cases build on each other: they are one life.
"""

import re
import sys
import urllib.request

from api import ours
from declared import cluster, conditions, told, topic
from kubelet import HTTP_PORT
from scene import ROOT, expect, until
from verdicts import Verdict

sys.path.append(str(ROOT / "e2e/alerts"))
import dashboards  # noqa: E402

SPACE = "life"
# In the words of kstatus, of Flux with the expressions of the how-to, of Argo CD with our script.
NEW = UNDER_WAY = Verdict("InProgress", "InProgress", "Progressing")
WELL = Verdict("Current", "Current", "Healthy")
BROKEN = Verdict("Failed", "Failed", "Degraded")
PAUSED = Verdict("InProgress", "InProgress", "Suspended")
PAUSED_AS_DECLARED = Verdict("Current", "Current", "Suspended")
ASLEEP = Verdict("InProgress", "Current", "Suspended")
# Topics that say nothing of replicas need every broker, too.
CONFIG = {"default.replication.factor": 2}
GOING = Verdict("Terminating", "Terminating", "Progressing")


class Life:
    def __init__(self, scene, verdicts):
        self.scene, self.verdicts = scene, verdicts

    def declare(self, resource, item):
        self.scene.api.apply(ours(resource, SPACE, item["metadata"]["name"]), item)

    def annotate(self, name, value):
        self.scene.annotate("clusters", SPACE, "c", {f"ottla.dev/{name}": value})

    def sees(self, kind, name, verdict, since=0):
        return self.verdicts.wait(kind, name, verdict, since)

    def ready(self, resource, name):
        def holds():
            found = self.scene.find(resource, SPACE, name)
            ready = conditions(found).get("Ready", {})
            return ready.get("status") == "True" and ready["observedGeneration"] == found["metadata"]["generation"]
        until(lambda: f"{name} is Ready, but {told(self.scene.find(resource, SPACE, name))}", holds)

    def what_no_operator_has_seen_is_not_taken_for_done(self):
        self.scene.namespace(SPACE)
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG))
        self.declare("topics", topic("t", "c", partitions=3, replicas=2))
        self.declare("topics", topic("by-default", "c"))
        for kind, name in (("Cluster", "c"), ("Topic", "t"), ("Topic", "by-default")):
            self.sees(kind, name, NEW)

    def it_is_under_way_until_it_serves_and_then_well(self):
        self.operator = self.scene.operator()
        for kind, resource, name in (("Cluster", "clusters", "c"), ("Topic", "topics", "t"), ("Topic", "topics", "by-default")):
            seen = self.sees(kind, name, WELL)
            expect(seen == [UNDER_WAY, WELL], f"{kind} {name} was {seen}")
            self.ready(resource, name)

    def dashboards_ask_only_for_what_is_there(self):
        serving = next(one for one in self.scene.kubelet.containers.values() if one.ready)
        with urllib.request.urlopen(f"http://{serving.address}:{HTTP_PORT}/metrics", timeout=10) as answer:
            text = answer.read().decode() + self.operator.metrics()
        # Counters and histograms are asked for by names that are longer.
        known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
        absent = {one for one in dashboards.metrics() if one not in known and re.sub(r"_(total|count|sum|bucket)$", "", one) not in known}
        expect(not absent, f"dashboards ask for {absent}, which neither a broker nor the operator has")

    def a_roll_is_under_way_and_never_broken(self):
        since = self.verdicts.mark()
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG | {"queued.max.requests": 3}))
        seen = self.sees("Cluster", "c", WELL, since)
        expect(set(seen) == {UNDER_WAY, WELL}, f"a roll was {seen}")
        expect("Failed" not in {one.kstatus for one in self.verdicts.of("Topic", "t", since)}, "the Topic was taken for failed meanwhile")

    def a_wrong_config_is_broken_and_says_how_to_mend_it(self):
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG | {"queued.max.request": 3}))
        self.sees("Cluster", "c", BROKEN)
        said = self.verdicts.message("Cluster", "c")
        expect("did you mean queued.max.requests?" in said, f"Argo CD shows: {said}")
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG | {"queued.max.requests": 3}))
        self.sees("Cluster", "c", WELL)
        self.declare("topics", topic("wrong", "c", config={"retention": 1}))
        self.sees("Topic", "wrong", BROKEN)
        self.scene.api.delete(ours("topics", SPACE, "wrong"))

    def a_topic_of_no_cluster_waits_for_it(self):
        self.declare("topics", topic("early", "nowhere"))
        until("the Topic says why it waits", lambda: conditions(self.scene.find("topics", SPACE, "early")).get("Ready", {}).get("reason")
              == "ClusterNotFound")
        self.sees("Topic", "early", UNDER_WAY)
        self.scene.api.delete(ours("topics", SPACE, "early"))

    def what_is_paused_is_suspended_whether_something_waits_or_not(self):
        self.annotate("pause", "true")
        self.sees("Cluster", "c", PAUSED_AS_DECLARED)
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG | {"queued.max.requests": 4}))
        until("a change waits", lambda: conditions(self.scene.find("clusters", SPACE, "c"))["Reconciling"]["status"] == "True")
        self.sees("Cluster", "c", PAUSED)
        self.annotate("pause", None)
        self.sees("Cluster", "c", WELL)

    def what_sleeps_is_suspended_and_not_under_way_for_ever(self):
        since = self.verdicts.mark()
        self.annotate("hibernate", "true")
        until("the Cluster sleeps", lambda: (one := conditions(self.scene.find("clusters", SPACE, "c")))["Ready"]["reason"] == "Hibernated"
              and one["Reconciling"]["status"] == "False")
        seen = self.sees("Cluster", "c", ASLEEP, since)
        expect("Degraded" not in {one.argo for one in seen}, f"falling asleep was {seen}")
        # Its Topics sleep with it.
        self.sees("Topic", "t", ASLEEP)
        since = self.verdicts.mark()
        self.annotate("hibernate", None)
        seen = self.sees("Cluster", "c", WELL, since)
        expect(not {"Failed", "Degraded"} & {word for one in seen for word in (one.kstatus, one.argo)}, f"waking was {seen}")
        self.sees("Topic", "t", WELL)

    def what_is_deleted_is_going_until_it_is_gone(self):
        self.declare("topics", topic("t", "c", partitions=3, replicas=2, deletionPolicy="Delete"))
        until("the Topic is held", lambda: self.scene.find("topics", SPACE, "t")["metadata"].get("finalizers"))
        self.scene.api.delete(ours("topics", SPACE, "t"))
        until("the Topic is gone", lambda: self.scene.find("topics", SPACE, "t") is None)
        self.sees("Topic", "t", GOING)
        self.declare("clusters", cluster("c", brokers=2, config=CONFIG | {"queued.max.requests": 4}, volumes={"onDelete": "Delete"}))
        until("the Cluster is held", lambda: self.scene.find("clusters", SPACE, "c")["metadata"].get("finalizers"))
        self.scene.api.delete(ours("clusters", SPACE, "c"))
        until("the Cluster is gone", lambda: self.scene.find("clusters", SPACE, "c") is None)
        self.sees("Cluster", "c", GOING)
        self.operator.end()

    def cases(self):
        return [self.what_no_operator_has_seen_is_not_taken_for_done, self.it_is_under_way_until_it_serves_and_then_well,
                self.dashboards_ask_only_for_what_is_there, self.a_roll_is_under_way_and_never_broken,
                self.a_wrong_config_is_broken_and_says_how_to_mend_it, self.a_topic_of_no_cluster_waits_for_it,
                self.what_is_paused_is_suspended_whether_something_waits_or_not,
                self.what_sleeps_is_suspended_and_not_under_way_for_ever, self.what_is_deleted_is_going_until_it_is_gone]
