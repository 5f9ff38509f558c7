//! Fetch, versions 4 to 18: records from where the client stands, at once or when enough have come.
//!
//! Versions: 7 fetch sessions (KIP-227), 9 leader epochs (KIP-320), 11 racks and reading from followers (KIP-392), 12 truncation detection, 13 topic ids (KIP-516), 15 and up fields between brokers that clients leave alone.
//! Owns size limits, long polls and what an incremental answer leaves out. Must never copy records, nor answer bytes
//! at or past the high watermark (R10).

mod nearest;
mod session;

use std::sync::Arc;
use std::time::Duration;

use ottla_core::limits;
use ottla_core::metadata::Image;
use ottla_core::types::{BrokerId, LeaderEpoch, Offset};
use ottla_log::partition::ReadError;
use ottla_wire::ErrorCode;
use ottla_wire::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use parking_lot::Mutex;

use nearest::Nearest;
pub use session::Sessions;
use session::{Plan, TopicRef, Wanted};

use crate::leader_hint::Hints;
use crate::lookup::{self, Found};
use crate::partitions::{FetchWait, Replica, Waiting};
use crate::server::admission::Charge;
use crate::server::dispatch::Cx;
use crate::server::reply::{Answer, Close};

/// The most record bytes of one answer, whatever the client allows: so that four answers fit the budget.
const ANSWER_BYTES_MAX: usize = limits::FETCH_BYTES / 4;
/// The first version whose answer says who leads a partition, and the first that says where that is.
const LEADERS: i16 = 12;
const ENDPOINTS: i16 = 16;
/// Long polls are ended after this time at the latest.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// One partition's outcome.
struct Outcome {
    error: ErrorCode,
    high_watermark: i64,
    log_start: i64,
    diverging: Option<(LeaderEpoch, Offset)>,
    leader: Option<(i32, i32)>,
    /// Who had better be asked.
    preferred: Option<BrokerId>,
    chunks: Vec<bytes::Bytes>,
    bytes: usize,
}

impl Outcome {
    fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            log_start: -1,
            diverging: None,
            leader: None,
            preferred: None,
            chunks: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether an answer must leave at once on account of this partition.
    fn is_urgent(&self) -> bool {
        self.error != ErrorCode::NONE || self.diverging.is_some() || self.preferred.is_some()
    }
}

/// What a request comes to, its session considered.
#[derive(Clone)]
struct Asked {
    wanted: Vec<Wanted>,
    /// How the client is sent to a replica near it, if it is.
    nearest: Option<Nearest>,
}

/// A partition that can be read here, and who had better be asked.
struct Place {
    found: Found,
    preferred: Option<BrokerId>,
}

/// Serves the request whole.
///
/// # Errors
/// [`Close`] when the response cannot be encoded.
pub async fn handle(cx: &Cx, request: FetchRequest) -> Result<Answer, Close> {
    let by_id = cx.version >= 13;
    let (ids, max_wait, min_bytes) =
        ((request.session_id, request.session_epoch), request.max_wait_ms, request.min_bytes);
    let committed_only = request.isolation_level == 1;
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let nearest = Nearest::of(cx, &request.rack_id);
    let (wanted, forgotten) = wanted(request, by_id);
    let sessions = &cx.node.fetch_sessions;
    let plan = match sessions.plan(cx.node.clock.monotonic(), ids, by_id, wanted, &forgotten) {
        Ok(plan) => plan,
        Err(error) => return respond(cx, error, 0, Vec::new(), Vec::new()),
    };
    let (session_id, wanted, session) = match plan {
        Plan::Sessionless(wanted) => (0, wanted, None),
        Plan::Full(id, session) => {
            let wanted = session.lock().partitions.clone();
            (id, wanted, Some((session, false)))
        }
        Plan::Incremental(id, session) => {
            let wanted = session.lock().partitions.clone();
            (id, wanted, Some((session, true)))
        }
    };
    let asked = Arc::new(Asked { wanted, nearest });
    let Paid { outcomes, charge, .. } = gather(cx, &asked, bytes_max, min_bytes, max_wait).await;
    let wanted = Arc::unwrap_or_clone(asked).wanted;
    let answered = match session {
        None => (0..wanted.len()).collect(),
        Some((session, incremental)) => remember(&session, &wanted, &outcomes, incremental),
    };
    let image = cx.node.metadata.image();
    let mut hints = Hints::new(&image, cx.node.id(), &cx.session.listener.name);
    let outcomes = hinted(&mut hints, cx.version, &image, &wanted, outcomes);
    let topics = topics(wanted, outcomes, &answered, committed_only);
    let endpoint = |(node_id, host, port)| NodeEndpoint { node_id, host, port, rack: None };
    let endpoints = hints.endpoints().filter(|_| cx.version >= ENDPOINTS).map(endpoint).collect();
    respond(cx, ErrorCode::NONE, session_id, topics, endpoints).map(|answer| holding(answer, charge))
}

fn holding(answer: Answer, charge: Charge) -> Answer {
    if charge.held() == 0 && !charge.is_oversized() { answer } else { answer.holding(charge) }
}

fn wanted(request: FetchRequest, by_id: bool) -> (Vec<Wanted>, Vec<(TopicRef, i32)>) {
    let reference = |name: String, id: [u8; 16]| {
        if by_id { TopicRef::Id(ottla_core::types::TopicId::from_bytes(id)) } else { TopicRef::Name(name) }
    };
    let mut wanted = Vec::new();
    for topic in request.topics {
        let reference = reference(topic.topic, topic.topic_id);
        wanted.extend(topic.partitions.into_iter().map(|partition| Wanted {
            topic: reference.clone(),
            partition: partition.partition,
            offset: Offset::new(partition.fetch_offset),
            bytes_max: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            told_high_watermark: -1,
            told_log_start: -1,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        let reference = reference(topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.into_iter().map(|partition| (reference.clone(), partition)));
    }
    (wanted, forgotten)
}

/// What was read, and the memory that it holds.
struct Paid {
    outcomes: Vec<Outcome>,
    charge: Charge,
    /// How many bytes might have been read.
    limit: usize,
}

impl Paid {
    /// Whether it is worth an answer before the time is up. Where memory is short, half of what it allows is much.
    fn is_enough(&self, bytes_max: usize, min_bytes: usize) -> bool {
        let wanted = if self.limit < bytes_max { min_bytes.min(self.limit / 2) } else { min_bytes };
        bytes_of(&self.outcomes) >= wanted.max(1) || min_bytes == 0 || self.outcomes.iter().any(Outcome::is_urgent)
    }
}

fn bytes_of(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.bytes).sum()
}

/// Reads, and reads once more after waiting if the first time there was too little. Holds nothing while it waits.
async fn gather(cx: &Cx, asked: &Arc<Asked>, bytes_max: usize, min_bytes: i32, max_wait_ms: i32) -> Paid {
    let max_wait = Duration::from_millis(u64::try_from(max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let min_bytes = usize::try_from(min_bytes).unwrap_or(0).min(bytes_max);
    let deadline = tokio::time::Instant::from_std(cx.node.clock.monotonic() + max_wait);
    let paid = read_paid(cx, asked, bytes_max).await;
    if max_wait.is_zero() || paid.is_enough(bytes_max, min_bytes) || asked.wanted.is_empty() && min_bytes == 0 {
        return paid;
    }
    drop(paid);
    // Registered before looking again: what comes in between is counted.
    let wait = FetchWait::new(i64::try_from(min_bytes).unwrap_or(i64::MAX));
    let _waiting = register(cx, asked, &wait);
    loop {
        let paid = read_paid(cx, asked, bytes_max).await;
        if paid.is_enough(bytes_max, min_bytes) {
            return paid;
        }
        drop(paid);
        let woken = tokio::select! {
            () = wait.done() => true,
            () = tokio::time::sleep_until(deadline) => false,
            () = cx.node.shutdown.cancelled() => false,
        };
        if !woken {
            return read_paid(cx, asked, bytes_max).await;
        }
    }
}

/// Reads as much as memory allows. The first batch comes whole, however large, and is paid for like everything else:
/// where there is no room for it, it is let go, waited for, and read again.
async fn read_paid(cx: &Cx, asked: &Arc<Asked>, bytes_max: usize) -> Paid {
    let mut charge = cx.node.fetch_budget.charge();
    let limit = charge.grow_share(bytes_max).await;
    let mut outcomes = read_all(cx, asked, limit).await;
    let read = bytes_of(&outcomes);
    if read > charge.held() && !charge.try_grow(read - charge.held()) {
        drop((outcomes, charge));
        charge = cx.node.fetch_budget.charge();
        charge.grow(read).await;
        outcomes = read_all(cx, asked, limit.min(read)).await;
    }
    charge.release(charge.held().saturating_sub(bytes_of(&outcomes)));
    Paid { outcomes, charge, limit }
}

fn register(cx: &Cx, asked: &Asked, wait: &Arc<FetchWait>) -> Vec<Waiting> {
    let places = asked.wanted.iter().filter_map(|wanted| find(cx, asked, wanted).ok());
    places.map(|place| place.found.replica.wait(wait)).collect()
}

/// Reads every partition: here if all of it is in memory, else where a disk may be waited for.
async fn read_all(cx: &Cx, asked: &Arc<Asked>, bytes_max: usize) -> Vec<Outcome> {
    let places: Vec<_> = asked.wanted.iter().map(|wanted| find(cx, asked, wanted)).collect();
    let cold = |(wanted, place): (&Wanted, &Result<Place, ErrorCode>)| {
        place.as_ref().is_ok_and(|place| is_cold(&place.found, wanted))
    };
    if !asked.wanted.iter().zip(&places).any(cold) {
        return read_here(&asked.wanted, &places, bytes_max);
    }
    let asked = Arc::clone(asked);
    cx.node.cold_reads.run(move || read_here(&asked.wanted, &places, bytes_max)).await
}

/// Whether a partition has something to read that is not in memory. What memory forgets in the meantime is read where
/// the request is served: rare, and harmless.
fn is_cold(found: &Found, wanted: &Wanted) -> bool {
    wanted.offset < found.replica.high_watermark() && !found.replica.log.in_memory(wanted.offset)
}

fn read_here(wanted: &[Wanted], places: &[Result<Place, ErrorCode>], bytes_max: usize) -> Vec<Outcome> {
    let mut left = bytes_max;
    // The first batch of the answer always comes whole, however small the limits are.
    let mut first = true;
    wanted
        .iter()
        .zip(places)
        .map(|(wanted, place)| {
            let outcome = match place {
                Ok(place) => read(place, wanted, left, first),
                Err(error) => Outcome::failed(*error),
            };
            left = left.saturating_sub(outcome.bytes);
            first = first && outcome.bytes == 0;
            outcome
        })
        .collect()
}

fn find(cx: &Cx, asked: &Asked, wanted: &Wanted) -> Result<Place, ErrorCode> {
    let image = cx.node.metadata.image();
    let (index, known) = (wanted.partition, wanted.current_leader_epoch);
    let (topic, found) = match &wanted.topic {
        TopicRef::Name(name) => (image.topic(name), lookup::by_name(&cx.node, &image, name, index, known)),
        TopicRef::Id(id) => (image.topic_by_id(*id), lookup::by_id(&cx.node, &image, *id, index, known)),
    };
    match (found, &asked.nearest, topic) {
        (Ok(found), Some(nearest), _) => Ok(Place { preferred: nearest.to(&image, &found, wanted), found }),
        (Err(ErrorCode::NOT_LEADER_OR_FOLLOWER), Some(_), Some(topic)) => {
            lookup::followed(&cx.node, topic, index, known).map(|found| Place { found, preferred: None })
        }
        (found, ..) => found.map(|found| Place { found, preferred: None }),
    }
}

fn read(place: &Place, wanted: &Wanted, left: usize, at_least_one: bool) -> Outcome {
    let found = &place.found;
    let replica: &Replica = &found.replica;
    if let Err(error) = found.check_epoch(wanted.current_leader_epoch) {
        let leader = Some((found.leader.get(), found.leader_epoch.get()));
        return Outcome { leader, ..Outcome::failed(error) };
    }
    if let Err(error) = found.confirmed() {
        return Outcome::failed(error);
    }
    let high_watermark = replica.high_watermark();
    let shown = found.shown_watermark().map_or(-1, Offset::get);
    let log_start = replica.log.log_start();
    let mut outcome = Outcome { high_watermark: shown, log_start: log_start.get(), ..Outcome::failed(ErrorCode::NONE) };
    // A follower that has less than the client does not know whether the client has too much.
    let knows = found.leads || wanted.offset <= replica.log.log_end();
    if let Some(diverging) = divergence(replica, wanted).filter(|_| knows) {
        outcome.diverging = Some(diverging);
        return outcome;
    }
    if wanted.offset < log_start || wanted.offset > replica.log.log_end() {
        return Outcome { error: ErrorCode::OFFSET_OUT_OF_RANGE, high_watermark: -1, log_start: -1, ..outcome };
    }
    if place.preferred.is_some() {
        return Outcome { preferred: place.preferred, ..outcome };
    }
    let bytes_max = usize::try_from(wanted.bytes_max).unwrap_or(0).min(left);
    if wanted.offset >= high_watermark || (bytes_max == 0 && !at_least_one) {
        return outcome;
    }
    match replica.log.read(wanted.offset, high_watermark, bytes_max, at_least_one) {
        Ok(read) => {
            outcome.bytes = read.bytes;
            outcome.chunks = read.chunks;
        }
        Err(error) => outcome = Outcome { error: read_error(&error), ..outcome },
    }
    outcome
}

/// Where the client's log and this one part, if they do (KIP-595's diverging epoch, for consumers KIP-320).
fn divergence(replica: &Replica, wanted: &Wanted) -> Option<(LeaderEpoch, Offset)> {
    if wanted.last_fetched_epoch < 0 {
        return None;
    }
    let claimed = LeaderEpoch::new(wanted.last_fetched_epoch);
    let (epoch, end) = replica.log.end_of_epoch(claimed).unwrap_or((LeaderEpoch::NONE, Offset::new(-1)));
    (epoch < claimed || end < wanted.offset).then_some((epoch, end))
}

fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        ReadError::Damaged { .. } | ReadError::Io(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// Notes what the session is told and returns the indexes of the partitions that the answer names.
fn remember(
    session: &Mutex<session::Session>,
    wanted: &[Wanted],
    outcomes: &[Outcome],
    incremental: bool,
) -> Vec<usize> {
    let mut session = session.lock();
    let mut named = Vec::new();
    let mut served = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let Some(known) = session.partitions.get_mut(index) else { break };
        // A client that sends its next request before this answer has changed the session: leave it alone.
        if known.topic != wanted[index].topic || known.partition != wanted[index].partition {
            return (0..outcomes.len()).collect();
        }
        let changed = known.told_high_watermark != outcome.high_watermark
            || known.told_log_start != outcome.log_start
            || outcome.bytes > 0
            || outcome.is_urgent();
        if outcome.error == ErrorCode::NONE {
            known.told_high_watermark = outcome.high_watermark;
            known.told_log_start = outcome.log_start;
        } else {
            // An error is told until it is over, and what follows it is news.
            known.told_high_watermark = -1;
        }
        if changed || !incremental {
            named.push(index);
        }
        if outcome.bytes > 0 {
            served.push(index);
        }
    }
    session.rotate(&served);
    named
}

fn topics(
    wanted: Vec<Wanted>,
    outcomes: Vec<Outcome>,
    answered: &[usize],
    committed_only: bool,
) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut last: Option<TopicRef> = None;
    let mut answered = answered.iter().copied().peekable();
    for (index, (wanted, outcome)) in wanted.into_iter().zip(outcomes).enumerate() {
        if answered.peek() != Some(&index) {
            continue;
        }
        answered.next();
        if last.as_ref() != Some(&wanted.topic) {
            let (topic, topic_id) = match &wanted.topic {
                TopicRef::Name(name) => (name.clone(), [0; 16]),
                TopicRef::Id(id) => (String::new(), id.to_bytes()),
            };
            topics.push(FetchableTopicResponse { topic, topic_id, partitions: Vec::new() });
            last = Some(wanted.topic.clone());
        }
        let Some(topic) = topics.last_mut() else { continue };
        topic.partitions.push(partition(&wanted, outcome, committed_only));
    }
    topics
}

fn partition(wanted: &Wanted, outcome: Outcome, committed_only: bool) -> PartitionData {
    let (epoch, end) = outcome.diverging.unwrap_or((LeaderEpoch::NONE, Offset::new(-1)));
    let (leader_id, leader_epoch) = outcome.leader.unwrap_or((-1, -1));
    PartitionData {
        partition_index: wanted.partition,
        error_code: outcome.error.code(),
        high_watermark: outcome.high_watermark,
        // No transaction is open: everything below the high watermark is stable.
        last_stable_offset: outcome.high_watermark,
        log_start_offset: outcome.log_start,
        diverging_epoch: EpochEndOffset { epoch: epoch.get(), end_offset: end.get() },
        current_leader: LeaderIdAndEpoch { leader_id, leader_epoch },
        aborted_transactions: committed_only.then(Vec::new),
        preferred_read_replica: outcome.preferred.map_or(-1, BrokerId::get),
        records: outcome.chunks,
        ..PartitionData::default()
    }
}

/// Who leads instead, where a client of a version that can be told asked the wrong broker (KIP-951).
fn hinted(
    hints: &mut Hints<'_>,
    version: i16,
    image: &Image,
    wanted: &[Wanted],
    mut outcomes: Vec<Outcome>,
) -> Vec<Outcome> {
    if version < LEADERS {
        return outcomes;
    }
    for (wanted, outcome) in wanted.iter().zip(&mut outcomes) {
        let topic = match &wanted.topic {
            TopicRef::Name(name) => image.topic(name),
            TopicRef::Id(id) => image.topic_by_id(*id),
        };
        let hint = hints.of(outcome.error, topic.map(|topic| &**topic), wanted.partition);
        outcome.leader = outcome.leader.or(hint);
    }
    outcomes
}

fn respond(
    cx: &Cx,
    error: ErrorCode,
    session_id: i32,
    topics: Vec<FetchableTopicResponse>,
    node_endpoints: Vec<NodeEndpoint>,
) -> Result<Answer, Close> {
    let (error_code, responses) = (error.code(), topics);
    let response = FetchResponse { error_code, session_id, responses, node_endpoints, ..FetchResponse::default() };
    cx.answer(&response)
}
