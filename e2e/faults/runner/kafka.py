"""Three Apache Kafka brokers (KRaft, each also a controller), with the verbs of `brokers.py`: the yardstick.

Owns their folders, ports and processes in the scratch directory; the jars are those of e2e/conformance. Defaults of
Kafka, but for three replicas of which two must be in sync, as Ottla's are here.
"""

import base64
import os
import signal
import socket
import struct
import subprocess
import time

import setup
from brokers import COUNT, Brokers
from driver import free_base, load

HEAP = "384m"
START_SECONDS = 120
QUORUM = "__cluster_metadata"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kafka:
    name = "Apache Kafka"

    def __init__(self, scratch):
        self.scratch, self.port, self.script = scratch, free_base(COUNT), load()
        self.processes, self.pids, self.expected = {}, {}, []
        self.bootstrap = ",".join(f"127.0.0.1:{self.port + index}" for index in range(COUNT))
        self.classpath = setup.classpath()
        controllers = free_ports(COUNT)
        voters = ",".join(f"{index}@127.0.0.1:{port}" for index, port in enumerate(controllers))
        cluster = "K" + base64.urlsafe_b64encode(os.urandom(16)).decode()[1:22]
        for index, controller in enumerate(controllers):
            self.format(index, controller, voters, cluster)

    def format(self, index, controller, voters, cluster):
        keys = {
            "process.roles": "broker,controller", "node.id": index, "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port + index},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER", "log.dirs": self.scratch / f"kafka-{index}",
            "default.replication.factor": 3, "min.insync.replicas": 2, "offsets.topic.replication.factor": 3,
            "auto.create.topics.enable": "false", "log.retention.ms": -1}
        file = self.scratch / f"kafka-{index}.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
        done = subprocess.run(["java", "-cp", self.classpath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", file],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage is not formatted: {done.stdout}{done.stderr}")

    def spawn(self, index):
        with open(self.scratch / f"kafka-{index}.log", "ab") as log:
            process = subprocess.Popen(
                ["java", f"-Xms{HEAP}", f"-Xmx{HEAP}", "-XX:+UseG1GC", "-cp", self.classpath, "kafka.Kafka",
                 self.scratch / f"kafka-{index}.properties"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.processes[index], self.pids[index] = process, process.pid

    def wait_answers(self, index):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.script.metadata(self.port + index, [])
                return
            except (OSError, struct.error):
                if time.monotonic() > deadline or self.processes[index].poll() is not None:
                    raise RuntimeError(f"Kafka {index} does not answer; see {self.scratch}/kafka-{index}.log") from None
                time.sleep(0.1)

    def start_all(self):
        for index in range(COUNT):
            self.spawn(index)
        for index in range(COUNT):
            self.wait_answers(index)

    def start(self, index):
        self.spawn(index)
        self.wait_answers(index)

    def repair(self):
        for index, process in self.processes.items():
            process.send_signal(signal.SIGCONT)
            if process.poll() is not None:
                self.start(index)

    def end(self, index, how):
        at = time.monotonic()
        process = self.processes[index]
        process.send_signal(how)
        process.wait(60)
        return at

    def kill(self, index):
        return self.end(index, signal.SIGKILL)

    def stop(self, index):
        return self.end(index, signal.SIGTERM)

    def pause(self, index):
        at = time.monotonic()
        self.processes[index].send_signal(signal.SIGSTOP)
        return at

    def resume(self, index):
        self.processes[index].send_signal(signal.SIGCONT)

    def controller(self):
        """The leader of the metadata quorum, as those that answer say. DescribeQuorum, version 0."""
        compact = lambda word: bytes([len(word) + 1]) + word.encode()  # noqa: E731
        body = struct.pack(">hhih", 55, 0, 1, 6) + b"faults\0"
        body += b"\x02" + compact(QUORUM) + b"\x02" + struct.pack(">i", 0) + b"\0\0\0"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for index in range(COUNT):
                try:
                    with socket.create_connection(("127.0.0.1", self.port + index), timeout=2) as link:
                        link.settimeout(2)
                        link.sendall(struct.pack(">i", len(body)) + body)
                        stream = link.makefile("rb")
                        answer = stream.read(struct.unpack(">i", stream.read(4))[0])
                    # Correlation id, tags, error; one topic, its name; one partition: index, error, leader.
                    at = 4 + 1 + 2 + 1 + 1 + len(QUORUM) + 1 + 4
                    error, leader = struct.unpack_from(">hi", answer, at)
                    if error == 0 and leader >= 0:
                        return leader
                except (OSError, struct.error):
                    continue
            time.sleep(0.1)
        raise RuntimeError("Kafka's quorum has no leader")

    def leader(self, topic, partition):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            known = []
            for index in range(COUNT):
                try:
                    known.append(self.script.metadata(self.port + index, [topic])[1][topic, partition])
                except (OSError, struct.error, KeyError):
                    continue
            if known and max(known)[1] >= 0:
                return max(known)[1]
            time.sleep(0.05)
        raise RuntimeError(f"{topic}-{partition} has no leader")

    def ask_metadata(self, index, topics):
        return self.script.metadata(self.port + index, topics)

    missing, wait_whole = Brokers.missing, Brokers.wait_whole

    def ended(self):
        return [f"Kafka {index} ended by itself" for index, process in self.processes.items() if process.poll() is not None]

    def down(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(60)
