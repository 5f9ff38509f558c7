"""The examples, delivered as a GitOps tool would: applied, changed, deleted and applied again, with the operator at work.

Owns the steps. After each of them what Git has and what the API server has must be the same to `kubectl diff`, whatever the
operator has written meanwhile.
"""

import yaml
from declared import told
from scene import ROOT, expect, until

SPACE = "examples"
FILES = sorted((ROOT / "deploy/examples").glob("*.yaml"))


class Examples:
    def __init__(self, scene):
        self.scene = scene

    def play(self, file):
        """A life of a file's objects. The second time they find what the first time has left: volumes, metadata, topics."""
        text = file.read_text()
        items = list(yaml.safe_load_all(text))
        changed = yaml.safe_dump_all(map(self.change, items))
        self.apply(text, items)
        expect(self.differs(changed), f"{file.name}: a change shows no difference")
        self.apply(changed, items)
        self.delete(file.name, changed, items)
        self.apply(changed, items)
        self.delete(file.name, changed, items)

    def delete(self, name, text, items):
        self.kubectl("delete", text=text)
        until(f"what {name} declares is gone", lambda: all(self.find(item) is None for item in items))

    @staticmethod
    def change(item):
        """The same with something that its brokers or its topic have to follow."""
        spec = dict(item["spec"])
        if item["kind"] == "Cluster":
            spec["config"] = spec.get("config", {}) | {"queued.max.requests": 3}
        else:
            spec["partitions"] += 1
            spec["config"] = spec.get("config", {}) | {"segment.bytes": 1 << 24}
        return item | {"spec": spec}

    def kubectl(self, verb, *words, text, check=True):
        return self.scene.kubectl(verb, "-n", SPACE, "-f", "-", *words, text=text, check=check)

    def differs(self, text):
        done = self.kubectl("diff", "--server-side", "--field-manager=git", text=text, check=False)
        expect(done.returncode in (0, 1), f"kubectl diff: {done.stderr}")
        self.difference = done.stdout
        return done.returncode == 1

    def agrees(self, text):
        # The operator may write between the two looks that `kubectl diff` takes.
        until(lambda: f"no difference, but {self.difference}", lambda: not self.differs(text))

    def apply(self, text, items):
        self.kubectl("apply", "--server-side", "--field-manager=git", text=text)
        self.agrees(text)
        until(lambda: f"all Ready, but {[told(self.find(item)) for item in items]}", lambda: all(map(self.is_ready, items)))
        self.agrees(text)
        for item in items:
            for manager in self.find(item)["metadata"]["managedFields"]:
                owned = manager["fieldsV1"]
                expect(manager["manager"] == "git" or "f:spec" not in owned, f"{manager['manager']} owns of spec: {owned}")

    def find(self, item):
        return self.scene.find(item["kind"].lower() + "s", SPACE, item["metadata"]["name"])

    def is_ready(self, item):
        """As `kubectl wait` and GitOps tools see it: Ready, of this generation, and nothing under way."""
        found = self.find(item)
        status = (found or {}).get("status", {})
        states = {one["type"]: one["status"] for one in status.get("conditions", [])}
        now = found is not None and status.get("observedGeneration") == found["metadata"]["generation"]
        return now and (states.get("Ready"), states.get("Reconciling"), states.get("Stalled")) == ("True", "False", "False")

    def cases(self):
        def begin():
            self.scene.namespace(SPACE)
            self.operator = self.scene.operator()

        def case(file):
            def played():
                self.play(file)
            played.__name__ = f"{file.name}_is_applied_changed_deleted_and_applied_again_without_a_difference"
            return played

        begin.__name__ = "an_operator_looks_after_every_namespace"
        return [begin, *map(case, FILES), self.it_stops_when_it_is_asked_to]

    def it_stops_when_it_is_asked_to(self):
        self.operator.end()
