//! The view: what the records of a shard add up to below the high watermark, in a [`Table`].
//!
//! Owns the keys and rows. Each shard has a marker that says up to where, and of which epoch, its rows stand; it is
//! written with the rows in one batch. Its birth is a random number that is written once, when the view was empty: rows
//! that vanish take it along, and no later write brings it back. A view whose marker or birth is not what its writer
//! left is worthless: it is dropped and built anew from the log (S5, S7). Row format 1; another one is dropped as well.
//!
//! ```text
//! b <shard>                                   → the birth
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
const BIRTH: u8 = b'b';
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

/// Which building of a view is meant; drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth(pub u64);

/// The view cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The table cannot be read or written.
    #[error("the view cannot be read: {0}")]
    Table(String),
    /// It is not as its writer left it.
    #[error("the view stands at {found:?}, not at {expected:?}")]
    Moved {
        /// What was written.
        expected: (Birth, Applied),
        /// What is there.
        found: Option<(Birth, Applied)>,
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
    left_at: (Birth, Applied),
}

impl<'a> View<'a> {
    /// The view of `shard` in `table`, as its owner left it.
    pub fn new(table: &'a dyn Table, shard: PartitionIndex, birth: Birth, applied: Applied) -> Self {
        Self { table, shard, left_at: (birth, applied) }
    }

    /// What there is of a shard; `None` if that is nothing, or of another format.
    ///
    /// # Errors
    /// [`ViewError`] if the table cannot be read.
    pub fn found(table: &dyn Table, shard: PartitionIndex) -> Result<Option<(Birth, Applied)>, ViewError> {
        let birth = table.get(&key(BIRTH, shard))?.and_then(|row| Some(u64::from_be_bytes(row.try_into().ok()?)));
        let applied = table.get(&key(MARKER, shard))?.and_then(|row| decode_marker(&row));
        Ok(birth.map(Birth).zip(applied))
    }

    /// The changes that begin a view anew, empty.
    pub fn begin(shard: PartitionIndex, birth: Birth, applied: Applied) -> Vec<Change> {
        let mut changes = Self::clear(shard);
        changes.push(Change::Put(key(BIRTH, shard), birth.0.to_be_bytes().to_vec()));
        changes.push(Self::mark(shard, applied));
        changes
    }

    /// The changes that remove all that there is of a shard.
    pub fn clear(shard: PartitionIndex) -> Vec<Change> {
        [BIRTH, MARKER, GROUP, OFFSET]
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

    /// Hands every committed offset of the shard to `each`, by group, until it returns false.
    ///
    /// # Errors
    /// [`ViewError`] if a row cannot be read.
    pub fn each_offset(
        &self,
        mut each: impl FnMut(GroupId, CommittedPartition, CommittedOffset) -> bool,
    ) -> Result<(), ViewError> {
        for group in self.groups_with_offsets()? {
            for (partition, value) in self.offsets(&group)? {
                if !each(group.clone(), partition, value) {
                    return Ok(());
                }
            }
        }
        Ok(())
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

    /// The view is still as its owner left it. Asked after a read, it vouches for what was read.
    ///
    /// # Errors
    /// [`ViewError`] if it is not, or cannot be read.
    pub fn verify(&self) -> Result<(), ViewError> {
        let found = Self::found(self.table, self.shard)?;
        if found == Some(self.left_at) {
            return Ok(());
        }
        Err(ViewError::Moved { expected: self.left_at, found })
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
