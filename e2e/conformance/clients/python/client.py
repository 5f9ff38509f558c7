"""confluent-kafka (Python) as a user would write it; see ../README.md for the words it understands."""

import sys
import time

from confluent_kafka import (OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

PATIENCE = 120  # seconds until a condition that does not come true is a failure


def unhex(text):
    return None if text == "-" else bytes.fromhex(text)


def tohex(data):
    return "-" if data is None else data.hex()


def want(condition, what):
    if not condition:
        sys.exit(f"confluent-kafka: {what}")


def deadline():
    end = time.monotonic() + PATIENCE
    return lambda: time.monotonic() < end


def create(args):
    """Prepares a topic for a case; returns when it can be written to."""
    client = AdminClient({"bootstrap.servers": args["bootstrap"]})
    replicas = int(args.get("replicas", 1))
    config = {"min.insync.replicas": "2"} if replicas > 2 else {}
    topic = NewTopic(args["topic"], int(args["partitions"]), replicas, config=config)
    patient = deadline()
    while True:
        try:
            client.create_topics([topic])[args["topic"]].result(PATIENCE)
            break
        except KafkaException as problem:
            # The broker that was asked may be killed before it answers: the topic may exist by then.
            if problem.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                break
            if not patient():
                raise
    while patient():
        found = client.list_topics(timeout=10).topics.get(args["topic"])
        if found and len(found.partitions) == int(args["partitions"]) and all(p.leader >= 0 for p in found.partitions.values()):
            return
    sys.exit(f"confluent-kafka: {args['topic']} has no leaders")


def produce(args):
    producer = Producer({
        "bootstrap.servers": args["bootstrap"], "compression.type": args.get("compression", "none"),
        "enable.idempotence": args.get("idempotence", "false"), "linger.ms": 20, "message.timeout.ms": PATIENCE * 1000,
    })
    acked, errors = [], []

    def on_delivery(error, message):
        (errors if error else acked).append(str(error) if error else (message.partition(), message.offset()))

    lines = open(args["file"]).read().splitlines()
    for line in lines:
        partition, timestamp, key, value, headers = line.split("\t")
        pairs = [(h.split(":")[0], unhex(h.split(":")[1])) for h in headers.split(",")] if headers else None
        producer.produce(args["topic"], unhex(value), unhex(key), int(partition), on_delivery=on_delivery,
                         timestamp=int(timestamp), headers=pairs)
        producer.poll(0)
    producer.flush(PATIENCE)
    want(not errors, f"delivery failed: {errors[:3]}")
    want(len(acked) == len(lines), f"{len(acked)} of {len(lines)} acknowledged")
    want(len(set(acked)) == len(acked), "two records were acknowledged at one offset")


def consumer(args, group="unused", **settings):
    return Consumer({"bootstrap.servers": args["bootstrap"], "group.id": group, "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "session.timeout.ms": 10000, "heartbeat.interval.ms": 500,
                     "topic.metadata.refresh.interval.ms": 2000,
                     **{name.replace("_", "."): value for name, value in settings.items()}})


def partitions_of(client, topic):
    return sorted(client.list_topics(topic, 10).topics[topic].partitions)


def consume(args):
    client = consumer(args)
    client.assign([TopicPartition(args["topic"], p, OFFSET_BEGINNING) for p in partitions_of(client, args["topic"])])
    lines, patient = [], deadline()
    while len(lines) < int(args["count"]) and patient():
        message = client.poll(0.5)
        if message is None:
            continue
        want(not message.error(), f"{message.error()}")
        headers = ",".join(f"{name}:{tohex(value)}" for name, value in message.headers() or [])
        lines.append("\t".join([str(message.partition()), str(message.offset()), str(message.timestamp()[1]),
                                tohex(message.key()), tohex(message.value()), headers]))
    client.close()
    want(len(lines) == int(args["count"]), f"read {len(lines)} of {args['count']} records")
    open(args["out"], "w").write("\n".join(lines) + "\n")


def poll_all(members, seen):
    for member in members:
        message = member.poll(0.05)
        if message is not None and not message.error():
            seen.add((message.partition(), message.offset()))


def rebalance(args):
    expected = int(args["count"])
    settings = {"partition_assignment_strategy": args.get("assignor", "range")}
    members = [consumer(args, args["group"], **settings) for _ in range(3)]
    for member in members:
        member.subscribe([args["topic"]])
    seen, patient = set(), deadline()
    shares = lambda: sorted(len(member.assignment()) for member in members)
    while shares() != [2, 2, 2] and patient():
        poll_all(members, seen)
    want(shares() == [2, 2, 2], f"three members hold {shares()} of six partitions")
    owned = {p.partition for member in members for p in member.assignment()}
    want(owned == set(range(6)), f"the members' partitions are {owned}")
    members.pop().close()
    while shares() != [3, 3] and patient():
        poll_all(members, seen)
    want(shares() == [3, 3], f"two members hold {shares()} of six partitions")
    while len(seen) < expected and patient():
        poll_all(members, seen)
    want(len(seen) == expected, f"saw {len(seen)} of {expected} records")
    for member in members:
        member.close()


def static(args):
    names = ["one", "two"]
    members = {name: consumer(args, args["group"], group_instance_id=name) for name in names}
    revoked = []
    members["one"].subscribe([args["topic"]])
    members["two"].subscribe([args["topic"]], on_revoke=lambda _, parts: revoked.append(len(parts)))
    patient, seen = deadline(), set()
    held = lambda name: sorted(p.partition for p in members[name].assignment())
    while (len(held("one")), len(held("two"))) != (3, 3) and patient():
        poll_all(members.values(), seen)
    want((len(held("one")), len(held("two"))) == (3, 3), "two static members share six partitions")
    before, rounds = held("one"), len(revoked)
    members["one"].close()  # a static member does not leave
    members["one"] = consumer(args, args["group"], group_instance_id="one")
    members["one"].subscribe([args["topic"]])
    while not held("one") and patient():
        poll_all(members.values(), seen)
    want(held("one") == before, f"held {before}, came back to {held('one')}")
    want(len(revoked) == rounds, "the other member was disturbed")

    second = consumer(args, args["group"], group_instance_id="one")
    second.subscribe([args["topic"]])
    fenced = None
    while fenced is None and patient():
        second.poll(0.05)
        message = members["one"].poll(0.05)
        if message is not None and message.error():
            fenced = message.error().code()
    want(fenced in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID), f"the first member with the id saw {fenced}")
    for client in (second, members["two"]):
        client.close()


def commit(args):
    partition = TopicPartition(args["topic"], 0)
    first = consumer(args, args["group"])
    first.subscribe([args["topic"]])
    patient, last = deadline(), None
    while last is None and patient():
        message = first.poll(0.5)
        if message is not None and not message.error() and message.partition() == 0 and message.offset() == 4:
            last = message
    want(last is not None, "offset 4 of partition 0 did not come")
    first.commit(offsets=[TopicPartition(args["topic"], 0, 5, metadata="half way")], asynchronous=False)
    first.close()

    second = consumer(args, args["group"])
    found = second.committed([partition], 10)[0]
    want((found.offset, found.metadata) == (5, "half way"), f"committed 5, found {found.offset} {found.metadata!r}")
    second.subscribe([args["topic"]])
    resumed = None
    while resumed is None and patient():
        message = second.poll(0.5)
        if message is not None and not message.error() and message.partition() == 0:
            resumed = message.offset()
    want(resumed == 5, f"went on at {resumed} and not at 5")
    second.close()


def offsets(args):
    client = consumer(args)
    lines = [line.split("\t") for line in open(args["file"]).read().splitlines()]
    times = [int(timestamp) for partition, timestamp, *_ in lines if partition == "0"]
    low, high = client.get_watermark_offsets(TopicPartition(args["topic"], 0), 10)
    want((low, high) == (0, len(times)), f"partition 0 spans {low} to {high}, not 0 to {len(times)}")
    middle = len(times) // 2
    found = client.offsets_for_times([TopicPartition(args["topic"], 0, times[middle])], 10)[0].offset
    want(found == middle, f"the record of time {times[middle]} is at {middle}, not {found}")
    beyond = client.offsets_for_times([TopicPartition(args["topic"], 0, times[-1] + 3_600_000)], 10)[0].offset
    want(beyond in (OFFSET_END, -1), f"nothing is that young, yet {beyond} was answered")
    client.close()
    admin = AdminClient({"bootstrap.servers": args["bootstrap"]})
    partition = TopicPartition(args["topic"], 0)
    result = admin.list_offsets({partition: OffsetSpec.max_timestamp()})[partition].result()
    want(result.offset == len(times) - 1, f"the youngest record is at {result.offset}")


def admin(args):
    topic, client = args["topic"], AdminClient({"bootstrap.servers": args["bootstrap"]})
    client.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "3600000"})])[topic].result(PATIENCE)
    try:
        client.create_topics([NewTopic(topic, 2, 1)])[topic].result(PATIENCE)
        want(False, "a topic was created twice")
    except KafkaException as error:
        want(error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, f"the second creation said {error}")

    resource = ConfigResource(ResourceType.TOPIC, topic)
    read = lambda: next(iter(client.describe_configs([resource]).values())).result(PATIENCE)
    configs = read()
    want(configs["retention.ms"].value == "3600000" and not configs["retention.ms"].is_default, "retention.ms as created")
    want(configs["cleanup.policy"].value == "delete" and configs["cleanup.policy"].is_default, "cleanup.policy's default")
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("segment.ms", "60000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
    next(iter(client.incremental_alter_configs([change]).values())).result(PATIENCE)
    patient = deadline()  # a change is accepted before every broker shows it
    while read()["segment.ms"].value != "60000" and patient():
        pass
    configs = read()
    want(configs["segment.ms"].value == "60000", "segment.ms as altered")
    want(configs["retention.ms"].value == "604800000", "retention.ms back at its default")

    client.create_partitions([NewPartitions(topic, 4)])[topic].result(PATIENCE)
    while len(client.list_topics(topic, 10).topics[topic].partitions) != 4 and patient():
        pass
    want(len(client.list_topics(topic, 10).topics[topic].partitions) == 4, "four partitions")

    producer = Producer({"bootstrap.servers": args["bootstrap"]})
    for number in range(10):
        producer.produce(topic, b"x", partition=0)
    want(producer.flush(PATIENCE) == 0, "ten records for deletion")
    cut = TopicPartition(topic, 0, 6)
    low = client.delete_records([cut])[TopicPartition(topic, 0)].result(PATIENCE).low_watermark
    want(low == 6, f"records are deleted up to {low}, not 6")

    group = args["group"]
    member = consumer(args, group)
    member.subscribe([topic])
    while not member.assignment() and patient():
        member.poll(0.1)
    description = client.describe_consumer_groups([group])[group].result(PATIENCE)
    want(len(description.members) == 1, f"the group has {len(description.members)} members")
    member.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    listed = {g.group_id for g in client.list_consumer_groups().result(PATIENCE).valid}
    want(group in listed, f"{group} is not among {sorted(listed)[:5]}")
    try:
        client.delete_consumer_groups([group])[group].result(PATIENCE)
        want(False, "a group with a member was deleted")
    except KafkaException as error:
        want(error.args[0].code() == KafkaError.NON_EMPTY_GROUP, f"deleting a busy group said {error}")
    member.close()
    client.delete_consumer_groups([group])[group].result(PATIENCE)

    cluster = client.describe_cluster().result(PATIENCE)
    want(cluster.nodes and cluster.cluster_id, "nodes and a cluster id")
    client.delete_topics([topic])[topic].result(PATIENCE)
    while topic in client.list_topics(timeout=10).topics:
        want(patient(), "the topic is gone")


CASES = {f.__name__: f for f in (create, produce, consume, rebalance, static, commit, offsets, admin)}

if __name__ == "__main__":
    CASES[sys.argv[1]](dict(pair.split("=", 1) for pair in sys.argv[2:]))
