//! What a client has asked and not heard yet, on one connection.
//!
//! Owns which answer belongs to which question: a broker answers in the order in which it was asked. Pure. Its length is bounded
//! by what the buffers between client and broker hold: a broker that answers nothing is asked nothing more.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_wire::header::RequestHeader;
use ottla_wire::{ApiKey, Reader};

/// How many bytes of a request have to be there at least: its API, version and correlation id.
pub(super) const FIRST_BYTES: usize = 8;
/// Within how many bytes a produce request says whether it wants an answer: header, client id and transactional id.
pub(super) const HEAD_BYTES: usize = 66 * 1024;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) api: i16,
    pub(super) version: i16,
    correlation_id: i32,
}

/// Why the two sides cannot be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("a request of {0} bytes, which is too short for its header")]
    ShortRequest(usize),
    #[error("an answer to request {got}, while {expected} is the next one to be answered")]
    OutOfOrder { got: i32, expected: i32 },
    #[error("an answer to request {0}, which nobody has sent")]
    Unasked(i32),
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<Call>);

impl Calls {
    /// Notes the request that begins with `head`.
    pub(super) fn ask(&mut self, head: &[u8]) -> Result<(), Mismatch> {
        let Some([a, b, c, d, e, f, g, h]) = head.first_chunk::<FIRST_BYTES>() else {
            return Err(Mismatch::ShortRequest(head.len()));
        };
        let call = Call {
            api: i16::from_be_bytes([*a, *b]),
            version: i16::from_be_bytes([*c, *d]),
            correlation_id: i32::from_be_bytes([*e, *f, *g, *h]),
        };
        if is_answered(call, head) {
            self.0.push_back(call);
        }
        Ok(())
    }

    /// The question that this answer is to.
    pub(super) fn answer(&mut self, correlation_id: i32) -> Result<Call, Mismatch> {
        let call = self.0.pop_front().ok_or(Mismatch::Unasked(correlation_id))?;
        if call.correlation_id != correlation_id {
            return Err(Mismatch::OutOfOrder { got: correlation_id, expected: call.correlation_id });
        }
        Ok(call)
    }
}

/// Whether a broker says anything to this. Only a produce request with acks=0 wants no answer.
fn is_answered(call: Call, head: &[u8]) -> bool {
    if call.api != ApiKey::Produce.code() {
        return true;
    }
    let mut reader = Reader::new(Bytes::copy_from_slice(&head[..head.len().min(HEAD_BYTES)]));
    let acks = (|| {
        RequestHeader::decode(&mut reader).ok()?;
        reader.string_or_null(ApiKey::Produce.is_flexible(call.version)).ok()?;
        reader.i16().ok()
    })();
    // What cannot be read the broker refuses, and says so.
    acks != Some(0)
}

#[cfg(test)]
mod tests {
    use ottla_wire::frame::{LENGTH_BYTES, request_frame};
    use ottla_wire::messages::{MetadataRequest, ProduceRequest};

    use super::*;

    fn produce(acks: i16, version: i16, correlation_id: i32) -> Vec<u8> {
        let request = ProduceRequest { acks, transactional_id: Some("tx".to_owned()), ..ProduceRequest::default() };
        request_frame(&request, version, correlation_id, Some("client")).unwrap()[LENGTH_BYTES..].to_vec()
    }

    fn metadata(correlation_id: i32) -> Vec<u8> {
        request_frame(&MetadataRequest::default(), 9, correlation_id, None).unwrap()[LENGTH_BYTES..].to_vec()
    }

    #[test]
    fn answers_come_in_the_order_of_questions() {
        let mut calls = Calls::default();
        calls.ask(&metadata(7)).unwrap();
        calls.ask(&produce(-1, 9, 8)).unwrap();
        assert_eq!(calls.answer(7).unwrap(), Call { api: 3, version: 9, correlation_id: 7 });
        assert_eq!(calls.answer(9), Err(Mismatch::OutOfOrder { got: 9, expected: 8 }));
        assert_eq!(calls.answer(8), Err(Mismatch::Unasked(8)));
        assert_eq!(calls.ask(&[0; 7]), Err(Mismatch::ShortRequest(7)));
    }

    #[test]
    fn a_produce_request_without_acks_has_no_answer() {
        for version in ApiKey::Produce.versions() {
            let mut calls = Calls::default();
            for (acks, id) in [(0, 1), (1, 2), (0, 3), (-1, 4)] {
                calls.ask(&produce(acks, version, id)).unwrap();
            }
            assert_eq!(calls.answer(2).map(|call| call.version), Ok(version));
            assert_eq!(calls.answer(4).map(|call| call.version), Ok(version));
            assert_eq!(calls.answer(5), Err(Mismatch::Unasked(5)));
        }
    }
}
