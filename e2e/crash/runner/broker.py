"""The broker under test: a real process on a fixed loopback port, killed by its process id.

Owns the process and what its log says of the phase that it is in. Never touches the data directory.
"""

import re
import socket
import subprocess
import threading
import time

PHASE = re.compile(r'phase="([^"]+)" at="(begin|end)"')
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    def __init__(self, binary, data, port, log_path):
        self.command = [
            str(binary), "--listeners", f"PLAINTEXT://127.0.0.1:{port}", "--log.dirs", str(data), "--node.id", "1",
            "--ottla.http.listener", "", "--ottla.log.level", "info,ottla_log=debug",
            "--log.retention.check.interval.ms", "300", "--auto.create.topics.enable", "false"]
        self.bootstrap = f"127.0.0.1:{port}"
        self.log_path = log_path
        self.process = None
        self.phases = set()
        self.seen = threading.Condition()

    def start(self):
        self.phases = set()
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                        errors="replace", env={"NO_COLOR": "1", "PATH": "/usr/bin:/bin"})
        self.reader = threading.Thread(target=self.read, args=(self.process.stderr,), daemon=True)
        self.reader.start()

    def read(self, pipe):
        with open(self.log_path, "a") as log:
            for line in pipe:
                line = ANSI.sub("", line)
                log.write(line)
                if found := PHASE.search(line):
                    with self.seen:
                        name, at = found.groups()
                        (self.phases.add if at == "begin" else self.phases.discard)(name)
                        self.seen.notify_all()

    def wait_ready(self, seconds=60):
        """Until the port answers; a broker that ends by itself is an error."""
        deadline = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the broker ended by itself with {self.process.returncode}; see {self.log_path}")
            try:
                socket.create_connection(self.bootstrap.split(":"), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"the broker does not answer within {seconds} s; see {self.log_path}") from None

    def wait_phase(self, name, seconds):
        """Whether the phase began within so many seconds."""
        with self.seen:
            return self.seen.wait_for(lambda: name in self.phases, seconds)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL; returns the phases that the process died in, as its log says once it is complete."""
        if not self.alive():
            raise SystemExit(f"the broker ended by itself with {self.process.returncode}; see {self.log_path}")
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        return set(self.phases)

    def stop(self):
        """SIGTERM; the broker must end cleanly."""
        self.process.terminate()
        code = self.process.wait(60)
        self.reader.join(10)
        if code != 0:
            raise SystemExit(f"the broker ended with {code} after SIGTERM; see {self.log_path}")
