//! Random lives of a group: members join, sync, commit, leave, fall silent and are restarted; appends are slow or fail;
//! the broker dies; its view is lost. G1 to G3 are judged by what clients were told alone.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::harness::{World, commit, join};
use crate::group::message::{Commit, Fetch, Heartbeat, Join, Joined, Leave, Leaving, Sync};
use crate::group::*;

const GROUP: &str = "g";

#[derive(Clone, Debug)]
enum Op {
    Join(usize),
    /// The process restarts: it has forgotten its member id.
    Restart(usize),
    Sync(usize),
    Heartbeat(usize),
    Commit(usize),
    Leave(usize),
    Pass(u16),
    Commits(bool),
    Fail(bool),
    Die,
    LoseView,
    Fetch(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..ACTORS;
    prop_oneof![
        5 => who.clone().prop_map(Op::Join),
        1 => who.clone().prop_map(Op::Restart),
        6 => who.clone().prop_map(Op::Sync),
        3 => who.clone().prop_map(Op::Heartbeat),
        4 => who.clone().prop_map(Op::Commit),
        1 => who.prop_map(Op::Leave),
        3 => (0_u16..12_000).prop_map(Op::Pass),
        2 => any::<bool>().prop_map(Op::Commits),
        1 => any::<bool>().prop_map(Op::Fail),
        1 => Just(Op::Die),
        1 => Just(Op::LoseView),
        2 => any::<bool>().prop_map(Op::Fetch),
    ]
}

const ACTORS: usize = 5;
/// Actors from here on are static members.
const STATIC: usize = 3;

#[derive(Default)]
struct Actor {
    member: Option<MemberId>,
    joined: Option<Joined>,
    join: Option<Token>,
    sync: Option<(Token, Generation)>,
}

/// What the outside world knows.
#[derive(Default)]
struct Oracle {
    /// By generation, which round of which leader members were assigned by.
    assigned: BTreeMap<Generation, String>,
    /// The highest generation that someone has joined since the broker started.
    generation: Generation,
    acked: i64,
    sent: i64,
    commits: Vec<(Token, i64, Generation)>,
    fetches: Vec<(Token, i64)>,
}

struct Life {
    world: World,
    actors: Vec<Actor>,
    oracle: Oracle,
    rounds: usize,
    events: BTreeMap<&'static str, usize>,
}

impl Life {
    fn new() -> Self {
        let actors = (0..ACTORS).map(|_| Actor::default()).collect();
        Self { world: World::new(), actors, oracle: Oracle::default(), rounds: 0, events: BTreeMap::new() }
    }

    fn instance(who: usize) -> Option<InstanceId> {
        (who >= STATIC).then(|| InstanceId::new(format!("i{who}")))
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Join(who) => {
                let member = self.actors[who].member.clone().unwrap_or_else(|| "".into());
                let token = self.world.join(Join { member, instance: Self::instance(who), ..join(GROUP) });
                self.actors[who].join = Some(token);
            }
            Op::Restart(who) => self.actors[who] = Actor::default(),
            Op::Sync(who) => self.sync(who),
            Op::Heartbeat(who) => {
                let Some((member, generation)) = self.identity(who) else { return };
                let instance = Self::instance(who);
                let heartbeat = Heartbeat { group: GROUP.into(), member, instance, generation };
                let token = self.world.send(Request::Heartbeat(heartbeat));
                assert!(self.world.reply(token).is_some());
            }
            Op::Commit(who) => {
                let Some((member, generation)) = self.identity(who) else { return };
                self.oracle.sent += 1;
                let commit = commit(GROUP, "t", 0, self.oracle.sent);
                let token =
                    self.world.commit_token(Commit { member, generation, instance: Self::instance(who), ..commit });
                self.oracle.commits.push((token, self.oracle.sent, generation));
            }
            Op::Leave(who) => {
                let Some(member) = self.actors[who].member.take() else { return };
                let members = vec![Leaving { member, instance: Self::instance(who) }];
                self.world.send(Request::Leave(Leave { group: GROUP.into(), members }));
            }
            Op::Pass(time) => self.world.pass(Duration::from_millis(time.into())),
            Op::Commits(at_once) => {
                self.world.commits_at_once = at_once;
                self.world.commit();
            }
            Op::Fail(fails) => self.world.fails = fails.then_some(AppendError::NotEnoughReplicas),
            Op::Die | Op::LoseView => self.die(matches!(op, Op::LoseView)),
            Op::Fetch(require_stable) => {
                let fetch = Fetch { group: GROUP.into(), topics: None, require_stable };
                let token = self.world.send(Request::Fetch(fetch));
                self.oracle.fetches.push((token, self.oracle.acked));
            }
        }
        self.hear();
    }

    fn identity(&self, who: usize) -> Option<(MemberId, Generation)> {
        let actor = &self.actors[who];
        Some((actor.member.clone()?, actor.joined.as_ref()?.generation))
    }

    fn sync(&mut self, who: usize) {
        let Some((member, generation)) = self.identity(who) else { return };
        self.rounds += 1;
        let round = self.rounds;
        let told = self.actors[who].joined.as_ref().map(|joined| joined.members.clone()).unwrap_or_default();
        let assign = |told: &message::JoinedMember| (told.member.clone(), format!("{round} {}", told.member).into());
        let sync = Sync {
            group: GROUP.into(),
            member,
            instance: Self::instance(who),
            generation,
            protocol_type: None,
            protocol: None,
            assignments: told.iter().map(assign).collect(),
        };
        let token = self.world.send(Request::Sync(sync));
        self.actors[who].sync = Some((token, generation));
    }

    fn die(&mut self, without_view: bool) {
        if without_view {
            self.world.restart_without_view();
        } else {
            self.world.restart();
        }
        for actor in &mut self.actors {
            (actor.join, actor.sync) = (None, None);
        }
        self.oracle.commits.clear();
        self.oracle.fetches.clear();
        self.oracle.generation = Generation::NONE;
    }

    fn hear(&mut self) {
        for who in 0..ACTORS {
            if let Some(token) = self.actors[who].join
                && let Some(Reply::Join(joined)) = self.world.reply(token)
            {
                self.on_joined(who, joined);
            }
            if let Some((token, generation)) = self.actors[who].sync
                && let Some(Reply::Sync(outcome)) = self.world.reply(token)
            {
                self.actors[who].sync = None;
                if let Ok(synced) = outcome {
                    let text = String::from_utf8(synced.assignment.to_vec()).unwrap();
                    self.on_synced(who, generation, &text);
                }
            }
        }
        self.hear_offsets();
    }

    fn on_joined(&mut self, who: usize, joined: Joined) {
        self.actors[who].join = None;
        match joined.error {
            None => {
                self.actors[who].member = Some(joined.member.clone());
                self.oracle.generation = self.oracle.generation.max(joined.generation);
                self.actors[who].joined = Some(joined);
                *self.events.entry("joined").or_default() += 1;
            }
            Some(Error::MemberIdRequired) => self.actors[who].member = Some(joined.member),
            Some(Error::UnknownMemberId | Error::FencedInstanceId) => self.actors[who].member = None,
            Some(_) => {}
        }
    }

    /// G1: all that are assigned in a generation are so by one round of one leader, each its own part.
    fn on_synced(&mut self, who: usize, generation: Generation, text: &str) {
        let Some((round, owner)) = text.split_once(' ') else { return };
        *self.events.entry("assigned").or_default() += 1;
        let known = self.oracle.assigned.entry(generation).or_insert_with(|| round.to_owned());
        assert_eq!(known, round, "generation {generation:?} has two assignments");
        if who < STATIC {
            assert_eq!(Some(owner), self.actors[who].member.as_ref().map(MemberId::as_str), "someone else's part");
        }
    }

    fn hear_offsets(&mut self) {
        let (world, oracle) = (&mut self.world, &mut self.oracle);
        let highest = oracle.generation;
        let mut acked = oracle.acked;
        oracle.commits.retain(|(token, offset, generation)| match world.reply(*token) {
            Some(Reply::Commit(Ok(_))) => {
                acked = acked.max(*offset);
                false
            }
            Some(Reply::Commit(Err(_))) => false,
            None => {
                assert!(*generation <= highest || highest == Generation::NONE);
                true
            }
            other => panic!("{other:?}"),
        });
        oracle.acked = acked;
        let sent = oracle.sent;
        oracle.fetches.retain(|(token, before)| match world.reply(*token) {
            Some(Reply::Fetch(Ok(topics))) => {
                let found = topics.first().and_then(|topic| topic.partitions[0].1.clone());
                let offset = found.map_or(0, |found| found.offset.get());
                // G2, and G3: time passes, but never the retention.
                assert!((*before..=sent).contains(&offset), "fetched {offset}, but {before} was acked");
                false
            }
            Some(Reply::Fetch(Err(error))) => panic!("{error}"),
            None => true,
            other => panic!("{other:?}"),
        });
    }
}

/// A commit of a generation that is over, by what everyone was told, is refused from then on.
fn stale_commit_is_refused(life: &mut Life) {
    let over = Generation::new(life.oracle.generation.get() - 1);
    for who in 0..ACTORS {
        let Some(member) = life.actors[who].member.clone() else { continue };
        let commit = commit(GROUP, "t", 0, -7);
        let instance = Life::instance(who);
        let token = life.world.commit_token(Commit { member, generation: over, instance, ..commit });
        if over >= Generation::new(0) {
            assert!(matches!(life.world.reply(token), Some(Reply::Commit(Err(_)))), "a stale commit was taken");
        } else {
            life.world.commit();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(ops in proptest::collection::vec(op(), 1..120)) {
        let mut life = Life::new();
        for op in ops {
            life.run(op);
        }
        if life.oracle.generation >= Generation::new(1) {
            stale_commit_is_refused(&mut life);
        }
    }

    /// Once nothing fails any more, the members that are left come to a stable group.
    #[test]
    fn a_group_that_is_left_in_peace_becomes_stable(ops in proptest::collection::vec(op(), 1..80)) {
        let mut life = Life::new();
        for op in ops {
            life.run(op);
        }
        life.run(Op::Fail(false));
        life.run(Op::Commits(true));
        for _ in 0..40 {
            for who in 0..ACTORS {
                let (member, told) = (life.actors[who].member.clone(), life.actors[who].joined.clone());
                let outcome = match (member, told) {
                    (Some(member), Some(told)) => {
                        life.world.heartbeat(GROUP, &member, told.generation)
                    }
                    _ => Err(Error::UnknownMemberId),
                };
                if outcome.is_err() && life.actors[who].join.is_none() {
                    if outcome != Err(Error::RebalanceInProgress) {
                        life.actors[who].joined = None;
                    }
                    life.run(Op::Join(who));
                }
                if life.actors[who].sync.is_none() && life.actors[who].join.is_none() {
                    life.run(Op::Sync(who));
                }
            }
            life.run(Op::Pass(3_000));
        }
        let described = life.world.describe(GROUP).unwrap();
        prop_assert_eq!(described.state, State::Stable);
        prop_assert!(described.members.len() >= ACTORS, "{:?}", described.members);
    }
}

/// The random lives are not all uneventful.
#[test]
fn a_scripted_life_has_events() {
    let mut life = Life::new();
    for op in [Op::Join(3), Op::Pass(6_000), Op::Sync(3), Op::Commit(3), Op::Fetch(true)] {
        life.run(op);
    }
    assert_eq!((life.events["joined"], life.events["assigned"], life.oracle.acked), (1, 1, 1));
}
