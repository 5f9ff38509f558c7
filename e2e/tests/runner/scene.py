"""A Cluster on real nodes, as a case looks at it and lays hands on it.

Owns the Cluster `events`, the Pods that keep ledgers of it, and how both are watched. What is promised is the cases'. It speaks
only Kubernetes and, through clients in Pods, Kafka.
"""

import base64
import contextlib
import functools
import json
import os
import pathlib
import subprocess
import tempfile
from datetime import datetime

import ledger
from stage import PATIENCE, TOOLS, Stage, expect, until
from watched import is_ready

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLE, QUICKSTART = ROOT / "deploy/examples/three-zones.yaml", ROOT / "deploy/examples/quickstart.yaml"
CLUSTER, TOPIC = "events", "ledger"
LEDGER = "localhost/ottla/ledger:dev"
BIN = pathlib.Path(os.environ.get("BIN") or ROOT / "bin").resolve()
# How many acknowledgements show that a producer goes on.
MANY = 200
MEMBERS = ("member-0", "member-1")


class Scene(Stage):
    def __init__(self, name=None):
        super().__init__(name or os.environ.get("CLUSTER") or "e2e")
        self.folder = tempfile.TemporaryDirectory()
        self.said = pathlib.Path(self.folder.name) / "ledger"
        self.following = None
        self.read = {}

    def ottla(self, *words):
        """Our own command, in a broker's Pod."""
        return self.kubectl("exec", f"{CLUSTER}-main-0", "--", "ottla", *words).stdout

    def records(self):
        return ledger.records(self.ottla("consume", TOPIC, "-o", "json").splitlines())

    def group(self):
        return ledger.Group({member: self.kubectl("logs", member).stdout.splitlines() for member in MEMBERS})

    def brokers(self, name=CLUSTER):
        return self.items("pods", "-l", f"ottla.dev/cluster={name}")

    @contextlib.contextmanager
    def held(self, claim, zone=None):
        """A Pod that has a volume at /data, as the user that brokers run as; its name."""
        user = 65532
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "holder"}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"topology.kubernetes.io/zone": zone} if zone else {},
            "securityContext": {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user},
            "containers": [{"name": "holder", "image": "localhost/ottla/busybox:1", "imagePullPolicy": "Never",
                            "command": ["sleep", "infinity"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}}
        self.kubectl("apply", "-f", "-", input=json.dumps(pod))
        try:
            self.kubectl("wait", "--for=condition=Ready", "pod/holder", f"--timeout={PATIENCE}s")
            yield "holder"
        finally:
            self.kubectl("delete", "pod", "holder", f"--timeout={PATIENCE}s")

    def copied(self, claim):
        """The data directory on a volume that no broker uses, copied to this machine."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder.name, prefix=f"{claim}-"))
        with self.held(claim) as pod:
            command = [TOOLS / "kubectl", "exec", pod, "--", "tar", "-cf", "-", "-C", "/data", "data"]
            with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE) as reader:
                subprocess.run(["tar", "-xf", "-", "-C", folder], stdin=reader.stdout, check=True)
            expect(reader.returncode == 0, f"{claim} could not be copied")
        return folder / "data"

    def elsewhere(self):
        """Brokers on other nodes than the producer's."""
        node = self.items("pods", "--field-selector=metadata.name=ledger")[0]["spec"]["nodeName"]
        return [pod for pod in self.brokers() if pod["spec"]["nodeName"] != node]

    def claims(self, name):
        return self.items("pvc", "-l", f"ottla.dev/cluster={name}")

    def example(self):
        """README's Cluster, with volumes as large as those that are there: they may have grown, and none shrinks."""
        (size,) = {claim["spec"]["resources"]["requests"]["storage"] for claim in self.claims(CLUSTER)}
        return EXAMPLE.read_text().replace("10Gi", size)

    def secret(self, name, key):
        text = self.kubectl("get", "secret", name, "-o", "json").stdout
        return base64.b64decode(json.loads(text)["data"][key]).decode()

    def restarts(self):
        """How often the containers of brokers have ended."""
        return {pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"]["containerStatuses"]) for pod in self.brokers()}

    def uids(self, name=CLUSTER):
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.brokers(name)}

    def serving(self, name=CLUSTER):
        return sum(map(is_ready, self.brokers(name)))

    def declared(self, name=CLUSTER):
        return self.items("clusters.ottla.dev", f"--field-selector=metadata.name={name}")[0]

    def conditions(self, name=CLUSTER):
        """By their kind; only those that are about what is declared now."""
        cluster = self.declared(name)
        now = cluster["metadata"]["generation"]
        return {one["type"]: one for one in cluster["status"]["conditions"] if one["observedGeneration"] == now}

    def settled(self, name=CLUSTER):
        states = {kind_of: one["status"] for kind_of, one in self.conditions(name).items()}
        return states["Ready"] == "True" and states["Reconciling"] == states["Stalled"] == "False"

    def whole(self, seconds=PATIENCE, name=CLUSTER):
        """Until every broker serves, every replica is in sync, and a drain may take one."""
        def is_whole():
            budget = self.items("pdb", f"--field-selector=metadata.name={name}-brokers")[0]
            return self.settled(name) and self.conditions(name)["DataSafe"]["status"] == "True" and budget["status"]["disruptionsAllowed"] == 1
        until(f"{name} is whole", is_whole, seconds)

    def change(self, name, spec):
        self.kubectl("patch", "clusters.ottla.dev", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, word, *words):
        """Asks something of the Cluster, by an annotation of ottla.dev."""
        self.kubectl("annotate", "clusters.ottla.dev", CLUSTER, f"ottla.dev/{word}", *words)

    def told(self, name=CLUSTER):
        """The reasons of the Events on a Cluster."""
        events = [(event["regarding"], event["reason"]) for event in self.items("events.events.k8s.io")]
        return {reason for about, reason in events if (about["kind"], about["name"]) == ("Cluster", name)}

    def follow(self):
        """Has everything that the producer says written down, from its beginning on. Who followed may have missed something."""
        if self.following is not None:
            self.following.kill()
            self.following.wait()
        with open(self.said, "wb") as out:
            self.following = subprocess.Popen([TOOLS / "kubectl", "logs", "--follow", "ledger"], env=self.environment, stdout=out,
                                              stderr=subprocess.DEVNULL)

    def silence(self, began, ended, pod="ledger"):
        """The longest time between two acknowledgements, in seconds, as the producer's node has noted them."""
        lines = self.kubectl("logs", pod, "--timestamps", f"--since-time={began:%Y-%m-%dT%H:%M:%SZ}").stdout.splitlines()
        # Nanoseconds are more than Python reads.
        times = [datetime.fromisoformat(line.split()[0][:26].rstrip("Z") + "+00:00") for line in lines if " acked " in line]
        times = [began, *(time for time in times if began < time < ended), ended]
        return max((later - earlier).total_seconds() for earlier, later in zip(times, times[1:]))

    def acks(self):
        # A kubelet ends what follows a log when its machine has no inotify instance left.
        if self.following.poll() is not None:
            self.follow()
        return self.said.read_bytes().count(b"acked ")

    def end(self, pod):
        """Has a producer end. Its Pod is kept, and with it what nobody has read of its log yet."""
        self.kubectl("patch", "pod", pod, "--type=merge", "-p", json.dumps({"spec": {"activeDeadlineSeconds": 1}}))
        until("it has ended", lambda: self.items("pods", f"--field-selector=metadata.name={pod}")[0]["status"]["phase"] == "Failed")

    def goes_on(self):
        before = self.acks()
        until("the producer goes on", lambda: self.acks() > before + MANY)

    @functools.cache
    def load_ledger(self):
        """Gives the image of clients that keep ledgers to every node, the first time."""
        program = f"{self.folder.name}/program"
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, ROOT / "e2e/tests/ledger.c", "-lrdkafka"], check=True)
        self.load(LEDGER, program)

    def load(self, name, *binaries):
        """Gives an image of these to every node."""
        archive = f"{self.folder.name}/image.tar"
        with open(archive, "wb") as out:
            subprocess.run([ROOT / "deploy/image/build", "--name", name, *binaries], stdout=out, check=True)
        self.tool("load", archive)

    def roll(self, spec, amid=lambda: None):
        """Changes what brokers have to be restarted for; `amid` happens after the first one was."""
        before, wrong = self.uids(), []
        self.change(CLUSTER, spec)
        until("a broker is restarted", lambda: self.uids() != before)
        amid()

        def over():
            pods, conditions = self.brokers(), self.conditions()
            serving = sum(map(is_ready, pods))
            if serving < 2:
                wrong.append(f"only {serving} brokers served")
            if conditions["Ready"]["status"] != "True":
                wrong.append(f"the Cluster was not Ready: {conditions['Ready']['message']}")
            return conditions["Reconciling"]["status"] == "False"
        until("the roll is over", over, 2 * PATIENCE)
        after = self.uids()
        expect(len(after) == 3 and not set(after.values()) & set(before.values()), f"it is over, and Pods are {after} of {before}")
        expect(not wrong, "; ".join(sorted(set(wrong))))
        self.goes_on()
        self.whole()
