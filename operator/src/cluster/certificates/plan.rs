//! What is next with a cluster's certificates.
//!
//! Owns the order. A new authority is believed everywhere before anything that it has signed is shown; everything is signed
//! by it before the old one goes; and both times it is the brokers who say so. Who does not answer is waited for, unless
//! waiting would let the old authority expire: whoever starts then reads what is newest. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use ottla_rpc::trust::Mode;

use super::issue::Issue;
use super::state::{Authority, Holder, Reported, State, joined};

/// An authority is replaced so long before it expires.
const AUTHORITY_EARLY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A certificate is.
const LEAF_EARLY: SignedDuration = SignedDuration::from_hours(10 * 24);
/// Who does not answer is waited for until so long before.
const PATIENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How far a rotation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    Settled,
    /// These do not yet say that they believe the new authority.
    Believed(BTreeSet<i32>),
    /// These do not yet say that they show what it has signed.
    Shown(BTreeSet<i32>),
}

/// What to do, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// What has to be made.
    pub issue: Vec<Issue>,
    /// What is published, and what every holder is told to believe.
    pub believed: String,
    /// What every holder is told of those who show nothing.
    pub mode: Mode,
    /// How far a rotation is.
    pub stage: Stage,
    /// How many authorities before the newest are still believed.
    pub old: usize,
    /// How many holders have nothing valid to show.
    pub missing: usize,
    /// Brokers that run without certificates.
    pub plaintext: BTreeSet<i32>,
}

/// What is known of a broker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It was made without certificates.
    Older,
    /// It was made with them.
    Newer,
}

/// What follows from the Secrets, from the processes that there are, and from what they have said. `wish` is the value by
/// which a person asks for a rotation.
pub fn course(
    state: &State,
    holders: &BTreeSet<Holder>,
    processes: &BTreeMap<i32, Process>,
    reported: &BTreeMap<i32, Reported>,
    wish: Option<&str>,
    now: Timestamp,
) -> Course {
    let look = Look { state, holders, processes, reported, now };
    let plaintext = look.plaintext();
    let mode = if look.is_preferred(&plaintext) { Mode::Preferred } else { Mode::Required };
    let mut course = Course {
        issue: Vec::new(),
        believed: joined(&state.known),
        mode,
        stage: Stage::Settled,
        old: state.known.len().saturating_sub(1),
        missing: holders.iter().filter(|holder| look.leaf(**holder).is_none()).count(),
        plaintext,
    };
    let Some((newest, _)) = &state.newest else {
        // What is signed now is told to nobody before the next look.
        course.issue.push(Issue::Authority { wish: wish.map(str::to_owned) });
        return course;
    };
    let (believes, shows) = (look.who(|said| look.believes(said, newest)), look.who(|said| look.shows(said)));
    let is_old = |holder: &Holder| look.leaf(*holder).is_some_and(|leaf| !leaf.newest);
    let is_signed = !holders.iter().any(is_old);
    let rotates = state.known.len() > 1;
    course.stage = match () {
        () if !is_signed && !believes.is_empty() => Stage::Believed(believes.clone()),
        () if rotates && !(is_signed && shows.is_empty()) => Stage::Shown(shows),
        () => Stage::Settled,
    };
    let asked = wish.is_some() && wish != state.asked.as_deref();
    if course.stage == Stage::Settled && is_signed && (asked || newest.until.duration_since(now) < AUTHORITY_EARLY) {
        course.issue.push(Issue::Authority { wish: wish.map(str::to_owned) });
        return course;
    }
    if rotates && course.stage == Stage::Settled && course.missing == 0 {
        course.believed.clone_from(&newest.certificate);
    }
    let is_due = |holder: &&Holder| match look.leaf(**holder) {
        None => true,
        Some(leaf) if !leaf.newest => believes.is_empty(),
        Some(leaf) => leaf.until.duration_since(now) < LEAF_EARLY && leaf.until < newest.until,
    };
    course.issue.extend(holders.iter().filter(is_due).map(|holder| Issue::Leaf { holder: *holder }));
    course
}

struct Look<'a> {
    state: &'a State,
    holders: &'a BTreeSet<Holder>,
    processes: &'a BTreeMap<i32, Process>,
    reported: &'a BTreeMap<i32, Reported>,
    now: Timestamp,
}

impl Look<'_> {
    fn leaf(&self, holder: Holder) -> Option<&super::state::Leaf> {
        self.state.held.get(&holder)?.leaf.as_ref()
    }

    /// Brokers that run without certificates, as far as is known.
    fn plaintext(&self) -> BTreeSet<i32> {
        let says = |id: &i32| self.reported.get(id) == Some(&Reported::Plaintext);
        let older = |(id, process): (&i32, &Process)| (*process == Process::Older || says(id)).then_some(*id);
        self.processes.iter().filter_map(older).collect()
    }

    /// A cluster that has changed over never goes back by itself; one that has not only when every broker has said that it
    /// has certificates.
    fn is_preferred(&self, plaintext: &BTreeSet<i32>) -> bool {
        let older = self.processes.values().any(|process| *process == Process::Older);
        let all_say = self.processes.keys().all(|id| matches!(self.reported.get(id), Some(Reported::Loaded { .. })));
        older || self.state.is_preferred() && (!plaintext.is_empty() || !all_say)
    }

    fn believes(&self, said: (i32, &BTreeSet<Vec<u8>>, &[u8]), authority: &Authority) -> bool {
        said.1.contains(authority.fingerprint.to_bytes().as_slice())
    }

    fn shows(&self, said: (i32, &BTreeSet<Vec<u8>>, &[u8])) -> bool {
        let leaf = self.leaf(Holder::Broker(said.0)).map(|leaf| leaf.fingerprint.to_bytes());
        leaf.is_some_and(|leaf| leaf.as_slice() == said.2)
    }

    /// Brokers that have to be waited for until they say that `holds`.
    fn who(&self, holds: impl Fn((i32, &BTreeSet<Vec<u8>>, &[u8])) -> bool) -> BTreeSet<i32> {
        let newest = self.state.newest.as_ref().map(|(newest, _)| newest.fingerprint);
        let is_old = |one: &&Authority| Some(one.fingerprint) != newest;
        let last = self.state.known.iter().filter(is_old).map(|one| one.until).max();
        let patient = last.is_none_or(|last| last.duration_since(self.now) > PATIENCE);
        let waited = |id: &i32| match (self.processes.get(id), self.reported.get(id)) {
            // It shows nothing, and believes everybody.
            (None | Some(Process::Older), _) | (_, Some(Reported::Plaintext)) => false,
            (_, Some(Reported::Loaded { leaf, authorities, .. })) => !holds((*id, authorities, leaf)),
            (_, None) => patient,
        };
        let ids = self.holders.iter().filter_map(|holder| match holder {
            Holder::Broker(id) => Some(*id),
            Holder::Operator => None,
        });
        ids.filter(waited).collect()
    }
}
