"""What the operator costs: memory, CPU, writes at the API server; and how long declared things take.

Owns what is measured and the page docs/results/operator.md. Everything is real but nodes: a kube-apiserver with its audit log, the
operator as it is released, a broker per Cluster as a process (e2e/gitops). What the operator wrote is what the API server has noted,
not what it says itself.

    python3 e2e/bench/operator --whole    10 Clusters, 2,000 Topics; writes the page
    python3 e2e/bench/operator --slice    2 Clusters, 40 Topics: shows that it works, says nothing about speed
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
for folder in ("gitops/runner", "bench/runner", "page"):
    sys.path.append(str(ROOT / "e2e" / folder))

import room  # noqa: E402

SPACE = "load"
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "omitManagedFields": True,
          "rules": [{"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete"]}, {"level": "None"}]}
MEMORY_MIB, IDLE_PERCENT, READY_SECONDS = 40, 1, 30


class Audit:
    """The API server's own account of writes."""

    def __init__(self, folder):
        self.file = folder / "audit.log"
        (folder / "policy.json").write_text(json.dumps(POLICY))
        os.environ["CONTROL_PLANE_FLAGS"] = f"--audit-policy-file={folder}/policy.json --audit-log-path={self.file} --audit-log-mode=blocking"

    def writes(self):
        """Every write that was answered well, the oldest first: who, what, and the object's version afterwards."""
        for line in self.file.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("responseStatus", {}).get("code", 0) < 300 and "objectRef" in entry:
                who = entry.get("impersonatedUser", entry["user"])["username"]
                made = entry.get("responseObject") or {}
                yield who, entry["verb"], entry["objectRef"], made.get("metadata", {})

    def of(self, account):
        """Writes of an account, and those of them that changed nothing: the object's version stayed. Renewals of leases are neither."""
        versions, all_writes, idle = {}, [], []
        for who, verb, ref, meta in self.writes():
            uid, version = meta.get("uid"), meta.get("resourceVersion")
            if who == account and ref["resource"] != "leases":
                what = f"{verb} {'/'.join(filter(None, (ref['resource'], ref.get('subresource'))))} {ref.get('name', meta.get('name', ''))}"
                all_writes.append(what)
                if verb != "delete" and uid and versions.get(uid) == version:
                    idle.append(what)
            if uid:
                versions[uid] = version
        return all_writes, idle


class Load:
    def __init__(self, scene, audit, clusters, topics, burst):
        self.scene, self.audit, self.clusters, self.topics, self.burst, self.rows = scene, audit, clusters, topics, burst, []

    def note(self, what, goal, found):
        self.rows.append((what, goal, found))
        print(f"  {what}: {found}" + (f" (goal: {goal})" if goal else ""), flush=True)

    def apply(self, items):
        """`kubectl apply` of all of them in one call; when it began."""
        began = time.monotonic()
        self.scene.kubectl("apply", "--server-side", "-n", SPACE, "-f", "-", text="\n---\n".join(map(json.dumps, items)))
        return began

    def ready(self, resource, count, patience=600):
        """Waits until so many are Ready."""
        from api import ours
        from declared import conditions, told
        from scene import expect
        ends = time.monotonic() + patience
        while True:
            found = self.scene.api.get(ours(resource, SPACE))["items"]
            others = [one for one in found if conditions(one).get("Ready", {}).get("status") != "True"]
            if len(found) == count and not others:
                return
            expect(time.monotonic() < ends, f"{len(found) - len(others)} of {count} {resource} are Ready; {told(others[0]) if others else ''}")
            time.sleep(0.2)

    def first_record(self):
        """From `kubectl apply` of a Cluster to a record that it has acknowledged."""
        from declared import cluster
        from first import first_ack
        began = self.apply([cluster("first")])
        # The name is there once the Pod is.
        seconds = first_ack(f"first-bootstrap.{SPACE}.svc:9092", began)
        self.note("`kubectl apply` of a Cluster to its first acknowledged record, image and node being there", "", f"{seconds:.1f} s")

    def declare(self):
        from declared import cluster, topic
        began = self.apply([cluster(f"c{number}") for number in range(self.clusters)])
        self.ready("clusters", self.clusters + 1)
        self.note(f"{self.clusters} Clusters applied at once until all are Ready", "", f"{time.monotonic() - began:.1f} s")
        items = [topic(f"t{number}", f"c{number % self.clusters}", partitions=1) for number in range(self.topics)]
        began = self.apply(items[:self.burst])
        applied = time.monotonic()
        self.ready("topics", self.burst)
        seconds = time.monotonic() - began
        self.note(f"{self.burst} Topics applied at once until all are Ready ({applied - began:.1f} s of it `kubectl apply`)",
                  f"≤ {READY_SECONDS} s", f"{seconds:.1f} s")
        self.apply(items[self.burst:])
        self.ready("topics", self.topics)

    def idle(self, operator, seconds):
        """What it costs when nothing happens."""
        from measure import cpu_seconds
        from operators import ACCOUNT
        pid = operator.process.pid
        # What is told late of what was done: it is idle when it has written nothing for a while.
        last = -1
        while (now := len(self.audit.of(ACCOUNT)[0])) != last:
            last = now
            time.sleep(seconds / 4)
        before, cpu, began = last, cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        spent = (cpu_seconds(pid) - cpu) / (time.monotonic() - began) * 100
        self.note(f"CPU of the operator, idle for {seconds} s", f"≤ {IDLE_PERCENT} % of a core", f"{spent:.2f} %")
        after, without = self.audit.of(ACCOUNT)
        self.note("its writes at the API server meanwhile, but for its lease", "0", f"{len(after) - before}")
        self.note(f"of all its {len(after):,} writes, those that changed nothing", "0", f"{len(without)}")
        for what in [*after[before:], *without][:20]:
            print(f"    {what}")
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
        resident, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        self.note(f"resident memory, {self.clusters + 1} Clusters and {self.topics:,} Topics", f"≤ {MEMORY_MIB} MiB", f"{resident:.0f} MiB")
        self.note("the same at its highest", "", f"{peak:.0f} MiB")


def report(load, began):
    import page
    lines = ["# Benchmark: the operator", "", *page.origin("make bench-operator", time.monotonic() - began,
             ", API server, operator and brokers on it together"),
             "* load: Clusters of one broker each, Topics of one partition shared out among them; brokers are processes, a small kubelet",
             "  written for tests starts them, and images are there already", "", "| | goal | measured |", "|---|---|---|"]
    lines += [f"| {what} | {goal} | {value} |" for what, goal, value in load.rows]
    lines += ["", "Writes are counted in the API server's audit log. One that changed nothing left the object's version as it was."]
    page.write("operator", lines)


def main():
    whole = sys.argv[1:] == ["--whole"]
    if not whole and sys.argv[1:] != ["--slice"]:
        sys.exit(__doc__)
    folder = pathlib.Path(os.environ.setdefault("GITOPS_FOLDER", tempfile.mkdtemp(prefix="ottla-operator-")))
    if why := room.enter(folder / "hosts"):
        sys.exit(f"nothing is measured: {why}")
    from scene import Scene
    began = time.monotonic()
    audit, scene = Audit(folder), Scene(folder)
    load = Load(scene, audit, *((10, 2000, 500) if whole else (2, 40, 20)))
    try:
        scene.start()
        scene.namespace(SPACE)
        operator = scene.operator()
        load.first_record()
        load.declare()
        load.idle(operator, 60 if whole else 4)
        operator.end()
        if whole:
            report(load, began)
    finally:
        scene.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
