//! The table of budgets: how much memory each part of a broker may hold at once.
//!
//! Owns every bound that is counted in bytes of memory. A bound that is hit is counted in a metric; one request larger
//! than its budget is admitted alone. Nothing else in the tree may invent a memory bound of its own.

const MIB: usize = 1024 * 1024;

/// Recent batches kept for tail reads, over all partitions.
pub const TAIL_CACHE_BYTES: usize = 12 * MIB;
/// Members of consumer groups with what they subscribe to and were assigned, over all groups.
pub const GROUPS_BYTES: usize = 4 * MIB;
/// Batches on their way to followers.
pub const REPLICATION_BYTES: usize = 8 * MIB;
/// Produce requests from the socket until the journal and the segment have them.
pub const PRODUCE_BYTES: usize = 12 * MIB;
/// Requests that read from disk at the same time, each on a thread of its own; what they read is charged to
/// [`FETCH_BYTES`].
pub const COLD_READS_MAX: usize = 4;
/// Record bytes read for Fetch answers that the socket has not taken yet.
pub const FETCH_BYTES: usize = 8 * MIB;
/// RocksDB: block cache, write buffers and table readers of all databases of the process.
pub const ROCKSDB_BYTES: usize = 8 * MIB;
/// Connection state and small requests.
pub const CONNECTIONS_BYTES: usize = 4 * MIB;

/// What all of the above may come to; the rest of 64 MiB is code, stacks and the allocator.
pub const TOTAL_BYTES: usize = 56 * MIB;

const _: () = assert!(
    TAIL_CACHE_BYTES
        + GROUPS_BYTES
        + REPLICATION_BYTES
        + PRODUCE_BYTES
        + FETCH_BYTES
        + ROCKSDB_BYTES
        + CONNECTIONS_BYTES
        <= TOTAL_BYTES,
    "the budgets do not fit the process"
);
