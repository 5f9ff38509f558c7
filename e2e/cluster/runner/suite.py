"""What e2e/cluster promises, shown one after another on one cluster, which is made for it and removed.

Owns the cluster named `test`. Each case builds on those before it; when one fails, its words and the cluster's state are
printed, the rest is still tried unless the cluster is not there. Nothing waits by the clock: each wait is for something,
with a deadline.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import cgroups
import kind
import machine
import settings
from settings import Failed, wait

TOOLS = settings.ROOT / "e2e/cluster"
MANIFEST = TOOLS / "runner/suite.yaml"
NODE_PORT = 30080
MIB = 1 << 20
# The least that a cluster is made of.
PROBE = ("mount -t tmpfs tmpfs /mnt; ip link add name probe0 type bridge; "
         "ip link add name probe1 type veth peer name probe2; nft add table ip probe")
PATIENCE = 90


def environment():
    return os.environ | {"CLUSTER": "test"}


def tool(name, *words, check=True, **more):
    """Runs one of the scripts as a user would."""
    done = subprocess.run([TOOLS / name, *map(str, words)], env=environment(), capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        raise Failed(f"{name} {' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def kubectl(*words, check=True):
    return tool("kubectl", *words, check=check, timeout=2 * PATIENCE)


def items(kind_of, *words):
    return json.loads(kubectl("get", kind_of, "-o", "json", *words).stdout)["items"]


def until(what, done, seconds=PATIENCE):
    """Waits until `done` is true; errors on the way are not final."""
    last = ""

    def look():
        nonlocal last
        try:
            return True if done() else None
        except (Failed, subprocess.TimeoutExpired) as error:
            last = f" ({error})"
            return None
    wait(time.monotonic() + seconds, lambda: f"not within {seconds} s: {what}{last}", look)


def expect(true, otherwise):
    if not true:
        raise Failed(otherwise)


class Suite:
    def __init__(self):
        self.cluster = settings.Cluster.of(environment())
        self.before = machine.snapshot()
        self.volume_node = ""

    # --- the cases, in order ------------------------------------------------------------------------------------------

    def comes_up(self):
        tool("up.sh")

    def up_again_changes_nothing(self):
        pids = [node.note.read_text() for node in self.cluster.nodes if node.note.exists()]
        tool("up.sh")
        expect(pids == [node.note.read_text() for node in self.cluster.nodes if node.note.exists()], "nodes were started again")

    def nodes_have_zones(self):
        found = {node["metadata"]["name"]: node for node in items("nodes")}
        expect(set(found) == {node.name for node in self.cluster.nodes}, f"the nodes are {sorted(found)}")
        for node in self.cluster.nodes:
            labels = found[node.name]["metadata"]["labels"]
            expect(labels["topology.kubernetes.io/zone"] == node.zone, f"{node.name} is in {labels}")
            tainted = any(one["effect"] == "NoSchedule" for one in found[node.name]["spec"].get("taints", []))
            expect(tainted == node.control, f"{node.name}: tainted is {tainted}")

    def pods_spread_over_zones(self):
        kubectl("apply", "-f", MANIFEST)
        kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
        zones = {node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in items("nodes")}
        used = sorted(zones[pod["spec"]["nodeName"]] for pod in items("pods", "-l", "app=web"))
        expect(used == ["a", "b", "c"], f"the zones of the three pods are {used}")

    def names_lead_to_services(self):
        until("a pod reaches the service by its name", lambda: self.inside("wget", "-qO-", "http://web.default.svc.cluster.local"))

    def ports_of_nodes_answer_outside(self):
        for address in self.addresses().values():
            until(f"http://{address}:{NODE_PORT} answers", lambda address=address: self.outside(address))

    def pods_reach_every_pod(self):
        """Across nodes and on the same node."""
        pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in items("pods", "-l", "app=web")}
        for name in pods:
            for address in pods.values():
                said = kubectl("exec", name, "--", "timeout", "5", "wget", "-qO-", f"http://{address}:8080").stdout
                expect(said.strip() in pods, f"{name} heard {said!r} from {address}")

    def images_run_as_nobody(self):
        """A binary of this machine, with its libraries, as deploy/image/build wraps Ottla's."""
        with tempfile.TemporaryDirectory() as folder:
            archive = pathlib.Path(folder) / "image.tar"
            build = [settings.ROOT / "deploy/image/build", "--name", "localhost/ottla/id:test", "/usr/bin/id"]
            with open(archive, "wb") as out:
                subprocess.run(build, stdout=out, check=True)
            tool("load", archive)
        kubectl("run", "id", "--image=localhost/ottla/id:test", "--image-pull-policy=Never", "--restart=Never",
                '--overrides={"spec":{"securityContext":{"runAsNonRoot":true}}}')
        until("the pod `id` has ended", lambda: items("pods", "--field-selector=metadata.name=id")[0]["status"]["phase"] == "Succeeded")
        said = kubectl("logs", "id").stdout
        expect("uid=65532(ottla)" in said, f"it runs as {said!r}")

    def volume_binds_and_fills(self):
        kubectl("wait", "--for=condition=Ready", "pod/writer", f"--timeout={PATIENCE}s")
        self.volume_node = items("pods", "--field-selector=metadata.name=writer")[0]["spec"]["nodeName"]
        written = self.fill("first")
        expect(40 * MIB < written <= 64 * MIB, f"{written} bytes went into a volume of 64 MiB")

    def volume_grows_in_use(self):
        kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"128Mi"}}}}')
        until("the claim has 128Mi", lambda: items("pvc")[0]["status"]["capacity"]["storage"] == "128Mi",
              2 * PATIENCE)
        written = self.fill("second")
        expect(50 * MIB < written <= 64 * MIB, f"{written} more bytes went into it after it has grown from 64 to 128 MiB")
        expect(items("pods", "--field-selector=metadata.name=writer")[0]["status"]["containerStatuses"][0]["restartCount"] == 0,
               "the pod was started again")

    def machine_is_left_alone(self):
        self.same_machine()

    def power_cut_takes_a_node(self):
        tool("node", "kill", self.volume_node)
        until(f"{self.volume_node} is NotReady", lambda: self.condition(self.volume_node) != "True")
        for name, address in self.addresses().items():
            if name != self.volume_node:
                until(f"{name} still answers at its port", lambda address=address: self.outside(address))

    def node_comes_back_with_its_volume(self):
        tool("node", "start", self.volume_node)
        until(f"{self.volume_node} is Ready", lambda: self.condition(self.volume_node) == "True")
        until("the pod runs again, with what it wrote",
              lambda: "first" in kubectl("exec", "writer", "--", "ls", "/data").stdout, 2 * PATIENCE)
        until("its port answers again", lambda: self.outside(self.addresses()[self.volume_node]))

    def pods_live_without_the_api(self):
        def restarts():
            return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
                    for pod in items("pods", "-l", "app=web")}
        until("every pod runs", lambda: len(restarts()) == 3)
        addresses, before = self.addresses(), restarts()
        tool("node", "stop-api")
        try:
            expect(kubectl("get", "nodes", "--request-timeout=3s", check=False).returncode != 0, "the API server still answers")
            for address in addresses.values():
                expect(self.outside(address), f"{address} does not answer without the API server")
        finally:
            tool("node", "start-api")
        until("every node is Ready", lambda: all(self.condition(node.name) == "True" for node in self.cluster.nodes))
        expect(restarts() == before, f"pods were started again: {before} became {restarts()}")

    def dies_with_its_keeper(self):
        """One signal, and no process of it is left."""
        keeper = settings.noted(self.cluster.note)
        os.kill(keeper, signal.SIGKILL)
        until("every node has ended", lambda: all(settings.noted(node.note) is None for node in self.cluster.nodes), 30)

    def goes_down_without_a_trace(self):
        tool("down.sh")
        tool("down.sh")
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

    def condition(self, name):
        node = json.loads(kubectl("get", "node", name, "-o", "json").stdout)
        return next(one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready")

    def addresses(self):
        return {node["metadata"]["name"]: next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
                for node in items("nodes")}

    def inside(self, *command):
        return kubectl("exec", "deployment/web", "--", *command).stdout.strip()

    def outside(self, address):
        """What a pod says at a node's port to somebody outside of the cluster."""
        ask = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=3).read().decode())"
        done = tool("enter", sys.executable, "-c", ask, f"http://{address}:{NODE_PORT}", check=False)
        return done.stdout.strip()

    def fill(self, name):
        """Writes until there is no room; how many bytes there was room for."""
        done = kubectl("exec", "writer", "--", "dd", "if=/dev/zero", f"of=/data/{name}", "bs=64k", "count=4096", check=False)
        expect("No space left on device" in done.stderr, f"a volume that does not fill: {done.stderr}")
        return int(kubectl("exec", "writer", "--", "stat", "-c", "%s", f"/data/{name}").stdout)


CASES = [
    Suite.comes_up, Suite.up_again_changes_nothing, Suite.nodes_have_zones, Suite.pods_spread_over_zones,
    Suite.volume_binds_and_fills, Suite.volume_grows_in_use, Suite.names_lead_to_services, Suite.ports_of_nodes_answer_outside,
    Suite.pods_reach_every_pod, Suite.images_run_as_nobody, Suite.machine_is_left_alone, Suite.power_cut_takes_a_node,
    Suite.node_comes_back_with_its_volume, Suite.pods_live_without_the_api, Suite.dies_with_its_keeper,
    Suite.goes_down_without_a_trace,
]
# What is true of the machine and of processes only where the provider makes them.
LOCAL_ONLY = {Suite.machine_is_left_alone, Suite.dies_with_its_keeper, Suite.goes_down_without_a_trace}


def obstacle(provider):
    """Why nothing can be shown here, or nothing."""
    if provider == "kind":
        return "" if kind.works() else "PROVIDER=kind needs kind and a Docker that answers"
    if os.geteuid() != 0:
        return "PROVIDER=local needs root, and there is no Docker with kind"
    if subprocess.run([settings.ROOT / "e2e/setup/need", "cluster"]).returncode != 0:
        return "what it needs is missing, see above"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-ec", PROBE], capture_output=True, text=True,
                           env=settings.home_tools())
    if tried.returncode != 0:
        return f"this machine does not let root make namespaces with networks in them: {tried.stderr.strip()}"
    try:
        cgroups.make("ottla-cluster-probe")
    except cgroups.Missing as error:
        return str(error)
    finally:
        cgroups.remove("ottla-cluster-probe")
    return ""


def state(suite):
    """What helps to see why a case failed."""
    for words in (["get", "nodes,pods,pvc", "-A"], ["get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"]):
        print(kubectl(*words, "--request-timeout=5s", check=False).stdout[-4000:], flush=True)
    print(f"logs are in {suite.cluster.folder}/logs", flush=True)


def play(suite, case):
    began = time.monotonic()
    name = case.__name__.replace("_", " ")
    try:
        case(suite)
    except (Failed, subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
        print(f"FAILED {time.monotonic() - began:6.1f} s  {name}: {error}", flush=True)
        state(suite)
        return False
    print(f"ok     {time.monotonic() - began:6.1f} s  {name}", flush=True)
    return True


def main():
    provider = os.environ.get("PROVIDER") or ("kind" if kind.works() else "local")
    if why := obstacle(provider):
        print(f"SKIPPED, nothing of the cluster is shown: {why}\n0 passed, 0 failed, {len(CASES)} skipped")
        return
    # Whoever stops the suite has its cluster ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    tool("down.sh")
    suite, passed, failed, skipped = Suite(), 0, 0, 0
    try:
        for case in CASES:
            if provider == "kind" and case in LOCAL_ONLY:
                print(f"SKIPPED  {case.__name__.replace('_', ' ')}: Docker makes networks and groups of its own")
                skipped += 1
            elif play(suite, case):
                passed += 1
            else:
                failed += 1
                if passed == 0:
                    break
    finally:
        tool("down.sh", check=False)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
