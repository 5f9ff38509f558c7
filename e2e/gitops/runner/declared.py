"""What is declared, and what is said of it: small Clusters and Topics, and their conditions.

Owns no process and asks nobody: whoever has an API server and an operator uses it, with nodes or without.
"""


def conditions(item):
    return {one["type"]: one for one in (item or {}).get("status", {}).get("conditions", [])}


def told(item):
    """The conditions in a line, for whoever waits in vain."""
    return ", ".join(f"{one['type']}={one['status']} {one['reason']}: {one['message']}" for one in conditions(item).values())


def cluster(name, brokers=1, size="1Gi", **spec):
    pool = {"name": "a", "replicas": brokers, "storage": {"volumes": [{"name": "data", "size": size}]}}
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": {"pools": [pool], **spec}}


def topic(name, of, **spec):
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name}, "spec": {"clusterRef": {"name": of}, **spec}}
