"""An operator that is killed after each of its writes, one by one, on real nodes and under the ledgers of producers.

Owns the cases, and where what they play runs: killing.py, in the network of the control plane's node. The operator that is installed
has no Pod meanwhile, and the namespaces are deleted by it afterwards.
"""

import contextlib
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "e2e/cluster/runner"))
import settings  # noqa: E402
from stage import PATIENCE, expect, until  # noqa: E402

LIMIT_SECONDS = 1200
# A private /etc/resolv.conf, by which names are those of Pods.
ENTER = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "bash", "-c",
         'mount --bind "$1" /etc/resolv.conf && "${@:2}"; exit $?', "bash"]


class Cases:
    def a_roll_goes_on_after_each_single_write_of_its_operator(self):
        self.operator_killed("roll", side_by_side=4)

    def a_growth_of_volumes_goes_on_after_each_single_write_of_its_operator(self):
        self.operator_killed("growth", side_by_side=4)

    def a_scale_in_goes_on_after_each_single_write_of_its_operator(self):
        self.operator_killed("scalein", side_by_side=4)

    # --- what the cases use -------------------------------------------------------------------------------------------

    def operator_killed(self, operation, side_by_side):
        self.load_ledger()
        with self.without_the_operator():
            said = self.killing(operation, side_by_side)
        # The operator that is installed sees to what holds them.
        spaces = [one["metadata"]["name"] for one in self.items("namespaces") if one["metadata"]["name"].startswith(f"{operation}-")]
        self.kubectl("delete", "namespace", *spaces, "--wait=false")
        expect(not said["wrong"], said["wrong"])
        expect(len(said["acked"]) == side_by_side and all(said["acked"]), f"the ledgers are {said['acked']}")
        self.note(f"killed after each of {len(said['killed'])} writes, in {side_by_side} Clusters side by side; {sum(said['acked'])} records were "
                  "acknowledged meanwhile, none lost, none twice")
        until("its namespaces are gone", lambda: not {one["metadata"]["name"] for one in self.items("namespaces")} & set(spaces), 2 * PATIENCE)

    @contextlib.contextmanager
    def without_the_operator(self):
        """It has no Pod; what is there is then that of the one that is killed."""
        scale = ("-n", "ottla-system", "scale", "deployment/ottla-operator")
        self.kubectl(*scale, "--replicas=0")
        try:
            until("no operator is left", lambda: not self.items("pods", "-n", "ottla-system"))
            yield
        finally:
            self.kubectl(*scale, "--replicas=2")
            self.kubectl("-n", "ottla-system", "rollout", "status", "deployment/ottla-operator", f"--timeout={PATIENCE}s")

    def killing(self, operation, side_by_side):
        """Runs one operation; what was seen of it."""
        folder = self.cluster.folder / "logs" / operation
        folder.mkdir(parents=True)
        config = json.loads(self.cluster.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://{self.cluster.control.address}:{settings.API_PORT}"
        kubeconfig, names = (pathlib.Path(self.folder.name) / name for name in ("kubeconfig", "resolv.conf"))
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(json.dumps(config))
        names.write_text(f"nameserver {settings.DNS_SERVICE}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n")
        network = f"--net=/proc/{settings.noted(self.cluster.control.note)}/ns/net"
        program = [sys.executable, ROOT / "e2e/tests/runner/killing.py", folder, kubeconfig, operation, side_by_side]
        command = [str(word) for word in ["nsenter", network, *ENTER, names, *program]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            try:
                said, _ = running.communicate(timeout=LIMIT_SECONDS)
            finally:
                running.kill()
        if running.returncode != 0:
            return {"wrong": f"it ended with {running.returncode}; see {folder}"}
        return json.loads(said.splitlines()[-1])
