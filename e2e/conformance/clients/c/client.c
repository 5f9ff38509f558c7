/* librdkafka (C) as a user would write it; see ../README.md for the words it understands. */

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATIENCE_MS = 120000, PARTITIONS_MAX = 16, RECORDS_MAX = 100000 };

static int arguments;
static char **words;

static void fail(const char *format, ...) {
        va_list list;
        va_start(list, format);
        fprintf(stderr, "librdkafka-c: ");
        vfprintf(stderr, format, list);
        fprintf(stderr, "\n");
        va_end(list);
        exit(1);
}

#define WANT(condition, ...)                                                                                           \
        do {                                                                                                           \
                if (!(condition))                                                                                      \
                        fail(__VA_ARGS__);                                                                             \
        } while (0)

static const char *arg(const char *name, const char *otherwise) {
        size_t length = strlen(name);
        for (int i = 2; i < arguments; i++)
                if (!strncmp(words[i], name, length) && words[i][length] == '=')
                        return words[i] + length + 1;
        WANT(otherwise, "%s= is missing", name);
        return otherwise;
}

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- records ----------------------------------------------------------------------------------------------------- */

struct bytes {
        unsigned char *data; /* NULL for null */
        size_t size;
};

static int digit(char c) {
        return c <= '9' ? c - '0' : c - 'a' + 10;
}

static struct bytes unhex(const char *text) {
        struct bytes bytes = {NULL, 0};
        if (!strcmp(text, "-"))
                return bytes;
        bytes.size = strlen(text) / 2;
        bytes.data = malloc(bytes.size + 1);
        for (size_t i = 0; i < bytes.size; i++)
                bytes.data[i] = (unsigned char)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
        return bytes;
}

static void print_hex(FILE *out, const void *data, size_t size) {
        if (!data)
                fputc('-', out);
        for (size_t i = 0; data && i < size; i++)
                fprintf(out, "%02x", ((const unsigned char *)data)[i]);
}

static rd_kafka_conf_t *conf(void) {
        rd_kafka_conf_t *made = rd_kafka_conf_new();
        rd_kafka_conf_set(made, "bootstrap.servers", arg("bootstrap", NULL), NULL, 0);
        return made;
}

static void set(rd_kafka_conf_t *on, const char *name, const char *value) {
        char error[512];
        WANT(rd_kafka_conf_set(on, name, value, error, sizeof(error)) == RD_KAFKA_CONF_OK, "%s", error);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *from) {
        char error[512];
        rd_kafka_t *made = rd_kafka_new(type, from, error, sizeof(error));
        WANT(made, "%s", error);
        return made;
}

static int acknowledged;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        WANT(!message->err, "delivery failed: %s", rd_kafka_err2str(message->err));
        WANT(message->offset >= 0, "a record was acknowledged without an offset");
        acknowledged++;
}

static rd_kafka_headers_t *headers_of(char *text) {
        if (!*text)
                return NULL;
        rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
        char *rest = text;
        for (char *header; (header = strsep(&rest, ","));) {
                char *value = strchr(header, ':');
                *value++ = 0;
                struct bytes bytes = unhex(value);
                rd_kafka_header_add(headers, header, -1, bytes.data, (ssize_t)bytes.size);
                free(bytes.data);
        }
        return headers;
}

static void produce_line(rd_kafka_t *producer, char *line) {
        line[strcspn(line, "\n")] = 0;
        char *rest = line;
        char *partition = strsep(&rest, "\t"), *timestamp = strsep(&rest, "\t"), *key = strsep(&rest, "\t"),
             *value = strsep(&rest, "\t");
        struct bytes k = unhex(key), v = unhex(value);
        rd_kafka_headers_t *headers = headers_of(rest);
        rd_kafka_resp_err_t error = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(arg("topic", NULL)), RD_KAFKA_V_PARTITION(atoi(partition)),
            RD_KAFKA_V_TIMESTAMP(atoll(timestamp)), RD_KAFKA_V_KEY(k.data, k.size), RD_KAFKA_V_VALUE(v.data, v.size),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        WANT(!error, "produce: %s", rd_kafka_err2str(error));
        free(k.data);
        free(v.data);
        rd_kafka_poll(producer, 0);
}

static void produce(void) {
        rd_kafka_conf_t *settings = conf();
        set(settings, "compression.type", arg("compression", "none"));
        set(settings, "enable.idempotence", arg("idempotence", "false"));
        set(settings, "linger.ms", "20");
        rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
        rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, settings);
        FILE *file = fopen(arg("file", NULL), "r");
        WANT(file, "cannot read the records");
        char *line = NULL;
        size_t size = 0;
        int sent = 0;
        for (; getline(&line, &size, file) > 0; sent++)
                produce_line(producer, line);
        WANT(!rd_kafka_flush(producer, PATIENCE_MS), "records are still waiting");
        WANT(acknowledged == sent, "%d of %d acknowledged", acknowledged, sent);
        rd_kafka_destroy(producer);
        free(line);
        fclose(file);
}

static void print_record(FILE *out, rd_kafka_message_t *message) {
        fprintf(out, "%d\t%lld\t%lld\t", (int)message->partition, (long long)message->offset,
                (long long)rd_kafka_message_timestamp(message, NULL));
        print_hex(out, message->key, message->key_len);
        fputc('\t', out);
        print_hex(out, message->payload, message->len);
        fputc('\t', out);
        rd_kafka_headers_t *headers;
        if (!rd_kafka_message_headers(message, &headers)) {
                const char *name;
                const void *value;
                size_t size;
                for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++) {
                        fprintf(out, "%s%s:", i ? "," : "", name);
                        print_hex(out, value, size);
                }
        }
        fputc('\n', out);
}

static int partitions_of(rd_kafka_t *rk, const char *topic) {
        const struct rd_kafka_metadata *metadata;
        rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
        WANT(!rd_kafka_metadata(rk, 0, handle, &metadata, 10000), "metadata of %s", topic);
        int count = metadata->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(handle);
        return count;
}

static rd_kafka_t *consumer(const char *group, const char *instance) {
        rd_kafka_conf_t *settings = conf();
        set(settings, "group.id", group);
        set(settings, "auto.offset.reset", "earliest");
        set(settings, "enable.auto.commit", "false");
        set(settings, "session.timeout.ms", "10000");
        set(settings, "heartbeat.interval.ms", "500");
        set(settings, "partition.assignment.strategy", arg("assignor", "range"));
        if (instance)
                set(settings, "group.instance.id", instance);
        rd_kafka_t *made = client(RD_KAFKA_CONSUMER, settings);
        rd_kafka_poll_set_consumer(made);
        return made;
}

static void consume(void) {
        const char *topic = arg("topic", NULL);
        int count = atoi(arg("count", NULL)), seen = 0;
        rd_kafka_t *reader = consumer("unused", NULL);
        rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
        for (int i = 0; i < partitions_of(reader, topic); i++)
                rd_kafka_topic_partition_list_add(all, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
        WANT(!rd_kafka_assign(reader, all), "assign");
        FILE *out = fopen(arg("out", NULL), "w");
        WANT(out, "cannot write the records");
        int64_t end = now_ms() + PATIENCE_MS;
        while (seen < count && now_ms() < end) {
                rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 200);
                if (!message)
                        continue;
                WANT(!message->err, "%s", rd_kafka_message_errstr(message));
                print_record(out, message);
                rd_kafka_message_destroy(message);
                seen++;
        }
        fclose(out);
        WANT(seen == count, "read %d of %d records", seen, count);
        rd_kafka_topic_partition_list_destroy(all);
        rd_kafka_consumer_close(reader);
        rd_kafka_destroy(reader);
}

/* --- groups ------------------------------------------------------------------------------------------------------ */

static char seen_records[PARTITIONS_MAX][RECORDS_MAX];
static int seen_count;

static rd_kafka_t *member(const char *instance) {
        rd_kafka_t *made = consumer(arg("group", NULL), instance);
        rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(topics, arg("topic", NULL), RD_KAFKA_PARTITION_UA);
        WANT(!rd_kafka_subscribe(made, topics), "subscribe");
        rd_kafka_topic_partition_list_destroy(topics);
        return made;
}

/* Polls once and remembers what came; returns the error of a message, if it was one. */
static rd_kafka_resp_err_t poll_once(rd_kafka_t *one) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(one, 50);
        if (!message)
                return RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_resp_err_t error = message->err;
        if (!error && !seen_records[message->partition][message->offset]) {
                seen_records[message->partition][message->offset] = 1;
                seen_count++;
        }
        rd_kafka_message_destroy(message);
        return error;
}

/* The partitions that a member holds, as bits. */
static unsigned held(rd_kafka_t *one) {
        rd_kafka_topic_partition_list_t *list;
        unsigned bits = 0;
        WANT(!rd_kafka_assignment(one, &list), "assignment");
        for (int i = 0; i < list->cnt; i++)
                bits |= 1u << list->elems[i].partition;
        rd_kafka_topic_partition_list_destroy(list);
        return bits;
}

static int shares_are(rd_kafka_t **members, int count, int share) {
        for (int i = 0; i < count; i++)
                if (__builtin_popcount(held(members[i])) != share)
                        return 0;
        return 1;
}

static void leave(rd_kafka_t *one) {
        rd_kafka_consumer_close(one);
        rd_kafka_destroy(one);
}

static void await_shares(rd_kafka_t **members, int count, int share) {
        int64_t end = now_ms() + PATIENCE_MS;
        while (!shares_are(members, count, share)) {
                WANT(now_ms() < end, "%d members do not hold %d partitions each", count, share);
                for (int i = 0; i < count; i++)
                        poll_once(members[i]);
        }
}

static void rebalance(void) {
        rd_kafka_t *members[3];
        for (int i = 0; i < 3; i++)
                members[i] = member(NULL);
        await_shares(members, 3, 2);
        WANT((held(members[0]) | held(members[1]) | held(members[2])) == 0x3f, "not all partitions are held");
        leave(members[2]);
        await_shares(members, 2, 3);
        int count = atoi(arg("count", NULL));
        int64_t end = now_ms() + PATIENCE_MS;
        while (seen_count < count && now_ms() < end)
                for (int i = 0; i < 2; i++)
                        poll_once(members[i]);
        WANT(seen_count == count, "saw %d of %d records", seen_count, count);
        leave(members[0]);
        leave(members[1]);
}

static void static_members(void) {
        rd_kafka_t *members[2] = {member("one"), member("two")};
        await_shares(members, 2, 3);
        unsigned before = held(members[0]), other = held(members[1]);
        leave(members[0]); /* a static member does not leave its group */
        members[0] = member("one");
        await_shares(members, 2, 3);
        WANT(held(members[0]) == before, "held %x, came back to %x", before, held(members[0]));
        WANT(held(members[1]) == other, "the other member was disturbed");
        rd_kafka_t *second = member("one");
        int64_t end = now_ms() + PATIENCE_MS;
        rd_kafka_resp_err_t error = 0;
        while (error != RD_KAFKA_RESP_ERR__FATAL && error != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID && now_ms() < end) {
                poll_once(second);
                error = poll_once(members[0]);
        }
        char why[512];
        WANT(rd_kafka_fatal_error(members[0], why, sizeof(why)) == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
             "the first member with the id was not fenced");
        leave(second);
        leave(members[1]);
}

static void commit(void) {
        const char *topic = arg("topic", NULL);
        rd_kafka_t *first = member(NULL);
        int64_t end = now_ms() + PATIENCE_MS;
        while (!seen_records[0][4]) {
                WANT(now_ms() < end, "offset 4 of partition 0 did not come");
                poll_once(first);
        }
        rd_kafka_topic_partition_list_t *place = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *partition = rd_kafka_topic_partition_list_add(place, topic, 0);
        partition->offset = 5;
        partition->metadata = strdup("half way");
        partition->metadata_size = strlen("half way");
        WANT(!rd_kafka_commit(first, place, 0), "commit");
        leave(first);

        memset(seen_records, 0, sizeof(seen_records));
        rd_kafka_t *second = member(NULL);
        rd_kafka_topic_partition_list_t *found = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(found, topic, 0);
        WANT(!rd_kafka_committed(second, found, 10000), "committed");
        WANT(found->elems[0].offset == 5 && found->elems[0].metadata_size == 8 && !memcmp(found->elems[0].metadata, "half way", 8),
             "committed 5, found %lld", (long long)found->elems[0].offset);
        while (!seen_records[0][5]) {
                WANT(now_ms() < end, "nothing more came");
                poll_once(second);
        }
        WANT(!seen_records[0][4], "went on before 5");
        rd_kafka_topic_partition_list_destroy(place);
        rd_kafka_topic_partition_list_destroy(found);
        leave(second);
}

/* --- offsets and administration ---------------------------------------------------------------------------------- */

static void offsets(void) {
        const char *topic = arg("topic", NULL);
        int64_t times[RECORDS_MAX / 100], low, high;
        int count = 0, partition;
        long long timestamp;
        char line[4096];
        FILE *file = fopen(arg("file", NULL), "r");
        WANT(file, "cannot read the records");
        while (fgets(line, sizeof(line), file))
                if (sscanf(line, "%d\t%lld", &partition, &timestamp) == 2 && partition == 0)
                        times[count++] = timestamp;
        fclose(file);
        rd_kafka_t *reader = consumer("unused", NULL);
        WANT(!rd_kafka_query_watermark_offsets(reader, topic, 0, &low, &high, 10000), "watermarks");
        WANT(low == 0 && high == count, "partition 0 spans %lld to %lld", (long long)low, (long long)high);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *place = rd_kafka_topic_partition_list_add(list, topic, 0);
        place->offset = times[count / 2];
        WANT(!rd_kafka_offsets_for_times(reader, list, 10000), "offsets for times");
        WANT(place->offset == count / 2, "the middle is at %lld", (long long)place->offset);
        place->offset = times[count - 1] + 3600000;
        WANT(!rd_kafka_offsets_for_times(reader, list, 10000), "offsets for times");
        WANT(place->offset == RD_KAFKA_OFFSET_END, "nothing is that young, yet %lld", (long long)place->offset);
        rd_kafka_topic_partition_list_destroy(list);
        leave(reader);
}

static rd_kafka_queue_t *answers;

static const rd_kafka_topic_result_t *topic_result(rd_kafka_event_t *event) {
        size_t count;
        const rd_kafka_topic_result_t **results;
        if (rd_kafka_event_CreateTopics_result(event))
                results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        else if (rd_kafka_event_DeleteTopics_result(event))
                results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        else
                results = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
        WANT(count == 1, "%zu results for one topic", count);
        return results[0];
}

static void topic_answer(const char *what, rd_kafka_resp_err_t wanted) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(answers, PATIENCE_MS);
        WANT(event, "%s: no answer", what);
        WANT(!rd_kafka_event_error(event), "%s: %s", what, rd_kafka_event_error_string(event));
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(topic_result(event));
        WANT(error == wanted, "%s: %s", what, rd_kafka_err2name(error));
        rd_kafka_event_destroy(event);
}

static void create(rd_kafka_t *rk, const char *topic, rd_kafka_resp_err_t wanted) {
        char error[512];
        rd_kafka_NewTopic_t *topics[1] = {rd_kafka_NewTopic_new(topic, 2, 1, error, sizeof(error))};
        WANT(topics[0], "%s", error);
        rd_kafka_NewTopic_set_config(topics[0], "retention.ms", "3600000");
        rd_kafka_CreateTopics(rk, topics, 1, NULL, answers);
        topic_answer("create", wanted);
        rd_kafka_NewTopic_destroy(topics[0]);
}

/* Whether a topic's config has a value. */
static int config_is(rd_kafka_t *rk, const char *topic, const char *name, const char *value) {
        rd_kafka_ConfigResource_t *resources[1] = {rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)};
        rd_kafka_DescribeConfigs(rk, resources, 1, NULL, answers);
        rd_kafka_event_t *event = rd_kafka_queue_poll(answers, PATIENCE_MS);
        WANT(event && !rd_kafka_event_error(event), "describe configs");
        size_t count, entries;
        const rd_kafka_ConfigResource_t **found =
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
        const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(found[0], &entries);
        int equal = 0;
        for (size_t i = 0; i < entries; i++)
                if (!strcmp(rd_kafka_ConfigEntry_name(list[i]), name))
                        equal = !strcmp(rd_kafka_ConfigEntry_value(list[i]), value);
        rd_kafka_event_destroy(event);
        rd_kafka_ConfigResource_destroy(resources[0]);
        return equal;
}

static void alter(rd_kafka_t *rk, const char *topic) {
        rd_kafka_ConfigResource_t *resources[1] = {rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)};
        rd_kafka_ConfigResource_set_config(resources[0], "segment.ms", "60000");
        rd_kafka_AlterConfigs(rk, resources, 1, NULL, answers);
        rd_kafka_event_t *event = rd_kafka_queue_poll(answers, PATIENCE_MS);
        WANT(event && !rd_kafka_event_error(event), "alter configs");
        rd_kafka_event_destroy(event);
        rd_kafka_ConfigResource_destroy(resources[0]);
        int64_t end = now_ms() + PATIENCE_MS;
        while (!config_is(rk, topic, "segment.ms", "60000"))
                WANT(now_ms() < end, "segment.ms did not change");
        WANT(config_is(rk, topic, "retention.ms", "604800000"), "the old AlterConfigs replaces everything");
}

static void delete_records(rd_kafka_t *rk, const char *topic) {
        for (int i = 0; i < 10; i++)
                WANT(!rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("x", 1),
                                        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     "produce");
        WANT(!rd_kafka_flush(rk, PATIENCE_MS), "records are still waiting");
        rd_kafka_topic_partition_list_t *before = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(before, topic, 0)->offset = 6;
        rd_kafka_DeleteRecords_t *deletions[1] = {rd_kafka_DeleteRecords_new(before)};
        rd_kafka_DeleteRecords(rk, deletions, 1, NULL, answers);
        rd_kafka_event_t *event = rd_kafka_queue_poll(answers, PATIENCE_MS);
        WANT(event && !rd_kafka_event_error(event), "delete records");
        const rd_kafka_topic_partition_list_t *low =
            rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
        WANT(low->elems[0].offset == 6, "the low watermark is %lld", (long long)low->elems[0].offset);
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteRecords_destroy(deletions[0]);
        rd_kafka_topic_partition_list_destroy(before);
}

static rd_kafka_resp_err_t delete_group(rd_kafka_t *rk, const char *group) {
        rd_kafka_DeleteGroup_t *groups[1] = {rd_kafka_DeleteGroup_new(group)};
        rd_kafka_DeleteGroups(rk, groups, 1, NULL, answers);
        rd_kafka_event_t *event = rd_kafka_queue_poll(answers, PATIENCE_MS);
        WANT(event && !rd_kafka_event_error(event), "delete group");
        size_t count;
        const rd_kafka_group_result_t **results =
            rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
        const rd_kafka_error_t *error = rd_kafka_group_result_error(results[0]);
        rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteGroup_destroy(groups[0]);
        return code;
}

static void groups(rd_kafka_t *rk, const char *group) {
        rd_kafka_t *one = member(NULL);
        await_shares(&one, 1, 4);
        const struct rd_kafka_group_list *list;
        WANT(!rd_kafka_list_groups(rk, group, &list, 10000), "list groups");
        WANT(list->group_cnt == 1 && !strcmp(list->groups[0].state, "Stable") && list->groups[0].member_cnt == 1,
             "the group is not stable with one member");
        rd_kafka_group_list_destroy(list);
        WANT(delete_group(rk, group) == RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, "a group with a member was deleted");
        leave(one);
        rd_kafka_resp_err_t error = delete_group(rk, group);
        WANT(!error, "delete group: %s", rd_kafka_err2name(error));
}

static void admin(void) {
        const char *topic = arg("topic", NULL);
        char error[512];
        rd_kafka_conf_t *settings = conf();
        rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
        rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, settings);
        answers = rd_kafka_queue_new(rk);
        create(rk, topic, RD_KAFKA_RESP_ERR_NO_ERROR);
        create(rk, topic, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS);
        WANT(config_is(rk, topic, "retention.ms", "3600000"), "retention.ms as created");
        WANT(config_is(rk, topic, "cleanup.policy", "delete"), "cleanup.policy's default");
        alter(rk, topic);

        rd_kafka_NewPartitions_t *more[1] = {rd_kafka_NewPartitions_new(topic, 4, error, sizeof(error))};
        rd_kafka_CreatePartitions(rk, more, 1, NULL, answers);
        topic_answer("create partitions", RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_NewPartitions_destroy(more[0]);
        int64_t end = now_ms() + PATIENCE_MS;
        while (partitions_of(rk, topic) != 4)
                WANT(now_ms() < end, "four partitions");
        delete_records(rk, topic);
        groups(rk, arg("group", NULL));

        rd_kafka_DeleteTopic_t *gone[1] = {rd_kafka_DeleteTopic_new(topic)};
        rd_kafka_DeleteTopics(rk, gone, 1, NULL, answers);
        topic_answer("delete", RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_DeleteTopics(rk, gone, 1, NULL, answers);
        topic_answer("delete again", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        rd_kafka_DeleteTopic_destroy(gone[0]);
        rd_kafka_queue_destroy(answers);
        rd_kafka_destroy(rk);
}

int main(int argc, char **argv) {
        static const struct {
                const char *word;
                void (*run)(void);
        } cases[] = {{"produce", produce},        {"consume", consume}, {"rebalance", rebalance},
                     {"static", static_members}, {"commit", commit},   {"offsets", offsets},
                     {"admin", admin}};
        arguments = argc;
        words = argv;
        for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
                if (!strcmp(argv[1], cases[i].word)) {
                        cases[i].run();
                        return 0;
                }
        }
        fail("no such case");
}
