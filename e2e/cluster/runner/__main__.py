"""A Kubernetes of four nodes for tests. The scripts beside this folder call it; see docs/how-to/local-kubernetes.md.

    up | down | env | load ARCHIVE... | kubectl ARGUMENTS... | enter COMMAND...
    node list | kill N | start N | exec N COMMAND... | stop-api | start-api

Verbs may be repeated; `up`, `down`, `load` and those of `node` that change something wait for each other.
0 when done, 1 with a sentence when not, 2 for a verb that is not known.
"""

import os
import subprocess
import sys
import time

import cgroups
import kind
import local
import settings
from settings import Failed, say

PROVIDERS = {"local": local.Local, "kind": kind.Kind}
ADD_ONS = settings.ROOT / "e2e/cluster/add-ons"
LOCK_SECONDS = 600


def chosen(cluster, environment, new):
    """The provider that the cluster was started with; for a new one what PROVIDER says, or what works here."""
    asked = environment.get("PROVIDER", "")
    if asked and asked not in PROVIDERS:
        raise Failed(f"PROVIDER is {asked!r}; it must be {' or '.join(PROVIDERS)}")
    if cluster.file.exists():
        found = cluster.read()["provider"]
        if asked not in ("", found):
            raise Failed(f"cluster {cluster.name} was started with PROVIDER={found}; end it first, or set CLUSTER to another name")
        return PROVIDERS[found](cluster)
    if not new:
        cluster.read()
    return PROVIDERS[asked or ("kind" if kind.works() else "local")](cluster)


def up(cluster, environment):
    began = time.monotonic()
    provider = chosen(cluster, environment, new=True)
    provider.up()
    provider.wait_nodes()
    control = cluster.control.name
    # A node may not give itself this label.
    provider.kubectl("label", "--overwrite", "node", control, "node-role.kubernetes.io/control-plane=")
    nodes_at = time.monotonic() - began
    manifests = ["storage.yaml"] if isinstance(provider, kind.Kind) else ["dns.yaml", "storage.yaml"]
    provider.install([ADD_ONS / name for name in manifests])
    say(f"{len(cluster.nodes)} nodes are Ready after {nodes_at:.0f} s, with DNS and volumes after {time.monotonic() - began:.0f} s")
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def down(cluster, environment):
    if cluster.file.exists():
        chosen(cluster, environment, new=False).down()
    else:
        # What was killed before it was written down, or while it was ended.
        local.Local(cluster).down()


def show(cluster, provider):
    try:
        ready = provider.ready()
    except Failed:
        ready = None
    print(f"{'N':<3}{'NAME':<24}{'ZONE':<6}{'PROCESS':<9}READY")
    for node in cluster.nodes:
        state = "unknown" if ready is None else "yes" if ready.get(node.name) else "no"
        print(f"{node.index:<3}{node.name:<24}{node.zone:<6}{'runs' if provider.runs(node) else 'stopped':<9}{state}")


def node_verb(cluster, provider, words):
    match words:
        case ["list"]:
            show(cluster, provider)
        case ["kill", which]:
            provider.kill(cluster.find(which))
        case ["start", which]:
            provider.start(cluster.find(which))
        case ["stop-api"]:
            provider.stop_api()
        case ["start-api"]:
            provider.start_api()
        case ["exec", which, _, *_]:
            provider.shell(cluster.find(which), words[2:])
        case _:
            usage()


def usage():
    print(__doc__, file=sys.stderr)
    sys.exit(2)


def run(words, environment):
    cluster = settings.Cluster.of(environment)
    match words:
        case ["up" | "down" | "load", *_] | ["node", "kill" | "start" | "stop-api" | "start-api", *_]:
            cluster.folder.mkdir(parents=True, exist_ok=True)
            with settings.locked(cluster.folder / "lock", time.monotonic() + LOCK_SECONDS):
                change(cluster, words, environment)
        case ["env"]:
            provider = chosen(cluster, environment, new=False)
            print(f"export KUBECONFIG={cluster.kubeconfig}\nexport PATH={os.path.dirname(provider.program())}:$PATH")
        case ["kubectl", *arguments]:
            program = chosen(cluster, environment, new=False).program()
            os.execve(program, [program, *arguments], environment | {"KUBECONFIG": str(cluster.kubeconfig)})
        case ["enter", _, *_]:
            os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
            chosen(cluster, environment, new=False).enter(words[1:])
        case ["node", *rest]:
            node_verb(cluster, chosen(cluster, environment, new=False), rest)
        case _:
            usage()


def change(cluster, words, environment):
    match words:
        case ["up"]:
            up(cluster, environment)
        case ["down"]:
            down(cluster, environment)
        case ["load", _, *_]:
            chosen(cluster, environment, new=False).load(words[1:])
        case ["node", *rest]:
            node_verb(cluster, chosen(cluster, environment, new=False), rest)
        case _:
            usage()


def main():
    try:
        run(sys.argv[1:], dict(os.environ))
    except (Failed, cgroups.Missing) as error:
        sys.exit(f"cluster: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"cluster: {' '.join(map(str, error.cmd))} failed with {error.returncode}")


if __name__ == "__main__":
    main()
