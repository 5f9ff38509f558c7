//! What people ask the controller for, at whichever broker they ask.
//!
//! Owns how long they wait while nobody decides, and what they are told: Kafka's code and a sentence. As in Kafka, a request
//! is asked again for as long as its time lasts when the controller changes or cannot be reached; what was done meanwhile
//! without an answer is then answered as done before (a topic that exists already). Who may ask is checked where the client
//! is connected, limits are the controller's. Must never send what would break the line to the controller.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::controller::error::{ElectLeaderError, NotController};
use ottla_core::controller::{
    Answer, ConfigChange, ConfigTarget, ElectionKind, Growth, Move, Moving, NamedPartition, NewTopic, Request, TopicRef,
};
use ottla_core::metadata::Topic;
use ottla_core::types::{BrokerId, TopicId};
use ottla_rpc::controller::Up;
use ottla_wire::ErrorCode;
use tokio::time::{sleep, timeout};

use super::ASK_AGAIN;
use super::codes;
use super::handle::Handle;

/// The longest that a request waits for a controller, and how long one waits that has no time of its own; as in Kafka.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// The shortest: who gives no time at all wants an answer all the same.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// How long a request of that `timeout_ms` waits.
pub fn wait_of(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).clamp(WAIT_MIN, WAIT_MAX)
}

/// Why something was not done, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: String,
}

impl Refusal {
    fn timed_out() -> Self {
        let message =
            "no broker answered as the controller within the request's time; it may have been done".to_owned();
        Self { code: ErrorCode::REQUEST_TIMED_OUT, message }
    }

    fn of<E: std::fmt::Display>(error: &E, code: ErrorCode) -> Self {
        Self { code, message: error.to_string() }
    }
}

/// What the list of one request came to.
type Results<T> = Vec<Result<T, Refusal>>;

/// Asks and unwraps the one kind of answer that the request has.
macro_rules! decided {
    ($handle:expr, $kind:ident, $request:expr, $wait:expr) => {
        match $handle.ask_until($request, $wait).await {
            Ok(Answer::$kind(answer)) => Ok(answer),
            Ok(_) => Err(Refusal::timed_out()),
            Err(refusal) => Err(refusal),
        }
    };
}

/// The results of `count` items, in their order; the same refusal for each if the whole was refused.
fn listed<T, E: std::fmt::Display>(
    outcome: Result<Vec<Result<T, E>>, Refusal>,
    count: usize,
    code: impl Fn(usize, &E) -> ErrorCode,
) -> Results<T> {
    let one = |(index, result): (usize, Result<T, E>)| result.map_err(|error| Refusal::of(&error, code(index, &error)));
    match outcome {
        Ok(results) => results.into_iter().enumerate().map(one).collect(),
        Err(refusal) => (0..count).map(|_| Err(refusal.clone())).collect(),
    }
}

impl Handle {
    /// Asks until somebody decides. A request for nothing is not to be asked: its refusal looks like its answer.
    async fn ask_until(&self, request: Request, wait: Duration) -> Result<Answer, Refusal> {
        self.check_length(&request)?;
        let refused = request.refused();
        let decided = async {
            loop {
                match self.ask(request.clone()).await {
                    Some(answer) if answer != refused => return answer,
                    Some(_) | None => sleep(ASK_AGAIN).await,
                }
            }
        };
        timeout(wait, decided).await.map_err(|_elapsed| Refusal::timed_out())
    }

    /// A message that is too long would end the stream to the controller, and with it this broker's signs of life.
    fn check_length(&self, request: &Request) -> Result<(), Refusal> {
        if !self.is_linked() {
            return Ok(());
        }
        let sent = Up::Ask { id: u64::MAX, request: request.clone() }.encode();
        sent.map(drop).map_err(|error| Refusal {
            code: ErrorCode::POLICY_VIOLATION,
            message: format!("excessively large request to the controller: {error}; ask for less at once"),
        })
    }

    /// Creates topics; answers in their order.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        wait: Duration,
    ) -> Results<Arc<Topic>> {
        let count = topics.len();
        if count == 0 {
            return Vec::new();
        }
        let created = decided!(self, CreateTopics, Request::CreateTopics { topics, validate_only }, wait);
        listed(created, count, |_, error| codes::create_topic_code(error))
    }

    /// Deletes topics; answers in their order, with name and id.
    pub async fn delete_topics(&self, topics: Vec<TopicRef>, wait: Duration) -> Results<(String, TopicId)> {
        let count = topics.len();
        if count == 0 {
            return Vec::new();
        }
        let deleted = decided!(self, DeleteTopics, Request::DeleteTopics { topics }, wait);
        listed(deleted, count, |_, error| codes::delete_topic_code(error))
    }

    /// Adds partitions; answers in order of topics.
    pub async fn create_partitions(&self, topics: Vec<Growth>, validate_only: bool, wait: Duration) -> Results<()> {
        let count = topics.len();
        if count == 0 {
            return Vec::new();
        }
        let created = decided!(self, CreatePartitions, Request::CreatePartitions { topics, validate_only }, wait);
        listed(created, count, |_, error| codes::create_partitions_code(error))
    }

    /// Changes configs; answers in order of resources.
    pub async fn alter_configs(
        &self,
        resources: Vec<(ConfigTarget, ConfigChange)>,
        validate_only: bool,
        wait: Duration,
    ) -> Results<()> {
        let topics: Vec<bool> = resources.iter().map(|(target, _)| matches!(target, ConfigTarget::Topic(_))).collect();
        if topics.is_empty() {
            return Vec::new();
        }
        let altered = decided!(self, AlterConfigs, Request::AlterConfigs { resources, validate_only }, wait);
        listed(altered, topics.len(), |index, error| {
            codes::alter_config_code(error, topics.get(index).copied().unwrap_or_default())
        })
    }

    /// Elects leaders, of `partitions` or of all; when all were asked for, only those that needed one are told of.
    ///
    /// # Errors
    /// Nobody decided.
    pub async fn elect_leaders(
        &self,
        kind: ElectionKind,
        partitions: Option<Vec<NamedPartition>>,
        wait: Duration,
    ) -> Result<Vec<(NamedPartition, Result<(), Refusal>)>, Refusal> {
        if partitions.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let request = Request::ElectLeaders { kind, partitions };
        let elected = decided!(self, ElectLeaders, request, wait)?.map_err(|not| not_controller(&not))?;
        let told = |error: ElectLeaderError| Refusal::of(&error, codes::elect_leader_code(&error));
        Ok(elected.into_iter().map(|(named, result)| (named, result.map_err(told))).collect())
    }

    /// Moves partitions, or stops moving them; answers in order of `moves`.
    pub async fn reassign(&self, moves: Vec<Move>, may_change_factor: bool, wait: Duration) -> Results<()> {
        let count = moves.len();
        if count == 0 {
            return Vec::new();
        }
        let begun = decided!(self, Reassign, Request::Reassign { moves, may_change_factor }, wait);
        listed(begun, count, |_, error| codes::reassign_code(error))
    }

    /// What is moving, of `partitions` or of all.
    ///
    /// # Errors
    /// Nobody decided.
    pub async fn list_reassignments(
        &self,
        partitions: Option<Vec<NamedPartition>>,
        wait: Duration,
    ) -> Result<Vec<Moving>, Refusal> {
        let moving = decided!(self, ListReassignments, Request::ListReassignments { partitions }, wait)?;
        moving.map_err(|not| not_controller(&not))
    }

    /// The broker is gone for good.
    ///
    /// # Errors
    /// It is not, or nobody decided.
    pub async fn unregister(&self, broker: BrokerId, wait: Duration) -> Result<(), Refusal> {
        let done = decided!(self, Unregister, Request::Unregister { broker }, wait)?;
        done.map_err(|error| Refusal::of(&error, codes::unregister_code(&error)))
    }
}

fn not_controller(not: &NotController) -> Refusal {
    Refusal::of(not, ErrorCode::NOT_CONTROLLER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_as_long_as_it_says_within_bounds() {
        for (timeout_ms, seconds) in [(i32::MIN, 1), (0, 1), (5_000, 5), (60_000, 60), (i32::MAX, 60)] {
            assert_eq!(wait_of(timeout_ms), Duration::from_secs(seconds), "{timeout_ms}");
        }
    }
}
