"""The two brokers that are measured: started on loopback, stopped by their process ids."""

import os
import signal
import socket
import subprocess
import time

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
