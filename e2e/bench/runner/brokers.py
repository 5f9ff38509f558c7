"""The two brokers that are measured: started on loopback, watched through /proc, stopped by their process ids."""

import os
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


class Ottla:
    name = "Ottla"

    def __init__(self, root, scratch):
        self.data, self.binary = scratch / "ottla", root / "bin/ottla"
        self.address = f"127.0.0.1:{free_port()}"

    def start(self):
        began = time.monotonic()
        self.process = subprocess.Popen(
            [self.binary, "dev", "--data-dir", self.data, "--kafka-port", self.address.split(":")[1], "--http-port", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        return began

    def stop(self):
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            if self.process.poll() is None:
                os.killpg(self.pid, number)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue

    # What a topic needs so that an acknowledgement means the same on both.
    durable, cached = {}, {"flush.messages": "9223372036854775807"}


class Kafka:
    name = "Apache Kafka"

    def __init__(self, root, scratch):
        self.script = root / "e2e/conformance/kafka.sh"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def start(self):
        # The script formats the directory before it starts the broker: its file `began` says when that was.
        subprocess.run([self.script, "start", str(self.port)], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, KAFKA_NO_WAIT="1"))
        run = os.path.expanduser(f"~/.cache/ottla/run/kafka-{self.port}")
        self.pid = int(open(f"{run}/pid").read())
        return float(open(f"{run}/began").read())

    def stop(self):
        subprocess.run([self.script, "stop", str(self.port)], check=False)

    durable, cached = {"flush.messages": "1"}, {}
