//! What all replicas of one broker share: who it is, what it knows of its peers, when the controller last confirmed it.
//!
//! Owned by the broker and passed to every step, so that nothing of it is kept once per partition. It decides nothing; it
//! must never hold a time that was not taken before the message left (R13).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::rules::{Rule, Rules};
use crate::types::{BrokerId, Incarnation};

/// Times that replicas are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `replica.lag.time.max.ms`: a follower that was not caught up for so long leaves the ISR.
    pub lag_max: Duration,
    /// For how long a confirmation counts, from the moment that its question left.
    pub confirmation_max: Duration,
    /// After what time without an answer something is asked again.
    pub retry: Duration,
    /// How long the high watermark may wait for data to ride along with.
    pub watermark_delay_max: Duration,
    /// A replica that left the ISR returns after this, doubled each time.
    pub rejoin_min: Duration,
    /// The longest that a replica is kept from returning.
    pub rejoin_max: Duration,
    /// By so much may the followers be faster than the leader's own disk.
    pub behind_max: Duration,
    /// The leader hands over if its disk was that slow so often ...
    pub behind_times: u8,
    /// ... within this time.
    pub behind_window: Duration,
    /// The shortest time between two hand-overs.
    pub handover_interval: Duration,
    /// For how long a leader that hands over takes no appends. After that it leads on: nobody took over.
    pub handover_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lag_max: Duration::from_secs(30),
            confirmation_max: Duration::from_secs(1),
            retry: Duration::from_millis(500),
            watermark_delay_max: Duration::from_millis(5),
            rejoin_min: Duration::from_secs(1),
            rejoin_max: Duration::from_secs(60),
            behind_max: Duration::from_millis(500),
            behind_times: 3,
            behind_window: Duration::from_secs(10),
            handover_interval: Duration::from_secs(60),
            handover_max: Duration::from_secs(1),
        }
    }
}

/// What is known of another broker, or of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its registered run.
    pub incarnation: Incarnation,
    /// It is not admitted, or not any more.
    pub fenced: bool,
    /// It is about to stop.
    pub draining: bool,
}

/// How much of the cluster's metadata a broker has applied: grows with every committed version that it takes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View(pub u64);

/// A moment of one broker's clock in a message, for that broker to recognise when it comes back. Microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// One broker, as its replicas see it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Who it is.
    pub me: BrokerId,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Times to judge by.
    pub settings: Settings,
    /// Which rules hold.
    pub rules: Rules,
    started: Instant,
    peers: BTreeMap<BrokerId, Peer>,
    view: View,
    /// When the question left that the controller answered with our view being the newest.
    controller_acked: Option<Instant>,
    /// Nothing that was asked before counts: the loop was late.
    counts_from: Instant,
    /// The broker said that it is about to stop; until then it waits for others to take over.
    stops_until: Option<Instant>,
}

impl Host {
    /// A broker that has heard nothing yet.
    pub fn new(me: BrokerId, incarnation: Incarnation, settings: Settings, rules: Rules, now: Instant) -> Self {
        Self {
            me,
            incarnation,
            settings,
            rules,
            started: now,
            peers: BTreeMap::new(),
            view: View::default(),
            controller_acked: None,
            counts_from: now,
            stops_until: None,
        }
    }

    /// The broker is about to stop, and asks the controller to let others lead: its leaders take no appends meanwhile.
    pub fn on_stopping(&mut self, now: Instant) {
        self.stops_until = self.stops_until.or(Some(now + self.settings.handover_max));
    }

    pub(super) fn stops_until(&self) -> Option<Instant> {
        self.stops_until
    }

    /// Metadata up to `view` is applied: every replica that it concerns has been given it.
    pub fn on_view(&mut self, view: View) {
        self.view = self.view.max(view);
    }

    /// What the metadata says of a broker. Replicas that it shares partitions with get [`super::Event::PeersChanged`].
    pub fn on_peer(&mut self, id: BrokerId, peer: Peer) {
        self.peers.insert(id, peer);
    }

    /// The controller answered a heartbeat that left at `sent`; `newest` is what it had published by then. It confirms
    /// every leader of this broker, unless something that the broker has not applied may have deposed one.
    pub fn on_controller_answer(&mut self, sent: Instant, newest: View) {
        if newest <= self.view {
            self.controller_acked = self.controller_acked.max(Some(sent));
        }
    }

    /// The loop stood still until `now`: whatever was asked before proves nothing any more.
    pub fn on_late_loop(&mut self, now: Instant) {
        self.counts_from = now;
    }

    /// Whether an answer to something that left at `sent` still confirms at `now`.
    pub(super) fn is_fresh(&self, sent: Instant, now: Instant) -> bool {
        sent >= self.counts_from && now.saturating_duration_since(sent) <= self.settings.confirmation_max
    }

    /// Whether the controller confirms this broker's leaders.
    pub fn is_confirmed_by_controller(&self, now: Instant) -> bool {
        self.controller_acked.is_some_and(|sent| self.is_fresh(sent, now))
    }

    /// When the newest question left that the controller has answered.
    pub fn controller_acked(&self) -> Option<Instant> {
        self.controller_acked
    }

    /// Whether leaders should ask their followers, because the controller is silent: every partition once per half of
    /// the confirmation time, by [`super::Event::Solicit`].
    pub fn should_solicit(&self, now: Instant) -> bool {
        self.controller_acked.is_none_or(|sent| !self.is_fresh(sent, now + self.settings.confirmation_max / 2))
    }

    /// The registered run of a broker.
    pub(super) fn peer(&self, id: BrokerId) -> Option<Peer> {
        self.peers.get(&id).copied()
    }

    /// Whether `incarnation` is an earlier run of `id` than the registered one.
    pub(super) fn is_stale(&self, id: BrokerId, incarnation: Incarnation) -> bool {
        self.peer(id).is_some_and(|peer| incarnation < peer.incarnation)
    }

    pub(super) fn hold(&self, rule: Rule) -> bool {
        self.rules.hold(rule)
    }

    pub(super) fn stamp(&self, now: Instant) -> Stamp {
        Stamp(u64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment of a stamp that came back; `None` for one that this run cannot have made yet.
    pub(super) fn moment(&self, stamp: Stamp, now: Instant) -> Option<Instant> {
        self.started.checked_add(Duration::from_micros(stamp.0)).filter(|&moment| moment <= now)
    }
}
