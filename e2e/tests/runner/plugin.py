"""`kubectl ottla`, as somebody outside of the cluster uses it.

Owns the cases; the cluster that they are played on, and what was done to it before, are the suite's. The plugin runs on this
machine and reaches nothing but the API server.
"""

import collections
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/cluster/runner"))
import ledger  # noqa: E402
from stage import PATIENCE, TOOLS, expect, until  # noqa: E402

BIN = pathlib.Path(os.environ.get("BIN") or ROOT / "bin").resolve()
PROGRAM = BIN / "kubectl-ottla"
CLUSTER = "events"
# How many records a producer outside sends.
PER_SECOND = 200
# What a report may not hold, wherever it stood.
NEEDLE = "needle-in-a-haystack"


class Cases:
    """Cases of a suite that has a Cluster `events` of three brokers, and one `quickstart`."""

    def plugin(self, *words, code=0, **more):
        """Runs the plugin; `code` is what it has to end with."""
        done = subprocess.run([PROGRAM, *map(str, words)], env=self.for_plugin(), capture_output=True, text=True,
                              timeout=4 * PATIENCE, **more)
        said = f"{done.stdout[-2000:]} {done.stderr[-2000:]}"
        expect(done.returncode == code, f"kubectl ottla {' '.join(map(str, words))} ended with {done.returncode}: {said}")
        return done

    def for_plugin(self):
        return self.environment | {"KUBECONFIG": str(self.cluster.kubeconfig)}

    def account(self, role):
        """A kubeconfig of somebody who has only one of the roles of docs/how-to/kubectl-plugin.md."""
        self.kubectl("create", "serviceaccount", role)
        self.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--serviceaccount=default:{role}")
        config = json.loads(self.kubectl("config", "view", "--raw", "-o", "json").stdout)
        config["users"] = [{"name": one["name"], "user": {"token": self.kubectl("create", "token", role).stdout.strip()}}
                           for one in config["users"]]
        file = pathlib.Path(self.folder.name) / f"kubeconfig-{role}"
        file.write_text(json.dumps(config))
        return "--kubeconfig", file

    @contextlib.contextmanager
    def connected(self, *words):
        """The bootstrap address of `connect`, for as long as it runs."""
        with subprocess.Popen([PROGRAM, "connect", *words], env=self.for_plugin(), stdout=subprocess.PIPE, text=True) as running:
            try:
                lines = []
                for line in running.stdout:
                    lines.append(line.strip())
                    if line.startswith("ready: bootstrap "):
                        break
                expect(lines and lines[-1].startswith("ready: "), f"connect printed {lines}")
                yield lines[-1].split()[-1]
            finally:
                running.terminate()
                running.wait(PATIENCE)
        expect(running.returncode == 0, f"connect ended with {running.returncode}")

    # --- the cases ----------------------------------------------------------------------------------------------------

    def the_plugin_says_how_a_cluster_is(self):
        told = self.plugin("status", CLUSTER).stdout
        expect(told.startswith(f"Cluster {CLUSTER} in namespace default: Ready\n"), told)
        for pod, zone in ((pod["metadata"]["name"], zone) for pod, zone in zip(self.brokers(), "abc")):
            expect(pod in told and f"  {zone}  " in told, f"{pod} or zone {zone} is not on the page: {told}")
        expect(CLUSTER in self.plugin("status", "-A").stdout, "the list has no such line")
        by_kubectl = subprocess.run([TOOLS / "kubectl", "ottla", "status", CLUSTER], capture_output=True, text=True,
                                    env=self.for_plugin() | {"PATH": f"{BIN}:{os.environ['PATH']}"}, timeout=PATIENCE)
        expect(by_kubectl.stdout.startswith(told.splitlines()[0]), f"kubectl does not find its plugin: {by_kubectl.stderr}")
        missed = self.plugin("status", "event", code=3).stderr
        expect("there is no Cluster event in namespace default" in missed and "Did you mean Cluster events?" in missed, missed)
        elsewhere = self.plugin("status", CLUSTER, "-n", "kube-system", code=3).stderr
        expect("-n default" in elsewhere, elsewhere)
        refused = self.plugin("status", CLUSTER, "--context", "other", code=2).stderr
        expect("no context \"other\"" in refused, refused)

    def the_rights_that_its_page_names_are_enough_and_others_are_named(self):
        page = (ROOT / "docs/how-to/kubectl-plugin.md").read_text()
        self.kubectl("apply", "-f", "-", input=page.split("```yaml\n")[1].split("```")[0])
        viewer, client, keeper = (self.account(f"ottla-{one}") for one in ("viewer", "client", "keeper"))
        expect("Ready" in self.plugin("status", CLUSTER, *viewer).stdout, "a viewer sees nothing")
        expect(" | " in self.plugin("logs", CLUSTER, "--tail", 1, *viewer).stdout, "a viewer reads no logs")
        said = self.plugin("report", CLUSTER, "-o", "/dev/null", *viewer).stderr
        expect("left out: metrics of" in said and "left out: the operator's logs" in said, said)
        for words, rule in ((("restart", CLUSTER), 'resources: ["clusters"], verbs: ["patch"]'),
                            (("exec", CLUSTER, "--", "topic", "list"), 'resources: ["pods/exec"], verbs: ["get", "create"]'),
                            (("connect", CLUSTER), 'resources: ["pods/portforward"], verbs: ["get", "create"]')):
            at = words.index("--") if "--" in words else len(words)
            refused = self.plugin(*words[:at], *viewer, *words[at:], code=6).stderr
            expect("you may not" in refused and rule in refused, refused)
        expect("orders" in self.plugin("exec", CLUSTER, *client, "--", "topic", "list").stdout, "a client runs nothing")
        with self.connected(CLUSTER, "--port", "0", *map(str, client)) as bootstrap:
            self.kcat(bootstrap, "-L")
        self.plugin("pause", "topic/orders", *keeper)
        self.plugin("resume", "topic/orders", "--wait", *keeper)

    def the_plugin_runs_commands_in_a_pod(self):
        self.plugin("exec", CLUSTER, "--", "topic", "create", "by-exec", "--partitions", 1)
        sent = "".join(f"line {number}\n" for number in range(20_000))
        self.plugin("exec", CLUSTER, "--", "produce", "by-exec", "--quiet", input=sent)
        read = self.plugin("exec", CLUSTER, "--broker", 2, "--", "consume", "by-exec").stdout
        expect(read == sent, f"{len(sent)} bytes were sent, {len(read)} read")
        self.plugin("exec", CLUSTER, "--", "topic", "describe", "not-there", code=3)
        lines = self.plugin("logs", CLUSTER, "--tail", 2).stdout.splitlines()
        expect({line.split(" | ")[0] for line in lines} == {pod["metadata"]["name"] for pod in self.brokers()}, f"the logs are {lines}")

    def clients_outside_produce_and_consume_while_brokers_restart(self):
        """Through `connect`, on this machine: a producer keeps its ledger while one broker is restarted, then all of them; kcat
        reads."""
        folder = pathlib.Path(self.folder.name)
        program, said, followed = (folder / name for name in ("outside", "outside-said", "outside-logs"))
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, ROOT / "e2e/tests/ledger.c", "-lrdkafka"], check=True)
        self.plugin("exec", CLUSTER, "--", "topic", "create", "outside", "--partitions", 6, "--replicas", 3)
        with self.connected(CLUSTER, "--port", "0") as bootstrap, open(said, "wb") as out, open(followed, "wb") as heard:
            listed = self.kcat(bootstrap, "-L", "-J")
            names = [broker["name"] for broker in json.loads(listed)["brokers"]]
            expect(len(names) == 3 and all(name.startswith("127.0.0.1:") for name in names), f"clients are told {names}")
            self.kcat(bootstrap, "-P", "-t", "by-kcat", "-X", "acks=all", input="".join(f"{number}\n" for number in range(1000)))
            read = self.kcat(bootstrap, "-C", "-t", "by-kcat", "-e", "-q").split()
            expect(sorted(map(int, read)) == list(range(1000)), f"kcat has written 1000 records and read {len(read)}")
            with subprocess.Popen([program, "produce", bootstrap, "outside", str(PER_SECOND)], stdout=out, stderr=subprocess.DEVNULL) as producer:
                logs = subprocess.Popen([PROGRAM, "logs", CLUSTER, "-f", "--tail", "0"], env=self.for_plugin(), stdout=heard)
                try:
                    self.plugin("restart", CLUSTER, "--broker", 1, "--wait")
                    before = self.uids()
                    told = self.plugin("restart", CLUSTER, "--wait").stderr
                    expect(not set(self.uids().values()) & set(before.values()), "a broker was not restarted")
                    expect("Roll" in told, f"no progress was told: {told}")
                    acks = said.read_bytes().count(b"acked ")
                    until("the producer goes on", lambda: said.read_bytes().count(b"acked ") > acks + PER_SECOND)
                    begun = {pod: 2 if pod.endswith("-1") else 1 for pod in before}
                    until("each start is in the logs once", lambda: self.starts(followed) == begun)
                finally:
                    logs.terminate()
                    producer.terminate()
                    logs.wait(PATIENCE)
                    producer.wait(PATIENCE)
            account = ledger.Ledger(said.read_text().splitlines())
            group = ["-G", "outside-readers", "-X", "auto.offset.reset=earliest", "-c", len(account.acked), "-q", "-f", "%p %o %s\n", "outside"]
            lines = (line.split() for line in self.kcat(bootstrap, *group).splitlines())
            wrong = ledger.verdict(account, {(int(partition), int(offset)): value for partition, offset, value in lines})
            expect(not wrong, "; ".join(wrong))
        self.note(f"{len(account.acked)} records were acknowledged outside, over the restart of one broker and of all three; a group of "
                  "kcat has read them, none lost, none twice")
        self.whole()

    def starts(self, followed):
        """How often the logs say that a broker has begun to listen, by its Pod."""
        lines = (line.split(" | ", 1) for line in followed.read_text().splitlines())
        return dict(collections.Counter(pod for pod, said in lines if '"message":"listening"' in said))

    def kcat(self, bootstrap, *words, **more):
        done = subprocess.run(["kcat", "-b", bootstrap, *map(str, words)], capture_output=True, text=True, timeout=2 * PATIENCE, **more)
        expect(done.returncode == 0, f"kcat {words[0]} ended with {done.returncode}: {done.stderr[-1000:]}")
        return done.stdout

    def a_report_has_everything_but_secrets(self):
        labels = {"ottla.dev/cluster": CLUSTER}
        planted = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted", "labels": labels}, "stringData": {"password": NEEDLE}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "planted", "labels": labels},
             "data": {"x.properties": f"sasl.jaas.config=Login required password=\"{NEEDLE}\";\nurl=https://me:{NEEDLE}@host/\n"}}]
        self.kubectl("apply", "-f", "-", input="\n---\n".join(map(json.dumps, planted)))
        marked = ("clusters.ottla.dev/events", "topics.ottla.dev/orders", "pod/events-main-0")
        for one in marked:
            self.kubectl("annotate", one, f"example.org/api-token={NEEDLE}")
        try:
            file = pathlib.Path(self.folder.name) / "report.tar.gz"
            done = self.plugin("report", CLUSTER, "-o", file)
            expect("left out" not in done.stderr, done.stderr)
            streamed = subprocess.run([PROGRAM, "report", CLUSTER, "-o", "-"], env=self.for_plugin(), check=True, stdout=subprocess.PIPE).stdout
            with tarfile.open(fileobj=io.BytesIO(streamed)) as archive:
                expect(len(archive.getnames()) > 10, "the report on stdout is not whole")
            with tarfile.open(file) as archive:
                held = {name.split("/", 1)[1]: archive.extractfile(name).read() for name in archive.getnames()}
        finally:
            self.kubectl("delete", "secret/planted", "configmap/planted")
            for one in marked:
                self.kubectl("annotate", one, "example.org/api-token-")
        found = [name for name, content in held.items() if NEEDLE.encode() in content]
        expect(not found, f"the needle is in {found}")
        pods = sorted(self.uids())
        wanted = ["report.txt", "status.txt", "resources/clusters.yaml", "resources/metadatashards.yaml", "resources/events.yaml",
                  *(f"{folder}/{pod}.{kind}" for pod in pods for folder, kind in (("logs/brokers", "log"), ("metrics", "txt")))]
        missing = [name for name in wanted if not held.get(name)]
        expect(not missing, f"{missing} are not in it: {sorted(held)}")
        expect(any(name.startswith("logs/operator/") and content for name, content in held.items()), f"the operator has no log: {sorted(held)}")
        expect(b"kind: Secret" not in b"".join(held.values()), "a Secret is in it")
        expect(b"ottla_" in held[f"metrics/{pods[0]}.txt"], "the metrics are none")
        self.note(f"{len(held)} files, {sum(map(len, held.values())) // 1024} KiB")

    def the_plugin_puts_a_cluster_to_sleep_and_wakes_it(self):
        self.plugin("hibernate", "quickstart", "--wait")
        expect(not self.brokers("quickstart"), "a broker has a Pod")
        expect("hibernates" in self.plugin("connect", "quickstart", code=6).stderr, "nobody is told that it sleeps")
        self.plugin("status", "quickstart", code=1)
        self.plugin("wake", "quickstart", "--wait")
        expect(self.serving("quickstart") == 1, "its broker does not serve")
        self.plugin("pause", "cluster/quickstart")
        late = self.plugin("restart", "quickstart", "--wait", code=6).stderr
        expect("kubectl ottla resume quickstart" in late, late)
        self.plugin("resume", "cluster/quickstart", "--wait")
        until("it is what it should be", lambda: self.settled("quickstart"))
