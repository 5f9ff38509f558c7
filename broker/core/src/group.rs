//! The group coordinator's machine: one [`Shard`] per partition of `__consumer_offsets`, stepping all of its groups.
//!
//! Owns every decision of the classic group protocol and of committed offsets, with Kafka's semantics. It takes events
//! and time and returns [`Effects`]; it never performs an append, answers a socket or reads a clock. Committed offsets
//! stand in the [`View`], which the shell keeps at the high watermark; what is on its way lies in a bounded overlay.
//!
//! * G1: one owner per partition per generation; commits of a stale generation or a fenced static member are refused.
//! * G2: a fetch returns the last acked commit; while anything is loading it is refused, never answered with −1.
//! * G3: offsets never expire while the group uses them.
//! * A reply that depends on an append leaves only at [`Event::Committed`]; [`Event::AppendFailed`] rolls back.

mod append;
mod commit;
mod config;
mod delete;
mod describe;
mod error;
mod expire;
mod fetch;
mod heartbeat;
mod join;
mod join_existing;
mod join_static;
mod leave;
mod load;
mod member;
pub mod message;
mod offset_delete;
mod rebalance;
mod record;
mod state;
mod subscription;
mod sync;
mod timers;
mod view;
mod words;

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "an unexpected answer fails the test, whatever it is")]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

pub use config::Config;
pub use error::{AppendError, Error};
pub use load::LoadedGroup;
pub use message::{Reply, Request};
pub use record::{GroupValue, MemberValue, Record, RecordError};
pub use view::{Applied, Birth, View, ViewError};
pub use words::{
    AppendId, CommittedOffset, CommittedPartition, Generation, GroupId, InstanceId, MemberId, Now, State, Token,
    TopicName,
};

use append::Appends;
use message::{Fetch, Joined};
use state::Group;
use timers::{Alarm, Key, Timers};

/// What happens to a shard.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks.
    Request {
        /// Names the request in [`Effects::replies`].
        token: Token,
        /// What it asks.
        request: Request,
    },
    /// Topics are gone; nobody needs their offsets.
    TopicsDeleted(Vec<TopicName>),
    /// Every record up to the log's end has been read. The view stands there too.
    Loaded(Vec<LoadedGroup>),
    /// The partition has another leader, or the broker stops.
    Unloaded,
    /// Every append up to this one is durable, below the high watermark, and in the view.
    Committed(AppendId),
    /// An append did not get into the log, and never will.
    AppendFailed(AppendId, AppendError),
    /// The view was lost; offsets cannot be read until [`Event::ViewRebuilt`].
    ViewLost,
    /// The view stands at the high watermark again.
    ViewRebuilt,
    /// Time has passed.
    Tick,
}

/// Records to append as one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Names the append in [`Event::Committed`] and [`Event::AppendFailed`].
    pub id: AppendId,
    /// The records, at least one.
    pub records: Vec<Record>,
}

/// What the shell must do after a step.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To perform in order, before the next step of the same shard.
    pub appends: Vec<Append>,
    /// Answers that may leave at once.
    pub replies: Vec<(Token, Reply)>,
    /// Requests that were refused because there is no room for what they would have brought.
    pub no_room: usize,
    /// The view could not be read or is not where it was left: drop it and build it anew from the log.
    pub view_lost: Option<ViewError>,
}

impl Effects {
    fn reply(&mut self, token: Token, reply: Reply) {
        self.replies.push((token, reply));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Shard {
    config: Config,
    phase: Phase,
    view_ready: bool,
    groups: BTreeMap<GroupId, Group>,
    timers: Timers,
    appends: Appends,
    /// How many more bytes all groups may take.
    room: usize,
    /// What the groups take.
    bytes: usize,
    /// The groups have changed in what they take.
    recount: bool,
    /// Fetches that wait for every append up to the one named.
    stable_fetches: VecDeque<(AppendId, Token, Fetch)>,
}

impl Shard {
    /// A shard whose records are still to be read.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Loading,
            view_ready: false,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            appends: Appends::default(),
            room: usize::MAX,
            bytes: 0,
            recount: false,
            stable_fetches: VecDeque::new(),
        }
    }

    /// When the shard wants its next [`Event::Tick`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Number of groups by state, for metrics.
    pub fn count_by_state(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for group in self.groups.values() {
            *counts.entry(group.state).or_default() += 1;
        }
        counts
    }

    /// The groups of this shard.
    pub fn group_ids(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// How many more bytes there are for the groups of all shards, until somebody says otherwise. Newcomers are refused
    /// when it is used up; what is there stays.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// What the groups take in memory; offsets are not there.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in one event. `view` must be the view of this shard, at the high watermark unless it is known to be lost.
    pub fn step(&mut self, now: Now, event: Event, view: &View<'_>, out: &mut Effects) {
        self.recount = may_change_groups(&event);
        match event {
            Event::Request { token, request } => self.on_request(now, token, request, view, out),
            Event::TopicsDeleted(topics) => self.on_topics_deleted(&topics, view, out),
            Event::Loaded(groups) => self.on_loaded(now, groups, out),
            Event::Unloaded => self.on_unloaded(out),
            Event::Committed(upto) => self.on_committed(now, upto, view, out),
            Event::AppendFailed(id, error) => self.on_append_failed(now, id, error, view, out),
            Event::ViewLost => self.view_ready = false,
            Event::ViewRebuilt => self.view_ready = true,
            Event::Tick => self.on_tick(now, view, out),
        }
        if out.view_lost.is_some() {
            self.view_ready = false;
        }
        if self.recount {
            self.bytes = self.groups.values().map(Group::bytes).sum();
        }
        self.check();
    }

    fn on_request(&mut self, now: Now, token: Token, request: Request, view: &View<'_>, out: &mut Effects) {
        if let Some(refusal) = self.refusal(&request) {
            return out.reply(token, refusal);
        }
        match request {
            Request::Join(join) => self.on_join(now, token, join, out),
            Request::Sync(sync) => self.on_sync(token, sync, out),
            Request::Heartbeat(heartbeat) => self.on_heartbeat(now, token, &heartbeat, out),
            Request::Leave(leave) => self.on_leave(now, token, &leave, out),
            Request::Commit(commit) => self.on_commit(now, token, commit, out),
            Request::Fetch(fetch) => self.on_fetch(token, fetch, view, out),
            Request::Describe(group) => self.on_describe(token, &group, out),
            Request::List(list) => self.on_list(token, &list, out),
            Request::Delete(group) => self.on_delete(token, &group, view, out),
            Request::DeleteOffsets(delete) => self.on_delete_offsets(token, delete, view, out),
        }
    }

    /// The refusals that need no look at the group.
    fn refusal(&self, request: &Request) -> Option<Reply> {
        let unnamed = match request {
            Request::Join(message::Join { group, .. })
            | Request::Sync(message::Sync { group, .. })
            | Request::Heartbeat(message::Heartbeat { group, .. })
            | Request::Leave(message::Leave { group, .. })
            | Request::DeleteOffsets(message::DeleteOffsets { group, .. }) => group.as_str().is_empty(),
            // For backwards compatibility the empty group id keeps offsets.
            Request::Commit(_) | Request::Fetch(_) | Request::Describe(_) | Request::List(_) | Request::Delete(_) => {
                false
            }
        };
        match self.phase {
            _ if unnamed => Some(refuse(request, Error::InvalidGroupId)),
            Phase::Active => None,
            // A member of a group that is still loading is believed: it would only come back to the same place.
            Phase::Loading if matches!(request, Request::Heartbeat(_)) => Some(Reply::Heartbeat(Ok(()))),
            Phase::Loading => Some(refuse(request, Error::LoadInProgress)),
            Phase::Unloaded => Some(refuse(request, Error::NotCoordinator)),
        }
    }

    fn on_tick(&mut self, now: Now, view: &View<'_>, out: &mut Effects) {
        while let Some((key, alarm)) = self.timers.pop(now.monotonic) {
            match (key, alarm) {
                (Key::Session(group, member), _) => self.on_session_expired(now, &group, &member, out),
                (Key::Join(group), Alarm::InitialJoin { delay, remaining }) => {
                    self.on_initial_join_over(now, &group, delay, remaining, out);
                }
                (Key::Join(group), _) => self.complete_join(now, &group, out),
                (Key::Sync(group), Alarm::SyncDeadline { generation }) => {
                    self.on_sync_over(now, &group, generation, out);
                }
                (Key::Sync(_), _) => {}
                (Key::Expiry, _) => self.on_expiry(now, view, out),
            }
        }
    }

    fn check(&self) {
        assert!(self.phase == Phase::Active || self.timers.next().is_none(), "only an active shard has timers");
        if cfg!(debug_assertions) {
            self.timers.check();
            self.appends.check();
            self.groups.values().for_each(Group::check);
            let bytes: usize = self.groups.values().map(Group::bytes).sum();
            assert_eq!(self.bytes, bytes, "what the groups take is counted exactly");
        }
    }
}

/// Whether groups or members may come, go or change; what happens all the time does none of it.
fn may_change_groups(event: &Event) -> bool {
    match event {
        Event::Request { request, .. } => match request {
            Request::Join(_)
            | Request::Sync(_)
            | Request::Leave(_)
            | Request::Delete(_)
            | Request::DeleteOffsets(_) => true,
            Request::Heartbeat(_)
            | Request::Commit(_)
            | Request::Fetch(_)
            | Request::Describe(_)
            | Request::List(_) => false,
        },
        Event::Committed(_) | Event::ViewLost | Event::ViewRebuilt => false,
        Event::TopicsDeleted(_) | Event::Loaded(_) | Event::Unloaded | Event::AppendFailed(..) | Event::Tick => true,
    }
}

/// The answer of the request's own kind that carries `error`.
fn refuse(request: &Request, error: Error) -> Reply {
    match request {
        Request::Join(join) => Reply::Join(Joined::refused(error, join.member.clone())),
        Request::Sync(_) => Reply::Sync(Err(error)),
        Request::Heartbeat(_) => Reply::Heartbeat(Err(error)),
        Request::Leave(_) => Reply::Leave(Err(error)),
        Request::Commit(_) => Reply::Commit(Err(error)),
        Request::Fetch(_) => Reply::Fetch(Err(error)),
        Request::Describe(_) => Reply::Describe(Err(error)),
        Request::List(_) => Reply::List(Err(error)),
        Request::Delete(_) => Reply::Delete(Err(error)),
        Request::DeleteOffsets(_) => Reply::DeleteOffsets(Err(error)),
    }
}
