// kafka-clients (Java) as a user would write it; see ../README.md for the words it understands.

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public final class Client {
    private static final long PATIENCE_MS = 120_000;
    private static final HexFormat HEX = HexFormat.of();
    private static Map<String, String> args;

    public static void main(String[] words) throws Exception {
        args = Arrays.stream(words).skip(1).map(word -> word.split("=", 2)).collect(Collectors.toMap(p -> p[0], p -> p[1]));
        switch (words[0]) {
            case "produce" -> produce();
            case "consume" -> consume();
            case "rebalance" -> rebalance();
            case "static" -> staticMembers();
            case "commit" -> commit();
            case "offsets" -> offsets();
            case "admin" -> admin();
            default -> want(false, "no case " + words[0]);
        }
        System.exit(0);
    }

    // --- small things ---------------------------------------------------------------------------------------------

    private static void want(boolean condition, String what) {
        if (!condition) {
            System.err.println("java: " + what);
            System.exit(1);
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void await(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + PATIENCE_MS * 1_000_000;
        while (!condition.holds()) {
            want(System.nanoTime() < end, what);
        }
    }

    private static byte[] unhex(String text) {
        return text.equals("-") ? null : HEX.parseHex(text);
    }

    private static String hex(byte[] data) {
        return data == null ? "-" : HEX.formatHex(data);
    }

    private static List<String[]> records() throws IOException {
        return Files.readAllLines(Path.of(args.get("file"))).stream().map(line -> line.split("\t", -1)).toList();
    }

    private static Properties base() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        return properties;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String group, String... more) {
        Properties properties = base();
        if (group != null) {
            properties.put("group.id", group);
        }
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("session.timeout.ms", "10000");
        properties.put("heartbeat.interval.ms", "500");
        for (int i = 0; i < more.length; i += 2) {
            properties.put(more[i], more[i + 1]);
        }
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    // --- records --------------------------------------------------------------------------------------------------

    private static void produce() throws Exception {
        Properties properties = base();
        properties.put("compression.type", args.getOrDefault("compression", "none"));
        properties.put("enable.idempotence", args.getOrDefault("idempotence", "false"));
        properties.put("linger.ms", "20");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        Set<String> places = new HashSet<>();
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String[] f : records()) {
                List<Header> headers = new ArrayList<>();
                for (String header : f[4].isEmpty() ? new String[0] : f[4].split(",")) {
                    String[] pair = header.split(":", -1);
                    headers.add(new RecordHeader(pair[0], unhex(pair[1])));
                }
                sent.add(producer.send(new ProducerRecord<>(args.get("topic"), Integer.parseInt(f[0]), Long.parseLong(f[1]),
                    unhex(f[2]), unhex(f[3]), headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                places.add(one.get().partition() + "/" + one.get().offset());
            }
        }
        want(places.size() == sent.size(), "two records were acknowledged at one offset");
    }

    private static void consume() throws Exception {
        int count = Integer.parseInt(args.get("count"));
        List<String> lines = new ArrayList<>();
        try (var consumer = consumer(null)) {
            List<TopicPartition> partitions = consumer.partitionsFor(args.get("topic")).stream()
                .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            await("read " + lines.size() + " of " + count + " records", () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    List<String> headers = new ArrayList<>();
                    record.headers().forEach(header -> headers.add(header.key() + ":" + hex(header.value())));
                    lines.add(String.join("\t", "" + record.partition(), "" + record.offset(), "" + record.timestamp(),
                        hex(record.key()), hex(record.value()), String.join(",", headers)));
                }
                return lines.size() >= count;
            });
        }
        Files.write(Path.of(args.get("out")), lines);
    }

    // --- groups ---------------------------------------------------------------------------------------------------

    /** A consumer on a thread of its own, as an application would run it. */
    private static final class Member extends Thread {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Set<String> seen;
        volatile Set<Integer> held = Set.of();
        volatile int revocations;
        volatile Exception failure;
        private volatile boolean leaving;

        Member(String topic, Set<String> seen, KafkaConsumer<byte[], byte[]> consumer) {
            this.consumer = consumer;
            this.seen = seen;
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

                @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    if (!leaving) {
                        revocations++;
                    }
                }
            });
            start();
        }

        @Override public void run() {
            try (consumer) {
                while (!leaving) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                        seen.add(record.partition() + "/" + record.offset());
                    }
                    held = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
                }
            } catch (Exception problem) {
                failure = problem;
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            join();
        }
    }

    private static List<Integer> shares(List<Member> members) {
        return members.stream().map(member -> member.held.size()).sorted().toList();
    }

    private static void rebalance() throws Exception {
        String assignor = args.getOrDefault("assignor", "range").equals("range")
            ? RangeAssignor.class.getName() : CooperativeStickyAssignor.class.getName();
        Set<String> seen = Collections.synchronizedSet(new HashSet<>());
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            members.add(new Member(args.get("topic"), seen, consumer(args.get("group"), "partition.assignment.strategy", assignor)));
        }
        await("three members of six partitions hold " + shares(members), () -> shares(members).equals(List.of(2, 2, 2)));
        Set<Integer> all = members.stream().flatMap(member -> member.held.stream()).collect(Collectors.toSet());
        want(all.size() == 6, "the members' partitions are " + all);
        members.remove(2).leave();
        await("two members of six partitions", () -> shares(members).equals(List.of(3, 3)));
        int count = Integer.parseInt(args.get("count"));
        await("did not see all of " + count + " records", () -> seen.size() == count);
        for (Member member : members) {
            member.leave();
            want(member.failure == null, "a member failed: " + member.failure);
        }
    }

    private static void staticMembers() throws Exception {
        Set<String> seen = Collections.synchronizedSet(new HashSet<>());
        String topic = args.get("topic"), group = args.get("group");
        Member one = new Member(topic, seen, consumer(group, "group.instance.id", "one"));
        Member two = new Member(topic, seen, consumer(group, "group.instance.id", "two"));
        await("two static members share six partitions", () -> one.held.size() == 3 && two.held.size() == 3);
        Set<Integer> before = one.held;
        int rounds = two.revocations;
        one.leave(); // a static member does not leave its group
        Member again = new Member(topic, seen, consumer(group, "group.instance.id", "one"));
        await("the member did not come back", () -> !again.held.isEmpty());
        want(again.held.equals(before), "held " + before + ", came back to " + again.held);
        want(two.revocations == rounds, "the other member was disturbed");
        Member second = new Member(topic, seen, consumer(group, "group.instance.id", "one"));
        await("the first member with the id was not fenced", () -> again.failure != null);
        want(again.failure instanceof FencedInstanceIdException, "the first member with the id saw " + again.failure);
        second.leave();
        two.leave();
    }

    private static void commit() throws Exception {
        String topic = args.get("topic"), group = args.get("group");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (var first = consumer(group)) {
            first.subscribe(List.of(topic));
            await("offset 4 of partition 0 did not come", () -> {
                first.poll(Duration.ofMillis(200));
                return first.assignment().contains(partition) && first.position(partition) > 4;
            });
            first.commitSync(Map.of(partition, new OffsetAndMetadata(5, Optional.of(0), "half way")));
        }
        try (var second = consumer(group)) {
            OffsetAndMetadata found = second.committed(Set.of(partition)).get(partition);
            want(found != null && found.offset() == 5 && found.metadata().equals("half way"), "committed 5, found " + found);
            second.subscribe(List.of(topic));
            List<Long> resumed = new ArrayList<>();
            await("nothing more came", () -> {
                second.poll(Duration.ofMillis(200)).records(partition).forEach(record -> resumed.add(record.offset()));
                return !resumed.isEmpty();
            });
            want(resumed.get(0) == 5, "went on at " + resumed.get(0) + " and not at 5");
        }
    }

    // --- offsets and administration -------------------------------------------------------------------------------

    private static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    private static void offsets() throws Exception {
        TopicPartition partition = new TopicPartition(args.get("topic"), 0);
        List<Long> times = records().stream().filter(f -> f[0].equals("0")).map(f -> Long.parseLong(f[1])).toList();
        int middle = times.size() / 2;
        try (var consumer = consumer(null); Admin admin = Admin.create(base())) {
            want(consumer.beginningOffsets(List.of(partition)).get(partition) == 0, "the beginning is not 0");
            want(consumer.endOffsets(List.of(partition)).get(partition) == times.size(), "the end is not " + times.size());
            var found = consumer.offsetsForTimes(Map.of(partition, times.get(middle))).get(partition);
            want(found.offset() == middle && found.timestamp() == times.get(middle), "the middle is at " + found);
            var beyond = consumer.offsetsForTimes(Map.of(partition, times.get(times.size() - 1) + 3_600_000)).get(partition);
            want(beyond == null, "nothing is that young, yet " + beyond);
            want(offset(admin, partition, OffsetSpec.maxTimestamp()) == times.size() - 1, "the youngest record");
            want(offset(admin, partition, OffsetSpec.earliestLocal()) == 0, "the earliest local offset");
            want(offset(admin, partition, OffsetSpec.latestTiered()) == -1, "nothing is tiered");
        }
    }

    private static void refused(Class<? extends Exception> wanted, String what, KafkaFuture<?> future) throws Exception {
        try {
            future.get();
        } catch (ExecutionException problem) {
            want(wanted.isInstance(problem.getCause()), what + " said " + problem.getCause());
            return;
        }
        want(false, what + " was not refused");
    }

    private static void admin() throws Exception {
        String topic = args.get("topic"), group = args.get("group");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(base())) {
            NewTopic wanted = new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "3600000"));
            admin.createTopics(List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all().get();
            want(!admin.listTopics().names().get().contains(topic), "a validation created the topic");
            CreateTopicsResult created = admin.createTopics(List.of(wanted));
            want(created.numPartitions(topic).get() == 2, "partitions of the created topic");
            Uuid id = created.topicId(topic).get();
            refused(TopicExistsException.class, "a second creation", admin.createTopics(List.of(wanted)).all());
            refused(InvalidTopicException.class, "a bad name", admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all());
            await("the topic by its id", () -> {
                var found = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).topicIdValues().get(id).get();
                return found.name().equals(topic) && found.partitions().size() == 2 && found.partitions().get(0).isr().size() == 1;
            });
            configs(admin, new ConfigResource(ConfigResource.Type.TOPIC, topic));

            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            refused(InvalidPartitionsException.class, "shrinking", admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
            await("four partitions", () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 4);

            try (var producer = new KafkaProducer<>(base(), new ByteArraySerializer(), new ByteArraySerializer())) {
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, 0, new byte[] {1}, new byte[] {2})).get();
                }
            }
            var producers = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
            want(producers.size() == 1 && producers.get(0).lastSequence() == 9, "the producers are " + producers);
            var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(6)));
            want(deleted.lowWatermarks().get(partition).get().lowWatermark() == 6, "the low watermark");
            want(offset(admin, partition, OffsetSpec.earliest()) == 6, "the earliest offset");
            int node = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0).leader().id();
            var dirs = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values();
            want(dirs.stream().anyMatch(dir -> dir.replicaInfos().containsKey(partition)), "the partition's log directory");
            groups(admin, topic, group, partition);
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            await("the topic is still there", () -> !admin.listTopics().names().get().contains(topic));
            refused(UnknownTopicOrPartitionException.class, "deleting it again", admin.deleteTopics(List.of(topic)).all());
        }
    }

    private static void configs(Admin admin, ConfigResource resource) throws Exception {
        Config config = admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true)
            .includeDocumentation(true)).all().get().get(resource);
        ConfigEntry retention = config.get("retention.ms");
        want(retention.value().equals("3600000") && retention.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "retention.ms " + retention);
        ConfigEntry policy = config.get("cleanup.policy");
        want(policy.isDefault() && policy.type() == ConfigEntry.ConfigType.LIST && !policy.documentation().isEmpty(), "cleanup.policy " + policy);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("segment.ms", "60000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND)))).all().get();
        await("the altered configs", () -> {
            Config now = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return now.get("segment.ms").value().equals("60000") && now.get("retention.ms").value().equals("604800000")
                && now.get("cleanup.policy").value().equals("delete,compact");
        });
        refused(InvalidConfigurationException.class, "a mistyped value", admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all());
    }

    private static void groups(Admin admin, String topic, String group, TopicPartition partition) throws Exception {
        Member member = new Member(topic, Collections.synchronizedSet(new HashSet<>()), consumer(group));
        await("the member has no partitions", () -> member.held.size() == 4);
        var description = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        want(description.groupState() == GroupState.STABLE && description.members().size() == 1, "the group is " + description);
        refused(GroupNotEmptyException.class, "deleting a busy group", admin.deleteConsumerGroups(List.of(group)).all());
        refused(UnknownMemberIdException.class, "altering a busy group's offsets",
            admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all());
        member.leave();
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all().get();
        var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        want(offsets.get(partition).offset() == 7, "the altered offset is " + offsets.get(partition));
        want(admin.listGroups().all().get().stream().anyMatch(listed -> listed.groupId().equals(group)), "the group in the list");
        admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
        refused(GroupIdNotFoundException.class, "deleting it again", admin.deleteConsumerGroups(List.of(group)).all());
    }
}
