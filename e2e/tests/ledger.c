// A producer that keeps a ledger: what it was promised, one line for each record, as it is promised.
//
//     ledger BOOTSTRAP TOPIC PER_SECOND
//
// Idempotent and with acks=all, by librdkafka, which knows nothing of Ottla. A line is `acked PARTITION OFFSET VALUE`, or
// `failed VALUE WHY`; `fatal WHY` ends it. After SIGTERM it waits for the rest and says `sent COUNT open COUNT`. It must never
// say `acked` of a record that no broker has acknowledged.

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REST_MS = 60000 };

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

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int count, char **words) {
    int per_second = count == 4 ? atoi(words[3]) : 0;
    if (per_second < 1 || per_second > 1000) {
        fprintf(stderr, "usage: ledger BOOTSTRAP TOPIC PER_SECOND (1 to 1000)\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    rd_kafka_conf_t *settings = rd_kafka_conf_new();
    set(settings, "bootstrap.servers", words[1]);
    set(settings, "acks", "all");
    set(settings, "enable.idempotence", "true");
    set(settings, "message.timeout.ms", "0"); // never gives up by itself
    rd_kafka_conf_set_dr_msg_cb(settings, on_delivery);
    rd_kafka_conf_set_error_cb(settings, on_error);
    char why[512];
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, settings, why, sizeof why);
    if (producer == NULL) {
        fprintf(stderr, "ledger: %s\n", why);
        return 1;
    }
    long sent = 0;
    for (long long next = now_ms(); !ended; next += 1000 / per_second) {
        char value[32];
        int length = snprintf(value, sizeof value, "record-%ld", sent);
        rd_kafka_resp_err_t error = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(words[2]), RD_KAFKA_V_KEY(value, (size_t)length),
            RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        sent += error == RD_KAFKA_RESP_ERR_NO_ERROR;
        for (long long left; !ended && (left = next + 1000 / per_second - now_ms()) > 0;) rd_kafka_poll(producer, (int)left);
    }
    rd_kafka_flush(producer, REST_MS);
    printf("sent %ld open %d\n", sent, rd_kafka_outq_len(producer));
    rd_kafka_destroy_flags(producer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return 0;
}
