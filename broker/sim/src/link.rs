//! A broker's line to the controller, as `broker/src/controller/link.rs` keeps it: signs of life up, metadata down.
//!
//! Owns finding the controller by the Lease, the one stream to it, what confirms this broker's leaders (R13), and noticing
//! that the controller fell silent. It decides nothing: the machine is told, and so are all other brokers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_core::controller::error::Standing;
use ottla_core::controller::{DocumentId, Event, Presentation, SILENCE_MAX, Vector, most_heard};
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ControllerEpoch, DirectoryId};

use crate::enroll::Question;
use crate::mutants::ShellRule;
use crate::store::{CLUSTER, Holder};
use crate::streams::{CLIENT, Down, Item, Up};
use crate::world::{Action, Local, Payload, World};

/// How long to wait before the controller is looked for again. Microseconds.
const LOOK_AGAIN_US: u64 = 100_000;

/// The stream to the controller.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    pub(crate) stream: u64,
    sequence: u64,
    sent: BTreeMap<u64, Instant>,
    pub(crate) questions: u64,
    pub(crate) waiting: BTreeMap<u64, Question>,
    answered_at: Instant,
}

impl World {
    pub(crate) fn up(&mut self, stream: u64, up: Up) {
        self.send_item(stream, CLIENT, Item::Up(Box::new(up)));
    }

    /// The controller is looked for, unless it is here or a stream to it is open.
    pub(crate) fn look(&mut self, b: usize) {
        let life = self.nodes[b].life;
        let now = self.nodes[b].instant(self.now);
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if control.leads() {
            control.following.heard(now);
            self.drop_uplink(b);
        } else if control.uplink.is_none() {
            self.follow(b);
            if self.alive(b, life) {
                self.look_at_silence(b);
            }
        }
        if self.alive(b, life) {
            self.plan(LOOK_AGAIN_US, Action::Local { node: b, life, what: Local::Look });
        }
    }

    fn drop_uplink(&mut self, b: usize) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Some(uplink) = control.uplink.as_ref() else { return };
        let stream = uplink.stream;
        self.close_end(stream, CLIENT);
        self.uplink_ended(b, stream);
    }

    /// The stream is over, and with it everything that was asked on it.
    pub(crate) fn uplink_ended(&mut self, b: usize, stream: u64) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Some(uplink) = control.uplink.take_if(|uplink| uplink.stream == stream) else { return };
        for question in uplink.waiting.into_values() {
            if self.alive(b, life) {
                self.on_answer(b, question, None);
            }
        }
    }

    /// Looks at the Lease, and opens a stream to whoever holds it.
    fn follow(&mut self, b: usize) {
        if !self.reaches_api(b) {
            return;
        }
        let named = self.store.holder().map(|holder| holder.node);
        // While several hold it at once, whoever looks finds one of them.
        let any = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        let named = if self.store.lies_until > self.now { Some(any) } else { named };
        let Some(other) = named.filter(|&other| other != b) else { return };
        let refused = self.refuses(b, other);
        let blocked = |from, to| self.network.blocked.contains(&(from, to));
        let silent = blocked(b + 1, other + 1) || blocked(other + 1, b + 1);
        let refusing = |node: usize| self.network.refusing.get(&node).is_some_and(|&until| until > self.now);
        let closed = refusing(b);
        let (id, now) = (self.nodes[other].id, self.nodes[b].instant(self.now));
        let holder = Holder { node: other, life: self.nodes[other].life }.name();
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.following.found(id, holder);
        if refused {
            control.following.refused(now);
            return;
        }
        control.following.not_refused();
        if silent || closed {
            return;
        }
        let run = control.own_run();
        let stream = self.open_stream(b, other);
        let presentation = self.presentation(b);
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if let Some(root) = presentation.vector.get(&DocumentId::Root) {
            control.following.learn(root.epoch);
        }
        let (sent, waiting) = (BTreeMap::new(), BTreeMap::new());
        control.uplink = Some(Uplink { stream, sequence: 0, sent, questions: 0, waiting, answered_at: now });
        self.up(stream, Up::Hello { presentation, run });
    }

    /// What the disk is, and how far its journal.
    pub(crate) fn standing(&self, b: usize) -> Standing {
        let disk = &self.nodes[b].disk;
        let synced = if self.holds(ShellRule::JournalsAreTold) { disk.synced } else { 0 };
        Standing {
            directory: DirectoryId::from_bytes(u128::from(disk.directory).to_be_bytes()),
            incarnation: disk.run,
            synced: ottla_core::types::Lsn::new(synced),
        }
    }

    fn presentation(&self, b: usize) -> Presentation {
        let node = &self.nodes[b];
        Presentation { broker: node.id, cluster: CLUSTER, standing: self.standing(b), vector: node.disk.vector() }
    }

    /// A sign of life, to the controller or, if it is here, to its machine.
    pub(crate) fn show_life(&mut self, b: usize) {
        let now = self.nodes[b].instant(self.now);
        let synced = self.standing(b).synced;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let (run, draining) = (control.own_run(), control.draining);
        if control.leads() {
            let life = self.nodes[b].life;
            if let Some(incarnation) = run {
                let broker = self.nodes[b].id;
                self.feed(b, Event::Heartbeat { broker, incarnation, draining, synced });
            }
            if self.alive(b, life) {
                self.confirm_own(b);
            }
            return;
        }
        let Some(uplink) = control.uplink.as_mut() else { return };
        if now.saturating_duration_since(uplink.answered_at) > SILENCE_MAX {
            return self.drop_uplink(b);
        }
        uplink.sequence += 1;
        let (sequence, stream) = (uplink.sequence, uplink.stream);
        let Some(run) = run else {
            // Nobody to beat for yet: the stream itself says whether it is there.
            uplink.answered_at = now;
            return;
        };
        uplink.sent.insert(sequence, now);
        self.up(stream, Up::Beat { sequence, run, draining, synced });
    }

    /// While this process decides, its own leaders are confirmed by it as long as most brokers are heard.
    fn confirm_own(&mut self, b: usize) {
        let Some(as_of) = self.most_heard(b, None) else { return };
        let published = self.nodes[b].control.as_ref().and_then(|control| control.published.as_ref());
        if let Some(view) = published.map(|published| published.view) {
            self.nodes[b].host.on_controller_answer(as_of, view);
        }
    }

    /// As of when more than half of the registered brokers, itself and `asks` included, followed this process, if it decides.
    pub(crate) fn most_heard(&self, b: usize, asks: Option<BrokerId>) -> Option<Instant> {
        let (me, now) = (self.nodes[b].id, self.nodes[b].instant(self.now));
        let control = self.nodes[b].control.as_ref().filter(|control| control.leads())?;
        let published = control.published.as_ref()?;
        if !self.holds(ShellRule::MajorityConfirms) {
            return Some(now);
        }
        most_heard(&control.proven, &published.registered, me, asks, now)
    }

    /// Who else holds the Lease was seen. A controller that alone is cut off from it is not followed any longer.
    pub(crate) fn other_seen(&mut self, b: usize, holder: &str) {
        let known = self.nodes[b].control.as_ref().map(|control| control.following.holder());
        if known.is_some_and(|known| known != holder) {
            self.drop_uplink(b);
        }
    }

    /// The controller says something.
    pub(crate) fn on_down(&mut self, b: usize, stream: u64, down: Down) {
        let now = self.nodes[b].instant(self.now);
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Some(uplink) = control.uplink.as_mut().filter(|uplink| uplink.stream == stream) else { return };
        uplink.answered_at = now;
        match down {
            Down::NotController => self.drop_uplink(b),
            Down::Documents { epoch, view, complete, documents } => {
                control.following.learn(epoch);
                let life = self.nodes[b].life;
                if self.take_in(b, (epoch, View(view)), complete, documents) && self.alive(b, life) {
                    self.followed(b);
                }
            }
            Down::Beat { sequence, epoch, view, ages, most_heard } => {
                // As of when nobody else decided: what it says is no newer than what it has heard.
                let left = uplink.sent.remove(&sequence);
                let as_of = left.zip(most_heard).and_then(|(left, age)| left.checked_sub(age));
                uplink.sent.retain(|other, _| *other > sequence);
                control.following.heard(now);
                let decides = epoch > ControllerEpoch::default();
                if decides && !control.following.learn(epoch) && self.holds(ShellRule::SuccessorsEndTerms) {
                    return self.count("a controller that is over confirms");
                }
                self.up(stream, Up::Echo { sequence });
                // One that does not decide yet is alive, and confirms nothing.
                if decides || !self.holds(ShellRule::WhoDecidesConfirms) {
                    self.on_beat(b, as_of, view, ages);
                }
            }
            Down::Answer { id, answer } => {
                if let Some(question) = uplink.waiting.remove(&id) {
                    self.on_answer(b, question, Some(answer));
                }
            }
        }
    }

    fn followed(&mut self, b: usize) {
        let Some(control) = self.nodes[b].control.as_ref() else { return };
        let image = control.follower.image();
        let (epoch, registered) = (image.epoch(), image.brokers().keys().copied().collect());
        let seen = if self.holds(ShellRule::OwnMetadataCounts) { self.nodes[b].disk.vector() } else { Vector::new() };
        self.feed(b, Event::Followed { epoch, registered, seen });
    }

    fn on_beat(&mut self, b: usize, as_of: Option<Instant>, view: u64, ages: BTreeMap<BrokerId, Duration>) {
        let now = self.nodes[b].instant(self.now);
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let called_silent = control.following.decides(now, ages);
        if let Some(as_of) = as_of {
            self.nodes[b].host.on_controller_answer(as_of, View(view));
        }
        if called_silent {
            let broker = self.nodes[b].id;
            self.feed(b, Event::ControllerHeard { broker });
            self.tell_others(b, true);
        }
    }

    /// The machine and all others are told if the controller has not been heard for as long as makes a broker dead.
    fn look_at_silence(&mut self, b: usize) {
        let now = self.nodes[b].instant(self.now);
        let broker = self.nodes[b].id;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if !control.following.is_to_be_called_silent(now) {
            return;
        }
        let (epoch, ages) = (control.follower.image().epoch(), control.following.ages(now));
        self.count("controller found silent");
        self.feed(b, Event::ControllerSilent { broker, epoch, ages });
        self.tell_others(b, false);
    }

    fn tell_others(&mut self, b: usize, heard_again: bool) {
        let now = self.nodes[b].instant(self.now);
        let broker = self.nodes[b].id;
        let Some(control) = self.nodes[b].control.as_ref() else { return };
        let image = control.follower.image();
        let (epoch, ages) = (image.epoch(), control.following.ages(now));
        for id in image.brokers().keys().filter(|id| **id != broker).copied().collect::<Vec<_>>() {
            let to = usize::try_from(id.get()).unwrap_or(0);
            let payload = Payload::Silent { broker, epoch, ages: ages.clone(), heard_again };
            self.send(b + 1, to, payload);
        }
    }
}
