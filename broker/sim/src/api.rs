//! The way from a broker to the store and back, and what goes wrong on it.
//!
//! Owns the two threads by which a controller's shell reaches the store: one for the Lease, one for documents, each doing
//! one thing after the other. Calls fail, are slow, arrive long after their answer was given up, and answers are lost after
//! the write was done. What the store holds is not touched here but by a call that arrives.

use ottla_core::controller::{
    Document, DocumentId, Event, LeaseCall, LeaseSeen, ReadOutcome, Write, WriteId, WriteOutcome,
};

use crate::mutants::ShellRule;
use crate::store::Holder;
use crate::world::{Action, World};

/// What is asked of the store.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Lease(LeaseCall),
    Read(DocumentId, u64),
    Writes(Vec<Write>),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Lease(LeaseSeen),
    Read(DocumentId, u64, ReadOutcome),
    Wrote(Vec<(Write, WriteOutcome)>),
}

impl Call {
    /// Which of the two threads does it.
    pub(crate) fn thread(&self) -> usize {
        match self {
            Self::Lease(_) => 0,
            Self::Read(..) | Self::Writes(_) => 1,
        }
    }

    /// It certainly was not done, or nobody knows.
    fn failed(self, outcome: &WriteOutcome) -> Outcome {
        match self {
            Self::Lease(_) => Outcome::Lease(LeaseSeen::Failed),
            Self::Read(document, token) => Outcome::Read(document, token, ReadOutcome::Failed),
            Self::Writes(writes) => Outcome::Wrote(writes.into_iter().map(|write| (write, outcome.clone())).collect()),
        }
    }
}

/// How bad the API server is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Api {
    /// Until then it answers nobody.
    pub(crate) down_until: u64,
    /// Until then it takes its time.
    pub(crate) slow_until: u64,
    /// Until then these brokers do not reach it.
    pub(crate) unreached: std::collections::BTreeMap<usize, u64>,
    /// Answers are lost that often, calls arrive late, or are refused.
    pub(crate) lost_per_mille: u64,
    pub(crate) late_per_mille: u64,
    pub(crate) refused_per_mille: u64,
}

/// How long an answer is waited for. Microseconds.
const PATIENCE_US: u64 = 1_000_000;

impl World {
    /// Whether a broker reaches the API server.
    pub(crate) fn reaches_api(&self, b: usize) -> bool {
        self.api.down_until <= self.now && self.api.unreached.get(&b).is_none_or(|&until| until <= self.now)
    }

    /// Has the broker's shell make a call, after those before it.
    pub(crate) fn call(&mut self, b: usize, call: Call) {
        let thread = call.thread();
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.calls[thread].push_back(call);
        if !control.busy[thread] {
            self.next_call(b, thread);
        }
    }

    fn next_call(&mut self, b: usize, thread: usize) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Some(call) = control.calls[thread].pop_front() else {
            control.busy[thread] = false;
            return;
        };
        control.busy[thread] = true;
        if !self.reaches_api(b) {
            // Refused at once, or silence.
            self.count("api not reached");
            let refused = self.rng.chance(500);
            let delay = if refused { self.rng.within(500, 5_000) } else { PATIENCE_US };
            let outcome = call.failed(if refused { &WriteOutcome::NotDone } else { &WriteOutcome::Unknown });
            self.plan(delay, Action::ApiAnswers { node: b, life, thread, outcome });
            return;
        }
        if self.rng.chance(self.api.refused_per_mille) {
            self.count("api refused");
            let outcome = call.failed(&WriteOutcome::NotDone);
            self.plan(2_000, Action::ApiAnswers { node: b, life, thread, outcome });
            return;
        }
        if self.rng.chance(self.api.late_per_mille) {
            // It is given up before it arrives.
            self.count("api call arrives late");
            let delay = self.rng.within(PATIENCE_US / 2, 3 * PATIENCE_US);
            self.plan(delay, Action::ApiArrives { node: b, life, call: call.clone(), answered: false });
            let outcome = call.failed(&WriteOutcome::Unknown);
            self.plan(PATIENCE_US / 2, Action::ApiAnswers { node: b, life, thread, outcome });
            return;
        }
        let delay = self.api_delay();
        self.plan(delay, Action::ApiArrives { node: b, life, call, answered: true });
    }

    fn api_delay(&mut self) -> u64 {
        if self.api.slow_until > self.now && self.rng.chance(700) {
            return self.rng.within(50_000, 1_800_000);
        }
        self.rng.within(400, 3_000)
    }

    /// A call comes to the store, whatever has become of the caller.
    pub(crate) fn api_arrives(&mut self, b: usize, life: u64, call: Call, answered: bool) {
        let thread = call.thread();
        if self.api.down_until > self.now {
            if answered {
                let outcome = call.failed(&WriteOutcome::Unknown);
                self.plan(PATIENCE_US, Action::ApiAnswers { node: b, life, thread, outcome });
            }
            return;
        }
        let lost = call.clone().failed(&WriteOutcome::Unknown);
        let outcome = match call {
            Call::Lease(call) => Outcome::Lease(self.lease_call(&Holder { node: b, life }, &call)),
            Call::Read(document, token) => Outcome::Read(document, token, self.store.read(document)),
            Call::Writes(writes) => Outcome::Wrote(writes.into_iter().map(|write| self.store_write(write)).collect()),
        };
        if !answered {
            return;
        }
        let fails = !self.reaches_api(b) || self.rng.chance(self.api.lost_per_mille);
        if fails {
            self.count("api answer lost");
            let outcome = if self.holds(ShellRule::LostAnswersAreUnknown) { lost } else { outcome_as_if_done(lost) };
            self.plan(PATIENCE_US, Action::ApiAnswers { node: b, life, thread, outcome });
        } else {
            let delay = self.api_delay();
            self.plan(delay, Action::ApiAnswers { node: b, life, thread, outcome });
        }
    }

    fn lease_call(&mut self, caller: &Holder, call: &LeaseCall) -> LeaseSeen {
        let before = self.store.holder().cloned();
        let seen = self.store.call(self.now, caller, call);
        let after = self.store.holder().cloned();
        if before != after {
            let id = self.nodes[caller.node].id;
            self.story.tell(self.now, format_args!("broker {id} takes the Lease from {before:?}"));
            self.count("lease taken");
        }
        seen
    }

    fn store_write(&mut self, write: Write) -> (Write, WriteOutcome) {
        let (outcome, checked) = self.store.write(&write);
        match outcome {
            WriteOutcome::Done(_) => {
                self.checked(|_| checked);
                self.committed();
            }
            WriteOutcome::Conflict => self.count("api conflict"),
            WriteOutcome::NotDone | WriteOutcome::Unknown => {}
        }
        (write, outcome)
    }

    /// The shell hears what came of its call: whatever took effect is copied to its disk before the machine knows.
    pub(crate) fn api_answers(&mut self, b: usize, thread: usize, outcome: Outcome) {
        let life = self.nodes[b].life;
        match outcome {
            Outcome::Lease(seen) => {
                if let LeaseSeen::Theirs { holder, .. } = &seen {
                    self.other_seen(b, holder);
                }
                if self.alive(b, life) {
                    self.feed(b, Event::Lease(seen));
                }
            }
            Outcome::Read(document, token, outcome) => {
                let own = self.nodes[b].control.as_ref().map(|control| control.session);
                if let ReadOutcome::Found(found, _) = &outcome
                    && Some(found.header().write.session) == own
                {
                    let found = found.clone();
                    self.keep(b, &[found]);
                }
                if self.alive(b, life) {
                    self.feed(b, Event::Read { document, token, outcome });
                }
            }
            Outcome::Wrote(writes) => {
                let done = |(_, outcome): &&(Write, WriteOutcome)| matches!(outcome, WriteOutcome::Done(_));
                let done: Vec<Document> = writes.iter().filter(done).map(|(write, _)| write.content.clone()).collect();
                self.keep(b, &done);
                for (write, outcome) in writes {
                    if self.alive(b, life) {
                        let (document, write): (DocumentId, WriteId) = (write.content.id(), write.id());
                        self.feed(b, Event::Wrote { document, write, outcome });
                    }
                }
            }
        }
        if self.alive(b, life) {
            self.next_call(b, thread);
        }
    }
}

/// What a shell says that takes a lost answer for a good one.
fn outcome_as_if_done(outcome: Outcome) -> Outcome {
    let done = |(write, _): (Write, WriteOutcome)| {
        let revision = ottla_core::controller::Revision("taken for done".to_owned());
        (write, WriteOutcome::Done(revision))
    };
    match outcome {
        Outcome::Wrote(writes) => Outcome::Wrote(writes.into_iter().map(done).collect()),
        Outcome::Lease(_) | Outcome::Read(..) => outcome,
    }
}
