//! The broker keys: what a configuration file, a flag or `OTTLA_…` variable may set, and what may change at run time.
//!
//! Owns Kafka's most used keys under Kafka's names, and the few of our own under `ottla.`. A key that is not here is
//! reported, never silently taken.

use super::{Acts, Key, Kind, Scope};

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const SHORT_MAX: i64 = i16::MAX as i64;

const CODECS: Kind = Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

macro_rules! broker_keys {
    ($($id:ident $name:literal $kind:expr, $default:expr, $acts:ident, $scope:ident, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $id: Key = Key {
                name: $name,
                kind: $kind,
                default: $default,
                acts: Acts::$acts,
                scope: Scope::$scope,
                doc: $doc,
            };
        )*
        /// Every broker key, by topic.
        pub static ALL: &[&Key] = &[$(&$id),*];
    };
}

broker_keys! {
    // Who this broker is and where it listens.
    NODE_ID "node.id" Kind::Int(0, INT_MAX), Some("1"), Now, ReadOnly,
        "The broker's number, unique in the cluster and never used again.";
    BROKER_ID "broker.id" Kind::Int(-1, INT_MAX), Some("-1"), Now, ReadOnly,
        "The older name of node.id; taken when node.id is not set.";
    BROKER_RACK "broker.rack" Kind::Text, None, Now, ReadOnly,
        "The failure domain that the broker stands in.";
    CLUSTER_ID "cluster.id" Kind::Text, None, Now, ReadOnly,
        "The cluster that the data directory must belong to. Not set: whatever the directory says, or a new one.";
    PROCESS_ROLES "process.roles" Kind::AnyOf(&["broker", "controller"]), Some("broker,controller"), Later, ReadOnly,
        "Accepted for compatibility: every Ottla broker can be the controller.";
    LISTENERS "listeners" Kind::List, Some("PLAINTEXT://:9092"), Now, ReadOnly,
        "Where the broker listens, as NAME://host:port separated by commas. An empty host is every address, port 0 any free port.";
    ADVERTISED_LISTENERS "advertised.listeners" Kind::List, None, Now, ReadOnly,
        "Where clients are told to connect, as NAME://host:port. Not set: as listeners says.";
    OTTLA_ADVERTISED_LISTENERS_FILE "ottla.advertised.listeners.file" Kind::Text, None, Now, ReadOnly,
        "A file that says where clients of the other listeners are told to connect, in the notation of advertised.listeners. It is read again when it changes; a listener that neither names is told to nobody.";
    OTTLA_DYNAMIC_CONFIG_FILE "ottla.dynamic.config.file" Kind::Text, None, Now, ReadOnly,
        "A properties file that alone says, of the keys that change at run time, what is otherwise in the configuration file, in flags or in variables. It is read again when it changes; one that is empty or wrong changes nothing.";
    LISTENER_SECURITY_PROTOCOL_MAP "listener.security.protocol.map" Kind::List, Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"), Now, ReadOnly,
        "Which protocol each listener speaks, as NAME:PROTOCOL. Only PLAINTEXT works so far.";
    INTER_BROKER_LISTENER_NAME "inter.broker.listener.name" Kind::Text, None, Later, ReadOnly,
        "Accepted for compatibility: brokers speak gRPC among themselves.";
    LOG_DIRS "log.dirs" Kind::List, None, Now, ReadOnly,
        "The data directory. Exactly one; not set: as log.dir says.";
    LOG_DIR "log.dir" Kind::Name, Some("/var/lib/ottla"), Now, ReadOnly,
        "The data directory, when log.dirs is not set.";
    OTTLA_HTTP_LISTENER "ottla.http.listener" Kind::Text, Some(":9644"), Now, ReadOnly,
        "Where /metrics, /livez and /readyz are served, as host:port. Empty: nowhere.";
    OTTLA_GRPC_LISTENER "ottla.grpc.listener" Kind::Text, None, Now, ReadOnly,
        "Where other brokers of the cluster connect, as host:port. Not set: :9090 with ottla.kubernetes.cluster, else nowhere.";
    OTTLA_GRPC_ADVERTISED "ottla.grpc.advertised" Kind::Text, None, Now, ReadOnly,
        "Where other brokers are told to connect, as host:port. Not set: the host of the first advertised listener.";
    OTTLA_GRPC_TLS_DIRECTORY "ottla.grpc.tls.directory" Kind::Text, None, Now, ReadOnly,
        "A folder with tls.crt, tls.key and ca.crt, read again when they change: brokers show certificates to each other and to the operator, and take nobody who shows none. Not set: plaintext.";
    OTTLA_KUBERNETES_CLUSTER "ottla.kubernetes.cluster" Kind::Text, None, Now, ReadOnly,
        "Keep the cluster's metadata in Kubernetes, under this name, instead of in the data directory.";
    OTTLA_KUBERNETES_NAMESPACE "ottla.kubernetes.namespace" Kind::Text, None, Now, ReadOnly,
        "The namespace of that metadata. Not set: the pod's own, or the one of the kubeconfig's context.";
    OTTLA_KUBERNETES_KUBECONFIG "ottla.kubernetes.kubeconfig" Kind::Text, None, Now, ReadOnly,
        "How to reach the API server. Not set: as KUBECONFIG or ~/.kube/config say, else as a pod does.";
    OTTLA_LOG_FORMAT "ottla.log.format" Kind::OneOf(&["text", "json"]), Some("text"), Now, ReadOnly,
        "How the broker writes its own log: for people or for machines.";
    OTTLA_LOG_LEVEL "ottla.log.level" Kind::LogFilter, Some("info"), Now, PerBroker,
        "What the broker's own log holds: error, warn, info, debug or trace, or a filter per module.";
    OTTLA_SCRUB_INTERVAL_MS "ottla.scrub.interval.ms" Kind::IntOr(-1, 1000, INT_MAX), Some("1209600000"), Now, ReadOnly,
        "Within which time every record on disk is read and checked; -1 for never.";
    OTTLA_METRICS_PARTITIONS "ottla.metrics.partitions" Kind::OneOf(&["auto", "true", "false"]), Some("auto"), Now, ReadOnly,
        "Whether /metrics has series per partition; auto shows them up to 1,000 partitions.";

    // Connections and requests.
    NUM_NETWORK_THREADS "num.network.threads" Kind::Int(1, INT_MAX), Some("3"), Later, ClusterWide,
        "Accepted for compatibility: one small pool of threads serves all connections.";
    NUM_IO_THREADS "num.io.threads" Kind::Int(1, INT_MAX), Some("8"), Later, ClusterWide,
        "Accepted for compatibility: one small pool of threads serves all requests.";
    BACKGROUND_THREADS "background.threads" Kind::Int(1, INT_MAX), Some("10"), Later, ClusterWide,
        "Accepted for compatibility.";
    QUEUED_MAX_REQUESTS "queued.max.requests" Kind::Int(1, INT_MAX), Some("500"), Later, ReadOnly,
        "Accepted for compatibility: requests are bounded by their memory, not by their number.";
    SOCKET_REQUEST_MAX_BYTES "socket.request.max.bytes" Kind::Int(1, INT_MAX), Some("104857600"), Now, ReadOnly,
        "The largest request that is read; a larger one closes its connection.";
    SOCKET_SEND_BUFFER_BYTES "socket.send.buffer.bytes" Kind::Int(-1, INT_MAX), Some("102400"), Later, ReadOnly,
        "The kernel's send buffer of a connection; -1 leaves it to the system.";
    SOCKET_RECEIVE_BUFFER_BYTES "socket.receive.buffer.bytes" Kind::Int(-1, INT_MAX), Some("102400"), Later, ReadOnly,
        "The kernel's receive buffer of a connection; -1 leaves it to the system.";
    CONNECTIONS_MAX_IDLE_MS "connections.max.idle.ms" Kind::Long(-1, LONG_MAX), Some("600000"), Now, ReadOnly,
        "After what time without a request a connection is closed; -1 for never.";
    MAX_CONNECTIONS "max.connections" Kind::Int(0, INT_MAX), Some("2147483647"), Now, ClusterWide,
        "How many connections the broker holds at once.";
    MAX_CONNECTIONS_PER_IP "max.connections.per.ip" Kind::Int(0, INT_MAX), Some("2147483647"), Now, ClusterWide,
        "How many connections one address may hold at once.";
    CONNECTIONS_MAX_REAUTH_MS "connections.max.reauth.ms" Kind::Long(0, LONG_MAX), Some("0"), Later, ReadOnly,
        "After what time a client has to authenticate again; 0 for never.";
    FETCH_MAX_BYTES "fetch.max.bytes" Kind::Int(1024, INT_MAX), Some("57671680"), Now, ReadOnly,
        "How many bytes one Fetch answer holds at most; a first batch larger than that comes whole.";
    MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS "max.incremental.fetch.session.cache.slots" Kind::Int(0, INT_MAX), Some("1000"), Now, ReadOnly,
        "How many incremental fetch sessions are remembered.";
    MAX_REQUEST_PARTITION_SIZE_LIMIT "max.request.partition.size.limit" Kind::Int(1, INT_MAX), Some("2000"), Later, ReadOnly,
        "How many partitions one DescribeTopicPartitions answer holds at most.";

    // Topics.
    NUM_PARTITIONS "num.partitions" Kind::Int(1, INT_MAX), Some("1"), Now, ReadOnly,
        "How many partitions a topic gets when nobody says.";
    DEFAULT_REPLICATION_FACTOR "default.replication.factor" Kind::Short(1, SHORT_MAX), Some("1"), Now, ReadOnly,
        "How many replicas a topic gets when nobody says.";
    AUTO_CREATE_TOPICS_ENABLE "auto.create.topics.enable" Kind::Boolean, Some("true"), Now, ReadOnly,
        "Whether a topic comes into being when a client first asks for it.";
    DELETE_TOPIC_ENABLE "delete.topic.enable" Kind::Boolean, Some("true"), Now, ReadOnly,
        "Whether topics can be deleted.";
    MESSAGE_MAX_BYTES "message.max.bytes" Kind::Int(0, INT_MAX), Some("1048588"), Now, ClusterWide,
        "The largest batch that a topic takes; max.message.bytes of a topic wins.";
    MIN_INSYNC_REPLICAS "min.insync.replicas" Kind::Int(1, INT_MAX), Some("1"), Now, ReadOnly,
        "How many in-sync replicas acks=all needs; set it per topic to change it at run time.";
    UNCLEAN_LEADER_ELECTION_ENABLE "unclean.leader.election.enable" Kind::Boolean, Some("false"), Now, ClusterWide,
        "Whether a replica that is behind may lead when no other is left.";
    AUTO_LEADER_REBALANCE_ENABLE "auto.leader.rebalance.enable" Kind::Boolean, Some("true"), Now, ReadOnly,
        "Whether leadership goes back to the preferred replicas by itself.";
    LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS "leader.imbalance.check.interval.seconds" Kind::Long(1, LONG_MAX), Some("300"), Now, ReadOnly,
        "How often leadership is rebalanced.";
    CREATE_TOPIC_POLICY_CLASS_NAME "create.topic.policy.class.name" Kind::Class, None, Later, ReadOnly,
        "Accepted for compatibility: Java classes cannot be loaded.";
    ALTER_CONFIG_POLICY_CLASS_NAME "alter.config.policy.class.name" Kind::Class, None, Later, ReadOnly,
        "Accepted for compatibility: Java classes cannot be loaded.";

    // The log's defaults; a topic's own config wins.
    COMPRESSION_TYPE "compression.type" CODECS, Some("producer"), Now, ClusterWide,
        "The codec in which topics store batches.";
    COMPRESSION_GZIP_LEVEL "compression.gzip.level" Kind::IntOr(-1, 1, 9), Some("-1"), Now, ClusterWide,
        "How hard gzip tries when the broker itself compresses.";
    COMPRESSION_LZ4_LEVEL "compression.lz4.level" Kind::Int(1, 17), Some("9"), Later, ClusterWide,
        "How hard lz4 tries when the broker itself compresses.";
    COMPRESSION_ZSTD_LEVEL "compression.zstd.level" Kind::Int(-131_072, 22), Some("3"), Now, ClusterWide,
        "How hard zstd tries when the broker itself compresses.";
    LOG_CLEANUP_POLICY "log.cleanup.policy" Kind::AnyOf(&["compact", "delete"]), Some("delete"), Now, ClusterWide,
        "What happens to old records of topics that do not say.";
    LOG_RETENTION_MS "log.retention.ms" Kind::Long(-1, LONG_MAX), None, Now, ClusterWide,
        "How long records are kept; wins over log.retention.minutes and log.retention.hours; -1 for ever.";
    LOG_RETENTION_MINUTES "log.retention.minutes" Kind::Int(-1, INT_MAX), None, Now, ReadOnly,
        "How long records are kept, in minutes; wins over log.retention.hours.";
    LOG_RETENTION_HOURS "log.retention.hours" Kind::Int(-1, INT_MAX), Some("168"), Now, ReadOnly,
        "How long records are kept, in hours.";
    LOG_RETENTION_BYTES "log.retention.bytes" Kind::Long(-1, LONG_MAX), Some("-1"), Now, ClusterWide,
        "How large a partition may grow; -1 for no limit.";
    LOG_RETENTION_CHECK_INTERVAL_MS "log.retention.check.interval.ms" Kind::Long(1, LONG_MAX), Some("300000"), Now, ReadOnly,
        "How often segments are looked at for deletion.";
    LOG_SEGMENT_BYTES "log.segment.bytes" Kind::Int(1_048_576, INT_MAX), Some("1073741824"), Now, ClusterWide,
        "How large a segment grows before the next begins.";
    LOG_SEGMENT_DELETE_DELAY_MS "log.segment.delete.delay.ms" Kind::Long(0, LONG_MAX), Some("60000"), Later, ClusterWide,
        "How long the file of a removed segment stays.";
    LOG_ROLL_MS "log.roll.ms" Kind::Long(1, LONG_MAX), None, Now, ClusterWide,
        "After what time the next segment begins; wins over log.roll.hours.";
    LOG_ROLL_HOURS "log.roll.hours" Kind::Int(1, INT_MAX), Some("168"), Now, ReadOnly,
        "After what time the next segment begins, in hours.";
    LOG_ROLL_JITTER_MS "log.roll.jitter.ms" Kind::Long(0, LONG_MAX), None, Now, ClusterWide,
        "By how much at most segments roll earlier; wins over log.roll.jitter.hours.";
    LOG_ROLL_JITTER_HOURS "log.roll.jitter.hours" Kind::Int(0, INT_MAX), Some("0"), Now, ReadOnly,
        "By how much at most segments roll earlier, in hours.";
    LOG_INDEX_SIZE_MAX_BYTES "log.index.size.max.bytes" Kind::Int(4, INT_MAX), Some("10485760"), Now, ClusterWide,
        "How large a segment's index may grow.";
    LOG_INDEX_INTERVAL_BYTES "log.index.interval.bytes" Kind::Int(0, INT_MAX), Some("4096"), Now, ClusterWide,
        "After how many bytes an index gets another entry.";
    LOG_FLUSH_INTERVAL_MESSAGES "log.flush.interval.messages" Kind::Long(1, LONG_MAX), Some("1"), Now, ClusterWide,
        "After how many records topics force them to disk. 1, Ottla's default, is durable acks.";
    LOG_FLUSH_INTERVAL_MS "log.flush.interval.ms" Kind::Long(0, LONG_MAX), None, Now, ClusterWide,
        "After what time topics force records to disk.";
    LOG_FLUSH_SCHEDULER_INTERVAL_MS "log.flush.scheduler.interval.ms" Kind::Long(0, LONG_MAX), Some("9223372036854775807"), Now, ReadOnly,
        "The default of log.flush.interval.ms.";
    LOG_PREALLOCATE "log.preallocate" Kind::Boolean, Some("false"), Now, ClusterWide,
        "Whether a new segment's file takes its full size at once.";
    LOG_MESSAGE_TIMESTAMP_TYPE "log.message.timestamp.type" Kind::OneOf(&["CreateTime", "LogAppendTime"]), Some("CreateTime"), Now, ClusterWide,
        "Whose time a record carries.";
    LOG_MESSAGE_TIMESTAMP_BEFORE_MAX_MS "log.message.timestamp.before.max.ms" Kind::Long(0, LONG_MAX), Some("9223372036854775807"), Now, ClusterWide,
        "How far a timestamp may lie behind the broker's clock.";
    LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS "log.message.timestamp.after.max.ms" Kind::Long(0, LONG_MAX), Some("3600000"), Now, ClusterWide,
        "How far a timestamp may lie ahead of the broker's clock.";
    LOG_CLEANER_THREADS "log.cleaner.threads" Kind::Int(1, INT_MAX), Some("1"), Later, ClusterWide,
        "How many threads compact.";
    LOG_CLEANER_DELETE_RETENTION_MS "log.cleaner.delete.retention.ms" Kind::Long(0, LONG_MAX), Some("86400000"), Later, ClusterWide,
        "How long the mark of a deleted key stays in a compacted topic.";
    LOG_CLEANER_MIN_COMPACTION_LAG_MS "log.cleaner.min.compaction.lag.ms" Kind::Long(0, LONG_MAX), Some("0"), Later, ClusterWide,
        "How long a record is safe from compaction.";
    LOG_CLEANER_MAX_COMPACTION_LAG_MS "log.cleaner.max.compaction.lag.ms" Kind::Long(1, LONG_MAX), Some("9223372036854775807"), Later, ClusterWide,
        "The longest that a record may wait to be compacted.";
    LOG_CLEANER_MIN_CLEANABLE_RATIO "log.cleaner.min.cleanable.ratio" Kind::Double(0.0, 1.0), Some("0.5"), Later, ClusterWide,
        "What share of a compacted log must be new before it is compacted again.";
    LOG_LOCAL_RETENTION_BYTES "log.local.retention.bytes" Kind::Long(-2, LONG_MAX), Some("-2"), Later, ClusterWide,
        "How many bytes of a tiered partition stay on disk; -2 means as log.retention.bytes says.";
    LOG_LOCAL_RETENTION_MS "log.local.retention.ms" Kind::Long(-2, LONG_MAX), Some("-2"), Later, ClusterWide,
        "How long records of a tiered partition stay on disk; -2 means as the retention time says.";
    REMOTE_LOG_STORAGE_SYSTEM_ENABLE "remote.log.storage.system.enable" Kind::Boolean, Some("false"), Later, ReadOnly,
        "Whether topics may be tiered.";

    // Replication.
    REPLICA_LAG_TIME_MAX_MS "replica.lag.time.max.ms" Kind::Long(1, LONG_MAX), Some("30000"), Now, ReadOnly,
        "After what time behind its leader a replica leaves the in-sync set.";
    REPLICA_FETCH_MAX_BYTES "replica.fetch.max.bytes" Kind::Int(0, INT_MAX), Some("1048576"), Later, ReadOnly,
        "Accepted for compatibility: leaders push to followers under credits.";
    NUM_REPLICA_FETCHERS "num.replica.fetchers" Kind::Int(1, INT_MAX), Some("1"), Later, ClusterWide,
        "Accepted for compatibility: there are two connections per pair of brokers.";
    REPLICA_SELECTOR_CLASS "replica.selector.class" Kind::Class, None, Now, ReadOnly,
        "Which replica a consumer is sent to: with org.apache.kafka.common.replica.RackAwareReplicaSelector one of its own rack, and followers serve consumers (KIP-392); otherwise the leader.";

    // Groups.
    OFFSETS_TOPIC_NUM_PARTITIONS "offsets.topic.num.partitions" Kind::Int(1, INT_MAX), Some("50"), Now, ReadOnly,
        "How many partitions __consumer_offsets is created with.";
    OFFSETS_TOPIC_REPLICATION_FACTOR "offsets.topic.replication.factor" Kind::Short(1, SHORT_MAX), Some("3"), Now, ReadOnly,
        "How many replicas __consumer_offsets is created with; fewer while there are fewer brokers.";
    OFFSETS_TOPIC_SEGMENT_BYTES "offsets.topic.segment.bytes" Kind::Int(1, INT_MAX), Some("104857600"), Now, ReadOnly,
        "How large segments of __consumer_offsets grow.";
    OFFSETS_RETENTION_MINUTES "offsets.retention.minutes" Kind::Int(1, INT_MAX), Some("10080"), Now, ReadOnly,
        "How long a group's offsets are kept after its last member left.";
    OFFSETS_RETENTION_CHECK_INTERVAL_MS "offsets.retention.check.interval.ms" Kind::Long(1, LONG_MAX), Some("600000"), Now, ReadOnly,
        "How often offsets are looked at for expiry.";
    OFFSET_METADATA_MAX_BYTES "offset.metadata.max.bytes" Kind::Int(0, INT_MAX), Some("4096"), Now, ReadOnly,
        "How long the text may be that a client commits with an offset.";
    GROUP_INITIAL_REBALANCE_DELAY_MS "group.initial.rebalance.delay.ms" Kind::Int(0, INT_MAX), Some("3000"), Now, ReadOnly,
        "How long the first rebalance of an empty group waits for more members.";
    GROUP_MIN_SESSION_TIMEOUT_MS "group.min.session.timeout.ms" Kind::Int(0, INT_MAX), Some("6000"), Now, ReadOnly,
        "The shortest session that a member may ask for.";
    GROUP_MAX_SESSION_TIMEOUT_MS "group.max.session.timeout.ms" Kind::Int(0, INT_MAX), Some("1800000"), Now, ReadOnly,
        "The longest session that a member may ask for.";
    GROUP_MAX_SIZE "group.max.size" Kind::Int(1, INT_MAX), Some("2147483647"), Now, ReadOnly,
        "How many members a group may have.";
    GROUP_CONSUMER_MIGRATION_POLICY "group.consumer.migration.policy" Kind::OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]), Some("bidirectional"), Later, ReadOnly,
        "Which way groups may move between the classic and the consumer protocol.";

    // Producers and transactions.
    PRODUCER_ID_EXPIRATION_MS "producer.id.expiration.ms" Kind::Int(1, INT_MAX), Some("86400000"), Now, ClusterWide,
        "After what time of silence a producer's sequence numbers are forgotten.";
    TRANSACTIONAL_ID_EXPIRATION_MS "transactional.id.expiration.ms" Kind::Int(1, INT_MAX), Some("604800000"), Later, ReadOnly,
        "After what time of silence a transactional id is forgotten.";
    TRANSACTION_MAX_TIMEOUT_MS "transaction.max.timeout.ms" Kind::Int(1, INT_MAX), Some("900000"), Later, ReadOnly,
        "The longest timeout that a transaction may ask for.";
    TRANSACTION_STATE_LOG_NUM_PARTITIONS "transaction.state.log.num.partitions" Kind::Int(1, INT_MAX), Some("50"), Later, ReadOnly,
        "How many partitions __transaction_state is created with.";
    TRANSACTION_STATE_LOG_REPLICATION_FACTOR "transaction.state.log.replication.factor" Kind::Short(1, SHORT_MAX), Some("3"), Later, ReadOnly,
        "How many replicas __transaction_state is created with.";
    TRANSACTION_STATE_LOG_MIN_ISR "transaction.state.log.min.isr" Kind::Int(1, INT_MAX), Some("2"), Later, ReadOnly,
        "How many in-sync replicas __transaction_state needs.";
    TRANSACTION_TWO_PHASE_COMMIT_ENABLE "transaction.two.phase.commit.enable" Kind::Boolean, Some("false"), Later, ReadOnly,
        "Whether transactions may be prepared by an outside coordinator.";
    SHARE_COORDINATOR_STATE_TOPIC_NUM_PARTITIONS "share.coordinator.state.topic.num.partitions" Kind::Int(1, INT_MAX), Some("50"), Later, ReadOnly,
        "How many partitions __share_group_state is created with.";
    SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR "share.coordinator.state.topic.replication.factor" Kind::Short(1, SHORT_MAX), Some("3"), Later, ReadOnly,
        "How many replicas __share_group_state is created with.";
    SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR "share.coordinator.state.topic.min.isr" Kind::Short(1, SHORT_MAX), Some("2"), Later, ReadOnly,
        "How many in-sync replicas __share_group_state needs.";

    // Security and quotas.
    SASL_ENABLED_MECHANISMS "sasl.enabled.mechanisms" Kind::List, Some("GSSAPI"), Later, PerBroker,
        "Which SASL mechanisms clients may use.";
    SSL_CLIENT_AUTH "ssl.client.auth" Kind::OneOf(&["required", "requested", "none"]), Some("none"), Later, PerBroker,
        "Whether clients have to show a certificate.";
    SSL_KEYSTORE_LOCATION "ssl.keystore.location" Kind::Text, None, Later, PerBroker,
        "The file with the broker's certificate and key.";
    SSL_KEYSTORE_PASSWORD "ssl.keystore.password" Kind::Password, None, Later, PerBroker,
        "The password of the key store.";
    AUTHORIZER_CLASS_NAME "authorizer.class.name" Kind::Class, Some(""), Later, ReadOnly,
        "Accepted for compatibility: empty allows everything.";
    SUPER_USERS "super.users" Kind::Text, None, Later, ReadOnly,
        "Who may do everything, as User:name separated by semicolons.";
    ALLOW_EVERYONE_IF_NO_ACL_FOUND "allow.everyone.if.no.acl.found" Kind::Boolean, Some("false"), Later, ReadOnly,
        "Whether a resource without any ACL is open to all.";
    QUOTA_WINDOW_NUM "quota.window.num" Kind::Int(1, INT_MAX), Some("11"), Later, ReadOnly,
        "Over how many samples a quota is measured.";
    QUOTA_WINDOW_SIZE_SECONDS "quota.window.size.seconds" Kind::Int(1, INT_MAX), Some("1"), Later, ReadOnly,
        "How long a sample of a quota is.";
    LEADER_REPLICATION_THROTTLED_RATE "leader.replication.throttled.rate" Kind::Long(0, LONG_MAX), Some("9223372036854775807"), Now, PerBroker,
        "How many bytes a second throttled replicas send.";
    FOLLOWER_REPLICATION_THROTTLED_RATE "follower.replication.throttled.rate" Kind::Long(0, LONG_MAX), Some("9223372036854775807"), Now, PerBroker,
        "How many bytes a second throttled replicas receive.";
    CONTROLLED_SHUTDOWN_ENABLE "controlled.shutdown.enable" Kind::Boolean, Some("true"), Now, ReadOnly,
        "Whether a broker hands its leaderships over before it stops.";
    METRIC_REPORTERS "metric.reporters" Kind::List, Some(""), Later, ClusterWide,
        "Accepted for compatibility: /metrics is always served.";
    LOG_CLEANER_ENABLE "log.cleaner.enable" Kind::Boolean, Some("true"), Later, ReadOnly,
        "Whether topics are compacted at all.";
    LOG_CLEANER_IO_MAX_BYTES_PER_SECOND "log.cleaner.io.max.bytes.per.second" Kind::Double(0.0, f64::INFINITY), Some("1.7976931348623157E308"), Later, ClusterWide,
        "How many bytes a second compaction reads and writes.";
    REPLICA_SOCKET_TIMEOUT_MS "replica.socket.timeout.ms" Kind::Int(0, INT_MAX), Some("30000"), Later, ReadOnly,
        "Accepted for compatibility.";
}

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    ALL.iter().copied().find(|known| known.name == name)
}

/// Keys that may be altered at run time, where all brokers learn of it in the order of the metadata, and that a file may
/// not change under a broker that runs: files of different brokers change one after the other, and of these keys
/// controller, leader and followers have to think alike.
static TOLD_AT_START: &[&Key] =
    &[&UNCLEAN_LEADER_ELECTION_ENABLE, &LOG_FLUSH_INTERVAL_MESSAGES, &LOG_FLUSH_INTERVAL_MS];

impl Key {
    /// Whether a broker that runs takes another value from its file. A secret is in no file that others may read.
    pub fn follows_file(&self) -> bool {
        self.scope != Scope::ReadOnly && !self.sensitive() && TOLD_AT_START.iter().all(|key| key.name != self.name)
    }
}
