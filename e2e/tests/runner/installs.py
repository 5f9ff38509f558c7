"""Other ways to install: by Helm, and for one namespace without a right beyond it.

Owns the cases; suites mix it in, at their end: the operator that README installs is gone afterwards. What the charts render, and that they
are the same as the kustomizations, is e2e/charts' to show; here Pods of theirs start and act.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from scene import CLUSTER, QUICKSTART, ROOT
from stage import PATIENCE, expect, until

SYSTEM, OPERATOR = "ottla-system", "ottla-operator"
IMAGES = ("--set", "image.repository=localhost/ottla/operator", "--set", "image.tag=dev", "--set", "broker.image=localhost/ottla/broker",
          "--set", "broker.version=dev")


@functools.cache
def helm():
    """The program, which is built the first time."""
    return subprocess.run([ROOT / "e2e/charts/build-helm.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Cases:
    def helm_takes_the_operator_over_and_no_broker_is_restarted(self):
        """As docs/how-to/operator.md says."""
        before = self.uids(), self.restarts()
        self.kubectl("-n", SYSTEM, "delete", "deployment", OPERATOR, f"--timeout={PATIENCE}s")
        for chart, words in (("ottla-crds", ()), (OPERATOR, IMAGES)):
            self.helm("install", chart, ROOT / "charts" / chart, "-n", SYSTEM, "--take-ownership", *words)
        self.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{OPERATOR}", f"--timeout={PATIENCE}s")
        self.kubectl("delete", "configmap", f"{CLUSTER}-client")
        until("it acts", lambda: self.items("configmaps", f"--field-selector=metadata.name={CLUSTER}-client"))
        pods = {pod["metadata"]["name"] for pod in self.items("pods", "-n", SYSTEM, "-l", f"app.kubernetes.io/instance={OPERATOR}")}
        (lease,) = self.items("leases", "-n", SYSTEM, f"--field-selector=metadata.name={OPERATOR}")
        expect(lease["spec"]["holderIdentity"].rsplit("_", 1)[0] in pods, f"{lease['spec']} acts, and the Pods are {pods}")
        self.whole()
        expect((self.uids(), self.restarts()) == before, f"brokers were restarted: {self.uids()} of {before}")

    def a_cluster_by_helm_keeps_its_volumes_when_it_is_uninstalled(self):
        topics = json.dumps([{"name": "orders", "partitions": 3}])

        def install():
            self.helm("install", "shop", ROOT / "charts/ottla-cluster", "-n", "shop", "--create-namespace", "--set-json", f"topics={topics}")
            self.kubectl("wait", "-n", "shop", "--for=condition=Ready", "clusters.ottla.dev/shop", "topics.ottla.dev/orders",
                         f"--timeout={2 * PATIENCE}s")
        install()
        self.kubectl("exec", "-i", "-n", "shop", "shop-main-0", "--", "ottla", "produce", "orders", "--quiet", input="hello\n")
        self.helm("uninstall", "shop", "-n", "shop")
        until("no broker is left", lambda: not self.items("pods", "-n", "shop"))
        expect(len(self.items("pvc", "-n", "shop")) == 3, "its volumes are gone")
        install()
        read = self.kubectl("exec", "-n", "shop", "shop-main-1", "--", "ottla", "consume", "orders").stdout
        expect(read == "hello\n", f"installed again it has {read!r}")
        self.kubectl("delete", "namespace", "shop", f"--timeout={PATIENCE}s")

    def an_operator_of_one_namespace_sees_no_other(self):
        # Helm's, or in a suite of single cases README's.
        self.kubectl("-n", SYSTEM, "delete", "deployment", OPERATOR, "--ignore-not-found", f"--timeout={PATIENCE}s")
        for release in json.loads(self.helm("list", "-n", SYSTEM, "-o", "json")):
            self.helm("uninstall", release["name"], "-n", SYSTEM)
        expect(self.items("clusters.ottla.dev"), "the definitions have gone with their chart, and every Cluster with them")
        for namespace in ("elsewhere", "ottla"):
            self.kubectl("create", "namespace", namespace)
            self.kubectl("apply", "-n", namespace, "-f", QUICKSTART)
        with tempfile.TemporaryDirectory() as folder:
            self.kubectl("apply", "--server-side", "-k", self.with_images(folder, ROOT / "deploy/operator/namespaced"))
        self.kubectl("wait", "-n", "ottla", "--for=condition=Ready", "clusters.ottla.dev/quickstart", "topics.ottla.dev/stocks",
                     f"--timeout={2 * PATIENCE}s")
        self.kubectl("exec", "-i", "-n", "ottla", "quickstart-main-0", "--", "ottla", "produce", "stocks", "--quiet", input="hello\n")
        # It was declared earlier.
        (other,) = self.items("clusters.ottla.dev", "-n", "elsewhere")
        seen = other["status"].get("conditions") or self.items("pods", "-n", "elsewhere")
        expect(not seen, f"it has seen the other one, which has {seen}")
        for verb, kind in (("list", "clusters.ottla.dev"), ("get", "secrets"), ("create", "pods")):
            words = ["auth", "can-i", verb, kind, f"--as=system:serviceaccount:ottla:{OPERATOR}", "-n"]
            told = [self.kubectl(*words, namespace, check=False).stdout.strip() for namespace in ("ottla", "elsewhere", SYSTEM)]
            expect(told == ["yes", "no", "no"], f"{verb} {kind}: {told}")
        # It has to outlive what it looks after.
        for words in (("clusters.ottla.dev,topics.ottla.dev", "--all"), ("pvc,metadatashards.ottla.dev", "-l", "ottla.dev/cluster=quickstart")):
            self.kubectl("delete", "-n", "ottla", *words, f"--timeout={PATIENCE}s")
        self.kubectl("delete", "namespace", "ottla", f"--timeout={PATIENCE}s")

    # --- what the cases use -------------------------------------------------------------------------------------------

    def helm(self, *words):
        done = subprocess.run([helm(), *map(str, words)], env=self.environment | {"KUBECONFIG": str(self.cluster.kubeconfig)},
                              capture_output=True, text=True, timeout=2 * PATIENCE)
        expect(done.returncode == 0, f"helm {words[0]} {words[1]}: {done.stderr.strip()}")
        return done.stdout

    def with_images(self, folder, base):
        """A kustomization like deploy/local, of another base."""
        folder = pathlib.Path(folder).resolve()
        local = ROOT / "deploy/local"
        shutil.copy(local / "images.yaml", folder)
        text = (local / "kustomization.yaml").read_text().replace("namespace: ottla-system\n", "")
        (folder / "kustomization.yaml").write_text(text.replace("../operator", os.path.relpath(base, folder)))
        return folder
