"""What both providers do alike: they ask the cluster through its API server."""

import os
import shutil
import subprocess
import time

from settings import Failed, wait

BOOT_SECONDS = 180
END_SECONDS = 30


class Provider:
    """A cluster, by the means of one provider. Verbs may be repeated."""

    def __init__(self, cluster):
        self.cluster = cluster

    def program(self):
        """kubectl of the cluster's version where it was built, else the user's."""
        built = f"{self.cluster.read()['bin']}/kubectl"
        found = built if os.access(built, os.X_OK) else shutil.which("kubectl")
        if found is None:
            raise Failed("there is no kubectl; `e2e/kubernetes/build.sh cluster` builds one")
        return found

    def kubectl(self, *words, text=None):
        """Runs kubectl and gives back what it says; its error ends the verb."""
        done = subprocess.run([self.program(), f"--kubeconfig={self.cluster.kubeconfig}", *map(str, words)], input=text,
                              capture_output=True, text=True, timeout=BOOT_SECONDS)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def api_answers(self):
        try:
            self.kubectl("get", "--raw=/readyz", "--request-timeout=5s")
            return True
        except Failed:
            return False

    def wait_api(self):
        wait(time.monotonic() + BOOT_SECONDS, lambda: f"the API server is not ready; logs are in {self.cluster.control.logs}",
             lambda: True if self.api_answers() else None)

    def wait_no_api(self):
        wait(time.monotonic() + END_SECONDS, lambda: "the API server does not end", lambda: None if self.api_answers() else True)

    def wait_nodes(self):
        """Until every node is Ready."""
        def ready():
            states = self.ready()
            return True if all(states.get(node.name) for node in self.cluster.nodes) else None
        wait(time.monotonic() + BOOT_SECONDS, lambda: f"not every node is Ready: {self.ready()}; logs are in {self.cluster.folder}/logs",
             ready)

    def ready(self):
        """Nodes that the API server knows, and whether they are Ready."""
        form = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        lines = self.kubectl("get", "nodes", f"-o=jsonpath={form}", "--request-timeout=5s").splitlines()
        return {name: state == "True" for name, state in (line.split() for line in lines if " " in line)}

    def install(self, manifests):
        """Applies the add-ons and waits until they run."""
        for manifest in manifests:
            self.kubectl("apply", "-f", manifest)
        self.kubectl("--namespace=kube-system", "rollout", "status", "deployment,daemonset", "--selector=e2e.ottla.dev/add-on",
                     f"--timeout={BOOT_SECONDS}s")
