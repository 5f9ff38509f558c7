//! Fetch sessions (KIP-227): a consumer names its partitions once and then only what changes.
//!
//! Owns the cache of sessions and what each of them remembers. Memory is bounded by
//! `max.incremental.fetch.session.cache.slots`; a client that finds no slot is served without a session. Pure: time is
//! an argument. Must never answer from a session whose epoch the client did not state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use ottla_core::types::{Offset, TopicId};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

/// A session may be taken for another client after this long without use.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// The epoch of a request that wants a new session.
pub(super) const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, or wants the one it names to end.
pub(super) const FINAL_EPOCH: i32 = -1;

/// How a request names a topic: by name up to version 12, by id from 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// A partition as a consumer asks for it, and what it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicRef,
    /// The partition within it.
    pub partition: i32,
    /// From where.
    pub offset: Offset,
    /// The most bytes for this partition.
    pub bytes_max: i32,
    /// The leader epoch that the client knows; −1 for none.
    pub current_leader_epoch: i32,
    /// The epoch of the record before `offset`; −1 for none.
    pub last_fetched_epoch: i32,
    /// High watermark that was last answered; −1 for none.
    pub told_high_watermark: i64,
    /// Log start offset that was last answered; −1 for none.
    pub told_log_start: i64,
}

/// What one session remembers.
#[derive(Debug, Default)]
pub struct Session {
    /// Partitions in the order in which they are read next.
    pub partitions: Vec<Wanted>,
    next_epoch: i32,
    by_id: bool,
}

impl Session {
    /// Adds and replaces `changed`, then drops `forgotten`.
    fn update(&mut self, changed: Vec<Wanted>, forgotten: &[(TopicRef, i32)]) {
        if !forgotten.is_empty() {
            let forgotten: hashbrown::HashSet<&(TopicRef, i32)> = forgotten.iter().collect();
            self.partitions.retain(|wanted| !forgotten.contains(&(wanted.topic.clone(), wanted.partition)));
        }
        if changed.is_empty() {
            return;
        }
        let mut places: HashMap<(TopicRef, i32), usize> = HashMap::with_capacity(changed.len());
        if changed.len() < 8 {
            for wanted in changed {
                match self.partitions.iter_mut().find(|known| same(known, &wanted)) {
                    Some(known) => keep_told(known, wanted),
                    None => self.partitions.push(wanted),
                }
            }
            return;
        }
        for (place, known) in self.partitions.iter().enumerate() {
            places.insert((known.topic.clone(), known.partition), place);
        }
        for wanted in changed {
            match places.get(&(wanted.topic.clone(), wanted.partition)) {
                Some(place) => keep_told(&mut self.partitions[*place], wanted),
                None => {
                    places.insert((wanted.topic.clone(), wanted.partition), self.partitions.len());
                    self.partitions.push(wanted);
                }
            }
        }
    }

    /// Moves the partitions that filled this answer behind the others, so that none starves.
    pub fn rotate(&mut self, served: &[usize]) {
        if served.is_empty() || self.partitions.len() < 2 {
            return;
        }
        let mut moved = Vec::with_capacity(served.len());
        let mut index = 0;
        let partitions = &mut self.partitions;
        partitions.retain(|wanted| {
            let filled = served.binary_search(&index).is_ok();
            index += 1;
            if filled {
                moved.push(wanted.clone());
            }
            !filled
        });
        partitions.extend(moved);
    }
}

fn same(left: &Wanted, right: &Wanted) -> bool {
    left.partition == right.partition && left.topic == right.topic
}

fn keep_told(known: &mut Wanted, wanted: Wanted) {
    let (told_high_watermark, told_log_start) = (known.told_high_watermark, known.told_log_start);
    *known = Wanted { told_high_watermark, told_log_start, ..wanted };
}

struct Slot {
    session: Arc<Mutex<Session>>,
    used: Instant,
}

/// How a request is to be served.
#[derive(Debug)]
pub enum Plan {
    /// Without a session: every partition is answered, the session id is 0.
    Sessionless(Vec<Wanted>),
    /// The first answer of a new session: every partition is answered.
    Full(i32, Arc<Mutex<Session>>),
    /// A later answer: only what changed.
    Incremental(i32, Arc<Mutex<Session>>),
}

/// All sessions of a broker.
pub struct Sessions {
    slots: Mutex<Slots>,
    slots_max: usize,
}

struct Slots {
    by_id: HashMap<i32, Slot>,
    last_id: i32,
    evictions: u64,
}

impl Sessions {
    /// A cache of up to `slots_max` sessions, whose ids start after `seed` (so that ids of an earlier run mean nothing).
    pub fn new(slots_max: usize, seed: i32) -> Self {
        let slots = Slots { by_id: HashMap::new(), last_id: seed & i32::MAX, evictions: 0 };
        Self { slots: Mutex::new(slots), slots_max }
    }

    /// Sessions in use.
    pub fn len(&self) -> usize {
        self.slots.lock().by_id.len()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.slots.lock().by_id.is_empty()
    }

    /// Sessions that had to make room for others.
    pub fn evictions(&self) -> u64 {
        self.slots.lock().evictions
    }

    /// Decides how to serve a request that names session `id` and `epoch`.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR; the client then starts
    /// a new session.
    pub fn plan(
        &self,
        now: Instant,
        (id, epoch): (i32, i32),
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: &[(TopicRef, i32)],
    ) -> Result<Plan, ErrorCode> {
        let mut slots = self.slots.lock();
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            slots.by_id.remove(&id);
            if epoch == FINAL_EPOCH || !slots.make_room(now, self.slots_max) {
                return Ok(Plan::Sessionless(wanted));
            }
            return Ok(slots.open(now, by_id, wanted));
        }
        let Some(slot) = slots.by_id.get_mut(&id) else { return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND) };
        slot.used = now;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.next_epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        // Epochs count from 1 to the largest i32 and start over at 1.
        session.next_epoch = epoch.checked_add(1).unwrap_or(1);
        session.update(wanted, forgotten);
        let empty = session.partitions.is_empty();
        drop(session);
        if empty {
            slots.by_id.remove(&id);
            return Ok(Plan::Sessionless(Vec::new()));
        }
        Ok(Plan::Incremental(id, shared))
    }
}

impl Slots {
    fn make_room(&mut self, now: Instant, slots_max: usize) -> bool {
        if self.by_id.len() < slots_max {
            return true;
        }
        let oldest = self.by_id.iter().min_by_key(|(_, slot)| slot.used).map(|(id, slot)| (*id, slot.used));
        match oldest {
            Some((id, used)) if now.saturating_duration_since(used) > EVICTABLE_AFTER => {
                self.by_id.remove(&id);
                self.evictions += 1;
                true
            }
            _ => false,
        }
    }

    fn open(&mut self, now: Instant, by_id: bool, wanted: Vec<Wanted>) -> Plan {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        let session = Session { partitions: wanted, next_epoch: 1, by_id };
        let session = Arc::new(Mutex::new(session));
        self.by_id.insert(self.last_id, Slot { session: Arc::clone(&session), used: now });
        Plan::Full(self.last_id, session)
    }
}

#[cfg(test)]
mod tests;
