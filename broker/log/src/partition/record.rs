//! `partition.state`: what a partition's folder says about itself that no batch says.
//!
//! Owns the facts that are not hints (S5): whose folder this is, where its log starts, which offsets are damaged, and
//! what was known of its producers at the log start. Checksummed, versioned, replaced as a whole and fsynced; never
//! written for a partition without records.

use ottla_core::producer::ProducerState;
use ottla_core::types::{LeaderEpoch, Offset, TopicPartition};

use crate::codec::{Body, Format, Unusable};
use crate::damage::{Damage, DamagedRange};
use crate::producers;

/// Its name inside the folder.
pub const FILE: &str = "partition.state";
/// Longer ones are not ours.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

const FORMAT: Format = Format { magic: *b"OTTLPART", version: 1 };

/// The content of `partition.state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Whose folder it is.
    pub id: TopicPartition,
    /// The topic's name when the folder was made.
    pub name: String,
    /// First offset that may be read.
    pub log_start: Offset,
    /// The highest leader epoch that was begun when it was written.
    pub epoch: LeaderEpoch,
    /// What cannot be read.
    pub damage: Damage,
    /// The producers as of `log_start`.
    pub producers: Vec<ProducerState>,
}

impl PartitionRecord {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Body::default();
        body.partition(self.id).text(&self.name).offset(self.log_start).i32(self.epoch.get());
        encode_damage(&self.damage, &mut body);
        producers::encode(&self.producers, &mut body);
        FORMAT.seal(&body.0)
    }

    /// What the file's bytes say.
    ///
    /// # Errors
    /// They are damaged, or a newer build's.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let (_version, mut fields) = FORMAT.open(bytes)?;
        Ok(Self {
            id: fields.partition()?,
            name: fields.text()?.to_owned(),
            log_start: fields.offset()?,
            epoch: fields.epoch()?,
            damage: decode_damage(&mut fields)?,
            producers: producers::decode(&mut fields)?,
        })
    }
}

pub(crate) fn encode_damage(damage: &Damage, body: &mut Body) {
    body.count(damage.ranges().len());
    for range in damage.ranges() {
        body.offset(range.from).offset(range.upto);
    }
}

pub(crate) fn decode_damage(fields: &mut crate::codec::Fields<'_>) -> Result<Damage, Unusable> {
    let count = fields.count(16)?;
    (0..count).map(|_| Ok(DamagedRange { from: fields.offset()?, upto: fields.offset()? })).collect()
}

#[cfg(test)]
mod tests {
    use ottla_core::types::{PartitionIndex, TopicId};

    use super::*;

    #[test]
    fn a_record_reads_back() {
        let range = DamagedRange { from: Offset::new(5), upto: Offset::new(9) };
        let record = PartitionRecord {
            id: TopicPartition::new(TopicId::from_bytes([3; 16]), PartitionIndex::new(8)),
            name: "orders".to_owned(),
            log_start: Offset::new(4),
            epoch: LeaderEpoch::new(2),
            damage: [range].into_iter().collect(),
            producers: Vec::new(),
        };
        assert_eq!(PartitionRecord::decode(&record.encode()), Ok(record));
        assert_eq!(PartitionRecord::decode(b"junk"), Err(Unusable::Damaged));
    }
}
