"""Whether the alerts are right, by promtool; and whether they fire and clear, by a Prometheus that watches real brokers.

Owns what is asked of every alert: a section of the runbooks, metrics that exist, series that make it fire and clear. What brokers
are put through is in `live`.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import expect, perform  # noqa: E402

import disk  # noqa: E402
import live  # noqa: E402

RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
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


def a_real_prometheus_sees_them_fire_and_clear():
    live.a_real_prometheus_sees_them_fire_and_clear(RULES)


CASES = [every_alert_has_a_section_and_a_test, promtool_sees_each_fire_and_clear, a_real_prometheus_sees_them_fire_and_clear]


if __name__ == "__main__":
    disk.enclose()
    perform(CASES)
