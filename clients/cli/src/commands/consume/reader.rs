//! Reading alone or as a member of a group, behind one face.
//!
//! Owns what a group commits: per partition the offset after the last record that was printed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_client::types::Offset;
use ottla_client::{CommittedOffset, Consumer, ErrorCode, Event, GroupConsumer, NamedPartition};

use crate::failure::Result;

pub(super) enum Reader {
    Alone(Consumer),
    Member { consumer: Box<GroupConsumer>, commits: bool, printed: BTreeMap<NamedPartition, Offset> },
}

impl Reader {
    pub(super) async fn poll(&mut self, patience: Duration) -> Result<Event> {
        match self {
            Self::Alone(consumer) => Ok(consumer.poll(patience).await?.map_or(Event::Idle, Event::Records)),
            Self::Member { consumer, .. } => Ok(consumer.poll(patience).await?),
        }
    }

    /// Everything of `partition` before `next` was printed.
    pub(super) fn done(&mut self, partition: &NamedPartition, next: Offset) {
        match self {
            Self::Alone(_) => {}
            Self::Member { printed, .. } => {
                printed.insert(partition.clone(), next);
            }
        }
    }

    /// These partitions are somebody else's already.
    pub(super) fn forget(&mut self, lost: &BTreeSet<NamedPartition>) {
        match self {
            Self::Alone(_) => {}
            Self::Member { printed, .. } => printed.retain(|partition, _| !lost.contains(partition)),
        }
    }

    /// Commits what was printed since the last time.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let Self::Member { consumer, commits: true, printed } = self else { return Ok(()) };
        let offsets = std::mem::take(printed);
        let offsets = offsets.into_iter().map(|(partition, next)| (partition, CommittedOffset::at(next))).collect();
        match consumer.commit(&offsets).await {
            Ok(()) => Ok(()),
            Err(error) if error.code().is_some_and(|code| OVERTAKEN.contains(&code)) => {
                tracing::warn!(%error, "the group has moved on; these records will be read again");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where reading stands on `partition`.
    pub(super) fn position(&self, partition: &NamedPartition) -> Option<Offset> {
        match self {
            Self::Alone(consumer) => consumer.position(partition),
            Self::Member { consumer, .. } => consumer.position(partition),
        }
    }

    /// What is read now.
    pub(super) fn partitions(&self) -> Vec<NamedPartition> {
        match self {
            Self::Alone(consumer) => consumer.partitions().cloned().collect(),
            Self::Member { consumer, .. } => consumer.assigned().iter().cloned().collect(),
        }
    }

    /// Whether it is known what shall be read.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Alone(_) => true,
            Self::Member { consumer, .. } => consumer.is_settled(),
        }
    }

    /// Commits, and leaves the group.
    pub(super) async fn close(mut self) -> Result<()> {
        let committed = self.commit().await;
        match self {
            Self::Alone(_) => committed,
            Self::Member { consumer, .. } => {
                let left = consumer.close().await;
                committed.and(left.map_err(Into::into))
            }
        }
    }
}

/// A commit that comes after the group gave the partitions away.
const OVERTAKEN: [ErrorCode; 3] =
    [ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS];
