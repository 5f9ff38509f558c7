"""The provider `kind`: the same cluster out of Docker containers, where there is Docker.

Owns nothing but what kind makes for the cluster's name. deploy/kind/cluster.yaml says which nodes there are.
"""

import os
import shutil
import subprocess

import images
import settings
from api import BOOT_SECONDS, Provider
from settings import Failed

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"


def works():
    """Whether there are both Docker and kind, and Docker answers."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, **more)


class Kind(Provider):
    def up(self):
        if not works():
            raise Failed("PROVIDER=kind needs `kind` (https://kind.sigs.k8s.io) and a Docker that answers to `docker info`")
        binaries = images.build("add-ons")
        self.cluster.write(provider="kind", bin=binaries)
        known = run("kind", "get", "clusters", capture_output=True, text=True).stdout.split()
        if self.cluster.name not in known:
            run("kind", "create", "cluster", "--name", self.cluster.name, "--wait", f"{BOOT_SECONDS}s",
                "--config", settings.ROOT / "deploy/kind/cluster.yaml", "--kubeconfig", self.cluster.kubeconfig)
            # Its class gives folders, which neither fill nor grow; ours takes the name.
            self.kubectl("delete", "storageclass", "standard", "--ignore-not-found")
        for node in self.cluster.nodes:
            self.start(node)
        self.wait_api()
        made = images.add_ons(self.cluster.folder / "images", binaries)
        # kind has names of its own, and pods without images of ours.
        self.load([archive for archive, _ in made if archive.stem not in ("coredns", "pause")])

    def down(self):
        run("kind", "delete", "cluster", "--name", self.cluster.name)
        shutil.rmtree(self.cluster.folder, ignore_errors=True)

    def start(self, node):
        run("docker", "start", node.name, stdout=subprocess.DEVNULL)

    def kill(self, node):
        if self.runs(node):
            run("docker", "kill", node.name, stdout=subprocess.DEVNULL)

    def runs(self, node):
        done = run("docker", "ps", "--quiet", "--filter", f"name=^{node.name}$", capture_output=True, text=True)
        return bool(done.stdout.strip())

    def shell(self, node, command):
        os.execvp("docker", ["docker", "exec", "-i", node.name, *command])

    def stop_api(self):
        control = self.cluster.control.name
        run("docker", "exec", control, "sh", "-c",
            f"test ! -e {MANIFEST} || mv {MANIFEST} /etc/kubernetes/; crictl ps -q --name kube-apiserver | xargs -r crictl stop -t 0")
        self.wait_no_api()

    def start_api(self):
        control = self.cluster.control.name
        run("docker", "exec", control, "sh", "-c", f"test -e {MANIFEST} || mv /etc/kubernetes/kube-apiserver.yaml {MANIFEST}")
        self.wait_api()

    def enter(self, command):
        """Docker's network of the nodes is this machine's own."""
        os.execvp(command[0], command)

    def load(self, archives):
        for archive in archives:
            run("kind", "load", "image-archive", archive, "--name", self.cluster.name)
