//! Who an idempotent producer is, and how sequences count.
//!
//! Owns producer id and epoch. A new epoch begins when the fate of a batch stays unknown: the broker then refuses its
//! late arrival, and every partition counts from 0 again.

use ottla_core::types::{ProducerEpoch, ProducerId, Sequence};
use ottla_wire::ApiKey;
use ottla_wire::messages::InitProducerIdRequest;

use crate::client::Client;
use crate::error::{Result, check};

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

impl Identity {
    /// Gets an identity, or the next epoch of `before`.
    pub(super) async fn obtain(client: &Client, before: Option<Self>) -> Result<Self> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: before.map_or(-1, |before| before.id.get()),
            producer_epoch: before.map_or(-1, |before| before.epoch.get()),
            ..InitProducerIdRequest::default()
        };
        let mut retry = client.retry("getting a producer id");
        loop {
            let answer = client.ask_any("getting a producer id", &request).await?;
            match check(ApiKey::InitProducerId, || "a producer id".to_owned(), answer.error_code, None) {
                Ok(()) => {
                    let (id, epoch) = (ProducerId::new(answer.producer_id), ProducerEpoch::new(answer.producer_epoch));
                    return Ok(Self { id, epoch });
                }
                Err(error) => retry.pause(error).await?,
            }
        }
    }
}

/// The sequence `count` records further on; after the largest comes 0.
pub(super) fn advance(sequence: Sequence, count: i32) -> Sequence {
    let next = i64::from(sequence.get()) + i64::from(count);
    let wrapped = next % (i64::from(i32::MAX) + 1);
    Sequence::new(i32::try_from(wrapped).expect("the rest of a division by 2^31 fits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_on_at_zero() {
        let cases = [(0, 1, 1), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1), (5, 0, 5)];
        for (from, count, expected) in cases {
            assert_eq!(advance(from.into(), count), expected.into(), "{from} + {count}");
        }
    }
}
