"""What e2e/cluster promises, shown one after another on one cluster.

Owns the cluster named `test`; how cases are played and told is stage.py's.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import cgroups
import machine
import settings
from stage import PATIENCE, TOOLS, Stage, expect, perform, until

MANIFEST = TOOLS / "runner/suite.yaml"
NODE_PORT = 30080
MIB = 1 << 20


class Suite(Stage):
    def __init__(self):
        super().__init__("test")
        self.before = {}
        self.volume_node = ""

    # --- the cases, in order ------------------------------------------------------------------------------------------

    def comes_up(self):
        self.before = machine.snapshot()
        self.tool("up.sh")

    def up_again_changes_nothing(self):
        pids = [node.note.read_text() for node in self.cluster.nodes if node.note.exists()]
        self.tool("up.sh")
        expect(pids == [node.note.read_text() for node in self.cluster.nodes if node.note.exists()], "nodes were started again")

    def nodes_have_zones(self):
        found = {node["metadata"]["name"]: node for node in self.items("nodes")}
        expect(set(found) == {node.name for node in self.cluster.nodes}, f"the nodes are {sorted(found)}")
        for node in self.cluster.nodes:
            labels = found[node.name]["metadata"]["labels"]
            expect(labels["topology.kubernetes.io/zone"] == node.zone, f"{node.name} is in {labels}")
            tainted = any(one["effect"] == "NoSchedule" for one in found[node.name]["spec"].get("taints", []))
            expect(tainted == node.control, f"{node.name}: tainted is {tainted}")

    def pods_spread_over_zones(self):
        self.kubectl("apply", "-f", MANIFEST)
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
        zones = {node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in self.items("nodes")}
        used = sorted(zones[pod["spec"]["nodeName"]] for pod in self.items("pods", "-l", "app=web"))
        expect(used == ["a", "b", "c"], f"the zones of the three pods are {used}")

    def names_lead_to_services(self):
        until("a pod reaches the service by its name", lambda: self.inside("wget", "-qO-", "http://web.default.svc.cluster.local"))

    def ports_of_nodes_answer_outside(self):
        for address in self.addresses().values():
            until(f"http://{address}:{NODE_PORT} answers", lambda address=address: self.outside(address))

    def pods_reach_every_pod(self):
        """Across nodes and on the same node."""
        pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in self.items("pods", "-l", "app=web")}
        for name in pods:
            for address in pods.values():
                said = self.kubectl("exec", name, "--", "timeout", "5", "wget", "-qO-", f"http://{address}:8080").stdout
                expect(said.strip() in pods, f"{name} heard {said!r} from {address}")

    def images_run_as_nobody(self):
        """A binary of this machine, with its libraries, as deploy/image/build wraps Ottla's."""
        with tempfile.TemporaryDirectory() as folder:
            archive = pathlib.Path(folder) / "image.tar"
            build = [settings.ROOT / "deploy/image/build", "--name", "localhost/ottla/id:test", "/usr/bin/id"]
            with open(archive, "wb") as out:
                subprocess.run(build, stdout=out, check=True)
            self.tool("load", archive)
        self.kubectl("run", "id", "--image=localhost/ottla/id:test", "--image-pull-policy=Never", "--restart=Never",
                '--overrides={"spec":{"securityContext":{"runAsNonRoot":true}}}')
        until("the pod `id` has ended", lambda: self.items("pods", "--field-selector=metadata.name=id")[0]["status"]["phase"] == "Succeeded")
        said = self.kubectl("logs", "id").stdout
        expect("uid=65532(ottla)" in said, f"it runs as {said!r}")

    def volume_binds_and_fills(self):
        self.kubectl("wait", "--for=condition=Ready", "pod/writer", f"--timeout={PATIENCE}s")
        self.volume_node = self.items("pods", "--field-selector=metadata.name=writer")[0]["spec"]["nodeName"]
        written = self.fill("first")
        expect(40 * MIB < written <= 64 * MIB, f"{written} bytes went into a volume of 64 MiB")

    def volume_grows_in_use(self):
        self.kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"128Mi"}}}}')
        until("the claim has 128Mi", lambda: self.items("pvc")[0]["status"]["capacity"]["storage"] == "128Mi",
              2 * PATIENCE)
        written = self.fill("second")
        expect(50 * MIB < written <= 64 * MIB, f"{written} more bytes went into it after it has grown from 64 to 128 MiB")
        expect(self.items("pods", "--field-selector=metadata.name=writer")[0]["status"]["containerStatuses"][0]["restartCount"] == 0,
               "the pod was started again")

    def machine_is_left_alone(self):
        self.same_machine()

    def power_cut_takes_a_node(self):
        self.tool("node", "kill", self.volume_node)
        until(f"{self.volume_node} is NotReady", lambda: self.condition(self.volume_node) != "True")
        for name, address in self.addresses().items():
            if name != self.volume_node:
                until(f"{name} still answers at its port", lambda address=address: self.outside(address))

    def node_comes_back_with_its_volume(self):
        self.tool("node", "start", self.volume_node)
        until(f"{self.volume_node} is Ready", lambda: self.condition(self.volume_node) == "True")
        until("the pod runs again, with what it wrote",
              lambda: "first" in self.kubectl("exec", "writer", "--", "ls", "/data").stdout, 2 * PATIENCE)
        until("its port answers again", lambda: self.outside(self.addresses()[self.volume_node]))

    def pods_live_without_the_api(self):
        def restarts():
            return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
                    for pod in self.items("pods", "-l", "app=web")}
        until("every pod runs", lambda: len(restarts()) == 3)
        addresses, before = self.addresses(), restarts()
        self.tool("node", "stop-api")
        try:
            expect(self.kubectl("get", "nodes", "--request-timeout=3s", check=False).returncode != 0, "the API server still answers")
            for address in addresses.values():
                expect(self.outside(address), f"{address} does not answer without the API server")
        finally:
            self.tool("node", "start-api")
        until("every node is Ready", lambda: all(self.condition(node.name) == "True" for node in self.cluster.nodes))
        expect(restarts() == before, f"pods were started again: {before} became {restarts()}")

    def dies_with_its_keeper(self):
        """One signal, and no process of it is left."""
        keeper = settings.noted(self.cluster.note)
        os.kill(keeper, signal.SIGKILL)
        until("every node has ended", lambda: all(settings.noted(node.note) is None for node in self.cluster.nodes), 30)

    def goes_down_without_a_trace(self):
        self.tool("down.sh")
        self.tool("down.sh")
        self.same_machine()
        groups = [str(top / self.cluster.cgroup) for top in sum(cgroups.hierarchies(), []) if (top / self.cluster.cgroup).exists()]
        expect(not groups, f"control groups are left: {groups}")
        loops = subprocess.run(["losetup", "--all"], capture_output=True, text=True, env=settings.home_tools()).stdout
        expect(str(self.cluster.folder) not in loops, f"loop devices are left: {loops}")
        expect(not (self.cluster.folder / "nodes").exists(), f"{self.cluster.folder} still has nodes")

    # --- what the cases use -------------------------------------------------------------------------------------------

    def same_machine(self):
        found = machine.changes(self.before, machine.snapshot())
        expect(not found, "the machine is not as it was:\n" + "\n".join(found[:40]))

    def addresses(self):
        return {node["metadata"]["name"]: next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
                for node in self.items("nodes")}

    def inside(self, *command):
        return self.kubectl("exec", "deployment/web", "--", *command).stdout.strip()

    def outside(self, address):
        """What a pod says at a node's port to somebody outside of the cluster."""
        ask = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=3).read().decode())"
        done = self.tool("enter", sys.executable, "-c", ask, f"http://{address}:{NODE_PORT}", check=False)
        return done.stdout.strip()

    def fill(self, name):
        """Writes until there is no room; how many bytes there was room for."""
        done = self.kubectl("exec", "writer", "--", "dd", "if=/dev/zero", f"of=/data/{name}", "bs=64k", "count=4096", check=False)
        expect("No space left on device" in done.stderr, f"a volume that does not fill: {done.stderr}")
        return int(self.kubectl("exec", "writer", "--", "stat", "-c", "%s", f"/data/{name}").stdout)


CASES = [
    Suite.comes_up, Suite.up_again_changes_nothing, Suite.nodes_have_zones, Suite.pods_spread_over_zones,
    Suite.volume_binds_and_fills, Suite.volume_grows_in_use, Suite.names_lead_to_services, Suite.ports_of_nodes_answer_outside,
    Suite.pods_reach_every_pod, Suite.images_run_as_nobody, Suite.machine_is_left_alone, Suite.power_cut_takes_a_node,
    Suite.node_comes_back_with_its_volume, Suite.pods_live_without_the_api, Suite.dies_with_its_keeper,
    Suite.goes_down_without_a_trace,
]
# What is true of the machine and of processes only where the provider makes them.
LOCAL_ONLY = {Suite.machine_is_left_alone, Suite.dies_with_its_keeper, Suite.goes_down_without_a_trace}


if __name__ == "__main__":
    perform(Suite, CASES, LOCAL_ONLY)
