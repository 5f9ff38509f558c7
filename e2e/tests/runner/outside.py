"""Clients outside Kubernetes: what they are told, and that they reach it.

Owns the cases of listeners that are not Internal; kcat runs beside the nodes, not on them, as a client in the same network
would. Suites mix it in.
"""

import json
import subprocess
import time

from stage import PATIENCE, TOOLS, expect, until

LISTENER, TOPIC = "external", "through-ports"
LISTENERS = [{"name": "internal", "port": 9092}, {"name": LISTENER, "port": 9094, "type": "NodePort", "insecure": True}]


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
        """MetalLB gives the addresses, and one node answers for each; what forwards there is kube-proxy."""
        before = self.uids()
        self.change("events", {"listeners": [LISTENERS[0], LISTENERS[1] | {"type": "LoadBalancer"}]})
        until("the Cluster waits for addresses", lambda: self.conditions()["Reconciling"]["reason"] == "ListenerPending")
        expect(self.conditions()["Ready"]["status"] == "True", "it is not Ready meanwhile")
        self.tool("load-metallb")
        until("every Service has an address", lambda: len(self.balanced()) == 4)
        addresses = self.balanced()
        wanted = {broker: f"{addresses[f'events-{LISTENER}-{broker}']}:9094" for broker in range(3)}
        until("clients of every broker are told", lambda: self.seen_outside() == wanted)
        expect(self.servers() == f"{addresses[f'events-{LISTENER}']}:9094", f"clients begin at {self.servers()}")
        expect(len(set(addresses.values())) == 4, f"the addresses are {addresses}")
        expect(self.uids() == before, "a broker was restarted")
        self.there_and_back("fifth")
        cards = self.cards()
        for address in addresses.values():
            # Clients need not have talked to every broker, and the kernel knows only whom somebody has asked for.
            self.tool("enter", "kcat", "-b", f"{address}:9094", "-L")
        answer = [self.answers(address, cards) for address in addresses.values()]
        self.note(f"{len(set(answer))} nodes answer for four addresses, from `{min(addresses.values())}` on")
        self.whole()

    def an_address_moves_when_its_node_has_no_power(self):
        """A producer outside, begun before, goes on through the address of the Cluster and those of its brokers."""
        address = self.balanced()[f"events-{LISTENER}"]
        cards = self.cards()
        node = self.answers(address, cards)
        command = [TOOLS / "enter", "kcat", "-b", self.servers(), "-P", "-t", TOPIC, "-X", "acks=all"]
        # It tells of every connection that is lost; what counts is how it ends.
        with subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as producer:
            self.write(producer, "sixth", 300)
            self.tool("node", "kill", node)
            try:
                began = time.monotonic()
                until("another node answers for it", lambda: self.kcat_outside("-L") and self.answers(address, cards) != node)
                self.note(f"another node answered for the address {time.monotonic() - began:.1f} s after its own had lost power")
                self.write(producer, "seventh", 300)
                producer.stdin.close()
                expect(producer.wait(PATIENCE) == 0, f"the producer ended with {producer.returncode}")
                for word in ("sixth", "seventh"):
                    self.come_back(word, 300)
                self.there_and_back("eighth")
            finally:
                producer.kill()
                self.tool("node", "start", node)
        self.whole(2 * PATIENCE)
        self.there_and_back("ninth")

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
        address = self.addresses()
        services = {one["metadata"]["name"]: one["spec"]["ports"][0]["nodePort"]
                    for one in self.items("services", "-l", "ottla.dev/cluster=events") if one["spec"]["type"] == "NodePort"}
        where = {int(pod["metadata"]["labels"]["ottla.dev/broker-id"]): address[pod["spec"]["nodeName"]] for pod in self.brokers()}
        return {broker: f"{host}:{services[f'events-{LISTENER}-{broker}']}" for broker, host in where.items()}

    def balanced(self):
        """The address of each Service that has one from a load balancer."""
        services = {one["metadata"]["name"]: one["status"]["loadBalancer"].get("ingress")
                    for one in self.items("services", "-l", "ottla.dev/cluster=events") if one["spec"]["type"] == "LoadBalancer"}
        return {name: ingress[0]["ip"] for name, ingress in services.items() if ingress}

    def cards(self):
        """The nodes that a load balancer may choose, by their network cards."""
        def card(node):
            # Not from /sys, which is the machine's in a node of the provider `local`.
            (found,) = json.loads(self.tool("node", "exec", node.name, "ip", "-json", "link", "show", "eth0").stdout)
            return found["address"]
        return {card(node): node.name for node in self.cluster.workers}

    def answers(self, address, cards):
        """The node whose network card an address leads to, as the kernel of a client has heard last."""
        heard = {one["dst"]: one.get("lladdr") for one in json.loads(self.tool("enter", "ip", "-json", "neigh").stdout)}
        expect(heard.get(address) in cards, f"no worker is known to answer for {address}: {heard}, {cards}")
        return cards[heard[address]]

    def addresses(self):
        """The address of each node."""
        nodes = {node["metadata"]["name"]: node["status"]["addresses"] for node in self.items("nodes")}
        return {name: next(one["address"] for one in all_of if one["type"] == "InternalIP") for name, all_of in nodes.items()}

    @staticmethod
    def lines(word, count):
        return {f"{word} {number}" for number in range(count)}

    def write(self, producer, word, count):
        producer.stdin.writelines(f"{line}\n" for line in sorted(self.lines(word, count)))
        producer.stdin.flush()

    def there_and_back(self, word, count=300):
        """Records with this word go in and come out, all of them, from outside."""
        self.kcat_outside("-P", "-t", TOPIC, "-X", "acks=all", input="".join(f"{line}\n" for line in sorted(self.lines(word, count))))
        self.come_back(word, count)

    def come_back(self, word, count):
        def came():
            lines = self.kcat_outside("-C", "-t", TOPIC, "-o", "beginning", "-e", "-q").splitlines()
            return {line for line in lines if line.startswith(f"{word} ")} == self.lines(word, count)
        until(f"every {word} record is read", came)
