"""What kstatus, Flux and Argo CD say of every version of every Cluster and Topic, by their own code (../judge).

Owns the judge's process, and the watches that it is fed from. It sees what a GitOps tool sees: each version that the API server
gives out, not only the last.
"""

import json
import re
import subprocess
import threading
from dataclasses import dataclass

import yaml
from api import ours
from scene import ROOT, expect, until

PAGE = ROOT / "docs/how-to/gitops.md"


def expressions():
    """spec.healthCheckExprs as the how-to gives it."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = [one["spec"]["healthCheckExprs"] for one in map(yaml.safe_load, blocks) if "healthCheckExprs" in one.get("spec", {})]
    expect(len(found) == 1, f"{PAGE.name} gives healthCheckExprs {len(found)} times")
    return found[0]


@dataclass(frozen=True)
class Verdict:
    """In the words of each."""
    kstatus: str
    flux: str
    argo: str


class Verdicts:
    def __init__(self, scene, judge):
        self.scene, self.history, self.changed = scene, [], threading.Condition()
        rules = scene.folder / "rules.json"
        shown = json.loads(scene.kubectl("get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json").stdout)
        rules.write_text(json.dumps({"argocd": shown["data"], "flux": expressions()}))
        self.errors = open(scene.folder / "judge.log", "w+")
        self.judge = subprocess.Popen([judge, rules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        self.writing = threading.Lock()
        for resource in ("clusters", "topics"):
            threading.Thread(target=self.feed, args=(resource,), daemon=True).start()

    def feed(self, resource):
        try:
            for change, item in self.scene.api.follow(ours(resource), self.scene.stopping):
                if change != "DELETED":
                    with self.writing:
                        self.judge.stdin.write(json.dumps(item) + "\n")
                        self.judge.stdin.flush()
        except Exception:
            if not self.scene.stopping.is_set():
                raise

    def read(self):
        for line in self.judge.stdout:
            with self.changed:
                self.history.append(json.loads(line))
                self.changed.notify_all()

    def of(self, kind, name, since=0):
        """All verdicts on an object, the oldest first; those that are like the one before are left out."""
        with self.changed:
            seen = [one for one in self.history[since:] if (one["kind"], one["name"]) == (kind, name)]
        verdicts = [Verdict(one["kstatus"], one["flux"], one["argo"]) for one in seen]
        return [one for number, one in enumerate(verdicts) if number == 0 or verdicts[number - 1] != one]

    def mark(self):
        """Where the history is now."""
        with self.changed:
            return len(self.history)

    def message(self, kind, name):
        """What Argo CD shows beside its last verdict."""
        with self.changed:
            return next((one["argoMessage"] for one in reversed(self.history) if (one["kind"], one["name"]) == (kind, name)), "")

    def wait(self, kind, name, verdict, since=0):
        """Waits until the last verdict is this one; all verdicts since then."""
        def what():
            self.errors.flush()
            return f"{kind} {name} is {verdict}, but {self.of(kind, name, since)} {(self.scene.folder / 'judge.log').read_text()}"
        until(what, lambda: self.of(kind, name, since)[-1:] == [verdict])
        return self.of(kind, name, since)
