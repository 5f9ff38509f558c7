"""Operators as processes, which act under the operator's own account with the rights that deploy/operator gives it.

Owns how one is started and ended; never what it does.
"""

import json
import os
import pathlib
import subprocess
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("BIN") or ROOT / "bin").resolve()
SYSTEM = "ottla-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:ottla-operator"


def write_kubeconfig(of, to, namespace, account, server=None):
    """A kubeconfig like `of` that acts as an account in a namespace, through another server if one is named."""
    config = json.loads(pathlib.Path(of).read_text())
    user = config["users"][0]["user"]
    user["as"] = account
    config["contexts"][0]["context"]["namespace"] = namespace
    if server:
        config["clusters"][0]["cluster"] = {"server": server}
        # A certificate is shown by whoever passes requests on.
        for key in ("client-certificate-data", "client-key-data"):
            user.pop(key, None)
    pathlib.Path(to).write_text(json.dumps(config))


class Operator:
    """One process of the operator."""

    def __init__(self, folder, kubeconfig, port, more=()):
        self.port, self.log = port, open(folder / "operator.log", "ab")
        words = [os.environ.get("OTTLA_OPERATOR") or BIN / "ottla-operator", "--kubeconfig", kubeconfig,
                 "--http-listener", f"127.0.0.1:{port}", "--log-format", "text", *more]
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
