//! Producer snapshots: the bytes of `ottla_core::producer`'s states.
//!
//! Owns their encoding inside the catalogue (at the flushed end, a hint) and inside the partition's own record (at the
//! log start, not a hint: what it says is in no batch any more), and by itself, for a replica whose log starts over at
//! another's start. Decides nothing about sequences.

use bytes::Bytes;
use ottla_core::producer::{BATCHES_KEPT, Batch, ProducerState};
use ottla_core::types::{ProducerEpoch, ProducerId, Sequence};

pub use crate::codec::Unusable;
use crate::codec::{Body, Fields, Format};

const FORMAT: Format = Format { magic: *b"OTTLPROD", version: 1 };

/// `states` by themselves, checksummed; no bytes if there are none.
pub fn to_bytes(states: &[ProducerState]) -> Bytes {
    if states.is_empty() {
        return Bytes::new();
    }
    let mut body = Body::default();
    encode(states, &mut body);
    FORMAT.seal(&body.0).into()
}

/// What [`to_bytes`] wrote.
///
/// # Errors
/// The bytes are damaged, or a newer build's.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<ProducerState>, Unusable> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (_version, mut fields) = FORMAT.open(bytes)?;
    decode(&mut fields)
}

const STATE_BYTES_MIN: usize = 8 + 2 + 8 + 1;

/// Writes `states` as one field.
pub(crate) fn encode(states: &[ProducerState], body: &mut Body) {
    body.count(states.len());
    for state in states {
        body.i64(state.id.get()).i16(state.epoch.get()).timestamp(state.last_seen);
        let kept = &state.batches[state.batches.len().saturating_sub(BATCHES_KEPT)..];
        body.u8(u8::try_from(kept.len()).expect("at most BATCHES_KEPT"));
        for batch in kept {
            body.i32(batch.first.get()).i32(batch.last.get()).offset(batch.last_offset).timestamp(batch.timestamp);
        }
    }
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Vec<ProducerState>, Unusable> {
    let count = fields.count(STATE_BYTES_MIN)?;
    let mut states = Vec::with_capacity(count);
    for _ in 0..count {
        let id = ProducerId::new(fields.i64()?);
        let epoch = ProducerEpoch::new(fields.i16()?);
        let last_seen = fields.timestamp()?;
        let kept = usize::from(fields.u8()?);
        if kept == 0 || kept > BATCHES_KEPT {
            return Err(Unusable::Damaged);
        }
        let mut batches = Vec::with_capacity(kept);
        for _ in 0..kept {
            batches.push(Batch {
                first: Sequence::new(fields.i32()?),
                last: Sequence::new(fields.i32()?),
                last_offset: fields.offset()?,
                timestamp: fields.timestamp()?,
            });
        }
        states.push(ProducerState { id, epoch, last_seen, batches });
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use ottla_core::producer::{Claim, Producers};
    use ottla_core::types::{Offset, Timestamp};

    use super::*;

    #[test]
    fn states_read_back() {
        let mut producers = Producers::default();
        for (id, batches) in [(1, 3), (9, 7)] {
            for n in 0..batches {
                let claim = Claim::of_batch(ProducerId::new(id), ProducerEpoch::new(2), Sequence::new(n), 1).unwrap();
                producers.record(&claim, Offset::new(i64::from(n) + id), Timestamp::new(5), Timestamp::new(6));
            }
        }
        let states = producers.snapshot(Offset::new(1000));
        let mut body = Body::default();
        encode(&states, &mut body);
        assert_eq!(decode(&mut Fields::new(&body.0)), Ok(states.clone()));
        assert_eq!(from_bytes(&to_bytes(&states)), Ok(states.clone()));
        assert_eq!((from_bytes(&to_bytes(&[])), to_bytes(&[]).len()), (Ok(Vec::new()), 0));
        assert_eq!(from_bytes(&to_bytes(&states)[1..]), Err(Unusable::Damaged));
        assert_eq!(Producers::restore(states), producers);
        for length in 0..body.0.len() {
            assert!(decode(&mut Fields::new(&body.0[..length])).is_err());
        }
    }
}
