"""What goes on while brokers fail: writers, a reader, a prober, and the record of what each of them saw.

Owns the history (history.py says what is in it) while it comes to be. Clients are librdkafka, which knows nothing of
Ottla. It judges nothing; what a client calls fatal is kept for the verdict.
"""

import itertools
import json
import random
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PROBE_SECONDS = 0.5
# The broker says so before it appends anything. NOT_LEADER_OR_FOLLOWER is none of these: leadership may end, in Kafka as in
# Ottla, while an appended record waits to be safe, and the record may be kept or not.
REFUSED = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.NOT_ENOUGH_REPLICAS, KafkaError._PURGE_QUEUE, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
QUICK = {"acks": "all", "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
         "topic.metadata.refresh.fast.interval.ms": 50, "log_level": 0}


class Record:
    """The history in the order of its beginning; a send's outcome is filled in when it is known."""

    def __init__(self):
        self.lines, self.lock, self.round, self.numbers = [], threading.Lock(), None, itertools.count()

    def send(self, writer, topic, partition, idempotent=True):
        with self.lock:
            value = f"{writer}-{next(self.numbers)}"
            line = {"op": "send", "writer": writer, "topic": topic, "partition": partition, "value": value,
                    "idempotent": idempotent, "outcome": "info", "offset": None, "round": self.round, "at": time.monotonic()}
            self.lines.append(line)
            return line

    def settle(self, line, error, message):
        with self.lock:
            line["done"] = time.monotonic()
            if error is None:
                line["outcome"], line["offset"] = "ok", message.offset()
            else:
                line["outcome"], line["error"] = "fail" if error.code() in REFUSED else "info", str(error)

    def poll(self, reader, message, final=False):
        with self.lock:
            self.lines.append({"op": "poll", "reader": reader, "topic": message.topic(), "partition": message.partition(),
                               "offset": message.offset(), "value": message.value().decode(), "final": final})

    def reset(self, reader, message):
        with self.lock:
            self.lines.append({"op": "reset", "reader": reader, "topic": message.topic(), "partition": message.partition(),
                               "why": message.error().str()})

    def write(self, path):
        with self.lock, open(path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in self.lines)


class Task:
    """A thread that goes on until it is told to stop, and keeps what it cannot forgive."""

    def __init__(self):
        self.failures, self.done = [], threading.Event()
        self.thread = threading.Thread(target=self.guarded, daemon=True)
        self.thread.start()

    def guarded(self):
        try:
            self.run()
        except Exception as error:  # noqa: BLE001: whatever it was belongs into the verdict
            self.failures.append(f"{type(self).__name__}: {error!r}")

    def stop(self):
        self.done.set()
        self.thread.join()


class Writer(Task):
    """Idempotent, many in flight, to every partition of a topic in turn; never gives up by itself."""

    def __init__(self, record, name, bootstrap, topic, partitions, per_second):
        self.record, self.name, self.topic = record, name, topic
        self.partitions, self.pause = partitions, 1 / per_second
        self.producer = Producer(QUICK | {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
                                          "message.timeout.ms": 0, "error_cb": self.on_error})
        super().__init__()

    def on_error(self, error):
        if error.fatal():
            self.failures.append(f"{self.name}: fatal: {error}")

    def on_delivery(self, line):
        def settle(error, message):
            self.record.settle(line, error, message)
            if error is not None:
                self.failures.append(f"{self.name}: {line['value']}: {error}")
        return settle

    def run(self):
        for partition in itertools.cycle(range(self.partitions)):
            if self.done.is_set() or self.failures:
                return
            line = self.record.send(self.name, self.topic, partition)
            self.producer.produce(self.topic, line["value"], self.name, partition, on_delivery=self.on_delivery(line))
            self.producer.poll(self.pause)

    def finish(self, seconds=60):
        """Stops sending and waits until everything has an outcome."""
        self.stop()
        left = self.producer.flush(seconds)
        if left and not self.failures:
            self.failures.append(f"{self.name}: {left} records were not acknowledged within {seconds} s")


class Reader(Task):
    """Reads a topic from its beginning as it grows."""

    def __init__(self, record, name, bootstrap, topic, partitions):
        self.record, self.name = record, name
        self.consumer = consumer(bootstrap)
        self.consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        super().__init__()

    def run(self):
        while not self.done.is_set():
            for message in self.consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    self.record.poll(self.name, message)
                elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    self.record.reset(self.name, message)
        self.consumer.close()


class Prober(Task):
    """One record after the other to one partition, each over connections of its own, given up after half a second.

    Not idempotent, which would need a producer id for each: librdkafka sends a record again whose leader says that it
    leads no more, and then it may stand twice.
    """

    def __init__(self, record, name, bootstrap, topic, partition):
        self.record, self.name, self.topic, self.partition = record, name, topic, partition
        self.servers = bootstrap.split(",")
        self.lines, self.changed = [], threading.Condition()
        super().__init__()

    def run(self):
        while not self.done.is_set():
            line = self.record.send(self.name, self.topic, self.partition, idempotent=False)
            self.probe(line)
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
            self.done.wait(0.01)

    def probe(self, line):
        random.shuffle(self.servers)
        ms = int(PROBE_SECONDS * 1000)
        producer = Producer(QUICK | {"bootstrap.servers": ",".join(self.servers), "linger.ms": 0, "socket.timeout.ms": ms,
                                     "message.timeout.ms": ms, "request.timeout.ms": ms, "message.send.max.retries": 0})
        producer.produce(self.topic, line["value"], self.name, self.partition,
                         on_delivery=lambda error, message: self.record.settle(line, error, message))
        if producer.flush(PROBE_SECONDS):
            producer.purge()
            producer.flush(PROBE_SECONDS)

    def acks(self, after):
        """When what was sent after that time was acknowledged."""
        return sorted(line["done"] for line in self.lines if line["outcome"] == "ok" and line["at"] > after)

    def wait_acks(self, after, count, seconds=60):
        """When the first record sent after that time was acknowledged, once so many are; None if they are not."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.acks(after)) >= count, seconds):
                return None
            return self.acks(after)[0]

    def silence(self, after):
        """The longest time without an acknowledgement from then on."""
        times = [after, *self.acks(after)]
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)

    def unacknowledged(self, after, before):
        return [line for line in self.lines if line["outcome"] != "ok" and after < line["at"] < before]


def consumer(bootstrap):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "faults", "enable.auto.commit": False, "check.crcs": True,
                     "auto.offset.reset": "error", "fetch.wait.max.ms": 100, "reconnect.backoff.ms": 20,
                     "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.fast.interval.ms": 50, "log_level": 0})


def create(bootstrap, topic, partitions, seconds=60):
    """Creates a topic, as often as it takes; one that exists was created by an attempt whose answer was lost."""
    deadline = time.monotonic() + seconds
    while True:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        try:
            admin.create_topics([NewTopic(topic, partitions, 3)], operation_timeout=10, request_timeout=10)[topic].result(15)
            return
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if time.monotonic() > deadline:
                raise


class Unread(Exception):
    """A reading that did not come to its end."""


def watermarks(reading, place, deadline):
    """The first offset and the high watermark; a leader that has just come up may not answer at once."""
    while True:
        try:
            return reading.get_watermark_offsets(place, timeout=max(1, deadline - time.monotonic()), cached=False)
        except KafkaException:
            if time.monotonic() > deadline:
                raise


def read_all(record, bootstrap, topic, partitions, seconds=60):
    """The final reading: every record of a topic, from the beginning to the high watermark."""
    reading = consumer(bootstrap)
    deadline = time.monotonic() + seconds
    for partition in range(partitions):
        place = TopicPartition(topic, partition)
        position, high = watermarks(reading, place, deadline)
        if position < high:
            reading.assign([TopicPartition(topic, partition, position)])
        while position < high:
            for message in reading.consume(5000, 0.2):
                if message.error() is None:
                    record.poll("final", message, final=True)
                    position = message.offset() + 1
            if time.monotonic() > deadline:
                raise Unread(f"{topic}-{partition}: read to {position} of {high} in {seconds} s")
    reading.close()


def read_what_can_be(record, name, bootstrap, topic, partition, seconds=5):
    """Reads a partition from its beginning until the end, or until nothing comes; how many came, and what a client says."""
    reading, errors, count, quiet = consumer(bootstrap), set(), 0, time.monotonic()
    try:
        _, high = watermarks(reading, TopicPartition(topic, partition), time.monotonic() + seconds)
    except KafkaException as error:
        reading.close()
        return 0, error.args[0].name()
    reading.assign([TopicPartition(topic, partition, 0)])
    at = 0
    while at < high and time.monotonic() < quiet + seconds:
        for message in reading.consume(1000, 0.2):
            if message.error() is None:
                record.poll(name, message)
                count, at, quiet = count + 1, message.offset() + 1, time.monotonic()
            else:
                errors.add(message.error().name())
    reading.close()
    if at < high:
        errors.add(f"stuck at {at} of {high}")
    return count, ", ".join(sorted(errors))


def leader_alone_acknowledges(record, name, bootstrap, topic, partition, seconds=5):
    """One record with acks=1; what a client says if it is not acknowledged, else nothing."""
    producer = Producer(QUICK | {"bootstrap.servers": bootstrap, "acks": 1, "message.timeout.ms": seconds * 1000})
    line = record.send(name, topic, partition, idempotent=False)
    producer.produce(topic, line["value"], name, partition, on_delivery=lambda error, message: record.settle(line, error, message))
    producer.flush(2 * seconds)
    return line.get("error", "") if "done" in line else f"no answer within {2 * seconds} s"
