"""The brokers, through the verbs of `nodes`, and when the cluster is whole again.

Owns a scratch directory and free ports for one run. Must never leave a process behind: whoever makes one calls `down`.
"""

import contextlib
import os
import re
import signal
import struct
import subprocess
import time

from driver import NODES, free_base, load
from room import Room

COUNT = 3
# A broker that left in-sync sets again and again waits up to a minute before it is let in.
WHOLE_SECONDS = 90
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Brokers:
    name = "Ottla"

    def __init__(self, scratch):
        self.scratch, self.port = scratch, free_base(COUNT)
        self.room = Room(scratch, COUNT)
        self.environment = os.environ | {
            "NODES_DIR": str(scratch), "NODES_COUNT": str(COUNT), "NODES_PORT": str(self.port),
            "NODES_PROPS": "auto.create.topics.enable=false\nlog.retention.ms=-1", "NODES_HOSTS": ",".join(self.room.hosts),
            "NODES_RUN": self.room.runner(), "CONTROL_PLANE_HOST": self.room.hub}
        self.script = load()
        self.bootstrap = self.ask("bootstrap")
        # Errors in the log that belong to a fault, as regular expressions.
        self.pids, self.expected = {}, []
        self.binary, self.disks = os.environ.get("OTTLA_BROKER") or NODES.parents[2] / "bin/ottla-broker", None

    def ask(self, verb, *words):
        done = subprocess.run([NODES, verb, *map(str, words)], env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"nodes {' '.join([verb, *map(str, words)])}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start_all(self):
        """Side by side: one alone waits for others."""
        self.ask("api-up")
        command = [[NODES, "start", str(index)] for index in range(COUNT)]
        running = [subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL) for words in command]
        if any([process.wait() for process in running]):
            raise RuntimeError(f"the brokers did not start; see {self.scratch}")
        self.pids = {index: int(self.ask("pid", index)) for index in range(COUNT)}

    def repair(self):
        """Everything that a round may have taken is given back."""
        self.room.heal()
        self.start_all()

    def start(self, index):
        self.ask("start", index)
        self.pids[index] = int(self.ask("pid", index))

    def kill(self, index):
        """Returns when it was killed: the verb itself takes as long as a Python takes to start."""
        at = time.monotonic()
        pid = self.pids.pop(index, None)
        # One that ended by itself is gone already.
        with contextlib.suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        self.ask("kill", index)
        return at

    def stop(self, index):
        at = time.monotonic()
        self.pids.pop(index, None)
        self.ask("stop", index)
        return at

    def pause(self, index):
        at = time.monotonic()
        os.kill(self.pids[index], signal.SIGSTOP)
        self.ask("pause", index)
        return at

    def resume(self, index):
        self.ask("resume", index)

    def log(self, index):
        """What a broker has written so far."""
        return ANSI.sub("", (self.scratch / f"broker-{index}.log").read_text(errors="replace"))

    def data(self, index):
        return self.scratch / f"data-{index}"

    def controller(self):
        return int(self.ask("controller"))

    def leader(self, topic, partition):
        return int(self.ask("leader", topic, partition))

    def ask_metadata(self, index, topics):
        return self.script.metadata(self.port + index, topics, self.room.hosts[index])

    def missing(self, topics):
        """What keeps the cluster from being whole, asked of each broker; None if nothing does."""
        wrong = []
        for index in range(COUNT):
            try:
                _, partitions = self.ask_metadata(index, topics)
            except (OSError, struct.error) as error:
                wrong.append(f"broker {index} does not answer ({error})")
                continue
            short = [f"{topic}-{partition} is led by {leader}, in sync {in_sync}"
                     for (topic, partition), (_, leader, in_sync) in partitions.items() if leader < 0 or len(in_sync) < COUNT]
            unknown = [f"{topic} is unknown" for topic in set(topics) - {topic for topic, _ in partitions}]
            if short or unknown:
                wrong.append(f"broker {index} says that {'; '.join(short + unknown)}")
        return ". ".join(wrong) or None

    def wait_whole(self, topics, seconds=WHOLE_SECONDS):
        """Until everybody says that every partition has a leader and all replicas in sync; how long that took."""
        began = time.monotonic()
        while (why := self.missing(topics)) is not None:
            if time.monotonic() > began + seconds:
                raise RuntimeError(f"not whole again after {seconds} s: {why}")
            time.sleep(0.05)
        return time.monotonic() - began

    def lives(self, index):
        """Whether the process that was started last still runs."""
        try:
            return self.script.Node.stat(self.pids[index])[0] not in "ZX"
        except (OSError, KeyError):
            return False

    def ended(self):
        """Brokers whose process is not the one that it should be, and what their logs say that they must not."""
        wrong = [f"broker {index} ended by itself; see {self.scratch}/broker-{index}.log"
                 for index in self.pids if not self.lives(index)]
        for index in range(COUNT):
            for line in self.log(index).splitlines():
                bad = "panicked at" in line or " ERROR " in line
                if bad and not any(re.search(words, line) for words in self.expected):
                    wrong.append(f"broker-{index}.log: {line}")
        return wrong

    def down(self):
        self.ask("down")
        self.room.close()
