"""Three real brokers, and a Prometheus that asks each of them every second.

Owns both, in a directory of its own, and the disks of the brokers where there can be some. The patience of the alerts (`for`) is
cut to two seconds where they have any; nothing else in them is changed.
"""

import copy
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import yaml
from cases import expect, until

import disk

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "e2e/faults/runner"))
import driver  # noqa: E402

OTTLA = os.environ.get("OTTLA", str(ROOT / "bin/ottla"))
COUNT = 3
OF_THE_DISK = ("OttlaDiskNearlyFull", "OttlaDiskFillsUp")
# Leadership stays where it went until somebody asks; damage is looked for as often as can be.
PROPERTIES = "auto.leader.rebalance.enable=false\nottla.scrub.interval.ms=1000"
ELECT_LEADERS, PREFERRED = 43, 0


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def elect_preferred(port):
    """Every partition goes to its preferred replica, as kafka-leader-election.sh asks for it. ElectLeaders, version 1."""
    body = struct.pack(">hhih", ELECT_LEADERS, 1, 1, -1) + struct.pack(">bii", PREFERRED, -1, 10_000)
    with socket.create_connection(("127.0.0.1", port), timeout=15) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        stream = link.makefile("rb")
        size, = struct.unpack(">i", stream.read(4))
        _, _, error = struct.unpack_from(">iih", stream.read(size))
    expect(error == 0, f"ElectLeaders: error {error}")


class Watched:
    def __init__(self, rules):
        self.rules = copy.deepcopy(rules)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ottla-alerts-"))
        self.port, self.first = free_port(), driver.free_base(COUNT)
        self.environment = os.environ | {"NODES_DIR": str(self.folder / "nodes"), "NODES_PORT": str(self.first),
                                         "NODES_PROPS": PROPERTIES}
        self.prometheus = None
        self.disks = [disk.Disk(self.data(one), self.folder / f"disk-{one}.img") for one in range(COUNT)] if not disk.missing() else []

    def data(self, one):
        return self.folder / f"nodes/data-{one}"

    def nodes(self, *words):
        done = subprocess.run([driver.NODES, *map(str, words)], env=self.environment, capture_output=True, text=True)
        expect(done.returncode == 0, f"nodes {' '.join(map(str, words))}: {done.stderr[-1000:]}")
        return done.stdout.strip()

    def ottla(self, *words, records=""):
        done = subprocess.run([OTTLA, "-b", self.nodes("bootstrap"), *map(str, words)], input=records, capture_output=True, text=True)
        expect(done.returncode == 0, f"ottla {' '.join(map(str, words))}: {done.stderr[-1000:]}")

    def start(self, *ids):
        # Side by side: of a cluster that stood still, half have to run before one serves.
        running = [subprocess.Popen([driver.NODES, "start", str(one)], env=self.environment, stderr=subprocess.DEVNULL) for one in ids]
        expect(all(one.wait() == 0 for one in running), f"brokers {ids} do not start")

    def replicas(self, topic):
        """Of each partition."""
        _, partitions = driver.load().describe(self.first + int(self.nodes("controller")), [topic])
        return {partition: replicas for (_, partition), (_, _, replicas, _) in partitions.items()}

    def watch(self):
        for group in self.rules["groups"]:
            # How full the disk of this machine is no case decides.
            group["rules"] = [rule for rule in group["rules"] if self.disks or rule["alert"] not in OF_THE_DISK]
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "2s"
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(self.rules))
        brokers = [{"targets": [f"127.0.0.1:{self.first + one + 200}"], "labels": {"namespace": "n", "cluster": "c", "broker": str(one)}}
                   for one in range(COUNT)]
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "ottla-broker", "static_configs": brokers}],
        }))
        log = open(self.folder / "prometheus.log", "wb")
        self.prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, cwd=self.folder)

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def firing(self):
        told = self.ask("alerts")
        return None if told is None else {one["labels"]["alertname"] for one in told["alerts"] if one["state"] == "firing"}

    def scraped(self):
        told = self.ask("query?query=count(ottla_controller_active)")
        return bool(told and told["result"] and told["result"][0]["value"][1] == str(COUNT))

    def fire(self, *names):
        until(lambda: f"{names} fire, but {self.firing()} do", lambda: set(names) <= (self.firing() or set()))

    def only(self, *names):
        until(lambda: f"{names or 'nothing'} fires, but {self.firing()} do", lambda: self.scraped() and self.firing() == set(names))

    def balance(self):
        """Until nothing fires; who is back in sync is asked to lead again."""
        def clear():
            if not self.scraped():
                return False
            elect_preferred(self.first)
            return self.firing() == set()
        until(lambda: f"nothing fires, but {self.firing()} do", clear)

    def end(self):
        if self.prometheus:
            self.prometheus.terminate()
            self.prometheus.wait(30)
        self.nodes("down")
        for one in self.disks:
            one.unmount()
        shutil.rmtree(self.folder)
