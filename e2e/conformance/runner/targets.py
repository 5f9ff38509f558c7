"""The two brokers that every case runs against: started on free loopback ports, stopped by their process ids."""

import os
import signal
import subprocess
import time
from pathlib import Path


class Kafka:
    """Apache Kafka, one KRaft node."""

    name = "kafka"

    def __init__(self, root, scratch):
        self.script = root / "e2e/conformance/kafka.sh"
        started = subprocess.run([self.script, "start", "0"], capture_output=True, text=True, timeout=300)
        if started.returncode != 0:
            raise SystemExit(f"Apache Kafka did not start:\n{started.stderr}")
        self.bootstrap = started.stdout.split()[-1]
        import setup
        self.version = f"Apache Kafka {setup.VERSIONS['kafka']}"

    def gone(self):
        return None

    def stop(self):
        subprocess.run([self.script, "stop", self.bootstrap.rsplit(":")[-1]], timeout=60, check=False)


class Ottla:
    """`ottla dev`, one broker."""

    name = "ottla"

    def __init__(self, root, scratch):
        binary = Path(os.environ.get("OTTLA_BIN", root / "bin/ottla"))
        if not binary.exists():
            raise SystemExit("bin/ottla is not there: make build")
        ready = scratch / "ready"
        self.log = scratch / "ottla.log"
        self.process = subprocess.Popen(
            [binary, "dev", "--data-dir", scratch / "data", "--kafka-port", "0", "--http-port", "0", "--ready-file", ready,
             "-c", "group.initial.rebalance.delay.ms=0"],
            stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"ottla dev did not become ready:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        self.bootstrap = ready.read_text().strip()
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        self.version = version or "ottla"

    def gone(self):
        """Why the broker no longer runs, if so."""
        if self.process.poll() is None:
            return None
        return f"ottla ended with {self.process.returncode}:\n{self.log.read_text(errors='replace')[-2000:]}"

    def stop(self):
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
