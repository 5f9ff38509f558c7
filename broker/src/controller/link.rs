//! This broker's line to the controller: signs of life up, metadata down, on a thread of its own.
//!
//! Owns finding the controller (the Lease names it and where it is reached), the one stream to it, and noticing that it
//! fell silent. It decides nothing: the machine is told, and so are all other brokers. What the stream brings is taken in
//! by another thread, in order, so that no sign of life waits for a disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use ottla_coordination::Coordination;
use ottla_core::controller::error::Standing;
use ottla_core::controller::{Answer, DocumentId, Event, Following, Presentation, SILENCE_MAX};
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ClusterId, ControllerEpoch, Incarnation, Lsn};
use ottla_rpc::controller::{self as wire, Down, Silent, Up};
use ottla_rpc::transport::{Knock, knock};
use ottla_rpc::trust::{self, Credentials, Name};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, TakeError};
use super::service::Heard;
use super::shell::{Ask, Input, Stage};
use crate::clock::Clock;
use crate::partitions::Hub;

/// How often a broker shows that it lives.
const BEAT: Duration = Duration::from_millis(250);
/// How long to wait before the controller is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How long somebody has to make room on a full disk before metadata is asked for again.
const MAKE_ROOM: Duration = Duration::from_secs(1);
/// Messages on their way up.
const UPS: usize = 256;
/// Under this name the address for other brokers stands among a broker's endpoints. No listener can be called so.
pub const GRPC: &str = "ottla.grpc";

/// What stands between a lease holder's name and its address.
const AT: char = '@';

/// What this broker stands on; its run changes once, when it is recorded.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) me: BrokerId,
    pub(super) cluster: ClusterId,
    pub(super) standing: Arc<Mutex<Standing>>,
}

/// What the line works with.
pub(super) struct Link {
    pub(super) ground: Ground,
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) lease: String,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) hub: Arc<Hub>,
    pub(super) heard: Arc<Heard>,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) shell: mpsc::Sender<Input>,
    pub(super) intake: mpsc::UnboundedSender<Intake>,
    pub(super) gap: Arc<Gap>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) clock: Clock,
    pub(super) credentials: Credentials,
    /// Why the controller was last not reached: said once.
    pub(super) complained: Option<String>,
    /// Who else was last seen to hold the Lease.
    pub(super) other: watch::Receiver<Option<String>>,
}

/// What is under way on one stream.
struct Talk {
    ups: mpsc::Sender<Up>,
    /// When which beat left that was not answered yet.
    sent: BTreeMap<u64, Instant>,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

/// What comes down the stream and is taken in, in order.
pub(super) enum Intake {
    /// A stream begins, with every document.
    Began,
    Documents {
        epoch: ControllerEpoch,
        view: u64,
        complete: bool,
        documents: Vec<bytes::Bytes>,
    },
    Answer(oneshot::Sender<Answer>, Box<Answer>),
}

/// Since when there is something of this stream that could not be taken in. Nothing behind it may be: the stream has to
/// begin anew.
#[derive(Debug, Default)]
pub(super) struct Gap(Mutex<Option<Instant>>);

impl Gap {
    fn is_due(&self, now: Instant) -> bool {
        self.0.lock().is_some_and(|since| now.saturating_duration_since(since) >= MAKE_ROOM)
    }
}

/// Whoever holds the Lease says where it is reached.
pub(super) fn holder(me: BrokerId, session: &str, address: Option<&str>) -> String {
    match address {
        Some(address) => format!("{me}/{session}{AT}{address}"),
        None => format!("{me}/{session}"),
    }
}

impl Link {
    /// Runs until the broker stops.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let now = self.clock.monotonic();
        let mut following = Following::new(now);
        while !shutdown.is_cancelled() {
            let worked = async {
                if self.stage.borrow().is_leading() {
                    self.lead().await;
                    following.heard(self.clock.monotonic());
                } else {
                    self.follow(&mut following).await;
                    self.look_at_silence(&mut following).await;
                }
            };
            tokio::select! {
                () = worked => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// While this process decides, its own leaders are confirmed by it as long as most brokers are heard: those are
    /// enough to take over from it, and would not be heard then.
    async fn lead(&mut self) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                changed = self.stage.changed() => if changed.is_err() { return },
                Some(ask) = self.asks.recv() => drop(ask),
            }
            let Stage::Leading(published) = self.stage.borrow().clone() else { return };
            let (broker, draining) = (self.ground.me, self.hub.is_draining());
            if let Some(incarnation) = self.own_run() {
                self.tell(Event::Heartbeat { broker, incarnation, draining, synced: self.synced() }).await;
            }
            let now = self.clock.monotonic();
            if let Some(as_of) = self.heard.most(now, self.ground.me, None, &published.registered) {
                self.hub.confirmed(as_of, published.view);
            }
        }
    }

    /// Looks for the controller and follows it for as long as the stream lasts.
    async fn follow(&mut self, following: &mut Following) {
        while let Ok(ask) = self.asks.try_recv() {
            // Nobody decides, as far as is known: whoever asks is to ask again.
            drop(ask);
        }
        let streams = match self.find().await {
            Some((broker, address, holder)) => {
                following.found(broker, holder);
                self.connect(broker, &address, following).await
            }
            None => None,
        };
        match streams {
            Some((ups, downs)) => self.talk(ups, downs, following).await,
            None => {
                let mut stage = self.stage.clone();
                stage.mark_unchanged();
                let _changed_or_time = timeout(LOOK_AGAIN, stage.changed()).await;
            }
        }
    }

    /// Who holds the Lease and where it is reached, if it is somebody else.
    async fn find(&self) -> Option<(BrokerId, String, String)> {
        let (coordination, lease) = (Arc::clone(&self.coordination), self.lease.clone());
        let seen = tokio::task::spawn_blocking(move || coordination.observe(&lease)).await.ok()?;
        let holder = seen.ok()??.holder.0;
        let (name, address) = holder.split_once(AT)?;
        let id = BrokerId::new(name.split_once('/')?.0.parse().ok()?);
        (id != self.ground.me).then(|| (id, address.to_owned(), holder.clone()))
    }

    async fn connect(
        &mut self,
        broker: BrokerId,
        address: &str,
        following: &mut Following,
    ) -> Option<(mpsc::Sender<Up>, DownStream)> {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let knocked = knock(host, port, CONNECT_MAX).await;
        if knocked == Knock::Refused {
            following.refused(self.clock.monotonic());
            return None;
        }
        following.not_refused();
        let (ups, stream) = mpsc::channel(UPS);
        let credentials = self.credentials.clone();
        let opened = async {
            let name = Name::Broker(broker);
            let channel = trust::connect(&credentials, name, (host, port), |endpoint| endpoint).await;
            let channel = channel.map_err(|error| error.is_about_trust().then(|| error.to_string()))?;
            let ups = tokio_stream::wrappers::ReceiverStream::new(stream);
            wire::Client::connect(channel).follow(ups).await.map_err(|status| refusal(&status))
        };
        let presentation = self.presentation().await;
        if let Some(root) = presentation.vector.get(&DocumentId::Root) {
            following.learn(root.epoch);
        }
        let hello = Up::Hello { version: wire::VERSION, presentation, run: self.own_run() };
        ups.try_send(hello).ok()?;
        match timeout(CONNECT_MAX, opened).await.ok()? {
            Ok(downs) => Some((ups, downs)),
            Err(reason) => {
                self.complain(reason);
                None
            }
        }
    }

    /// That the two do not believe each other is said once, however long it goes on.
    fn complain(&mut self, reason: Option<String>) {
        if let Some(reason) = reason.filter(|reason| self.complained.as_ref() != Some(reason)) {
            tracing::warn!(reason, "the controller is not followed");
            self.complained = Some(reason);
        }
    }

    async fn presentation(&self) -> Presentation {
        let ledger = Arc::clone(&self.ledger);
        // Whoever holds it may be at work on the disk.
        let vector = tokio::task::spawn_blocking(move || ledger.lock().vector()).await.unwrap_or_default();
        let mut standing = *self.ground.standing.lock();
        // As far as it is now, not as it was at the start: the root knows of later signs of life, and a directory that
        // ends before them counts as an older state of itself.
        standing.synced = standing.synced.max(self.synced());
        Presentation { broker: self.ground.me, cluster: self.ground.cluster, standing, vector }
    }

    /// The admitted run, once there is one.
    fn own_run(&self) -> Option<Incarnation> {
        Some(self.hub.run()).filter(|run| *run > Incarnation::default())
    }

    /// How far this broker's journal is on disk.
    fn synced(&self) -> Lsn {
        self.hub.log().map_or(Lsn::default(), |log| log.synced())
    }

    /// A sign of life, if this run is admitted; whether there was one to give.
    fn beat(&self, talk: &mut Talk, sequence: u64) -> bool {
        let Some(run) = self.own_run() else { return false };
        talk.sent.insert(sequence, self.clock.monotonic());
        let (draining, synced) = (self.hub.is_draining(), self.synced());
        // A stream that takes nothing any more is as good as silent.
        let _full = talk.ups.try_send(Up::Beat { sequence, run, view: 0, draining, synced });
        true
    }

    /// Talks with the controller until one of the two is not what it was.
    async fn talk(&mut self, ups: mpsc::Sender<Up>, mut downs: DownStream, following: &mut Following) {
        let hub = Arc::clone(&self.hub);
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut talk = Talk { ups, sent: BTreeMap::new(), waiting: BTreeMap::new() };
        let (mut sequence, mut questions) = (0, 0);
        let mut answered_at = self.clock.monotonic();
        let _stopped = self.intake.send(Intake::Began);
        loop {
            tokio::select! {
                // One question of that kind at a time: who asks meanwhile has the next one.
                () = hub.beat_now.notified(), if talk.sent.is_empty() => {
                    sequence += 1;
                    self.beat(&mut talk, sequence);
                }
                _ = beats.tick() => {
                    let now = self.clock.monotonic();
                    // Whoever has waited long enough has gone.
                    talk.waiting.retain(|_, reply| !reply.is_closed());
                    let silent = now.saturating_duration_since(answered_at) > SILENCE_MAX;
                    if self.stage.borrow().is_leading() || silent || self.gap.is_due(now) {
                        return;
                    }
                    sequence += 1;
                    if !self.beat(&mut talk, sequence) {
                        // Nobody to beat for yet: the stream itself says whether it is there.
                        answered_at = now;
                    }
                }
                // A controller that alone is cut off from the Lease is not followed past its successor's arrival: neither
                // of the two could decide anything then.
                changed = self.other.changed() => {
                    let other = self.other.borrow_and_update().clone();
                    if changed.is_err() || other.is_some_and(|holder| holder != following.holder()) {
                        return;
                    }
                }
                Some(ask) = self.asks.recv() => {
                    questions += 1;
                    if talk.ups.send(Up::Ask { id: questions, request: ask.request }).await.is_err() {
                        return;
                    }
                    talk.waiting.insert(questions, ask.reply);
                }
                down = downs.next() => {
                    let down = match down {
                        Some(Ok(down)) => down,
                        Some(Err(wire::StreamError::Broken(status))) => return self.complain(refusal(&status)),
                        Some(Err(wire::StreamError::Unreadable(_))) | None => return,
                    };
                    answered_at = self.clock.monotonic();
                    if self.on_down(down, answered_at, &mut talk, following).await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    async fn on_down(&self, down: Down, now: Instant, talk: &mut Talk, following: &mut Following) -> ControlFlow<()> {
        match down {
            Down::NotController { .. } => return ControlFlow::Break(()),
            Down::Documents { epoch, view, complete, documents } => {
                following.learn(epoch);
                let _stopped = self.intake.send(Intake::Documents { epoch, view, complete, documents });
            }
            Down::Beat { sequence, epoch, view, ages, most_heard } => {
                // As of when nobody else decided: what it says is no newer than what it has heard.
                let left = talk.sent.remove(&sequence);
                let as_of = left.zip(most_heard).and_then(|(left, age)| left.checked_sub(age));
                talk.sent.retain(|other, _| *other > sequence);
                following.heard(now);
                let decides = epoch > ControllerEpoch::default();
                if decides && !following.learn(epoch) {
                    return ControlFlow::Continue(());
                }
                // This broker still follows. If the stream takes nothing, the next beat is soon enough.
                let _full = talk.ups.try_send(Up::Echo { sequence });
                // One that does not decide yet is alive, and confirms nothing.
                if decides {
                    self.on_beat(as_of, view, ages, following).await;
                }
            }
            Down::Answer { id, answer } => {
                if let Some(reply) = talk.waiting.remove(&id) {
                    let _stopped = self.intake.send(Intake::Answer(reply, Box::new(answer)));
                }
            }
        }
        ControlFlow::Continue(())
    }

    async fn on_beat(
        &self,
        as_of: Option<Instant>,
        view: u64,
        ages: BTreeMap<BrokerId, Duration>,
        following: &mut Following,
    ) {
        let called_silent = following.decides(self.clock.monotonic(), ages);
        if let Some(as_of) = as_of {
            self.hub.confirmed(as_of, View(view));
        }
        if called_silent {
            let _stopped = self.tell(Event::ControllerHeard { broker: self.ground.me }).await;
            self.tell_others(following, true).await;
        }
    }

    /// The machine and all others are told if the controller has not been heard for as long as makes a broker dead.
    async fn look_at_silence(&self, following: &mut Following) {
        let now = self.clock.monotonic();
        if !following.is_to_be_called_silent(now) {
            return;
        }
        let (epoch, ages) = (self.epoch().await, following.ages(now));
        self.tell(Event::ControllerSilent { broker: self.ground.me, epoch, ages }).await;
        self.tell_others(following, false).await;
    }

    async fn epoch(&self) -> ControllerEpoch {
        let ledger = Arc::clone(&self.ledger);
        tokio::task::spawn_blocking(move || ledger.lock().registered().0).await.unwrap_or_default()
    }

    async fn tell(&self, event: Event) {
        let _stopped = self.shell.send(Input::Event(Box::new(event))).await;
    }

    async fn tell_others(&self, following: &Following, heard_again: bool) {
        let ages = following.ages(self.clock.monotonic());
        let ledger = Arc::clone(&self.ledger);
        let known = tokio::task::spawn_blocking(move || {
            let ledger = ledger.lock();
            (ledger.registered().0, ledger.endpoints(GRPC))
        });
        let Ok((epoch, endpoints)) = known.await else { return };
        for (id, (host, port)) in endpoints.into_iter().filter(|(id, _)| *id != self.ground.me) {
            let credentials = self.credentials.clone();
            let silent = Silent { broker: self.ground.me, epoch, ages: ages.clone(), heard_again };
            tokio::spawn(async move {
                let say = async {
                    let to = (host.as_str(), port);
                    let channel = trust::connect(&credentials, Name::Broker(id), to, |endpoint| endpoint).await.ok()?;
                    wire::Client::connect(channel).silent(silent).await.ok()
                };
                // Whoever cannot be reached is told again soon.
                let _reached = timeout(CONNECT_MAX, say).await;
            });
        }
    }
}

/// What the other side says of who this one is.
fn refusal(status: &tonic::Status) -> Option<String> {
    (status.code() == tonic::Code::PermissionDenied).then(|| status.message().to_owned())
}

type DownStream = futures::stream::BoxStream<'static, Result<Down, wire::StreamError>>;

/// Takes in what the stream brings, in order, and whatever it means for the machine. Ends with the line.
pub(super) fn take_in(
    mut intake: mpsc::UnboundedReceiver<Intake>,
    ledger: &Arc<Mutex<Ledger>>,
    shell: &mpsc::Sender<Input>,
    gap: &Gap,
    clock: Clock,
) {
    while let Some(next) = intake.blocking_recv() {
        match next {
            Intake::Began => *gap.0.lock() = None,
            // An answer rests on what came before it: whoever waits for this one asks again.
            Intake::Documents { .. } | Intake::Answer(..) if gap.0.lock().is_some() => {}
            Intake::Documents { epoch, view, complete, documents } => {
                let decoded: Result<Vec<_>, _> = documents
                    .into_iter()
                    .map(|bytes| ottla_rpc::decode(&bytes).map(|document| (document, bytes)))
                    .collect();
                let taken = match decoded {
                    Ok(documents) => ledger.lock().take((epoch, View(view)), complete, documents),
                    Err(error) => {
                        tracing::error!(%error, "what the controller sent cannot be read");
                        continue;
                    }
                };
                if let Err(TakeError::Full(_)) = &taken {
                    *gap.0.lock() = Some(clock.monotonic());
                    continue;
                }
                if let Err(error) = taken {
                    tracing::warn!(%error, "what a controller sent is not acted on");
                    continue;
                }
                let ((epoch, registered), seen) = {
                    let ledger = ledger.lock();
                    (ledger.registered(), ledger.vector())
                };
                let followed = Event::Followed { epoch, registered, seen };
                let _stopped = shell.blocking_send(Input::Event(Box::new(followed)));
            }
            Intake::Answer(reply, answer) => {
                let _gone = reply.send(*answer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
