"""Brings the foreign clients into the cache, once each: loudly, from their ordinary registries, pinned in versions.toml.

Owns `$HOME/.cache/ottla/tools/<client>-<version>` and never touches the machine's own Python, Node or Go folders.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
VERSIONS = tomllib.loads((HERE / "versions.toml").read_text())
TOOLS = Path.home() / ".cache/ottla/tools"
CLIENTS = HERE / "clients"


def say(line):
    print(f"setup: {line}", flush=True)


def once(folder, sources, what):
    """Whether `folder` must be made again because it is absent or its sources changed."""
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    stamp = folder / ".sources"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"{what} into {folder}")
    return lambda: stamp.write_text(digest.hexdigest())


def run(command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"setup: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def python():
    folder = TOOLS / f"confluent-kafka-{VERSIONS['confluent-kafka']}"
    if not (folder / "bin/python").exists() or not (folder / ".whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        say(f"confluent-kafka {VERSIONS['confluent-kafka']} from PyPI into {folder}")
        run([sys.executable, "-m", "venv", folder])
        run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check",
             f"confluent-kafka=={VERSIONS['confluent-kafka']}"])
        (folder / ".whole").touch()
    return [folder / "bin/python", CLIENTS / "python/client.py"]


def classpath():
    done = subprocess.run([HERE / "kafka.sh", "classpath"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]


def java():
    folder, jars = TOOLS / "conformance-java", classpath()
    sources = list((CLIENTS / "java").glob("*.java"))
    if mark := once(folder, sources, f"compiling the Java client on kafka-clients {VERSIONS['kafka']}"):
        run(["javac", "-cp", jars, "-d", folder, *sources])
        mark()
    return [*JAVA, "-cp", f"{folder}:{jars}", "Client"]


def native(name, compiler, library):
    folder, source = TOOLS / f"conformance-{name}", next((CLIENTS / name).glob("client.*"))
    if mark := once(folder, [source], f"compiling the {name} client on {library}"):
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", library], capture_output=True, text=True, check=True)
        run([*compiler, "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", folder / "client", *flags.stdout.split()])
        mark()
    return [folder / "client"]


def go():
    folder, here = TOOLS / "conformance-go", CLIENTS / "go"
    sources = [*here.glob("*.go"), here / "go.mod", here / "go.sum"]
    if mark := once(folder, sources, f"building the Go client on franz-go {VERSIONS['franz-go']}"):
        run(["go", "build", "-o", folder / "client", "."], cwd=here, env=dict(os.environ, GOFLAGS="-mod=readonly"))
        mark()
    return [folder / "client"]


def node():
    folder, here = TOOLS / "conformance-js", CLIENTS / "js"
    if mark := once(folder, [here / "package.json", here / "package-lock.json"], f"kafkajs {VERSIONS['kafkajs']} from npm"):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(here / name, folder)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)
        mark()
    shutil.copy(here / "client.js", folder)
    return ["node", folder / "client.js"]


# What is called in a case, and how to come by it.
PROGRAMS = {
    "confluent-kafka": python,
    "java": java,
    "librdkafka-c": lambda: native("c", ["cc", "-std=c11", "-D_GNU_SOURCE"], "rdkafka"),
    "librdkafka-cpp": lambda: native("cpp", ["c++", "-std=c++17"], "rdkafka++"),
    "franz-go": go,
    "kafkajs": node,
}
COMMANDS = {}


def same_versions():
    """Go and npm keep versions in files of their own; they must say what versions.toml says."""
    lines = (CLIENTS / "go/go.mod").read_text().split("\n")
    go = {words[0]: words[1] for words in (line.split() for line in lines) if len(words) >= 2}
    js = json.loads((CLIENTS / "js/package.json").read_text())["dependencies"]
    pairs = {"franz-go": go.get("github.com/twmb/franz-go"), "franz-go-kadm": go.get("github.com/twmb/franz-go/pkg/kadm"),
             "kafkajs": js.get("kafkajs")}
    for name, version in pairs.items():
        if version != VERSIONS[name]:
            sys.exit(f"setup: versions.toml pins {name} {VERSIONS[name]}, its own file says {version}")


def prepare(clients):
    """Fetches and builds what the clients of these cases need; Kafka's tools and confluent-kafka always."""
    same_versions()
    need = HERE.parent / "setup/need"
    groups = {"kcat": "kcat", "librdkafka-c": "librdkafka", "librdkafka-cpp": "librdkafka", "franz-go": "go", "kafkajs": "js"}
    for group in ("kafka", "python", *sorted({groups[c] for c in clients if c in groups})):
        subprocess.run([need, group], check=True)
    COMMANDS["classpath"] = classpath()
    for name in {"confluent-kafka", *clients} & PROGRAMS.keys():
        COMMANDS[name] = PROGRAMS[name]()


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
