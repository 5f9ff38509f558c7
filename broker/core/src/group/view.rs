//! The view: what the records of a shard add up to below the high watermark, in a [`Table`].
//!
//! Owns the keys and rows. Each shard has a marker that says up to where, and of which epoch, its rows stand; it is
//! written with the rows in one batch. A view whose marker is not what its writer left is worthless: it is dropped and
//! built anew from the log (S5, S7). Row format 1; another one is dropped as well.
//!
//! ```text
//! m <shard>                                   → format, topic id, epoch, next offset
//! g <shard> <group>                           → the value of the group's record
//! o <shard> <length of group> <group> <topic> <partition> → the value of the offset's record
//! ```

use bytes::Bytes;

use super::load::LoadedGroup;
use super::record::{GroupValue, Record, decode_offset};
use super::words::{CommittedOffset, CommittedPartition, GroupId, TopicName};
use crate::table::{Change, Table, TableError};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

const FORMAT: u8 = 1;
const MARKER: u8 = b'm';
const GROUP: u8 = b'g';
const OFFSET: u8 = b'o';
const PAGE: usize = 256;

/// Up to where the rows of a shard stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The `__consumer_offsets` that they come from.
    pub topic: TopicId,
    /// The leader epoch of the last record applied, or −1.
    pub epoch: LeaderEpoch,
    /// The offset after the last record applied.
    pub next: Offset,
}

/// The view cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The table cannot be read or written.
    #[error("the view cannot be read: {0}")]
    Table(String),
    /// The marker is not the one that was written last.
    #[error("the view stands at {found:?}, not at {expected:?}")]
    Moved {
        /// What was written.
        expected: Applied,
        /// What is there.
        found: Option<Applied>,
    },
    /// A row does not decode.
    #[error("the view holds a damaged row: {0}")]
    Damaged(String),
}

impl From<TableError> for ViewError {
    fn from(error: TableError) -> Self {
        Self::Table(error.to_string())
    }
}

/// The rows of one shard.
#[derive(Clone, Copy)]
pub struct View<'a> {
    table: &'a dyn Table,
    shard: PartitionIndex,
    applied: Applied,
}

impl<'a> View<'a> {
    /// The view of `shard` in `table`, which its owner left at `applied`.
    pub fn new(table: &'a dyn Table, shard: PartitionIndex, applied: Applied) -> Self {
        Self { table, shard, applied }
    }

    /// Where the rows of a shard stand; `None` if there are none or they are of another format.
    ///
    /// # Errors
    /// [`ViewError`] if the table cannot be read.
    pub fn applied(table: &dyn Table, shard: PartitionIndex) -> Result<Option<Applied>, ViewError> {
        Ok(table.get(&key(MARKER, shard))?.and_then(|row| decode_marker(&row)))
    }

    /// The changes that make the view of a shard empty.
    pub fn clear(shard: PartitionIndex) -> Vec<Change> {
        [MARKER, GROUP, OFFSET]
            .into_iter()
            .map(|kind| {
                let start = key(kind, shard);
                let end = after(&start);
                Change::DeleteRange(start, end)
            })
            .collect()
    }

    /// The change that moves the marker.
    pub fn mark(shard: PartitionIndex, applied: Applied) -> Change {
        let mut row = vec![FORMAT];
        row.extend_from_slice(&applied.topic.to_bytes());
        row.extend_from_slice(&applied.epoch.get().to_be_bytes());
        row.extend_from_slice(&applied.next.get().to_be_bytes());
        Change::Put(key(MARKER, shard), row)
    }

    /// The change that a record makes; its value goes in as it stands in the log.
    pub fn change(shard: PartitionIndex, record: &Record, value: Option<&Bytes>) -> Change {
        let key = match record {
            Record::Group { group, .. } => group_key(shard, group),
            Record::Offset { group, partition, .. } => offset_key(shard, group, partition),
        };
        match value {
            Some(value) => Change::Put(key, value.to_vec()),
            None => Change::Delete(key),
        }
    }

    /// What a group has committed in one partition.
    ///
    /// # Errors
    /// [`ViewError`] if the row cannot be read.
    pub fn offset(
        &self,
        group: &GroupId,
        partition: &CommittedPartition,
    ) -> Result<Option<CommittedOffset>, ViewError> {
        let row = self.table.get(&offset_key(self.shard, group, partition))?;
        row.map(|row| decode_offset(row.into()).map_err(|error| ViewError::Damaged(error.to_string()))).transpose()
    }

    /// Everything that a group has committed, by topic and partition.
    ///
    /// # Errors
    /// [`ViewError`] if a row cannot be read.
    pub fn offsets(&self, group: &GroupId) -> Result<Vec<(CommittedPartition, CommittedOffset)>, ViewError> {
        let prefix = offset_prefix(self.shard, group);
        let mut offsets = Vec::new();
        self.rows(prefix.clone(), after(&prefix), |key, value| {
            let partition = decode_partition(key.get(prefix.len()..).unwrap_or_default())?;
            let value = decode_offset(value.into()).map_err(|error| ViewError::Damaged(error.to_string()))?;
            offsets.push((partition, value));
            Ok(())
        })?;
        Ok(offsets)
    }

    /// Every group of the shard: those with a record, and those that have only offsets.
    ///
    /// # Errors
    /// [`ViewError`] if a row cannot be read.
    pub fn groups(&self) -> Result<Vec<LoadedGroup>, ViewError> {
        let start = key(GROUP, self.shard);
        let skip = start.len();
        let mut groups = Vec::new();
        self.rows(start.clone(), after(&start), |key, value| {
            let group = decode_text(key.get(skip..).unwrap_or_default())?;
            let value = GroupValue::decode(value.into()).map_err(|error| ViewError::Damaged(error.to_string()))?;
            groups.push(LoadedGroup { group: GroupId::from(group), value: Some(value) });
            Ok(())
        })?;
        let mut offsets_only = self.groups_with_offsets()?;
        offsets_only.retain(|group| groups.binary_search_by(|known| known.group.cmp(group)).is_err());
        groups.extend(offsets_only.into_iter().map(|group| LoadedGroup { group, value: None }));
        Ok(groups)
    }

    /// The marker is still the one that was written last. Asked after a read, it vouches for what was read.
    ///
    /// # Errors
    /// [`ViewError`] if it is not, or cannot be read.
    pub fn verify(&self) -> Result<(), ViewError> {
        let found = Self::applied(self.table, self.shard)?;
        if found == Some(self.applied) {
            return Ok(());
        }
        Err(ViewError::Moved { expected: self.applied, found })
    }

    /// Jumps from group to group, so that it costs no more than there are groups.
    fn groups_with_offsets(&self) -> Result<Vec<GroupId>, ViewError> {
        let mut start = key(OFFSET, self.shard);
        let (end, skip) = (after(&start), start.len());
        let mut groups = Vec::new();
        while let Some((row, _)) = self.table.scan(&start, &end, 1)?.into_iter().next() {
            let rest = row.get(skip..).unwrap_or_default();
            let damaged = || ViewError::Damaged("an offset row without a group".to_owned());
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged())?;
            let group = GroupId::from(decode_text(rest.get(..length).ok_or_else(damaged)?)?);
            start = after(&offset_prefix(self.shard, &group));
            groups.push(group);
        }
        Ok(groups)
    }

    fn rows(
        &self,
        mut start: Vec<u8>,
        end: Vec<u8>,
        mut each: impl FnMut(&[u8], Vec<u8>) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        loop {
            let page = self.table.scan(&start, &end, PAGE)?;
            let last = page.len() < PAGE;
            for (key, value) in page {
                each(&key, value)?;
                start = key;
            }
            if last {
                return Ok(());
            }
            start.push(0);
        }
    }
}

fn key(kind: u8, shard: PartitionIndex) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&shard.get().to_be_bytes());
    key
}

fn group_key(shard: PartitionIndex, group: &GroupId) -> Vec<u8> {
    let mut key = key(GROUP, shard);
    key.extend_from_slice(group.as_str().as_bytes());
    key
}

fn offset_prefix(shard: PartitionIndex, group: &GroupId) -> Vec<u8> {
    let mut key = key(OFFSET, shard);
    let name = group.as_str().as_bytes();
    key.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(name);
    key
}

fn offset_key(shard: PartitionIndex, group: &GroupId, partition: &CommittedPartition) -> Vec<u8> {
    let mut key = offset_prefix(shard, group);
    key.extend_from_slice(partition.topic.as_str().as_bytes());
    key.extend_from_slice(&partition.partition.get().to_be_bytes());
    key
}

/// The first key after all that begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn decode_text(bytes: &[u8]) -> Result<&str, ViewError> {
    std::str::from_utf8(bytes).map_err(|error| ViewError::Damaged(error.to_string()))
}

fn decode_partition(bytes: &[u8]) -> Result<CommittedPartition, ViewError> {
    let damaged = || ViewError::Damaged("an offset row without a partition".to_owned());
    let (topic, partition) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    let partition = PartitionIndex::new(i32::from_be_bytes(*partition));
    Ok(CommittedPartition { topic: TopicName::from(decode_text(topic)?), partition })
}

fn decode_marker(row: &[u8]) -> Option<Applied> {
    let (format, row) = row.split_first()?;
    let (topic, row) = row.split_first_chunk::<16>()?;
    let (epoch, row) = row.split_first_chunk::<4>()?;
    let next: [u8; 8] = row.try_into().ok()?;
    let applied = Applied {
        topic: TopicId::from_bytes(*topic),
        epoch: LeaderEpoch::new(i32::from_be_bytes(*epoch)),
        next: Offset::new(i64::from_be_bytes(next)),
    };
    (*format == FORMAT).then_some(applied)
}
