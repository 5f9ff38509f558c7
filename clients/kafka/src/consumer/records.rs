//! From the bytes of a Fetch answer to records.
//!
//! Owns the checks of a reader: the checksum of every batch, the bound of what a batch may unpack to, and the rule for
//! aborted transactions. A batch that is cut off at the end is normal: the broker stops at the size that we asked for.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_core::types::{Offset, Timestamp};
use ottla_wire::record::{BatchError, BatchView, Batches, ControlType, RecordIter};

use crate::config::NamedPartition;
use crate::error::{Error, Result, Terminal};

pub use ottla_wire::record::Header;

/// What one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the producer's, or the broker's where the topic says so.
    pub timestamp: Timestamp,
    /// Null and empty differ.
    pub key: Option<Bytes>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// In the order in which they were written; names may repeat.
    pub headers: Vec<Header>,
}

/// Reads the records at `from` and later, and where the next read begins. `aborted` holds first offset and producer of
/// aborted transactions; empty for whoever reads everything.
pub(super) fn unpack(
    partition: &NamedPartition,
    from: Offset,
    bytes: Bytes,
    mut aborted: Vec<(i64, i64)>,
) -> Result<(Vec<Record>, Offset)> {
    aborted.sort_unstable();
    let mut aborted = aborted.into_iter().peekable();
    let mut aborting = BTreeSet::new();
    let mut records = Vec::new();
    let mut next = from;
    for batch in Batches::new(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Truncated { .. }) if next > from => break,
            Err(error) => return Err(damaged(partition, next, &error)),
        };
        batch.check_crc().map_err(|error| damaged(partition, next, &error))?;
        let header = *batch.header();
        if header.next_offset() <= from.get() {
            continue;
        }
        while let Some(&(_, producer)) = aborted.peek().filter(|(first, _)| *first <= header.last_offset()) {
            aborting.insert(producer);
            aborted.next();
        }
        let opened = open(partition, &batch)?;
        next = Offset::new(header.next_offset());
        if header.is_control() {
            if opened.first().is_some_and(is_abort) {
                aborting.remove(&header.producer_id);
            }
        } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
            records.extend(opened.into_iter().filter(|record| record.offset >= from));
        }
    }
    Ok((records, next))
}

fn open(partition: &NamedPartition, batch: &BatchView) -> Result<Vec<Record>> {
    let first = Offset::new(batch.header().base_offset);
    let broken = |error: &dyn std::fmt::Display| damaged(partition, first, error);
    let iter = RecordIter::new(batch, UNPACKED_BYTES_MAX).map_err(|error| broken(&error))?;
    let record = |record: ottla_wire::record::Record| Record {
        offset: Offset::new(record.offset),
        timestamp: Timestamp::new(record.timestamp),
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    iter.map(|one| one.map(record).map_err(|error| broken(&error))).collect()
}

fn is_abort(record: &Record) -> bool {
    record.key.as_deref().and_then(ControlType::from_key) == Some(ControlType::Abort)
}

fn damaged(partition: &NamedPartition, offset: Offset, error: &dyn std::fmt::Display) -> Error {
    Terminal::Damaged {
        topic: partition.topic.clone(),
        partition: partition.partition.get(),
        offset: offset.get(),
        reason: error.to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use ottla_wire::record::{BatchBuilder, Compression, control_batch};

    use super::*;

    fn batch(base: i64, values: &[&str], producer: Option<i64>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::Lz4).at(base, 0);
        for value in values {
            builder.append(7, None, Some(value.as_bytes()), &[]);
        }
        if let Some(id) = producer {
            builder = builder.producer(id, 0, 0).transactional();
        }
        builder.build().unwrap().to_vec()
    }

    fn abort_marker(base: i64, producer: i64) -> Vec<u8> {
        let mut bytes = control_batch(ControlType::Abort, 7, producer, 0, 0);
        BatchView::split_from(&mut bytes).unwrap().placed(base, 0).into_bytes().to_vec()
    }

    fn values(bytes: Vec<u8>, from: i64, aborted: Vec<(i64, i64)>) -> (Vec<String>, i64) {
        let partition = NamedPartition::new("t", 0.into());
        let (records, next) = unpack(&partition, from.into(), bytes.into(), aborted).unwrap();
        let text =
            |record: &Record| format!("{}={}", record.offset, String::from_utf8_lossy(record.value.as_ref().unwrap()));
        (records.iter().map(text).collect(), next.get())
    }

    #[test]
    fn what_is_before_the_position_or_cut_off_is_left_out() {
        let mut bytes = batch(5, &["a", "b", "c"], None);
        bytes.extend(batch(8, &["d"], None));
        let whole = bytes.len();
        bytes.extend(&batch(9, &["e"], None)[..40]);
        assert_eq!(values(bytes.clone(), 6, vec![]), (vec!["6=b".into(), "7=c".into(), "8=d".into()], 9));
        bytes.truncate(whole);
        assert_eq!(values(bytes, 9, vec![]), (vec![], 9));
        assert_eq!(values(vec![], 3, vec![]), (vec![], 3));
    }

    #[test]
    fn a_flipped_bit_is_an_error_that_names_the_place() {
        let mut bytes = batch(5, &["a"], None);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = unpack(&NamedPartition::new("t", 3.into()), 5.into(), bytes.into(), vec![]).unwrap_err();
        assert!(error.to_string().starts_with("t-3 has records at offset 5 that cannot be read"), "{error}");
    }

    #[test]
    fn aborted_transactions_are_left_out_up_to_their_marker() {
        let mut bytes = batch(0, &["kept"], Some(1));
        bytes.extend(batch(1, &["gone"], Some(2)));
        bytes.extend(abort_marker(2, 2));
        bytes.extend(batch(3, &["again"], Some(2)));
        let (read, next) = values(bytes.clone(), 0, vec![(1, 2)]);
        assert_eq!((read, next), (vec!["0=kept".to_owned(), "3=again".to_owned()], 4));
        let (read, _) = values(bytes, 0, vec![]);
        assert_eq!(read, ["0=kept", "1=gone", "3=again"]);
    }
}
