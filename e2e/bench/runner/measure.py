"""What every benchmark measures with: /proc, and a producer under full load.

Owns the producer's binary in the cache.
"""

import json
import os
import statistics
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOAD = Path.home() / ".cache/ottla/tools/bench-load/load"
RECORD_BYTES = 1024
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of a process, threads that have ended included."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_cpu_seconds():
    """That all cores were busy, or taken by the host."""
    user, nice, system, _, _, irq, soft, steal = map(int, open("/proc/stat").readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def memory_mib(pid):
    """Peak resident, and what is neither shared nor backed by a file."""
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    rollup = dict(line.split(":", 1) for line in open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:])
    return int(status["VmHWM"].split()[0]) / 1024, int(rollup["Pss_Anon"].split()[0]) / 1024


def build_load():
    source = ROOT / "e2e/bench/load.c"
    if LOAD.exists() and LOAD.stat().st_mtime > source.stat().st_mtime:
        return
    LOAD.parent.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "rdkafka"], capture_output=True, text=True, check=True)
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(LOAD), *flags.stdout.split()], check=True)


def run_load(bootstrap, topic, messages, partitions, more):
    """The producer's own account of one run."""
    command = [LOAD, f"bootstrap={bootstrap}", f"topic={topic}", f"partitions={partitions}", f"messages={messages}",
               f"size={RECORD_BYTES}", "acks=all", *more]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"load on {bootstrap}: {done.stderr}")
    return json.loads(done.stdout)


def spread(values, form):
    return f"{form(statistics.median(values))} ({form(min(values))} – {form(max(values))})"


# What else is on the machine while it is measured.
TOGETHER = ", clients and brokers on it together"


def peer():
    kafka = tomllib.loads((ROOT / "e2e/conformance/versions.toml").read_text())["kafka"]
    return f"Apache Kafka {kafka}, KRaft, G1"
