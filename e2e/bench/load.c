/* A librdkafka producer under full load, for measuring brokers. Says what it reached as one line of JSON.
 *
 *   load bootstrap=HOST:PORT topic=NAME partitions=N messages=N size=BYTES acks=all|1 [replicas=N] [config=KEY=VALUE]...
 *
 * Creates the topic, warms it up with one record per partition, then sends as fast as acknowledgements let it. The clock
 * runs from the first record to the last acknowledgement; a record that is not acknowledged fails the run. The topic is deleted at the end. */

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int arguments;
static char **words;
static int64_t acknowledged;

static void fail(const char *format, ...) {
        va_list list;
        va_start(list, format);
        vfprintf(stderr, format, list);
        fputc('\n', stderr);
        va_end(list);
        exit(1);
}

static const char *arg_or(const char *name, const char *absent) {
        size_t length = strlen(name);
        for (int i = 1; i < arguments; i++)
                if (!strncmp(words[i], name, length) && words[i][length] == '=')
                        return words[i] + length + 1;
        return absent;
}

static const char *arg(const char *name) {
        const char *value = arg_or(name, NULL);
        if (!value)
                fail("%s= is missing", name);
        return value;
}

static double seconds(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (message->err)
                fail("delivery failed: %s", rd_kafka_err2str(message->err));
        acknowledged++;
}

static rd_kafka_t *producer(void) {
        const char *settings[][2] = {{"bootstrap.servers", arg("bootstrap")},
                                     {"acks", arg("acks")},
                                     {"linger.ms", "5"},
                                     {"queue.buffering.max.messages", "500000"},
                                     {"queue.buffering.max.kbytes", "262144"},
                                     {"message.timeout.ms", "120000"}};
        char error[512];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
                if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error, sizeof(error)) != RD_KAFKA_CONF_OK)
                        fail("%s", error);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_t *made = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
        if (!made)
                fail("%s", error);
        return made;
}

static void create(rd_kafka_t *rk, const char *name, int partitions) {
        char error[512], *value;
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, atoi(arg_or("replicas", "1")), error, sizeof(error));
        if (!topic)
                fail("%s", error);
        for (int i = 1; i < arguments; i++) {
                if (strncmp(words[i], "config=", 7))
                        continue;
                char *pair = strdup(words[i] + 7);
                if ((value = strchr(pair, '='))) {
                        *value++ = 0;
                        rd_kafka_NewTopic_set_config(topic, pair, value);
                }
                free(pair);
        }
        rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
        size_t count;
        if (!event || rd_kafka_event_error(event))
                fail("create %s: %s", name, event ? rd_kafka_event_error_string(event) : "no answer");
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        if (rd_kafka_topic_result_error(results[0]))
                fail("create %s: %s", name, rd_kafka_topic_result_error_string(results[0]));
        rd_kafka_event_destroy(event);
        rd_kafka_NewTopic_destroy(topic);
        rd_kafka_queue_destroy(queue);
}

/* So that the next run does not share the disk and the page cache with this one's records. */
static void delete_topic(rd_kafka_t *rk, const char *name) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
        rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
        if (!event || rd_kafka_event_error(event))
                fail("delete %s: %s", name, event ? rd_kafka_event_error_string(event) : "no answer");
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteTopic_destroy(topic);
        rd_kafka_queue_destroy(queue);
}

/* Sends `count` records round robin and waits until every one is acknowledged. */
static void send_all(rd_kafka_t *rk, const char *topic, int partitions, int64_t count, const char *payload, size_t size) {
        const int64_t target = acknowledged + count;
        for (int64_t i = 0; i < count; i++) {
                /* Runs of one partition, so that batches fill as a keyless producer's do. */
                int partition = (int)((i / 512) % partitions);
                for (;;) {
                        rd_kafka_resp_err_t error = rd_kafka_producev(
                            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                            RD_KAFKA_V_VALUE((void *)payload, size), RD_KAFKA_V_END);
                        if (!error)
                                break;
                        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                                fail("produce: %s", rd_kafka_err2str(error));
                        rd_kafka_poll(rk, 10);
                }
                if (i % 64 == 0)
                        rd_kafka_poll(rk, 0);
        }
        if (rd_kafka_flush(rk, 120000) || acknowledged != target)
                fail("%lld records were not acknowledged", (long long)(target - acknowledged));
}

int main(int argc, char **argv) {
        arguments = argc;
        words = argv;
        const char *topic = arg("topic");
        int partitions = atoi(arg("partitions"));
        int64_t messages = atoll(arg("messages"));
        size_t size = (size_t)atoll(arg("size"));
        char *payload = malloc(size);
        for (size_t i = 0; i < size; i++)
                payload[i] = (char)((i * 2654435761u) >> 13);
        rd_kafka_t *rk = producer();
        create(rk, topic, partitions);
        send_all(rk, topic, partitions, 512 * partitions, payload, size);
        double began = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        send_all(rk, topic, partitions, messages, payload, size);
        printf("{\"seconds\": %.6f, \"client_cpu\": %.6f, \"messages\": %lld}\n", seconds(CLOCK_MONOTONIC) - began,
               seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, (long long)messages);
        delete_topic(rk, topic);
        rd_kafka_destroy(rk);
        free(payload);
        return 0;
}
