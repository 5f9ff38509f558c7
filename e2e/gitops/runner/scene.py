"""A Kubernetes without nodes on which Ottla lives all the same: a real API server, the real operator, real brokers.

Owns the processes of a run, in a folder of its own. The operator acts under its own account with the rights that deploy/operator
gives it.
"""

import os
import pathlib
import subprocess
import sys
import threading
import urllib.request

from api import Api, Refused, ours, path
from kubelet import Kubelet, write_kubeconfig

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import expect, perform, until  # noqa: E402, F401

PLANE = ROOT / "e2e/kubernetes/control-plane"
BIN = pathlib.Path(os.environ.get("BIN") or ROOT / "bin").resolve()
SYSTEM = "ottla-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:ottla-operator"


class Operator:
    """One process of the operator."""

    def __init__(self, folder, kubeconfig, port, more=()):
        self.port, self.log = port, open(folder / "operator.log", "ab")
        words = [os.environ.get("OTTLA_OPERATOR") or BIN / "ottla-operator", "--kubeconfig", kubeconfig,
                 "--http-listener", f"127.0.0.1:{port}", "--broker-version", "1.0.0", "--log-format", "text", *more]
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def kill(self):
        self.process.kill()

    def end(self):
        """Ends it as Kubernetes does, and waits."""
        self.process.terminate()
        self.process.wait(60)


class Scene:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.plane = self.folder / "plane"
        self.operators, self.port = [], 19000
        self.kubelet, self.stopping = None, threading.Event()

    def start(self):
        subprocess.run([PLANE, "start", self.plane], check=True, stdout=subprocess.DEVNULL)
        self.kubeconfig = self.plane / "kubeconfig"
        self.api = Api(self.kubeconfig)
        self.kubectl("apply", "-k", ROOT / "deploy/operator", "--server-side")
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        # A kind that was just defined asks for patience.
        until("Ottla's kinds are served", lambda: all(map(self.is_served, ("clusters", "topics", "metadatashards"))))
        self.kubelet = Kubelet(self.api, self.kubeconfig, self.folder, os.environ.get("OTTLA_BROKER") or BIN / "ottla-broker", "/etc/hosts",
                               self.stopping)
        self.kubelet.start()

    def is_served(self, resource):
        try:
            self.api.get(ours(resource))
            return True
        except Refused as refused:
            if refused.status not in (404, 429):
                raise
            return False

    def stop(self):
        self.stopping.set()
        for operator in self.operators:
            operator.kill()
        if self.kubelet:
            self.kubelet.stop()
        subprocess.run([PLANE, "stop", self.plane], stdout=subprocess.DEVNULL)

    def kubectl(self, *words, check=True, text=None):
        command = [os.environ["KUBECTL"], f"--kubeconfig={self.plane}/kubeconfig", *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        expect(not check or done.returncode == 0, f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done

    def namespace(self, name):
        self.api.create(path("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def operator(self, folder=None, server=None, more=()):
        """Starts an operator; through `server` instead of the API server itself, if one is named."""
        folder = pathlib.Path(folder or self.folder)
        own = folder / "operator.kubeconfig"
        write_kubeconfig(self.kubeconfig, own, SYSTEM, ACCOUNT, server)
        self.port += 1
        operator = Operator(folder, own, self.port, more)
        self.operators.append(operator)
        return operator

    def ottla(self, servers, *words, text=None):
        done = subprocess.run([os.environ.get("OTTLA") or BIN / "ottla", "-b", servers, *map(str, words)], input=text, capture_output=True,
                              text=True, timeout=60)
        expect(done.returncode == 0, f"ottla {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def find(self, resource, namespace, name):
        return self.api.find(ours(resource, namespace, name))

    def annotate(self, resource, namespace, name, annotations):
        self.api.merge(ours(resource, namespace, name), {"metadata": {"annotations": annotations}})


def conditions(item):
    return {one["type"]: one for one in (item or {}).get("status", {}).get("conditions", [])}


def told(item):
    """The conditions in a line, for whoever waits in vain."""
    return ", ".join(f"{one['type']}={one['status']} {one['reason']}: {one['message']}" for one in conditions(item).values())


def cluster(name, brokers=1, size="1Gi", **spec):
    pool = {"name": "a", "replicas": brokers, "storage": {"volumes": [{"name": "data", "size": size}]}}
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": {"pools": [pool], **spec}}


def topic(name, of, **spec):
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name}, "spec": {"clusterRef": {"name": of}, **spec}}
