"""Cases shown one after another on one cluster, which is made for them and removed: what its suites have in common.

Owns the cluster of one name, and how cases are told. Each case builds on those before it; when one fails, its words and
the cluster's state are printed, the rest is still tried unless the cluster is not there. Nothing waits by the clock: each
wait is for something, with a deadline.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import cgroups
import kind
import settings
from settings import Failed, wait

TOOLS = settings.ROOT / "e2e/cluster"
# The least that a cluster is made of.
PROBE = ("mount -t tmpfs tmpfs /mnt; ip link add name probe0 type bridge; "
         "ip link add name probe1 type veth peer name probe2; nft add table ip probe")
PATIENCE = 90


def until(what, done, seconds=PATIENCE):
    """Waits until `done` is true; errors on the way are not final."""
    last = ""

    def look():
        nonlocal last
        try:
            return True if done() else None
        except (Failed, LookupError, subprocess.TimeoutExpired) as error:
            last = f" ({error})"
            return None
    wait(time.monotonic() + seconds, lambda: f"not within {seconds} s: {what}{last}", look)


@dataclass
class Played:
    """A case, how long it took, what was wrong with it if anything was, and what it has noted."""
    name: str
    seconds: float
    wrong: str | None
    seen: list


def title(case):
    return case.__name__.replace("_", " ")


def expect(true, otherwise):
    if not true:
        raise Failed(otherwise)


class Stage:
    """A cluster of this name, and its tools as a user would run them. Suites add their cases."""

    def __init__(self, name):
        self.seen = []
        self.environment = os.environ | {"CLUSTER": name}
        self.cluster = settings.Cluster.of(self.environment)

    def tool(self, name, *words, check=True, **more):
        """Runs one of the scripts as a user would."""
        done = subprocess.run([TOOLS / name, *map(str, words)], env=self.environment, capture_output=True, text=True, **more)
        if check and done.returncode != 0:
            raise Failed(f"{name} {' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def kubectl(self, *words, check=True, **more):
        return self.tool("kubectl", *words, check=check, timeout=2 * PATIENCE, **more)

    def items(self, kind_of, *words):
        return json.loads(self.kubectl("get", kind_of, "-o", "json", *words).stdout)["items"]

    def condition(self, name):
        """Whether a node is Ready."""
        node = json.loads(self.kubectl("get", "node", name, "-o", "json").stdout)
        return next(one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready")

    def state(self):
        """What helps to see why a case failed."""
        for words in (["get", "nodes,pods,pvc", "-A"], ["get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"]):
            print(self.kubectl(*words, "--request-timeout=5s", check=False).stdout[-4000:], flush=True)
        print(f"logs are in {self.cluster.folder}/logs", flush=True)

    def note(self, words):
        """Says what was seen in the case that is being played, also on its page of results."""
        print(f"       {words}", flush=True)
        self.seen.append(words)

    def play(self, case):
        self.seen = []
        began = time.monotonic()
        wrong = None
        try:
            case(self)
        except (Failed, subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
            wrong = str(error)
        played = Played(title(case), time.monotonic() - began, wrong, self.seen)
        print(f"{'ok    ' if wrong is None else 'FAILED'} {played.seconds:6.1f} s  {played.name}{'' if wrong is None else f': {wrong}'}",
              flush=True)
        if wrong is not None:
            self.state()
        return played


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


def perform(suite_type, cases, local_only=frozenset(), report=lambda played: None):
    """Plays every case and says how many passed; those of `local_only` not on kind. The cluster is gone afterwards. `report` is
    given every case that was played."""
    provider = os.environ.get("PROVIDER") or ("kind" if kind.works() else "local")
    if why := obstacle(provider):
        print(f"SKIPPED, nothing of the cluster is shown: {why}\n0 passed, 0 failed, {len(cases)} skipped")
        return
    # Whoever stops the suite has its cluster ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    suite, played, skipped = suite_type(), [], 0
    suite.tool("down.sh")
    try:
        for case in cases:
            if provider == "kind" and case in local_only:
                print(f"SKIPPED  {title(case)}: Docker makes networks and groups of its own")
                skipped += 1
                continue
            played.append(suite.play(case))
            if all(one.wrong is not None for one in played):
                break
    finally:
        suite.tool("down.sh", check=False)
    report(played)
    failed = sum(one.wrong is not None for one in played)
    passed = len(played) - failed
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed else 0)
