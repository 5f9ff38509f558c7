// Clients that keep a ledger: what a producer was promised, and what the members of a consumer group were given, one line for
// each record, as it happens.
//
//     ledger produce BOOTSTRAP TOPIC PER_SECOND
//     ledger consume BOOTSTRAP TOPIC GROUP
//
// By librdkafka, which knows nothing of Ottla. The producer is idempotent and has acks=all. A line of it is
// `acked PARTITION OFFSET VALUE`, or `failed VALUE WHY`; `fatal WHY` ends it. After SIGTERM it waits for the rest and says
// `sent COUNT open COUNT`. It must never say `acked` of a record that no broker has acknowledged.
//
// A member says `assigned MS PARTITION` before it asks where to begin, `read PARTITION OFFSET`, and `committed MS PARTITION
// OFFSET` after a broker has answered so; MS is the wall clock in milliseconds.

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REST_MS = 60000, PARTITIONS_MAX = 64, COMMIT_EVERY_MS = 1000 };

static volatile sig_atomic_t ended;

static void on_signal(int number) {
    (void)number;
    ended = 1;
}

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *unused) {
    (void)producer;
    (void)unused;
    if (message->err)
        printf("failed %.*s %s\n", (int)message->len, (const char *)message->payload, rd_kafka_err2name(message->err));
    else
        printf("acked %d %lld %.*s\n", message->partition, (long long)message->offset, (int)message->len,
               (const char *)message->payload);
}

static void on_error(rd_kafka_t *producer, int code, const char *reason, void *unused) {
    (void)unused;
    if (code != RD_KAFKA_RESP_ERR__FATAL) return;
    char words[512];
    rd_kafka_resp_err_t error = rd_kafka_fatal_error(producer, words, sizeof words);
    printf("fatal %s %s (%s)\n", rd_kafka_err2name(error), words, reason);
    ended = 1;
}

static void set(rd_kafka_conf_t *settings, const char *key, const char *value) {
    char words[512];
    if (rd_kafka_conf_set(settings, key, value, words, sizeof words) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "ledger: %s\n", words);
        exit(2);
    }
}

static long long now_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static rd_kafka_t *make(rd_kafka_type_t type, rd_kafka_conf_t *settings) {
    char why[512];
    rd_kafka_t *client = rd_kafka_new(type, settings, why, sizeof why);
    if (client == NULL) {
        fprintf(stderr, "ledger: %s\n", why);
        exit(1);
    }
    return client;
}

static int produce(rd_kafka_conf_t *settings, const char *topic, int per_second) {
    set(settings, "acks", "all");
    set(settings, "enable.idempotence", "true");
    set(settings, "message.timeout.ms", "0"); // never gives up by itself
    rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
    rd_kafka_t *producer = make(RD_KAFKA_PRODUCER, settings);
    long sent = 0;
    for (long long next = now_ms(CLOCK_MONOTONIC); !ended; next += 1000 / per_second) {
        char value[32];
        int length = snprintf(value, sizeof value, "record-%ld", sent);
        rd_kafka_resp_err_t error = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(value, (size_t)length),
            RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        sent += error == RD_KAFKA_RESP_ERR_NO_ERROR;
        for (long long left; !ended && (left = next + 1000 / per_second - now_ms(CLOCK_MONOTONIC)) > 0;)
            rd_kafka_poll(producer, (int)left);
    }
    rd_kafka_flush(producer, REST_MS);
    printf("sent %ld open %d\n", sent, rd_kafka_outq_len(producer));
    rd_kafka_destroy_flags(producer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return 0;
}

// The next offset of each partition that has been read from since it was assigned, else -1; and what was committed of it.
static long long positions[PARTITIONS_MAX], commits[PARTITIONS_MAX];

static void forget_positions(void) {
    for (int partition = 0; partition < PARTITIONS_MAX; partition++) positions[partition] = commits[partition] = -1;
}

static void commit(rd_kafka_t *consumer, const char *topic) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    for (int partition = 0; partition < PARTITIONS_MAX; partition++)
        if (positions[partition] > commits[partition])
            rd_kafka_topic_partition_list_add(list, topic, partition)->offset = positions[partition];
    // What is refused now (the group is changing, its coordinator moves) is in the next one.
    if (list->cnt > 0 && rd_kafka_commit(consumer, list, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int at = 0; at < list->cnt; at++) {
            const rd_kafka_topic_partition_t *one = &list->elems[at];
            if (one->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
            commits[one->partition] = one->offset;
            printf("committed %lld %d %lld\n", now_ms(CLOCK_REALTIME), one->partition, (long long)one->offset);
        }
    rd_kafka_topic_partition_list_destroy(list);
}

static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *topic) {
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        for (int at = 0; at < list->cnt; at++) printf("assigned %lld %d\n", now_ms(CLOCK_REALTIME), list->elems[at].partition);
        rd_kafka_assign(consumer, list);
    } else {
        // Of partitions that are lost already the coordinator takes nothing any more.
        if (!rd_kafka_assignment_lost(consumer)) commit(consumer, topic);
        rd_kafka_assign(consumer, NULL);
        forget_positions();
    }
}

static int consume(rd_kafka_conf_t *settings, char *topic, const char *group) {
    set(settings, "group.id", group);
    set(settings, "auto.offset.reset", "earliest");
    set(settings, "enable.auto.commit", "false");
    rd_kafka_conf_set_rebalance_cb(settings, on_rebalance);
    rd_kafka_conf_set_opaque(settings, topic);
    rd_kafka_t *consumer = make(RD_KAFKA_CONSUMER, settings);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    forget_positions();
    for (long long due = now_ms(CLOCK_MONOTONIC); !ended;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
        if (message != NULL) {
            if (!message->err && message->partition < PARTITIONS_MAX) {
                positions[message->partition] = message->offset + 1;
                printf("read %d %lld\n", message->partition, (long long)message->offset);
            }
            rd_kafka_message_destroy(message);
        }
        if (now_ms(CLOCK_MONOTONIC) < due) continue;
        due = now_ms(CLOCK_MONOTONIC) + COMMIT_EVERY_MS;
        commit(consumer, topic);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}

int main(int count, char **words) {
    int produces = count == 5 && strcmp(words[1], "produce") == 0;
    int per_second = produces ? atoi(words[4]) : 0;
    if (produces ? per_second < 1 || per_second > 1000 : count != 5 || strcmp(words[1], "consume") != 0) {
        fprintf(stderr, "usage: ledger produce BOOTSTRAP TOPIC PER_SECOND (1 to 1000), or ledger consume BOOTSTRAP TOPIC GROUP\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    rd_kafka_conf_t *settings = rd_kafka_conf_new();
    set(settings, "bootstrap.servers", words[2]);
    rd_kafka_conf_set_error_cb(settings, on_error);
    return produces ? produce(settings, words[3], per_second) : consume(settings, words[3], words[4]);
}
