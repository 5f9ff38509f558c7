//! Batches that come right behind one that was refused.
//!
//! Owns what is told to an idempotent producer with several requests under way: the batch behind a refused one is refused
//! for the same reason. OUT_OF_ORDER_SEQUENCE_NUMBER there makes librdkafka raise the epoch of the whole producer, and
//! what it has under way to other partitions is appended twice. Must never excuse a gap that this connection was not
//! refused (`ottla_core::producer::Refusals` decides).

use bytes::Bytes;
use ottla_core::producer::{self, Claim};
use ottla_core::types::{ProducerEpoch, ProducerId, Sequence};
use ottla_wire::ErrorCode;
use ottla_wire::record::BatchHeader;

use super::{Outcome, Refused};
use crate::lookup::Found;
use crate::server::dispatch::Cx;

/// What one connection was refused lately, and why.
pub type Refusals = producer::Refusals<Place, ErrorCode>;

/// A partition as a request names it: its broker need not know the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    topic: String,
    topic_id: [u8; 16],
    index: i32,
}

/// The same, borrowed from the request.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) topic: &'a str,
    pub(super) topic_id: [u8; 16],
    pub(super) index: i32,
}

impl From<At<'_>> for Place {
    fn from(at: At<'_>) -> Self {
        Self { topic: at.topic.to_owned(), topic_id: at.topic_id, index: at.index }
    }
}

/// What the records say of their producer, before anything in them is checked; `None` without one.
pub(super) fn claim_of(records: Option<&Bytes>) -> Option<Claim> {
    let header = BatchHeader::parse(records?).ok()?;
    let (first, count) = (header.base_sequence, header.record_count);
    if header.producer_epoch < 0 || first < 0 || count < 1 {
        return None;
    }
    let (id, epoch) = (ProducerId::new(header.producer_id), ProducerEpoch::new(header.producer_epoch));
    Claim::of_batch(id, epoch, Sequence::new(first), count)
}

/// Refuses the batch behind a refused one where the log would take it, because it has forgotten its producer or has never
/// known it: then the refused one would be the one out of order.
pub(super) fn check_unknown(cx: &Cx, at: At<'_>, claim: Option<&Claim>, found: &Found) -> Result<(), Refused> {
    let Some(claim) = claim else { return Ok(()) };
    let mut refusals = cx.session.refusals.lock();
    if refusals.is_empty() || found.replica.log.knows_producer(claim.id) {
        return Ok(());
    }
    refusals.behind(&at.into(), claim, None).map_or(Ok(()), |error| Err(refused_before(error)))
}

/// Remembers what became of a batch; one that the log found out of order is refused as those were that it lacks.
pub(super) fn remembered(cx: &Cx, at: At<'_>, claim: Option<&Claim>, outcome: Outcome) -> Outcome {
    let Some(claim) = claim else { return outcome };
    let mut refusals = cx.session.refusals.lock();
    match outcome {
        Outcome::Taken(..) if !refusals.is_empty() => refusals.taken(&at.into(), claim),
        Outcome::Refused(Refused { expected: Some(expected), .. }) if !refusals.is_empty() => {
            if let Some(error) = refusals.behind(&at.into(), claim, Some(expected)) {
                return Outcome::Refused(refused_before(error));
            }
        }
        Outcome::Refused(Refused { behind: false, error, .. }) if is_sent_again(error) => {
            refusals.refused(at.into(), claim, error);
        }
        Outcome::Taken(..) | Outcome::Refused(_) | Outcome::Waiting(..) | Outcome::Held(_) => {}
    }
    outcome
}

/// Whether clients send the very batch again. One that is corrupt states no sequence number that could be relied on.
fn is_sent_again(error: ErrorCode) -> bool {
    error.retriable() && error != ErrorCode::CORRUPT_MESSAGE
}

fn refused_before(error: ErrorCode) -> Refused {
    Refused { behind: true, ..Refused::new(error, "the batch before it was refused and has not come again") }
}
