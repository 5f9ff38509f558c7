"""Who reaches which port of a broker, where NetworkPolicies are enforced.

Owns the case and the Pods that knock. kind enforces policies itself; nodes of the provider `local` are given kube-router's firewall
for it. Suites mix it in.
"""

from scene import CLUSTER
from stage import PATIENCE, expect, until

# What clients connect to, what brokers and operators do, what is scraped.
CLIENTS, BROKERS, METRICS = 9092, 9090, 9644
OPERATOR, PROMETHEUS = "ottla-operator", "prometheus"
STRANGERS = {"stranger": "anything", "scraper": PROMETHEUS, "other-operator": OPERATOR}
OPEN = {"stranger": {CLIENTS}, "scraper": {CLIENTS, METRICS}, "other-operator": {CLIENTS, BROKERS, METRICS}}


class Cases:
    def ports_that_no_client_needs_are_closed_to_other_pods(self):
        """By the NetworkPolicy that the operator makes; brokers, operator and clients go on, also when every broker is restarted."""
        self.kubectl("create", "namespace", "strangers")
        for name, label in STRANGERS.items():
            self.kubectl("run", name, "-n", "strangers", "--image=localhost/ottla/busybox:1", f"--labels=app.kubernetes.io/name={label}", "--",
                         "sleep", "infinity")
        self.kubectl("wait", "-n", "strangers", "--for=condition=Ready", *(f"pod/{name}" for name in STRANGERS), f"--timeout={PATIENCE}s")
        if self.cluster.read()["provider"] == "local":
            expect(self.reached("stranger") == {CLIENTS, BROKERS, METRICS}, "something closes ports before anything enforces policies")
            self.tool("load-kube-router")
        until("nobody reaches more than is open to them, and no less", lambda: {name: self.reached(name) for name in STRANGERS} == OPEN)
        before = self.uids()
        self.change(CLUSTER, {"config": {"queued.max.requests": 6}})
        until("every broker is another one", lambda: not set(self.uids().values()) & set(before.values()), 3 * PATIENCE)
        self.whole(2 * PATIENCE)
        self.kubectl("exec", "-i", max(self.uids()), "--", "ottla", "produce", "orders", "--quiet", input="behind a wall\n")
        expect("behind a wall" in self.ottla("consume", "orders").splitlines(), "a record was acknowledged and is not there")
        until("it is the same for brokers that are new", lambda: {name: self.reached(name) for name in STRANGERS} == OPEN)
        self.note(f"{len(before)} brokers, all restarted; {len(STRANGERS)} Pods knocked at three ports of each before and after")
        self.kubectl("delete", "pod", "-n", "strangers", *STRANGERS, "--now", f"--timeout={PATIENCE}s")
        self.kubectl("delete", "namespace", "strangers", f"--timeout={PATIENCE}s")
        if self.cluster.read()["provider"] == "local":
            self.tool("load-kube-router", "--remove")

    def reached(self, name):
        """The ports that this Pod reaches on every broker. One that answers on some only is an error, and looked at again."""
        addresses = [pod["status"]["podIP"] for pod in self.brokers()]
        open_ports = set()
        for port in (CLIENTS, BROKERS, METRICS):
            knocks = "; ".join(f"timeout 5 nc -w 2 {address} {port} </dev/null >/dev/null && echo open" for address in addresses)
            found = self.kubectl("exec", "-n", "strangers", name, "--", "sh", "-c", f"{knocks}; true").stdout.count("open")
            expect(found in (0, len(addresses)), f"{name} reaches port {port} of {found} brokers")
            if found:
                open_ports.add(port)
        return open_ports
