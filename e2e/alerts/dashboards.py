"""Whether the dashboards of deploy/grafana can show something: by Grafana's own schemas, by promtool, by what there is to show.

Owns nothing of Grafana: none runs here. What its schemas do not say (ids, variables, places) is checked as Grafana uses it. That
each metric is really there to be scraped is shown by e2e/gitops.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e/kubernetes"))
from cases import expect, perform  # noqa: E402

FILES = sorted((ROOT / "deploy/grafana").glob("*.json"))
BOARDS = {file.stem: json.loads(file.read_text()) for file in FILES}
# Variables that Grafana itself has, with what stands for them here.
BUILT_IN = {"__rate_interval": "5m", "__interval": "1m"}


def queries(board):
    """Every query, of panels and of variables."""
    for panel in board["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])[1]


def metrics():
    """Every metric that a dashboard asks for."""
    return {metric for board in BOARDS.values() for _, query in queries(board) for metric in re.findall(r"ottla_[a-z_]+", query)}


def grafanas_schemas_take_them():
    done = subprocess.run([os.environ["GRAFANA"], *FILES], capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout + done.stderr)


def a_schema_that_takes_anything_would_be_noticed():
    with tempfile.TemporaryDirectory() as folder:
        wrong = pathlib.Path(folder) / "wrong.json"
        board = json.loads(FILES[0].read_text())
        board["panels"][0]["options"]["treshold"] = 1
        wrong.write_text(json.dumps(board))
        done = subprocess.run([os.environ["GRAFANA"], wrong], capture_output=True, text=True)
        expect(done.returncode == 1 and "treshold" in done.stdout, f"a wrong field is taken: {done.stdout}")


def panels_have_places_and_queries_have_names_of_their_own():
    uids = [board["uid"] for board in BOARDS.values()]
    expect(len(set(uids)) == len(uids) and all(len(uid) <= 40 for uid in uids), f"uids: {uids}")
    for name, board in BOARDS.items():
        expect("id" not in board, f"{name} has an id, which belongs to one Grafana")
        ids = [panel["id"] for panel in board["panels"]]
        expect(len(set(ids)) == len(ids), f"{name}: ids {ids}")
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            expect(at["x"] + at["w"] <= 24, f"{name}: {panel['title']} is wider than the page")
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            expect(not cells & taken, f"{name}: {panel['title']} lies over another panel")
            taken |= cells
            refs = [target["refId"] for target in panel["targets"]]
            expect(len(set(refs)) == len(refs), f"{name}: {panel['title']} has queries {refs}")


def every_variable_is_declared_before_it_is_used():
    for name, board in BOARDS.items():
        known = set(BUILT_IN)
        for variable in board["templating"]["list"]:
            for used in re.findall(r"\$\{?(\w+)", json.dumps(variable.get("query", "")) + variable.get("datasource", {}).get("uid", "")):
                expect(used in known, f"{name}: variable {variable['name']} uses ${used} before it is there")
            known.add(variable["name"])
        for used in re.findall(r"\$\{?(\w+)", json.dumps([board["panels"], board["links"]])):
            expect(used in known, f"{name} uses ${used}, which is no variable")


def promtool_takes_every_query():
    rules = []
    for name, board in BOARDS.items():
        for title, query in queries(board):
            for variable, value in BUILT_IN.items():
                query = query.replace(f"${variable}", value)
            rules.append({"record": f"{name}:q{len(rules)}", "expr": query, "labels": {"panel": title}})
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "rules.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
        expect(done.returncode == 0, done.stdout + done.stderr)


def brokers_have_every_metric_by_their_reference():
    known = (ROOT / "docs/metrics.md").read_text()
    for metric in metrics():
        if not metric.startswith("ottla_operator_"):
            name = re.sub(r"_(total|count|sum|bucket)$", "", metric)
            expect(f"`{name}`" in known, f"a dashboard asks for {metric}, which nobody has")


def prometheus_is_told_the_port_that_brokers_have():
    monitors = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all((ROOT / "deploy/prometheus/pods.yaml").read_text())}
    port = monitors["ottla-brokers"]["podMetricsEndpoints"][0]["port"]
    pod = (ROOT / "operator/src/cluster/desired/pod.rs").read_text()
    expect(f'{{"name": "{port}", "containerPort": names::HTTP_PORT}}' in pod, f"no Pod of a broker has a port {port} for HTTP")


CASES = [grafanas_schemas_take_them, a_schema_that_takes_anything_would_be_noticed, panels_have_places_and_queries_have_names_of_their_own,
         every_variable_is_declared_before_it_is_used, promtool_takes_every_query, brokers_have_every_metric_by_their_reference,
         prometheus_is_told_the_port_that_brokers_have]


if __name__ == "__main__":
    perform(CASES)
