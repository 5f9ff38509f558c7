"""Clients outside Kubernetes: what they are told, and that they reach it.

Owns the cases of listeners that are not Internal; kcat runs beside the nodes, not on them, as a client in the same network
would. Suites mix it in.
"""

import json

from stage import PATIENCE, expect, until

LISTENER, TOPIC = "external", "through-ports"
LISTENERS = [{"name": "internal", "port": 9092}, {"name": LISTENER, "port": 9094, "type": "NodePort", "insecure": True}]
# Documentation's own network: nothing else has these addresses.
BALANCED = "203.0.113.1"


class Cases:
    def clients_outside_connect_through_node_ports(self):
        before = self.uids()
        self.change("events", {"listeners": LISTENERS})
        until("every broker was restarted", lambda: not set(self.uids().values()) & set(before.values()), 2 * PATIENCE)
        self.whole(2 * PATIENCE)
        insecure = self.conditions()["Insecure"]
        expect(insecure["status"] == "True" and LISTENER in insecure["message"], f"Insecure is {insecure}")
        self.ottla("topic", "create", TOPIC, "--partitions", 6, "--replicas", 3)
        until("every broker is told by its node and its port", lambda: self.seen_outside() == self.on_nodes())
        self.there_and_back("first")

    def a_node_port_that_changes_reaches_clients_without_a_restart(self):
        before = self.uids(), self.on_nodes()
        self.kubectl("delete", "service", f"events-{LISTENER}-1")
        until("it has another port", lambda: self.on_nodes()[1] != before[1][1])
        until("clients of every broker are told", lambda: self.seen_outside() == self.on_nodes())
        expect(self.uids() == before[0], "a broker was restarted")
        self.there_and_back("second")

    def a_broker_that_starts_again_is_found_again(self):
        self.kubectl("delete", "pod", "events-main-2")
        self.there_and_back("third")
        self.whole()
        until("every broker is told by its node and its port", lambda: self.seen_outside() == self.on_nodes())
        self.there_and_back("fourth")
        self.note(f"clients began at `{self.servers()}`")

    def clients_outside_connect_through_load_balancers(self):
        """The balancer is a route of this machine to some node per Service, and what forwards there is kube-proxy."""
        before = self.uids()
        self.change("events", {"listeners": [LISTENERS[0], LISTENERS[1] | {"type": "LoadBalancer"}]})
        until("the Cluster waits for addresses", lambda: self.conditions()["Reconciling"]["reason"] == "ListenerPending")
        expect(self.conditions()["Ready"]["status"] == "True", "it is not Ready meanwhile")
        nodes = [one["address"] for node in self.items("nodes") for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        for number, service in enumerate(["", "-0", "-1", "-2"]):
            self.tool("enter", "ip", "route", "replace", f"{BALANCED}{number}/32", "via", nodes[-1 - number % 3])
            status = {"status": {"loadBalancer": {"ingress": [{"ip": f"{BALANCED}{number}", "ipMode": "VIP"}]}}}
            self.kubectl("patch", "service", f"events-{LISTENER}{service}", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        wanted = {broker: f"{BALANCED}{broker + 1}:9094" for broker in range(3)}
        until("clients of every broker are told", lambda: self.seen_outside() == wanted)
        expect(self.servers() == f"{BALANCED}0:9094", f"clients begin at {self.servers()}")
        expect(self.uids() == before, "a broker was restarted")
        self.there_and_back("fifth")
        self.whole()

    def a_listener_that_is_not_declared_any_more_leaves_nothing(self):
        self.change("events", {"listeners": None})
        self.whole(3 * PATIENCE)
        left = [one["metadata"]["name"] for one in self.items("services", "-l", "ottla.dev/cluster=events")]
        expect(left == ["events-bootstrap", "events-brokers"], f"the Services are {left}")

    # --- what the cases use -------------------------------------------------------------------------------------------

    def kcat_outside(self, *words, **more):
        return self.tool("enter", "kcat", "-b", self.servers(), *words, timeout=PATIENCE, **more).stdout

    def servers(self):
        listeners = {one["name"]: one.get("bootstrapServers") for one in self.declared()["status"]["listeners"]}
        expect(listeners[LISTENER], f"the listeners are {listeners}")
        return listeners[LISTENER]

    def seen_outside(self):
        """Where a client outside is told that each broker is."""
        told = json.loads(self.kcat_outside("-L", "-J"))
        return {broker["id"]: broker["name"] for broker in told["brokers"]}

    def on_nodes(self):
        """Where each broker is: its node's address, and the port of its Service."""
        nodes = {node["metadata"]["name"]: node["status"]["addresses"] for node in self.items("nodes")}
        address = {name: next(one["address"] for one in all_of if one["type"] == "InternalIP") for name, all_of in nodes.items()}
        services = {one["metadata"]["name"]: one["spec"]["ports"][0]["nodePort"]
                    for one in self.items("services", "-l", "ottla.dev/cluster=events") if one["spec"]["type"] == "NodePort"}
        where = {int(pod["metadata"]["labels"]["ottla.dev/broker-id"]): address[pod["spec"]["nodeName"]] for pod in self.brokers()}
        return {broker: f"{host}:{services[f'events-{LISTENER}-{broker}']}" for broker, host in where.items()}

    def there_and_back(self, word, count=300):
        """Records with this word go in and come out, all of them, from outside."""
        sent = {f"{word} {number}" for number in range(count)}
        self.kcat_outside("-P", "-t", TOPIC, "-X", "acks=all", input="".join(f"{line}\n" for line in sorted(sent)))

        def came():
            lines = self.kcat_outside("-C", "-t", TOPIC, "-o", "beginning", "-e", "-q").splitlines()
            return {line for line in lines if line.startswith(f"{word} ")} == sent
        until(f"every {word} record is read", came)
