//! From records of the machine to a batch in the log, and back into changes of the view.

use bytes::Bytes;
use ottla_core::group::{AppendError, Record, View};
use ottla_core::table::Change;
use ottla_core::types::{LeaderEpoch, PartitionIndex, Timestamp};
use ottla_log::partition::append;
use ottla_wire::record::{BatchBuilder, BatchView, Batches, Compression, RecordIter};

/// What one batch may unpack to: a batch of ours is at most `max.message.bytes`, unpacked from the start.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A batch ready for the log, with the changes that it will make in the view.
pub(super) struct Prepared {
    pub(super) batch: BatchView,
    pub(super) changes: Vec<Change>,
}

/// Puts `records` into one batch of at most `bytes_max`.
pub(super) fn prepare(
    shard: PartitionIndex,
    records: &[Record],
    now: Timestamp,
    bytes_max: u64,
) -> Result<Prepared, AppendError> {
    let mut builder = BatchBuilder::new(Compression::None);
    let mut changes = Vec::with_capacity(records.len());
    for record in records {
        let (key, value) = record.encode().map_err(|_| AppendError::TooLarge)?;
        builder.append(now.get(), Some(&key), value.as_deref(), &[]);
        changes.push(View::change(shard, record, value.as_ref()));
    }
    let batch = builder.build_view().map_err(|_| AppendError::TooLarge)?;
    if u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(AppendError::TooLarge);
    }
    Ok(Prepared { batch, changes })
}

/// What a stretch of the log changes in the view.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) changes: Vec<Change>,
    /// Of the last batch.
    pub(super) epoch: Option<LeaderEpoch>,
    /// Records that could not be understood.
    pub(super) skipped: u64,
}

/// Reads whole batches back. The log has checked their checksums; a record that still makes no sense was written by
/// something else than a coordinator, and is passed over as Kafka does.
pub(super) fn replay(shard: PartitionIndex, bytes: Bytes) -> Replayed {
    let mut replayed = Replayed::default();
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else {
            replayed.skipped += 1;
            break;
        };
        let header = batch.header();
        replayed.epoch = Some(LeaderEpoch::new(header.partition_leader_epoch));
        if header.is_control() {
            continue;
        }
        let Ok(records) = RecordIter::new(&batch, BATCH_BYTES_MAX) else {
            replayed.skipped += 1;
            continue;
        };
        for record in records {
            let Some(key) = record.as_ref().ok().and_then(|record| record.key.clone()) else {
                replayed.skipped += 1;
                continue;
            };
            let value = record.ok().and_then(|record| record.value);
            match Record::decode(key, value.clone()) {
                Ok(Some(record)) => replayed.changes.push(View::change(shard, &record, value.as_ref())),
                Ok(None) => {}
                Err(_) => replayed.skipped += 1,
            }
        }
    }
    replayed
}

/// What a refusal of the log means for the coordinator.
pub(super) fn append_error(error: &append::AppendError) -> AppendError {
    match error {
        append::AppendError::Offline(_) => AppendError::Storage,
        append::AppendError::Deleted => AppendError::UnknownPartition,
        append::AppendError::Fenced(_) | append::AppendError::UnknownEpoch { .. } => AppendError::NotLeader,
        append::AppendError::TooLarge { .. }
        | append::AppendError::LargerThanSegment { .. }
        | append::AppendError::Malformed
        | append::AppendError::InvalidTimestamp { .. }
        | append::AppendError::Producer(_) => AppendError::TooLarge,
        append::AppendError::NoSpace | append::AppendError::Full => AppendError::Unavailable,
    }
}
