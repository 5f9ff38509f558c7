//! A shard with everything around it that a broker provides: a log that commits when told to, the view, a clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::group::message::{
    Commit, CommitPartition, DeleteOffsets, Described, Fetch, Heartbeat, Join, Joined, Leave, Leaving, List, Sync,
    Synced,
};
use crate::group::*;
use crate::table::{Durability, MemoryTable, Table};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

pub(super) const SHARD: PartitionIndex = PartitionIndex::new(7);

pub(super) struct World {
    pub(super) config: Config,
    pub(super) shard: Shard,
    pub(super) table: MemoryTable,
    pub(super) now: Now,
    /// Whether appends become durable at once.
    pub(super) commits_at_once: bool,
    /// What the next append fails with.
    pub(super) fails: Option<AppendError>,
    pub(super) log: Vec<Record>,
    /// Requests that found no room.
    pub(super) no_room: usize,
    inflight: VecDeque<Append>,
    applied: Applied,
    birth: Birth,
    tokens: u64,
    replies: BTreeMap<Token, Reply>,
    ids: u128,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a monotonic clock has to start somewhere; only differences count"
        )]
        let start = Instant::now();
        let mut world = Self {
            shard: Shard::new(config.clone()),
            config,
            table: MemoryTable::default(),
            now: Now { monotonic: start, wall: Timestamp::new(1_000_000) },
            commits_at_once: true,
            fails: None,
            log: Vec::new(),
            no_room: 0,
            inflight: VecDeque::new(),
            applied: Applied { topic: TopicId::from_bytes([7; 16]), epoch: LeaderEpoch::new(0), next: Offset::new(0) },
            birth: Birth(1),
            tokens: 0,
            replies: BTreeMap::new(),
            ids: 0,
        };
        world.table.write(View::begin(SHARD, world.birth, world.applied), Durability::Lazy).unwrap();
        world.load();
        world
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.table, SHARD, self.birth, self.applied)
    }

    fn load(&mut self) {
        let groups = self.view().groups().unwrap();
        self.step(Event::Loaded(groups));
    }

    /// The broker dies: what is not committed is gone, and a new one reads the log.
    pub(super) fn restart(&mut self) {
        self.inflight.clear();
        self.shard = Shard::new(self.config.clone());
        self.load();
    }

    /// The same with the view lost: it is built anew from the log's records, byte for byte.
    pub(super) fn restart_without_view(&mut self) {
        self.table = MemoryTable::default();
        self.birth.0 += 1;
        let mut changes = View::begin(SHARD, self.birth, self.applied);
        for record in &self.log {
            let (key, value) = record.encode().unwrap();
            let decoded = Record::decode(key, value.clone()).unwrap().expect("a record of ours");
            changes.push(View::change(SHARD, &decoded, value.as_ref()));
        }
        self.table.write(changes, Durability::Lazy).unwrap();
        self.restart();
    }

    pub(super) fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut out = Effects::default();
            let view = View::new(&self.table, SHARD, self.birth, self.applied);
            self.shard.step(self.now, event, &view, &mut out);
            self.no_room += out.no_room;
            for append in out.appends {
                match self.fails {
                    Some(error) => events.push_back(Event::AppendFailed(append.id, error)),
                    None => self.inflight.push_back(append),
                }
            }
            for (token, reply) in out.replies {
                assert!(self.replies.insert(token, reply).is_none(), "a request is answered once");
            }
            if self.commits_at_once {
                events.extend(self.apply());
            }
        }
    }

    fn apply(&mut self) -> Option<Event> {
        let last = self.inflight.back()?.id;
        let mut changes = Vec::new();
        for append in std::mem::take(&mut self.inflight) {
            for record in append.records {
                let (_, value) = record.encode().unwrap();
                changes.push(View::change(SHARD, &record, value.as_ref()));
                self.applied.next = self.applied.next.plus(1);
                self.log.push(record);
            }
        }
        changes.push(View::mark(SHARD, self.applied));
        self.table.write(changes, Durability::Lazy).unwrap();
        Some(Event::Committed(last))
    }

    /// Everything appended becomes durable.
    pub(super) fn commit(&mut self) {
        if let Some(event) = self.apply() {
            self.step(event);
        }
    }

    /// Everything on its way is lost, as when the data directory goes offline.
    pub(super) fn lose(&mut self, error: AppendError) {
        for append in std::mem::take(&mut self.inflight) {
            self.step(Event::AppendFailed(append.id, error));
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= end) {
            self.go_to(at.max(self.now.monotonic));
            self.step(Event::Tick);
        }
        self.go_to(end);
    }

    fn go_to(&mut self, at: Instant) {
        let passed = at - self.now.monotonic;
        self.now.monotonic = at;
        self.now.wall = Timestamp::new(self.now.wall.get() + i64::try_from(passed.as_millis()).unwrap());
    }

    pub(super) fn send(&mut self, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(Event::Request { token, request });
        token
    }

    pub(super) fn reply(&mut self, token: Token) -> Option<Reply> {
        self.replies.remove(&token)
    }

    pub(super) fn is_waiting(&self, token: Token) -> bool {
        !self.replies.contains_key(&token)
    }

    fn call(&mut self, request: Request) -> Reply {
        let token = self.send(request);
        self.reply(token).expect("an answer at once")
    }

    pub(super) fn fresh(&mut self) -> uuid::Uuid {
        self.ids += 1;
        uuid::Uuid::from_u128(self.ids)
    }

    pub(super) fn join(&mut self, join: Join) -> Token {
        let fresh = self.fresh();
        self.send(Request::Join(Join { fresh, ..join }))
    }

    pub(super) fn joined(&mut self, token: Token) -> Joined {
        match self.reply(token) {
            Some(Reply::Join(joined)) => joined,
            other => panic!("no answer to a join: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, token: Token) -> Result<Synced, Error> {
        match self.reply(token) {
            Some(Reply::Sync(synced)) => synced,
            other => panic!("no answer to a sync: {other:?}"),
        }
    }

    /// Gets a member id and joins with it, as clients do since version 4.
    pub(super) fn enter(&mut self, group: &str) -> (MemberId, Token) {
        let first = self.join(join(group));
        let told = self.joined(first);
        assert_eq!(told.error, Some(Error::MemberIdRequired));
        let token = self.join(Join { member: told.member.clone(), ..join(group) });
        (told.member, token)
    }

    /// A group of one member that has its assignment.
    pub(super) fn stable(&mut self, group: &str) -> (MemberId, Generation) {
        let (member, token) = self.enter(group);
        self.pass(self.config.initial_rebalance_delay);
        let joined = self.joined(token);
        assert_eq!(joined.error, None);
        let synced = self.sync(group, &member, joined.generation, &[(&member, "all")]);
        assert_eq!(self.synced(synced).unwrap().assignment, "all");
        (member, joined.generation)
    }

    pub(super) fn sync(
        &mut self,
        group: &str,
        member: &MemberId,
        generation: Generation,
        assignments: &[(&MemberId, &'static str)],
    ) -> Token {
        let assignments = assignments.iter().map(|(member, text)| ((*member).clone(), Bytes::from(*text)));
        self.send(Request::Sync(Sync {
            group: group.into(),
            member: member.clone(),
            instance: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.collect(),
        }))
    }

    pub(super) fn heartbeat(&mut self, group: &str, member: &MemberId, generation: Generation) -> Result<(), Error> {
        let request = Heartbeat { group: group.into(), member: member.clone(), instance: None, generation };
        match self.call(Request::Heartbeat(request)) {
            Reply::Heartbeat(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leave(&mut self, group: &str, members: &[(&str, Option<&str>)]) -> Result<Vec<Option<Error>>, Error> {
        let leaving = |(member, instance): &(&str, Option<&str>)| Leaving {
            member: MemberId::from(*member),
            instance: instance.map(InstanceId::from),
        };
        let members = members.iter().map(leaving).collect();
        match self.call(Request::Leave(Leave { group: group.into(), members })) {
            Reply::Leave(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit_token(&mut self, commit: Commit) -> Token {
        self.send(Request::Commit(commit))
    }

    pub(super) fn commit_offset(
        &mut self,
        group: &str,
        member: &MemberId,
        generation: Generation,
        offset: i64,
    ) -> Result<Vec<Option<Error>>, Error> {
        let commit = Commit { member: member.clone(), generation, ..commit(group, "t", 0, offset) };
        match self.call(Request::Commit(commit)) {
            Reply::Commit(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn admin_commit(&mut self, group: &str, topic: &str, offset: i64) {
        let reply = self.call(Request::Commit(commit(group, topic, 0, offset)));
        assert_eq!(reply, Reply::Commit(Ok(vec![None])));
    }

    pub(super) fn fetch(&mut self, group: &str, topic: &str) -> Result<Option<i64>, Error> {
        let topics = Some(vec![(TopicName::from(topic), vec![PartitionIndex::new(0)])]);
        let request = Request::Fetch(Fetch { group: group.into(), topics, require_stable: false });
        match self.call(request) {
            Reply::Fetch(Ok(topics)) => {
                let (_, value) = topics[0].partitions[0].clone();
                Ok(value.map(|value| value.offset.get()))
            }
            Reply::Fetch(Err(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn fetch_all(&mut self, group: &str) -> Vec<(String, i32, i64)> {
        let request = Request::Fetch(Fetch { group: group.into(), topics: None, require_stable: false });
        let Reply::Fetch(Ok(topics)) = self.call(request) else { panic!("no offsets") };
        let flat = topics.into_iter().flat_map(|topic| {
            let name = topic.topic.as_str().to_owned();
            topic
                .partitions
                .into_iter()
                .map(move |(partition, value)| (name.clone(), partition.get(), value.expect("committed").offset.get()))
        });
        flat.collect()
    }

    pub(super) fn describe(&mut self, group: &str) -> Result<Described, Error> {
        match self.call(Request::Describe(group.into())) {
            Reply::Describe(described) => described,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&mut self, group: &str) -> Option<State> {
        self.describe(group).ok().map(|described| described.state)
    }

    pub(super) fn list(&mut self, states: &[&str], types: &[&str]) -> Vec<(String, State)> {
        let list = List {
            states: states.iter().map(ToString::to_string).collect(),
            types: types.iter().map(ToString::to_string).collect(),
        };
        let Reply::List(Ok(groups)) = self.call(Request::List(list)) else { panic!("no list") };
        groups.into_iter().map(|listed| (listed.group.as_str().to_owned(), listed.state)).collect()
    }

    pub(super) fn delete(&mut self, group: &str) -> Result<(), Error> {
        match self.call(Request::Delete(group.into())) {
            Reply::Delete(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn delete_offsets(&mut self, group: &str, topics: &[&str]) -> Result<Vec<Option<Error>>, Error> {
        let partitions = topics.iter().map(|topic| partition(topic, 0)).collect();
        match self.call(Request::DeleteOffsets(DeleteOffsets { group: group.into(), partitions })) {
            Reply::DeleteOffsets(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn partition(topic: &str, index: i32) -> CommittedPartition {
    CommittedPartition { topic: topic.into(), partition: index.into() }
}

/// A subscription to topics in the consumer protocol, version 0.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend_from_slice(&i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.into()
}

/// What an ordinary consumer of topic `t` sends first.
pub(super) fn join(group: &str) -> Join {
    Join {
        group: group.into(),
        member: MemberId::from(""),
        instance: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&["t"]))],
        member_id_required: true,
        assignment_skippable: true,
        fresh: uuid::Uuid::nil(),
    }
}

pub(super) fn commit(group: &str, topic: &str, index: i32, offset: i64) -> Commit {
    Commit {
        group: group.into(),
        member: MemberId::from(""),
        instance: None,
        generation: Generation::NONE,
        retention_ms: -1,
        unknown_group_named: true,
        partitions: vec![CommitPartition {
            topic_id: TopicId::ZERO,
            partition: partition(topic, index),
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: None,
        }],
    }
}
