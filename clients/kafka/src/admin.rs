//! Administration: one file per subject, each an `impl Client` block.
//!
//! Owns how requests about many things are settled: each thing gets its own result, in the order in which it was asked,
//! and only those whose error may pass are asked again. A call fails as a whole only when nobody answers.

mod cluster;
mod configs;
mod groups;
mod offsets;
mod reassignments;
mod records;
mod topics;

pub use cluster::{ClusterDescription, ClusterNode, DirectoryDescription, ReplicaSize};
pub use configs::{ConfigChange, ConfigEntry, ConfigSource, Operation, Resource};
pub(crate) use groups::Member;
pub use groups::{CommittedOffset, GroupDescription, GroupListing, GroupMember};
pub use offsets::{FoundOffset, OffsetSpec};
pub use reassignments::Reassignment;
pub use topics::{CreatedTopic, NewTopic, PartitionDescription, TopicDescription};

use ottla_core::types::BrokerId;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::client::{Client, Retry};
use crate::error::{Error, Refused, Result};

/// What became of one thing of many.
pub type Settled<T> = Result<T, Refused>;

/// Things that are asked for until each has an answer that stays.
pub(crate) struct Settling<I, T> {
    retry: Retry,
    items: Vec<I>,
    open: Vec<usize>,
    results: Vec<Option<Settled<T>>>,
}

impl<I: Clone, T> Settling<I, T> {
    pub(crate) fn new(retry: Retry, items: Vec<I>) -> Self {
        let count = items.len();
        Self { retry, items, open: (0..count).collect(), results: (0..count).map(|_| None).collect() }
    }

    /// What has to be asked now; `None` when everything is settled.
    pub(crate) fn open(&self) -> Option<Vec<I>> {
        (!self.open.is_empty()).then(|| self.open.iter().map(|&at| self.items[at].clone()).collect())
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.retry.deadline()
    }

    /// Takes the answers to what [`Settling::open`] returned, in its order; pauses if some of it must be asked again.
    pub(crate) async fn absorb(&mut self, answer: Result<Vec<Settled<T>>>) -> Result<()> {
        let answers = match answer {
            Ok(answers) => answers,
            Err(error) => return self.retry.pause(error).await,
        };
        let mut again = Vec::new();
        let mut last = None;
        for (at, result) in std::mem::take(&mut self.open).into_iter().zip(answers) {
            match result {
                Err(refused) if passes(refused.code) => {
                    again.push(at);
                    last = Some(refused);
                }
                result => self.results[at] = Some(result),
            }
        }
        self.open = again;
        match last {
            Some(refused) => self.retry.pause(refused.into()).await,
            None => Ok(()),
        }
    }

    /// Every result, in the order of the items.
    pub(crate) fn done(self) -> Vec<Settled<T>> {
        self.results.into_iter().flatten().collect()
    }
}

/// Whether an administrator's request is worth repeating. What is unknown stays unknown, and a request that timed out
/// may have had its effect.
fn passes(code: ErrorCode) -> bool {
    code.retriable()
        && ![ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::REQUEST_TIMED_OUT]
            .contains(&code)
}

/// `Ok(value)` when `code` is none.
fn settle<T>(
    api: ApiKey,
    subject: impl FnOnce() -> String,
    code: i16,
    message: Option<String>,
    value: T,
) -> Settled<T> {
    match ErrorCode::new(code) {
        ErrorCode::NONE => Ok(value),
        code => Err(Refused::new(api, subject(), code, message)),
    }
}

/// What stands for a thing that an answer does not mention.
fn unmentioned(api: ApiKey, subject: String) -> Refused {
    let message = "the broker's answer does not mention it".to_owned();
    Refused::new(api, subject, ErrorCode::UNKNOWN_SERVER_ERROR, Some(message))
}

impl Client {
    /// The brokers that are there now.
    pub(crate) async fn broker_ids(&self) -> Result<Vec<BrokerId>> {
        let metadata = self.metadata(crate::metadata::Topics::None).await?;
        Ok(metadata.brokers.keys().copied().collect())
    }
}

/// The milliseconds that are left until `deadline`, for requests that state their own time-out.
fn millis_until(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
    i32::try_from(left).unwrap_or(i32::MAX)
}

/// Makes one refusal out of a request's own error.
pub(crate) fn refuse(error: Error, api: ApiKey, subject: String) -> Result<Refused> {
    match error.code() {
        Some(code) => Ok(Refused::new(api, subject, code, None)),
        None => Err(error),
    }
}
