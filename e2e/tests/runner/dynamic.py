"""`spec.config` of a Cluster whose brokers run: what they take without a restart.

Owns the case of keys that Kafka changes at run time. Every broker leads a part of its topic, so that what all partitions do all
brokers do. Suites mix it in.
"""

import json
import time

from scene import CLUSTER
from stage import expect, until

SIZES, PARTITIONS = "sizes", 6
# Larger than anything that the ledgers' producer sends at once.
DECLARED = {"message.max.bytes": 200_000, "log.retention.ms": 1_000_000_000}
RECORD = "x" * 400_000 + "\n"


class Cases:
    def a_config_that_kafka_changes_at_run_time_restarts_nobody(self):
        before = self.uids(), self.restarts()
        self.ottla("topic", "create", SIZES, "--partitions", PARTITIONS, "--replicas", 3)
        expect(all(self.taken()), "a record is too large before anything was declared")
        by_default = self.described()
        began = time.monotonic()
        self.change(CLUSTER, {"config": DECLARED})
        until("no broker takes a record of 400 kB", lambda: not any(self.taken()))
        took = time.monotonic() - began
        by_file = {"max.message.bytes": ("200000", "file"), "retention.ms": ("1000000000", "file")}
        expect(self.described() == by_file, f"what is described is {self.described()}")
        self.goes_on()
        self.change(CLUSTER, {"config": dict.fromkeys(DECLARED)})
        until("every broker takes it again", lambda: all(self.taken()))
        expect(self.described() == by_default, f"what is described is {self.described()}, and was {by_default}")
        self.goes_on()
        expect((self.uids(), self.restarts()) == before, "a broker was restarted")
        self.whole()
        self.note(f"every broker acted {took:.0f} s after it was declared")

    # --- what the case uses -------------------------------------------------------------------------------------------

    def taken(self):
        """Of each partition, whether its leader takes a record of 400 kB."""
        def one(partition):
            words = ("exec", "-i", f"{CLUSTER}-main-0", "--", "ottla", "produce", SIZES, "--partition", partition)
            done = self.kubectl(*words, input=RECORD, check=False)
            expect(done.returncode == 0 or "MESSAGE_TOO_LARGE" in done.stderr, f"partition {partition}: {done.stderr}")
            return done.returncode == 0
        return [one(partition) for partition in range(PARTITIONS)]

    def described(self):
        """What DescribeConfigs says of the topic's two keys, and who has set them."""
        shown = {one["name"]: one for one in json.loads(self.ottla("topic", "config", SIZES, "--all", "-o", "json"))}
        return {name: (shown[name]["value"], shown[name]["source"]) for name in ("max.message.bytes", "retention.ms")}
