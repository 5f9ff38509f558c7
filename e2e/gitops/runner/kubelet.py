"""Nodes, disks and names for an API server that has none: brokers run as processes of this machine.

Owns what Kubernetes would do about the operator's Pods and claims: a Pod is bound to one of three nodes in three zones, its
broker runs as the Pod says and under the Pod's account, and serves when its own probe says so; a claim is bound and grows; what
had a Cluster goes with it. Every broker has an address of its own on loopback, and the names that Services would give it. Must
never know what the operator wants. It needs the private network and mounts of room.py.
"""

import base64
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import traceback
import urllib.error
import urllib.request

from api import Refused, path
from operators import write_kubeconfig

HTTP_PORT, GRPC_PORT = 9644, 9090
ZONE = "topology.kubernetes.io/zone"
# How often a broker is asked whether it serves: as long as it does not, and then; this often its Secret is looked at too.
SOON_SECONDS, PERIOD_SECONDS = 0.1, 1.0
# What a broker that ended by itself waits before it is started again.
AGAIN_SECONDS = 1.0


class Names:
    """A file of hosts that only grows: whoever reads it meanwhile finds all that was there."""

    def __init__(self, file):
        self.file, self.addresses, self.lock = pathlib.Path(file), {}, threading.Lock()

    def of(self, pod):
        """The address of a Pod: the same for each of its name."""
        meta, spec = pod["metadata"], pod["spec"]
        key = (meta["namespace"], meta["name"])
        with self.lock:
            if key not in self.addresses:
                count = len(self.addresses) + 1
                self.addresses[key] = address = f"127.10.{count // 250}.{count % 250 + 1}"
                cluster = meta["labels"]["ottla.dev/cluster"]
                lines = (f"{address} {name}.{meta['namespace']}.svc\n"
                         for name in (f"{spec['hostname']}.{spec['subdomain']}", f"{cluster}-bootstrap"))
                with open(self.file, "a") as file:
                    file.write("".join(lines))
            return self.addresses[key]


class Container:
    """The broker of one Pod, from its binding to its end."""

    def __init__(self, kubelet, pod):
        self.kubelet, self.pod = kubelet, pod
        meta = pod["metadata"]
        self.uid, self.place = meta["uid"], path("pods", meta["namespace"], meta["name"])
        self.address = kubelet.names.of(pod)
        self.folder = kubelet.folder / "pods" / self.uid
        self.ends, self.graceful = threading.Event(), True
        self.process, self.ready, self.restarts = None, None, 0
        self.annotations, self.projecting = meta.get("annotations", {}), threading.Lock()
        threading.Thread(target=self.live, daemon=True).start()

    def live(self):
        try:
            if not self.pod["spec"].get("nodeName"):
                self.bind()
            while not self.ends.is_set() and (prepared := self.mounted()):
                self.run(*prepared)
            self.end()
        except Exception as error:
            gone = isinstance(error, Refused) and error.status in (404, 409)
            if not gone and not self.kubelet.stopping.is_set():
                traceback.print_exc()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()

    def bind(self):
        zones = self.kubelet.nodes
        node = zones[int(self.pod["metadata"]["labels"]["ottla.dev/broker-id"]) % len(zones)]
        self.kubelet.api.create(f"{self.place}/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": self.pod["metadata"]["name"]},
                                                          "target": {"apiVersion": "v1", "kind": "Node", "name": node}})
        self.pod = self.kubelet.api.get(self.place)

    def mounted(self):
        """What is run, once everything that the Pod mounts is there; None if it has to end before."""
        while not self.ends.is_set():
            try:
                return self.prepared()
            except Refused as refused:
                if refused.status != 404:
                    raise
                self.ends.wait(SOON_SECONDS)
        return None

    def prepared(self):
        """Files and command of the broker, as the Pod has them."""
        meta, spec = self.pod["metadata"], self.pod["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.kubelet.api.get(path("configmaps", meta["namespace"], volumes["config"]["configMap"]["name"]))
        for name, text in config["data"].items():
            (self.folder / name).write_text(text)
        claim = self.kubelet.api.get(path("persistentvolumeclaims", meta["namespace"], volumes["data"]["persistentVolumeClaim"]["claimName"]))
        disk = self.kubelet.folder / "disks" / claim["metadata"]["uid"]
        disk.mkdir(parents=True, exist_ok=True)
        self.secret = path("secrets", meta["namespace"], volumes["certificates"]["secret"]["secretName"])
        self.mount()
        container = spec["containers"][0]
        environment = {one["name"]: self.value(one) for one in container["env"]}
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listeners = ",".join(f"{name.upper()}://{self.address}:{port}" for name, port in ports.items() if not name.startswith("ottla-"))
        command = [self.kubelet.broker, "--config", self.folder / "broker.properties", "--listeners", listeners,
                   "--ottla.grpc.listener", f"{self.address}:{GRPC_PORT}", "--ottla.http.listener", f"{self.address}:{HTTP_PORT}",
                   "--log.dirs", disk / "data", "--ottla.grpc.tls.directory", self.folder / "certificates",
                   "--ottla.kubernetes.kubeconfig", self.kubelet.account(meta["namespace"], spec["serviceAccountName"])]
        if self.project(volumes):
            # A variable: a broker of an older version takes no flag that it does not know.
            environment["OTTLA_DYNAMIC_CONFIG_FILE"] = str(self.folder / "dynamic")
        return [str(word) for word in command], os.environ | environment

    def changed(self, pod):
        """Its Pod has changed: files that follow annotations do."""
        self.annotations = pod["metadata"].get("annotations", {})
        if self.folder.exists():
            self.project({volume["name"]: volume for volume in pod["spec"]["volumes"]})

    def project(self, volumes):
        """The downward API's file of what changes while the broker runs; whether there is one."""
        if "dynamic" not in volumes:
            return False
        annotation = volumes["dynamic"]["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"].split("'")[1]
        with self.projecting:
            fresh = self.folder / "dynamic.new"
            fresh.write_text(self.annotations.get(annotation, ""))
            fresh.replace(self.folder / "dynamic")
        return True

    def mount_again(self):
        """Now and then; a Secret that is gone leaves its files to whoever runs with them."""
        if time.monotonic() < self.mounts_again:
            return
        try:
            self.mount()
        except Refused as refused:
            if refused.status != 404:
                raise

    def mount(self):
        """The Secret's files as they are now, all of them at once: a link to a folder of their own."""
        self.mounts_again = time.monotonic() + PERIOD_SECONDS
        secret = self.kubelet.api.get(self.secret)
        version = self.folder / f"certificates-{secret['metadata']['resourceVersion']}"
        if version.exists():
            return
        version.mkdir()
        for name, text in secret["data"].items():
            (version / name).write_bytes(base64.b64decode(text))
        link = self.folder / "certificates.new"
        link.symlink_to(version.name)
        link.replace(self.folder / "certificates")

    def value(self, variable):
        """What a variable of the Pod is; its only references are to labels."""
        if "valueFrom" not in variable:
            return variable["value"]
        label = variable["valueFrom"]["fieldRef"]["fieldPath"].split("'")[1]
        return self.pod["metadata"]["labels"].get(label, "")

    def run(self, command, environment):
        """One process of the broker, until it ends or has to."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.tell(False)
        while not self.ends.wait(PERIOD_SECONDS if self.ready else SOON_SECONDS):
            if self.process.poll() is not None:
                self.restarts += 1
                self.tell(False)
                self.ends.wait(AGAIN_SECONDS)
                return
            if self.serves() != self.ready:
                self.tell(not self.ready)
            self.mount_again()

    def serves(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}:{HTTP_PORT}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def tell(self, ready):
        """Says in the Pod's status how the broker is."""
        self.ready = ready
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        truth = str(ready)
        container = self.pod["spec"]["containers"][0]
        self.kubelet.api.merge(f"{self.place}/status", {"metadata": {"uid": self.uid}, "status": {
            "phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}],
            "conditions": [{"type": kind, "status": truth, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [{"name": container["name"], "image": container["image"], "imageID": "", "ready": ready,
                                   "restartCount": self.restarts, "state": {"running": {"startedAt": now}}}],
        }})

    def stop(self, graceful):
        self.graceful = self.graceful and graceful
        self.ends.set()

    def end(self):
        """Ends the process, and then the Pod."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM if self.graceful else signal.SIGKILL)
            try:
                self.process.wait(self.pod["spec"]["terminationGracePeriodSeconds"])
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.graceful:
            self.kubelet.api.delete(self.place, seconds=0, uid=self.uid)


class Kubelet:
    """Looks after every Pod and claim of an API server."""

    def __init__(self, api, kubeconfig, folder, broker, hosts, stopping):
        self.api, self.folder, self.broker = api, pathlib.Path(folder), str(broker)
        self.kubeconfig, self.names = kubeconfig, Names(hosts)
        self.nodes, self.containers, self.stopping = [], {}, stopping

    def start(self):
        self.api.create(path("storageclasses", group="storage.k8s.io"), {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "e2e.ottla.dev/none", "allowVolumeExpansion": True,
            "metadata": {"name": "folder", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})
        for zone in "abc":
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{zone}", "labels": {ZONE: zone}}}
            self.nodes.append(self.api.create(path("nodes"), node)["metadata"]["name"])
        for where, notice in ((path("pods"), self.pod), (path("persistentvolumeclaims"), self.claim),
                              (path("clusters", group="ottla.dev", version="v1alpha1"), self.cluster)):
            threading.Thread(target=self.watch, args=(where, notice), daemon=True).start()

    def watch(self, where, notice):
        try:
            for change, item in self.api.follow(where, self.stopping):
                notice(change, item)
        except Exception:
            if not self.stopping.is_set():
                traceback.print_exc()

    def stop(self):
        """Ends every broker, whatever its Pod says."""
        for container in list(self.containers.values()):
            container.stop(False)

    def account(self, namespace, name):
        """A kubeconfig with the rights of a Pod's account."""
        own = self.folder / f"{namespace}-{name}.kubeconfig"
        if not own.exists():
            write_kubeconfig(self.kubeconfig, own, namespace, f"system:serviceaccount:{namespace}:{name}")
        return own

    def pod(self, change, pod):
        uid = pod["metadata"]["uid"]
        container = self.containers.get(uid)
        if change == "DELETED":
            if container:
                self.containers.pop(uid).stop(False)
        elif container is None:
            if "ottla.dev/broker-id" in pod["metadata"].get("labels", {}):
                self.containers[uid] = Container(self, pod)
        elif pod["metadata"].get("deletionTimestamp"):
            container.stop(True)
        else:
            container.changed(pod)

    def claim(self, change, claim):
        meta, spec, status = claim["metadata"], claim["spec"], claim["status"]
        place = path("persistentvolumeclaims", meta["namespace"], meta["name"])
        wanted = spec["resources"]["requests"]["storage"]
        bound = {"status": {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": {"storage": wanted}}}
        try:
            if change == "DELETED":
                shutil.rmtree(self.folder / "disks" / meta["uid"], ignore_errors=True)
            elif meta.get("deletionTimestamp"):
                # What protects a disk in use lets go of it when nobody is on it.
                self.when_unused(place, meta)
            elif status.get("phase") != "Bound":
                self.api.merge(place, {"spec": {"volumeName": meta["uid"]}})
                self.api.merge(f"{place}/status", bound)
            elif status.get("capacity", {}).get("storage") != wanted:
                self.api.merge(f"{place}/status", bound)
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    def when_unused(self, place, meta):
        """Lets go of a claim once no Pod is on it."""
        def uses(container):
            pod = container.pod
            claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
            return pod["metadata"]["namespace"] == meta["namespace"] and meta["name"] in claims

        def wait():
            while any(map(uses, list(self.containers.values()))) and not self.stopping.wait(SOON_SECONDS):
                pass
            try:
                self.api.merge(place, {"metadata": {"uid": meta["uid"], "finalizers": None}})
            except Refused as refused:
                if refused.status not in (404, 409):
                    raise
        threading.Thread(target=wait, daemon=True).start()

    def cluster(self, change, cluster):
        """Deletes what a Cluster that is gone was the owner of, as Kubernetes does."""
        if change != "DELETED":
            return
        meta = cluster["metadata"]
        for group, version, resources in (("", "v1", ("pods", "services", "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims")),
                                          ("policy", "v1", ("poddisruptionbudgets",)), ("networking.k8s.io", "v1", ("networkpolicies",)),
                                          ("coordination.k8s.io", "v1", ("leases",)),
                                          ("rbac.authorization.k8s.io", "v1", ("roles", "rolebindings"))):
            for resource in resources:
                for item in self.api.get(path(resource, meta["namespace"], group=group, version=version))["items"]:
                    if any(owner["uid"] == meta["uid"] for owner in item["metadata"].get("ownerReferences", [])):
                        self.api.delete(path(resource, meta["namespace"], item["metadata"]["name"], group, version), uid=item["metadata"]["uid"])
