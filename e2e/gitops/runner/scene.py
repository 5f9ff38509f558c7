"""A Kubernetes without nodes on which Ottla lives all the same: a real API server, the real operator, real brokers.

Owns the processes of a run, in a folder of its own.
"""

import os
import pathlib
import subprocess
import sys
import threading

from api import Api, Refused, ours, path
from kubelet import Kubelet
from operators import ACCOUNT, BIN, SYSTEM, Operator, write_kubeconfig

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import expect, perform, until  # noqa: E402, F401

PLANE = ROOT / "e2e/kubernetes/control-plane"


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
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600)
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
        operator = Operator(folder, own, self.port, ("--broker-version", "1.0.0", *more))
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
