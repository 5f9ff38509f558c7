//! Produce, versions 3 to 13: batches appended as they came, acknowledged once they are on disk.
//!
//! Versions: 7 zstd, 8 record errors, 9 flexible, 10 leader hints (KIP-951), 12
//! transactions v2 (not served: transactional batches are refused), 13 topic ids (KIP-516).
//! The ordered stage checks and appends; the rest waits for the disk, so that a connection's requests share a flush.
//! Must never open a batch (the topics that ask for it excepted) nor answer before the records are durable.

mod behind;
mod epoch;
mod rewrite;

use std::time::{Duration, Instant};

use ottla_core::producer::{self, Claim};
use ottla_core::replica::{Acks, Outcome as Safety};
use ottla_core::types::{Sequence, Timestamp, TopicId};
use ottla_log::journal::Offline;
use ottla_log::partition::{AppendContext, AppendError, Appended, Origin};
use ottla_wire::ErrorCode;
use ottla_wire::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use ottla_wire::record::{self, BatchError, BatchView, Compression};
use tokio::sync::oneshot;

pub use self::behind::{Place, Refusals};

use self::behind::At;
use self::epoch::{Admitted, Held};
use crate::leader_hint::Hints;
use crate::lookup::{self, Found};
use crate::server::dispatch::Cx;
use crate::server::reply::{Answer, Close, Reply};

/// The first version whose answer says who leads.
const LEADER_HINTS: i16 = 10;

/// Why a partition's records were not taken.
struct Refused {
    error: ErrorCode,
    message: Option<String>,
    log_start: i64,
    /// The sequence number that the log would have taken, where it is for that.
    expected: Option<Sequence>,
    /// It is for a batch before this one, and remembered already.
    behind: bool,
}

impl Refused {
    fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..error.into() }
    }
}

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Self { error, message: None, log_start: -1, expected: None, behind: false }
    }
}

/// What became of a partition's records so far.
enum Outcome {
    /// Appended, at this LSN; where others hold replicas, what those say of it is waited for.
    Taken(Appended, Option<Promise>),
    /// Refused for good.
    Refused(Refused),
    /// Checked, and waiting for room in memory or in the journal.
    Waiting(Found, BatchView),
    /// Checked, and waiting for the next leader epoch.
    Held(Held),
}

/// What will be said of records that others have to hold too.
struct Promise {
    found: Found,
    said: oneshot::Receiver<Safety>,
}

/// One partition of a request.
struct Work {
    index: i32,
    /// What it says of its producer, if it has one.
    claim: Option<Claim>,
    outcome: Outcome,
}

impl Work {
    /// The connection remembers what became of it.
    fn becomes(&mut self, cx: &Cx, (topic, topic_id): (&str, [u8; 16]), outcome: Outcome) {
        let at = At { topic, topic_id, index: self.index };
        self.outcome = behind::remembered(cx, at, self.claim.as_ref(), outcome);
    }
}

/// One topic of a request.
struct TopicWork {
    name: String,
    topic_id: [u8; 16],
    partitions: Vec<Work>,
}

/// Checks and appends every partition's records in turn, then leaves the waiting to the reply. Where there is no room, or
/// an epoch ends, the reply appends the rest, and the connection's next request waits for it.
pub fn stage(cx: Cx, request: ProduceRequest) -> Reply {
    let acks = request.acks;
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let until = cx.node.clock.monotonic() + patience;
    let image = cx.node.metadata.image();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    let mut full = false;
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let at = At { topic: &topic.name, topic_id: topic.topic_id, index };
            let claim = behind::claim_of(data.records.as_ref());
            let found = if cx.version >= 13 {
                lookup::by_id(&cx.node, &image, TopicId::from_bytes(topic.topic_id), index, lookup::NO_EPOCH)
            } else {
                lookup::by_name(&cx.node, &image, &topic.name, index, lookup::NO_EPOCH)
            };
            let checked = found.map_err(Refused::from).and_then(|found| {
                behind::check_unknown(&cx, at, claim.as_ref(), &found)?;
                check(&cx, acks, found, data)
            });
            let outcome = match checked {
                Ok((Admitted::Later(found), batch)) => Outcome::Held(Held::new(&cx, found, batch, until)),
                Ok((Admitted::Now(found), batch)) if full => Outcome::Waiting(found, batch),
                Ok((Admitted::Now(found), batch)) => append(cx.received, found, batch, acks, patience),
                Err(refused) => Outcome::Refused(refused),
            };
            full |= matches!(outcome, Outcome::Waiting(..) | Outcome::Held(_));
            let outcome = behind::remembered(&cx, at, claim.as_ref(), outcome);
            partitions.push(Work { index, claim, outcome });
        }
        topics.push(TopicWork { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    Reply { pending: Box::pin(finish(cx, acks, until, topics)), pipelined: !full }
}

/// Appends what could not be appended at first, then waits until everything is as safe as was asked for.
async fn finish(cx: Cx, acks: i16, until: Instant, mut topics: Vec<TopicWork>) -> Result<Option<Answer>, Close> {
    let durable = settle(&cx, acks, until, &mut topics).await;
    let image = cx.node.metadata.image();
    let mut hints = Hints::new(&image, cx.node.id(), &cx.session.listener.name);
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = match cx.version {
            13.. => image.topic_by_id(TopicId::from_bytes(topic.topic_id)),
            _ => image.topic(&topic.name),
        };
        let answer = |work: Work| match (work.outcome, &durable) {
            (Outcome::Taken(appended, None), Ok(())) | (Outcome::Taken(appended, Some(_)), _) => {
                taken(work.index, &appended)
            }
            (Outcome::Taken(..) | Outcome::Waiting(..) | Outcome::Held(_), durable) => {
                let reason = durable.as_ref().err().map(ToString::to_string).unwrap_or_default();
                not_taken(work.index, Refused::new(ErrorCode::KAFKA_STORAGE_ERROR, reason))
            }
            (Outcome::Refused(refused), _) => not_taken(work.index, refused),
        };
        let mut partitions: Vec<_> = topic.partitions.into_iter().map(answer).collect();
        for partition in partitions.iter_mut().filter(|_| cx.version >= LEADER_HINTS) {
            let error = ErrorCode::new(partition.error_code);
            if let Some((leader_id, leader_epoch)) = hints.of(error, known.map(|topic| &**topic), partition.index) {
                partition.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
            }
        }
        responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: partitions,
        });
    }
    if acks == 0 {
        return unanswered(&responses);
    }
    let endpoint = |(node_id, host, port)| NodeEndpoint { node_id, host, port, rack: None };
    let node_endpoints = hints.endpoints().map(endpoint).collect();
    let response = ProduceResponse { responses, throttle_time_ms: 0, node_endpoints };
    cx.answer(&response).map(Some)
}

/// Appends the rest, then waits until the last of the request's frames is on disk: the journal is one, so all the others
/// are as well. Where others hold replicas, they are waited for instead.
async fn settle(cx: &Cx, acks: i16, until: Instant, topics: &mut [TopicWork]) -> Result<(), Offline> {
    let mut durable_at = None;
    for topic in topics.iter_mut() {
        for work in &mut topic.partitions {
            append_rest(cx, acks, until, (&topic.name, topic.topic_id), work).await;
            if let Outcome::Taken(appended, None) = &work.outcome {
                durable_at = durable_at.max(Some(appended.lsn));
            }
        }
    }
    let durable = match durable_at {
        Some(lsn) => cx.node.log.durable(lsn).await,
        None => Ok(()),
    };
    for topic in topics.iter_mut() {
        for work in &mut topic.partitions {
            let Outcome::Taken(_, Some(promise)) = &mut work.outcome else { continue };
            let said = (&mut promise.said).await.ok();
            if said == Some(Safety::LeadershipEnded) {
                epoch::successor_known(cx, &promise.found, until).await;
            }
            if let Some(refused) = not_safe(cx, said) {
                work.becomes(cx, (&topic.name, topic.topic_id), Outcome::Refused(refused));
            }
        }
    }
    durable
}

/// Waits until the partition's records can be appended, where they could not be at first.
async fn append_rest(cx: &Cx, acks: i16, until: Instant, topic: (&str, [u8; 16]), work: &mut Work) {
    loop {
        let (found, batch) = match &mut work.outcome {
            Outcome::Held(held) => {
                let outcome = held.resume(cx, acks).await;
                work.becomes(cx, topic, outcome);
                continue;
            }
            Outcome::Waiting(found, batch) => (found.clone(), batch.clone()),
            Outcome::Taken(..) | Outcome::Refused(_) => return,
        };
        // Asked for before trying again, so that no room that is made in between goes unseen.
        let room = cx.node.log.room(batch.bytes().len());
        let patience = until.saturating_duration_since(cx.node.clock.monotonic());
        match append(cx.received, found, batch, acks, patience) {
            Outcome::Waiting(..) => room.await,
            done @ (Outcome::Taken(..) | Outcome::Refused(_) | Outcome::Held(_)) => work.becomes(cx, topic, done),
        }
    }
}

/// The client asked not to be answered; that its connection closes is how it learns of an error.
fn unanswered(responses: &[TopicProduceResponse]) -> Result<Option<Answer>, Close> {
    let mut partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.find(|partition| partition.error_code != 0) {
        Some(partition) => Err(Close::because(format!(
            "Produce with acks=0 failed on partition {}: {}",
            partition.index,
            ErrorCode::new(partition.error_code)
        ))),
        None => Ok(None),
    }
}

/// All that can be refused without touching the log.
fn check(cx: &Cx, acks: i16, found: Found, data: PartitionProduceData) -> Result<(Admitted, BatchView), Refused> {
    if !(-1..=1).contains(&acks) {
        return Err(Refused::new(ErrorCode::INVALID_REQUIRED_ACKS, format!("acks is {acks}; -1, 0 and 1 are known")));
    }
    if let Some(reason) = cx.node.partitions.offline_reason() {
        return Err(Refused::new(ErrorCode::KAFKA_STORAGE_ERROR, reason));
    }
    let Some(records) = data.records.filter(|records| !records.is_empty()) else {
        return Err(Refused::new(ErrorCode::INVALID_RECORD, "a partition without a record batch"));
    };
    let config = found.replica.config();
    let admitted = epoch::admit(found, acks)?;
    let batch = record::check_produced(records).map_err(|error| bad_batch(&error))?;
    if batch.header().is_transactional() {
        return Err(Refused::new(ErrorCode::INVALID_TXN_STATE, "transactions are not served"));
    }
    if batch.header().compression() == Ok(Compression::Zstd) && cx.version < 7 {
        return Err(Refused::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce 7 or later"));
    }
    let batch = rewrite::where_asked_for(&config, batch)?;
    Ok((admitted, batch))
}

/// Why records that were appended are not as safe as was asked for, if they are not.
fn not_safe(cx: &Cx, said: Option<Safety>) -> Option<Refused> {
    let code = match said {
        Some(Safety::Safe) => return None,
        Some(Safety::LeadershipEnded | Safety::LookAgain) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        Some(Safety::TimedOut) => ErrorCode::REQUEST_TIMED_OUT,
        Some(Safety::WriteFailed) => ErrorCode::KAFKA_STORAGE_ERROR,
        None if cx.node.partitions.offline_reason().is_some() => ErrorCode::KAFKA_STORAGE_ERROR,
        None => ErrorCode::NOT_LEADER_OR_FOLLOWER,
    };
    Some(code.into())
}

fn append(now: Timestamp, found: Found, batch: BatchView, acks: i16, patience: Duration) -> Outcome {
    let context = AppendContext { epoch: found.leader_epoch, now, origin: Origin::Client };
    match found.replica.log.append(batch.clone(), context) {
        Ok(appended) if found.replica.is_alone() => Outcome::Taken(appended, None),
        Ok(appended) => {
            let acks = if acks == -1 { Acks::All } else { Acks::Leader };
            // A retry waits for the records that it repeats.
            let said = found.replica.appended(appended.last.plus(1), acks, patience);
            Outcome::Taken(appended, Some(Promise { found, said }))
        }
        Err(AppendError::Full) => Outcome::Waiting(found, batch),
        Err(error) => Outcome::Refused(append_error(&error, &found)),
    }
}

/// Kafka's code for what a log refuses.
fn append_error(error: &AppendError, found: &Found) -> Refused {
    let code = match error {
        // Kafka's code for both. Clients try again, and the disk may have room before they give up.
        AppendError::Offline(_) | AppendError::NoSpace => ErrorCode::KAFKA_STORAGE_ERROR,
        AppendError::Deleted => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AppendError::Fenced(_) | AppendError::UnknownEpoch { .. } => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        AppendError::Malformed => ErrorCode::INVALID_RECORD,
        AppendError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        AppendError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::InvalidTimestamp { .. } => ErrorCode::INVALID_TIMESTAMP,
        AppendError::Producer(producer::Refused::OutOfOrderSequence { .. }) => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::Producer(producer::Refused::FencedEpoch { .. }) => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::Full => ErrorCode::REQUEST_TIMED_OUT,
    };
    let expected = if let AppendError::Producer(producer::Refused::OutOfOrderSequence { expected, .. }) = error {
        Some(*expected)
    } else {
        None
    };
    let log_start = found.replica.log.log_start().get();
    Refused { log_start, expected, ..Refused::new(code, error.to_string()) }
}

fn taken(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: 0,
        base_offset: appended.base.get(),
        log_append_time_ms: appended.append_time.get(),
        log_start_offset: appended.start.get(),
        ..PartitionProduceResponse::default()
    }
}

fn not_taken(index: i32, refused: Refused) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: refused.error.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: refused.log_start,
        error_message: refused.message,
        ..PartitionProduceResponse::default()
    }
}

/// Kafka's code for a batch that is none.
fn bad_batch(error: &BatchError) -> Refused {
    let code = match error {
        BatchError::Truncated { .. } | BatchError::BadLength { .. } | BatchError::BadCrc { .. } => {
            ErrorCode::CORRUPT_MESSAGE
        }
        BatchError::LegacyFormat { .. } => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
        BatchError::UnknownCompression { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
        BatchError::UnknownFormat { .. }
        | BatchError::BadCount { .. }
        | BatchError::BadOffsets { .. }
        | BatchError::BaseOffsetNotZero { .. }
        | BatchError::ControlFromProducer
        | BatchError::ProducerIncomplete { .. }
        | BatchError::TransactionWithoutProducer
        | BatchError::Empty
        | BatchError::MoreThanOneBatch { .. } => ErrorCode::INVALID_RECORD,
    };
    Refused::new(code, error.to_string())
}
