"""Whether the alerts are right, by promtool; and whether they fire and clear, by a Prometheus that watches real brokers.

Owns the Prometheus and the brokers that it starts, in a directory of its own. For real brokers the alerts' patience is cut to
two seconds; nothing else in them is changed.
"""

import copy
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import expect, perform, until  # noqa: E402

RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
NODES = ROOT / "e2e/faults/nodes"
OTTLA = os.environ.get("OTTLA", str(ROOT / "bin/ottla"))
# What each alert is about: series that make it fire, of which the last value is what it is when all is well again.
BROKER = '{namespace="n", cluster="c", broker="1"}'
OTHER = '{namespace="n", cluster="c", broker="2"}'
SERIES = {
    "OttlaPartitionsWithoutLeader": [(f"ottla_partitions_leaderless{BROKER}", "0 2x119 0x600")],
    "OttlaWritesRefused": [(f"ottla_under_min_isr_partitions{BROKER}", "0 1x119 0x600")],
    "OttlaNoController": [(f"ottla_controller_active{BROKER}", "1 0x119 1x600"), (f"ottla_controller_active{OTHER}", "0x720")],
    "OttlaDataDirectoryOffline": [(f"ottla_log_offline{BROKER}", "0 1x119 0x600")],
    "OttlaDiskNearlyFull": [(f"ottla_disk_free_bytes{BROKER}", "50 4x119 50x600"), (f"ottla_disk_total_bytes{BROKER}", "100x720")],
    "OttlaBrokerGone": [(f"ottla_brokers_fenced{BROKER}", "0 1x119 0x600")],
    "OttlaUnderReplicated": [(f"ottla_under_replicated_partitions{BROKER}", "0 7x119 0x600")],
    "OttlaTwoControllers": [(f"ottla_controller_active{BROKER}", "1x720"), (f"ottla_controller_active{OTHER}", "0 1x119 0x600")],
    "OttlaDiskFillsUp": [(f"ottla_disk_free_bytes{BROKER}", "29-0.1x119 29x600"), (f"ottla_disk_total_bytes{BROKER}", "100x720")],
    "OttlaLogDamaged": [(f"ottla_log_damaged_ranges{BROKER}", "0 1x119 0x600")],
    "OttlaLogCutBelowHighWatermark": [(f"ottla_replication_cuts_refused_total{BROKER}", "0x100 1x619")],
    "OttlaNotBalanced": [(f"ottla_preferred_elsewhere{BROKER}", "0 3x119 0x600")],
    "OttlaSlowDisk": [(f"ottla_replication_handed_over_total{BROKER}", "0x100 4x619")],
    "OttlaCertificateExpires": [(f"ottla_certificate_expiry_seconds{BROKER}", "2592000 604900x119 2592000x600")],
    "OttlaOperatorDoesNotAct": [('ottla_operator_leader{namespace="n", pod="a"}', "1 0x119 1x600")],
}


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout + done.stderr)


def every_alert_has_a_section_and_a_test():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
    expect(headings == list(ALERTS), f"sections {headings} are not alerts {list(ALERTS)}")
    expect(SERIES.keys() == ALERTS.keys(), f"without a test: {SERIES.keys() ^ ALERTS.keys()}")
    for name, rule in ALERTS.items():
        expect(rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}", f"{name} links another section")
        known = (ROOT / "docs/metrics.md").read_text() + "`ottla_operator_leader`"
        for metric in re.findall(r"ottla_[a-z_]+", rule["expr"]):
            expect(f"`{metric.removesuffix('_total')}`" in known, f"{name} asks for {metric}, which nobody has")


def promtool_sees_each_fire_and_clear():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
        promtool("check", "rules", folder / "rules.yaml")
        tests = []
        for name, series in SERIES.items():
            fires, cleared = "110m", "12h"
            labels = ALERTS[name]["labels"] | {"namespace": "n"} | ({} if "Operator" in name else {"cluster": "c"})
            if re.search(r"by \([^)]*broker", ALERTS[name]["expr"]) or "increase" in ALERTS[name]["expr"]:
                labels |= {"broker": "1"}
            tests.append({
                "interval": "1m", "name": name,
                "input_series": [{"series": one, "values": values} for one, values in series],
                "alert_rule_test": [
                    {"alertname": name, "eval_time": "0m", "exp_alerts": []},
                    {"alertname": name, "eval_time": fires, "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations(name, series)}]},
                    {"alertname": name, "eval_time": cleared, "exp_alerts": []},
                ],
            })
        (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
        promtool("test", "rules", folder / "test.yaml")


def annotations(name, series):
    """As Prometheus writes them: values of labels and of the series that fires."""
    value = {"OttlaDiskNearlyFull": "4%", "OttlaNoController": "0", "OttlaTwoControllers": "2",
             "OttlaCertificateExpires": "6d 22h 11m 40s"}.get(name)
    value = value or next(iter(re.findall(r"(\d+)x119", series[0][1])), "")
    said = {"$value | humanizePercentage": value, "$value | humanizeDuration": value, "$value": value, "$labels.cluster": "c", "$labels.broker": "1", "$labels.namespace": "n"}

    def write(text):
        for what, stands in said.items():
            text = text.replace("{{ " + what + " }}", stands)
        return text
    return {key: write(text) for key, text in ALERTS[name]["annotations"].items()}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


OF_THE_DISK = ("OttlaDiskNearlyFull", "OttlaDiskFillsUp")


class Watched:
    """Three brokers, and a Prometheus that asks each every second."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ottla-alerts-"))
        # Brokers take the three ports from there on, and those 100 and 200 higher.
        self.port, self.first = free_port(), min(free_port(), 60000)
        # Leadership goes back at once: a Prometheus that finds nothing firing finds brokers in balance.
        self.environment = os.environ | {"NODES_DIR": str(self.folder / "nodes"), "NODES_PORT": str(self.first),
                                         "NODES_PROPS": "leader.imbalance.check.interval.seconds=1"}
        self.prometheus = None

    def nodes(self, *words):
        done = subprocess.run([NODES, *map(str, words)], env=self.environment, capture_output=True, text=True)
        expect(done.returncode == 0, f"nodes {' '.join(map(str, words))}: {done.stderr[-1000:]}")
        return done.stdout.strip()

    def start(self, *ids):
        # Side by side: of a cluster that stood still, half have to run before one serves.
        running = [subprocess.Popen([NODES, "start", str(one)], env=self.environment, stderr=subprocess.DEVNULL) for one in ids]
        expect(all(one.wait() == 0 for one in running), f"brokers {ids} do not start")

    def watch(self):
        rules = copy.deepcopy(RULES)
        for group in rules["groups"]:
            # How full the disk of this machine is no case here decides; promtool shows these two.
            group["rules"] = [rule for rule in group["rules"] if rule["alert"] not in OF_THE_DISK]
            for rule in group["rules"]:
                rule["for"] = "2s"
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        brokers = [{"targets": [f"127.0.0.1:{self.first + one + 200}"], "labels": {"namespace": "n", "cluster": "c", "broker": str(one)}}
                   for one in range(3)]
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
        return bool(told and told["result"] and told["result"][0]["value"][1] == "3")

    def fire(self, *names):
        until(lambda: f"{names} fire, but {self.firing()} do", lambda: set(names) <= (self.firing() or set()))

    def clear(self):
        until(lambda: f"nothing fires, but {self.firing()} do", lambda: self.scraped() and self.firing() == set())

    def end(self):
        if self.prometheus:
            self.prometheus.terminate()
            self.prometheus.wait(30)
        self.nodes("down")
        shutil.rmtree(self.folder)


def a_real_prometheus_sees_them_fire_and_clear():
    watched = Watched()
    try:
        watched.start(0, 1, 2)
        watched.watch()
        for topic, replicas in (("three", 3), ("two", 2)):
            subprocess.run([OTTLA, "-b", watched.nodes("bootstrap"), "topic", "create", topic, "--partitions", "6", "--replicas", str(replicas),
                            "--config", "min.insync.replicas=2"], check=True, stdout=subprocess.DEVNULL)
        watched.clear()
        watched.nodes("kill", (int(watched.nodes("controller")) + 1) % 3)
        watched.fire("OttlaBrokerGone", "OttlaUnderReplicated", "OttlaWritesRefused")
        watched.start(0, 1, 2)
        watched.clear()
        lead = int(watched.nodes("controller"))
        for one in (lead, (lead + 1) % 3):
            watched.nodes("kill", one)
        watched.fire("OttlaNoController")
        watched.start(0, 1, 2)
        watched.clear()
    finally:
        watched.end()


CASES = [every_alert_has_a_section_and_a_test, promtool_sees_each_fire_and_clear, a_real_prometheus_sees_them_fire_and_clear]


if __name__ == "__main__":
    perform(CASES)
