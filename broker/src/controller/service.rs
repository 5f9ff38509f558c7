//! The controller's side of the streams that brokers open, and what brokers tell each other about a silent controller.
//!
//! Owns who was heard when, and the order on each stream: what an answer rests on is sent before the answer. It decides
//! nothing; everything that it hears is an event of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ottla_core::controller::{Answer, DocumentId, Event, Request, WriteId, most_heard};
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation};
use ottla_rpc::controller::{self as wire, Down, DownStream, Silent, Up, UpStream};
use ottla_rpc::transport::{Knock, knock};
use ottla_rpc::trust::Caller;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tonic::Status;

use super::ledger::Ledger;
use super::link::GRPC;
use super::shell::{Ask, Input, Published, Stage};
use crate::clock::Clock;

/// Messages on their way down one stream.
const DOWNS: usize = 64;
/// How long the first message may take.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// What crosses the network is cut to whole ones, and no age may look younger than it is.
const TICK: Duration = Duration::from_micros(1);
/// How often it is looked whether a broker whose stream closed still takes connections, and how far apart.
const LOOKS: (u32, Duration) = (5, Duration::from_millis(100));

/// Who was heard when, on its own stream.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// When a sign of life last arrived.
    arrived: BTreeMap<BrokerId, Instant>,
    /// As of when it is known to have followed.
    proven: BTreeMap<BrokerId, Instant>,
    /// The streams that are open, in the order in which they came.
    open: BTreeMap<u64, (BrokerId, Option<Incarnation>)>,
    opened: u64,
}

impl Heard {
    fn opened(&self, id: BrokerId, run: Option<Incarnation>) -> u64 {
        let mut times = self.0.lock();
        times.opened += 1;
        let number = times.opened;
        times.open.insert(number, (id, run));
        number
    }

    /// That stream is of that run.
    fn runs(&self, number: u64, run: Incarnation) {
        if let Some((_, known)) = self.0.lock().open.get_mut(&number) {
            *known = Some(run);
        }
    }

    /// That stream is over. Whose it was, unless a later one of the same run is open: its end says nothing then.
    fn closed(&self, number: u64) -> Option<(BrokerId, Incarnation)> {
        let mut times = self.0.lock();
        let (id, run) = times.open.remove(&number)?;
        let later = times.open.range(number..).any(|(_, other)| *other == (id, run));
        run.filter(|_| !later).map(|run| (id, run))
    }

    fn arrived(&self, id: BrokerId, at: Instant) {
        self.0.lock().arrived.insert(id, at);
    }

    fn proven(&self, id: BrokerId, at: Instant) {
        let mut times = self.0.lock();
        let known = times.proven.entry(id).or_insert(at);
        *known = at.max(*known);
    }

    /// As of when more than half of `registered` followed, as [`most_heard`] counts.
    pub(super) fn most(
        &self,
        now: Instant,
        me: BrokerId,
        asks: Option<BrokerId>,
        registered: &BTreeSet<BrokerId>,
    ) -> Option<Instant> {
        most_heard(&self.0.lock().proven, registered, me, asks, now)
    }

    fn ages(&self, now: Instant) -> BTreeMap<BrokerId, Duration> {
        self.0.lock().arrived.iter().map(|(id, at)| (*id, now.saturating_duration_since(*at))).collect()
    }
}

/// What is served.
pub(super) struct Service {
    pub(super) me: BrokerId,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) shell: mpsc::Sender<Input>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) heard: Arc<Heard>,
    pub(super) clock: Clock,
}

impl wire::Service for Shared {
    fn follow(&self, caller: Caller, ups: UpStream) -> DownStream {
        let (downs, stream) = mpsc::channel(DOWNS);
        let (refuse, refused) = oneshot::channel();
        let service = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(Impostor(sentence)) = service.serve(caller, ups, downs).await {
                tracing::warn!(sentence, "a stream is refused");
                let _gone = refuse.send(Status::permission_denied(sentence));
            }
        });
        let last = futures::stream::once(refused).filter_map(async |refused| refused.ok().map(Err));
        tokio_stream::wrappers::ReceiverStream::new(stream).map(Ok).chain(last).boxed()
    }

    fn silent(&self, silent: Silent) {
        let Silent { broker, epoch, ages, heard_again } = silent;
        let event = match heard_again {
            true => Event::ControllerHeard { broker },
            false => Event::ControllerSilent { broker, epoch, ages },
        };
        // It is said again.
        let _full = self.0.shell.try_send(Input::Event(Box::new(event)));
    }
}

/// A service that streams hold on to.
pub struct Shared(pub(super) Arc<Service>);

/// One broker's stream.
struct Line {
    broker: BrokerId,
    caller: Caller,
    number: u64,
    downs: mpsc::Sender<Down>,
    /// When which beat left that was not echoed yet.
    beats: BTreeMap<u64, Instant>,
    sent: BTreeMap<DocumentId, WriteId>,
    /// In whose term they were sent.
    epoch: Option<ControllerEpoch>,
    /// The stream belongs to this round of asking.
    round: Option<u64>,
    answers: FuturesUnordered<Waiting>,
}

type Waiting = std::pin::Pin<Box<dyn Future<Output = (u64, Option<Answer>)> + Send>>;

/// The stream is over.
struct Over;

/// Somebody says that it is a broker, and its certificate says otherwise; a sentence.
#[derive(Debug)]
struct Impostor(String);

impl Service {
    async fn serve(&self, caller: Caller, mut ups: UpStream, downs: mpsc::Sender<Down>) -> Result<(), Impostor> {
        let Ok(Some(Ok(Up::Hello { presentation, run, .. }))) = timeout(HELLO_MAX, ups.next()).await else {
            return Ok(());
        };
        caller.check_broker(presentation.broker).map_err(Impostor)?;
        let round = match &*self.stage.borrow() {
            Stage::Waiting | Stage::Halted(_) => None,
            Stage::Claiming(round) => Some(Some(*round)),
            Stage::Leading(_) => Some(None),
        };
        let Some(round) = round else {
            let _gone = downs.send(Down::NotController { leader: None }).await;
            return Ok(());
        };
        let broker = presentation.broker;
        tracing::debug!(%broker, "a broker follows");
        self.tell(Event::Presented(presentation)).await;
        let (sent, answers) = (BTreeMap::new(), FuturesUnordered::new());
        let number = self.heard.opened(broker, run);
        let beats = BTreeMap::new();
        let mut line = Line { broker, caller, number, downs, beats, sent, epoch: None, round, answers };
        let _over = self.talk(&mut line, &mut ups).await;
        if let Some((broker, run)) = self.heard.closed(number) {
            self.tell(Event::StreamClosed { broker, incarnation: run, refused: false }).await;
            self.look_for(broker, run).await;
        }
        Ok(())
    }

    async fn talk(&self, line: &mut Line, ups: &mut UpStream) -> Result<(), Over> {
        let mut stage = self.stage.clone();
        stage.mark_changed();
        loop {
            tokio::select! {
                changed = stage.changed() => {
                    changed.map_err(|_| Over)?;
                    let now = stage.borrow_and_update().clone();
                    self.on_stage(line, now).await?;
                }
                up = ups.next() => match up {
                    Some(Ok(up)) => self.on_up(line, up).await?,
                    Some(Err(_)) | None => return Err(Over),
                },
                Some((id, answer)) = line.answers.next() => {
                    // What it rests on has been published before, and goes first.
                    let now = stage.borrow_and_update().clone();
                    self.on_stage(line, now).await?;
                    line.send_answer(id, answer.ok_or(Over)?).await?;
                }
            }
        }
    }

    async fn on_stage(&self, line: &mut Line, stage: Stage) -> Result<(), Over> {
        match stage {
            Stage::Leading(published) => line.send_documents(&published).await,
            Stage::Claiming(round) => {
                // Everybody is asked anew, by having to come anew.
                let known = *line.round.get_or_insert(round);
                if known == round && line.epoch.is_none() { Ok(()) } else { Err(Over) }
            }
            Stage::Waiting | Stage::Halted(_) => {
                line.send(Down::NotController { leader: None }).await?;
                Err(Over)
            }
        }
    }

    async fn on_up(&self, line: &mut Line, up: Up) -> Result<(), Over> {
        match up {
            Up::Hello { .. } => Err(Over),
            Up::Beat { sequence, run, draining, synced, .. } => {
                let now = self.clock.monotonic();
                self.heard.runs(line.number, run);
                self.heard.arrived(line.broker, now);
                self.tell(Event::Heartbeat { broker: line.broker, incarnation: run, draining, synced }).await;
                let published = match &*self.stage.borrow() {
                    Stage::Leading(published) => Some(Arc::clone(published)),
                    Stage::Waiting | Stage::Claiming(_) | Stage::Halted(_) => None,
                };
                let asks = Some(line.broker);
                let most = |published: &Arc<Published>| self.heard.most(now, self.me, asks, &published.registered);
                let most_heard = published.as_ref().and_then(most).map(|at| now.saturating_duration_since(at) + TICK);
                let (epoch, view) = published.map_or_else(Default::default, |p| (p.epoch, p.view.0));
                line.beat_leaves(sequence, now);
                line.send(Down::Beat { sequence, epoch, view, ages: self.heard.ages(now), most_heard }).await
            }
            Up::Echo { sequence } => {
                if let Some(left) = line.beats.get(&sequence) {
                    self.heard.proven(line.broker, *left);
                    line.beats.retain(|other, _| *other > sequence);
                }
                Ok(())
            }
            Up::Ask { id, request } => {
                if let Some(Err(sentence)) = request.speaks_for().map(|claimed| line.caller.check_broker(claimed)) {
                    tracing::warn!(sentence, "a request is refused");
                    return Err(Over);
                }
                if let Request::Admit { incarnation, .. } = &request {
                    self.heard.runs(line.number, *incarnation);
                }
                let (reply, answer) = oneshot::channel();
                let asked = self.shell.send(Input::Ask(Box::new(Ask { request, reply }))).await;
                asked.map_err(|_| Over)?;
                line.answers.push(Box::pin(async move { (id, answer.await.ok()) }));
                Ok(())
            }
            Up::Leaving { run } => {
                self.tell(Event::Left { broker: line.broker, incarnation: run }).await;
                Ok(())
            }
        }
    }

    async fn tell(&self, event: Event) {
        let _stopped = self.shell.send(Input::Event(Box::new(event))).await;
    }

    /// Whether a broker whose stream closed still takes connections: one that does not is dead soon.
    async fn look_for(&self, broker: BrokerId, run: Incarnation) {
        let ledger = Arc::clone(&self.ledger);
        let endpoints = tokio::task::spawn_blocking(move || ledger.lock().endpoints(GRPC)).await.unwrap_or_default();
        let Some((host, port)) = endpoints.get(&broker) else { return };
        for _ in 0..LOOKS.0 {
            if knock(host, *port, LOOKS.1).await == Knock::Refused {
                self.tell(Event::StreamClosed { broker, incarnation: run, refused: true }).await;
                return;
            }
            tokio::time::sleep(LOOKS.1).await;
        }
    }
}

impl Line {
    /// Of more beats than the stream holds, none is waited for any more.
    fn beat_leaves(&mut self, sequence: u64, now: Instant) {
        self.beats.insert(sequence, now);
        if self.beats.len() > DOWNS {
            self.beats.pop_first();
        }
    }

    async fn send(&mut self, down: Down) -> Result<(), Over> {
        self.downs.send(down).await.map_err(|_| Over)
    }

    /// An answer that is too long would end the stream. Whoever waits for it is told that its time is over.
    async fn send_answer(&mut self, id: u64, answer: Answer) -> Result<(), Over> {
        let down = Down::Answer { id, answer };
        if let Err(error) = down.encode() {
            tracing::error!(broker = %self.broker, %error, "an answer cannot be sent; ask for less at once");
            return Ok(());
        }
        self.send(down).await
    }

    async fn send_documents(&mut self, published: &Published) -> Result<(), Over> {
        let complete = self.epoch != Some(published.epoch);
        if complete {
            self.sent.clear();
        }
        let unsent = |(id, (write, _)): &(&DocumentId, &(WriteId, bytes::Bytes))| self.sent.get(id) != Some(write);
        let changed: Vec<_> = published
            .documents
            .iter()
            .filter(unsent)
            .map(|(id, (write, bytes))| (*id, *write, bytes.clone()))
            .collect();
        if changed.is_empty() && !complete {
            return Ok(());
        }
        self.sent.extend(changed.iter().map(|(id, write, _)| (*id, *write)));
        self.epoch = Some(published.epoch);
        let documents = changed.into_iter().map(|(_, _, bytes)| bytes).collect();
        self.send(Down::Documents { epoch: published.epoch, view: published.view.0, complete, documents }).await
    }
}

#[cfg(test)]
mod tests;
