"""What a case is, and how it is run against one bootstrap address.

Two kinds: a *program* case gives one of the words of clients/README.md to a client's program; a *steps* case is a list of
command lines, as a user would type them, each with what it must and must not print. Both are data: cases.toml, tools.toml.
`run` returns None when the case holds, and otherwise what went wrong.
"""

import os
import re
import shlex
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import records
import setup

HERE = Path(__file__).resolve().parent.parent
PATIENCE = 300  # seconds for one command; a machine that is busy otherwise is no reason to fail


def load():
    programs = tomllib.loads((HERE / "cases.toml").read_text())
    found = []
    for client in programs["client"]:
        for case in programs["case"]:
            if client["name"] not in case.get("not", {}):
                found.append(Program(client["name"], case, client))
    for file in ("tools.toml",):
        table = tomllib.loads((HERE / file).read_text())
        for case in table["case"]:
            found.append(Steps(case, table["tools"]))
    return found


class Failed(Exception):
    """A step that did not do what it must."""


class Bench:
    """One case's folder, names and processes; ends what it started."""

    def __init__(self, target, folder, unique):
        folder.mkdir(parents=True, exist_ok=True)
        self.bootstrap, self.replicas, self.folder, self.running = target.bootstrap, target.replicas, folder, []
        self.topic, self.group = f"topic-{unique}", f"group-{unique}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        continue

    def start(self, command, given=None, log="step"):
        """Starts a command with its output in a file; `given` is its standard input."""
        output = self.folder / f"{log}.txt"
        with open(output, "wb") as out:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=out,
                                       stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True)
        self.running.append(process)
        if given is not None:
            process.stdin.write(given.encode())
        process.stdin.close()
        return process, output

    def finish(self, command, given=None, log="step", patience=PATIENCE):
        process, output = self.start(command, given, log)
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failed(f"still running after {patience} s: {line(command)}\n{text(output)}") from None
        return code, text(output)

    def client(self, name, word, **values):
        """One word of a client's program; must succeed."""
        pairs = [f"{key}={value}" for key, value in {"bootstrap": self.bootstrap, **values}.items()]
        command = [*setup.COMMANDS[name], word, *pairs]
        code, output = self.finish(command, log=f"{name}-{word}")
        if code != 0:
            raise Failed(f"{name} {word} {' '.join(pairs[1:])}\n{output}")

    def create(self, topic, partitions):
        self.client("confluent-kafka", "create", topic=topic, partitions=partitions, replicas=self.replicas)

    def fill(self, topic, partitions, lines):
        """A topic with records in it, by confluent-kafka."""
        file = self.folder / f"{topic}.tsv"
        file.write_text("".join(f"{record}\n" for record in lines))
        self.create(topic, partitions)
        self.client("confluent-kafka", "produce", topic=topic, file=file)
        return file


def line(command):
    return " ".join(shlex.quote(str(word)) for word in command)


def text(path):
    return path.read_text(errors="replace")


class Program:
    """A word of clients/README.md, given to one client's program."""

    def __init__(self, client, case, settings):
        self.client, self.name, self.word = client, case["name"], case["word"]
        self.values, self.settings = case.get("values", {}), settings
        self.slice, self.killed = case["name"] in settings.get("slice", []), None
        self.key = (self.client, self.name)

    def run(self, target, folder, unique):
        with Bench(target, folder, unique) as bench:
            try:
                getattr(self, self.word)(bench)
            except Failed as problem:
                return str(problem)
        return None

    def roundtrip(self, bench):
        """Every record comes back as it was sent: read by this client and by confluent-kafka."""
        lines = records.various()
        sent, seen = bench.folder / "sent.tsv", bench.folder / "seen.tsv"
        sent.write_text("".join(f"{record}\n" for record in lines))
        bench.create(bench.topic, 3)
        bench.client(self.client, "produce", topic=bench.topic, file=sent, **self.values)
        for reader in dict.fromkeys((self.client, "confluent-kafka")):
            bench.client(reader, "consume", topic=bench.topic, count=len(lines), out=seen)
            problem = records.difference(lines, seen.read_text().splitlines(), self.settings.get("blind", []))
            if problem:
                raise Failed(f"{self.client} wrote, {reader} read: {problem}")

    def rebalance(self, bench):
        lines = records.numbered(600, 6)
        bench.fill(bench.topic, 6, lines)
        bench.client(self.client, "rebalance", topic=bench.topic, group=bench.group, count=len(lines), **self.values)

    def static(self, bench):
        bench.fill(bench.topic, 6, records.numbered(60, 6))
        bench.client(self.client, "static", topic=bench.topic, group=bench.group)

    def commit(self, bench):
        bench.fill(bench.topic, 3, records.numbered(60, 3))
        bench.client(self.client, "commit", topic=bench.topic, group=bench.group)

    def offsets(self, bench):
        file = bench.fill(bench.topic, 3, records.numbered(60, 3))
        bench.client(self.client, "offsets", topic=bench.topic, file=file)

    def admin(self, bench):
        bench.client(self.client, "admin", topic=bench.topic, group=bench.group)


class Steps:
    """Command lines as a user would type them."""

    def __init__(self, case, tools):
        self.client, self.name, self.case, self.tools = case["client"], case["name"], case, tools
        # Why it cannot hold where brokers are killed.
        self.slice, self.killed = case.get("slice", False), case.get("killed")
        self.key = (self.client, self.name)

    def run(self, target, folder, unique):
        with Bench(target, folder, unique) as bench:
            try:
                if fill := self.case.get("fill"):
                    partitions, count = fill
                    bench.fill(bench.topic, partitions, records.numbered(count, partitions))
                for number, step in enumerate(self.case["steps"], 1):
                    self.step(bench, step, f"{number:02}")
            except Failed as problem:
                return str(problem)
        return None

    def step(self, bench, step, log):
        values = {"b": bench.bootstrap, "t": bench.topic, "g": bench.group, "dir": bench.folder}

        def fill(words):
            return re.sub(r"\{(b|t|g|dir)\}", lambda found: str(values[found[1]]), words)

        if file := step.get("file"):
            (bench.folder / file).write_text(fill(step["text"]))
            return
        command = shlex.split(fill(step["run"]))
        if command[0] in self.tools:
            command = [*setup.JAVA, "-cp", setup.COMMANDS["classpath"], self.tools[command[0]], *command[1:]]
        given = fill(step["input"]) if "input" in step else None
        if step.get("background"):
            bench.start(command, given, log)
            return
        deadline = time.monotonic() + PATIENCE
        while True:
            code, output = bench.finish(command, given, log)
            problem = judge(step, fill, code, output)
            if problem is None:
                return
            if not step.get("until") or time.monotonic() > deadline:
                raise Failed(f"{fill(step['run'])}\n{problem}; it printed:\n{output}")


def judge(step, fill, code, output):
    """What is wrong with what a command printed, if anything. With `exact`, all of it, in any order of lines."""
    if code != step.get("exit", 0):
        return f"ended with {code}"
    for pattern in step.get("expect", []):
        if not re.search(fill(pattern), output, re.MULTILINE):
            return f"nothing matches {fill(pattern)!r}"
    for pattern in step.get("never", []):
        if re.search(fill(pattern), output, re.MULTILINE):
            return f"something matches {fill(pattern)!r}"
    # What librdkafka logs of connections that broke is no part of what a tool prints.
    printed = [line for line in output.splitlines() if not re.match(r"%\d\|", line)]
    if "exact" in step and sorted(printed) != sorted(fill(step["exact"]).splitlines()):
        return "not exactly what was wanted"
    return None
