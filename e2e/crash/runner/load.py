"""The load and its ledger: an idempotent producer with acks=all, and a file that says what was acknowledged.

Owns the ledger: a line is written and fsynced for every acknowledged record (partition, offset, number). The producer is
librdkafka, which knows nothing of Ottla. Never forgives an error that librdkafka calls fatal.
"""

import os
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PAYLOAD = b"." * 1000


class Load:
    """Sends numbers 0, 1, 2, … to each partition of a topic at a steady rate, in a thread of its own."""

    def __init__(self, bootstrap, topic, partitions, per_second, ledger):
        self.topic, self.partitions, self.per_second = topic, partitions, per_second
        self.ledger = open(ledger, "ab", buffering=0)
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
            "message.timeout.ms": 0, "socket.timeout.ms": 10000, "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20, "queue.buffering.max.messages": 200000,
            "topic.metadata.refresh.interval.ms": 5000, "log_level": 2, "error_cb": self.on_error})
        self.lines, self.failures = [], []
        self.sent = self.acked = 0
        self.next = [0] * partitions
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def on_error(self, error):
        if error.fatal():
            self.failures.append(f"fatal: {error}")

    def on_delivery(self, error, message):
        if error is not None:
            self.failures.append(str(error))
            return
        number = int(message.value()[:12])
        self.lines.append(b"%s %d %d %d\n" % (self.topic.encode(), message.partition(), message.offset(), number))
        self.acked += 1

    def flush_ledger(self):
        if self.lines:
            lines, self.lines = self.lines, []
            self.ledger.write(b"".join(lines))
            os.fsync(self.ledger.fileno())

    def run(self):
        start, partition = time.monotonic(), 0
        while not self.done.is_set() and not self.failures:
            due = int((time.monotonic() - start) * self.per_second)
            burst = min(due - self.sent, 2000)
            if burst <= 0 or len(self.producer) > 150000:
                self.producer.poll(0.005)
                if len(self.producer) > 150000:
                    start = time.monotonic() - self.sent / self.per_second
            for _ in range(burst):
                value = b"%012d" % self.next[partition] + PAYLOAD
                try:
                    self.producer.produce(self.topic, value, b"k%d" % partition, partition=partition, on_delivery=self.on_delivery)
                except BufferError:
                    break
                self.next[partition] += 1
                self.sent += 1
                partition = (partition + 1) % self.partitions
            self.producer.poll(0)
            self.flush_ledger()

    def start(self):
        self.thread.start()

    def finish(self, seconds=120):
        """Stops sending and waits until everything is acknowledged."""
        self.done.set()
        self.thread.join()
        deadline = time.monotonic() + seconds
        while len(self.producer) and not self.failures and time.monotonic() < deadline:
            self.producer.poll(0.1)
            self.flush_ledger()
        self.flush_ledger()
        if len(self.producer) and not self.failures:
            self.failures.append(f"{len(self.producer)} records were not acknowledged within {seconds} s")
        self.ledger.close()


def create(bootstrap, topic, partitions, config):
    """Creates a topic; the broker may need a moment to answer."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(30)


def read_all(bootstrap, topic, partitions):
    """Every record of a topic, per partition: {offset: number}, in the order in which they came, and the log starts."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ledger", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "enable.partition.eof": False, "log_level": 2,
                         "fetch.message.max.bytes": 1 << 20, "check.crcs": True})
    found, starts = [], []
    try:
        for partition in range(partitions):
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=30, cached=False)
            starts.append(low)
            records, position = [], low
            if low < high:
                consumer.assign([TopicPartition(topic, partition, low)])
            deadline = time.monotonic() + 120
            while position < high:
                for message in consumer.consume(5000, 1.0):
                    if message.error():
                        raise KafkaException(message.error())
                    records.append((message.offset(), int(message.value()[:12])))
                    position = message.offset() + 1
                if time.monotonic() > deadline:
                    raise SystemExit(f"{topic}-{partition}: offset {position} of {high} after 120 s")
            found.append(records)
    finally:
        consumer.close()
    return found, starts


def verdict(ledger, topic, found, starts):
    """What is wrong: acknowledged records that are missing or elsewhere, records twice, records out of order."""
    wrong, acked = [], 0
    at = [dict(records) for records in found]
    for line in open(ledger):
        name, partition, offset, number = line.split()
        if name != topic:
            continue
        partition, offset, number = int(partition), int(offset), int(number)
        acked += 1
        if offset < starts[partition]:
            continue
        if at[partition].get(offset) != number:
            wrong.append(f"{topic}-{partition}: record {number} was acknowledged at {offset}, there is {at[partition].get(offset)}")
    for partition, records in enumerate(found):
        for (offset, number), (next_offset, next_number) in zip(records, records[1:]):
            if next_offset != offset + 1:
                wrong.append(f"{topic}-{partition}: offset {next_offset} follows {offset}")
            if next_number != number + 1:
                wrong.append(f"{topic}-{partition}: record {next_number} at {next_offset} follows {number}")
    return wrong, acked
