//! One replica by hand: its log is a list of epochs, its peers say what a test lets them say.

use super::*;

/// A log of which only the epochs matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    epochs: Vec<LeaderEpoch>,
    start: usize,
}

impl Epochs {
    pub(super) fn of(epochs: &[i32]) -> Self {
        Self { epochs: epochs.iter().map(|&epoch| LeaderEpoch::new(epoch)).collect(), start: 0 }
    }

    /// What lies below was removed.
    pub(super) fn from(self, start: usize) -> Self {
        Self { start, ..self }
    }

    fn kept(&self) -> &[LeaderEpoch] {
        &self.epochs[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.epochs.len()
    }

    pub(super) fn truncate(&mut self, end: Offset) {
        self.epochs.truncate(usize::try_from(end.get()).unwrap());
    }
}

fn offset(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap())
}

impl LogView for Epochs {
    fn log_start(&self) -> Offset {
        offset(self.start)
    }

    fn log_end(&self) -> Offset {
        offset(self.epochs.len())
    }

    fn first_epoch(&self) -> Option<LeaderEpoch> {
        self.kept().first().copied()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.kept().last().copied()
    }

    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let last = *self.kept().last()?;
        let next = self.kept().partition_point(|&epoch| epoch <= asked);
        if asked > last {
            return None;
        }
        let epoch = next.checked_sub(1).map_or(asked, |before| self.kept()[before]);
        Some((epoch, offset(self.start + next)))
    }
}

pub(super) fn id(id: i32) -> BrokerId {
    BrokerId::new(id)
}

fn ids(of: &[i32]) -> Vec<BrokerId> {
    of.iter().map(|&broker| id(broker)).collect()
}

const RUN: Incarnation = Incarnation::new(7);
const EPOCH: LeaderEpoch = LeaderEpoch::new(4);

/// Broker 1's replica.
pub(super) struct Harness {
    pub(super) replica: Replica,
    pub(super) host: Host,
    pub(super) effects: Effects,
    log: Epochs,
    now: Instant,
    version: i32,
    replicas: Vec<BrokerId>,
}

impl Harness {
    /// It leads; its log is empty.
    pub(super) fn leader(replicas: &[i32], isr: &[i32], min: u16) -> Self {
        Self::leader_with(0, replicas, isr, min)
    }

    /// It leads; its log has so many records of an earlier epoch, and it knows of no high watermark.
    pub(super) fn leader_with(records: usize, replicas: &[i32], isr: &[i32], min: u16) -> Self {
        let mut harness = Self::idle(records, replicas);
        harness.assigned(isr, min);
        harness
    }

    /// It has been given that, and has so many durable records of an earlier epoch; as a follower it has opened a session.
    pub(super) fn given(records: usize, assignment: Assignment) -> Self {
        let mut harness = Self::idle(records, &[1, 2, 3]);
        harness.event(Event::Assigned(assignment));
        harness
    }

    /// It has just started: what it knows of itself is from the run before.
    pub(super) fn restarted(records: usize) -> Self {
        let mut harness = Self::idle(records, &[1, 2, 3]);
        let before = Incarnation::new(RUN.get() - 1);
        harness.host.on_peer(id(1), Peer { incarnation: before, fenced: false, draining: false });
        harness
    }

    pub(super) fn knows_its_run(&mut self) {
        self.host.on_peer(id(1), Peer { incarnation: RUN, fenced: true, draining: false });
    }

    /// Broker 2, which leads in epoch 4, answers the newest session of that run.
    pub(super) fn answered(&mut self, run: u64, verdict: Verdict) {
        let (session, stamp) = (self.replica.sessions, self.host.stamp(self.now));
        let incarnation = Incarnation::new(run.try_into().unwrap());
        let high_watermark = Offset::default();
        let log_start = Offset::default();
        let answer = Answer { epoch: EPOCH, incarnation, session, verdict, high_watermark, log_start, stamp };
        self.event(Event::Received { from: id(2), message: Message::Answer(answer) });
    }

    /// Broker 2 lets it follow at its end, and says that so much is committed.
    pub(super) fn pushed_watermark(&mut self, end: usize) {
        self.answered(7, Verdict::PushFrom(self.log.log_end()));
        self.pushed(end, 0);
        assert_eq!(self.replica.high_watermark(), offset(end));
    }

    /// Broker 2 says that so much is committed, and where its log begins.
    pub(super) fn pushed(&mut self, end: usize, start: usize) {
        let (session, stamp, at) = (self.replica.sessions, self.host.stamp(self.now), self.log.log_end());
        let (epoch, incarnation) = (EPOCH, RUN);
        let (high_watermark, log_start) = (offset(end), offset(start));
        let push = Push { epoch, incarnation, session, base: at, end: at, high_watermark, log_start, stamp };
        self.event(Event::Received { from: id(2), message: Message::Push(push) });
    }

    pub(super) fn low_watermark(&self) -> Option<i64> {
        let cx = Context { now: self.now, host: &self.host, log: &self.log };
        self.replica.low_watermark(&cx).map(Offset::get)
    }

    pub(super) fn removes_below(&mut self, start: usize) {
        self.log.start = start;
    }

    /// Its log is dropped, durably, and begins there.
    pub(super) fn starts_over(&mut self, at: usize) {
        self.log = Epochs::of(&vec![1; at]).from(at);
        self.event(Event::Truncated(offset(at)));
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; its value is arbitrary")]
    fn idle(records: usize, replicas: &[i32]) -> Self {
        let now = Instant::now();
        let mut host = Host::new(id(1), RUN, Settings::default(), Rules::ALL, now);
        for &peer in replicas {
            host.on_peer(id(peer), Peer { incarnation: RUN, fenced: false, draining: false });
        }
        host.on_controller_answer(now, View::default());
        let partition = TopicPartition::new(TopicId::from_bytes([1; 16]), PartitionIndex::new(0));
        let log = Epochs::of(&vec![1; records]);
        let replica = Replica::new(partition, offset(records), Offset::new(0));
        let replicas = ids(replicas);
        Self { replica, host, effects: Vec::new(), log, now, version: 0, replicas }
    }

    pub(super) fn event(&mut self, event: Event) {
        let cx = Context { now: self.now, host: &self.host, log: &self.log };
        self.replica.step(&cx, event, &mut self.effects);
    }

    /// The next version of the metadata.
    pub(super) fn assigned(&mut self, isr: &[i32], min: u16) {
        self.version += 1;
        let assignment = Assignment {
            leader: Some((id(1), RUN)),
            leader_epoch: EPOCH,
            partition_epoch: PartitionEpoch::new(self.version),
            replicas: self.replicas.clone(),
            isr: ids(isr),
            elr: Vec::new(),
            min_insync: min,
            unclean: None,
        };
        self.event(Event::Assigned(assignment));
    }

    /// Appends so many records, which are durable and pushed to everybody at once.
    pub(super) fn append(&mut self, records: usize) {
        self.log.epochs.extend(vec![EPOCH; records]);
        self.event(Event::Appended(None));
        self.event(Event::Flushed(self.log.log_end()));
        for peer in self.replicas.clone() {
            self.pushes(peer);
        }
    }

    fn pushes(&mut self, to: BrokerId) {
        let upto = self.log.log_end();
        self.event(Event::Room(to));
        self.event(Event::Sent { to, session: SessionNumber(1), upto, cached: true });
    }

    /// A follower opens its first session at an end of the earlier epoch.
    pub(super) fn opens(&mut self, from: i32, end: usize) {
        self.opens_only(from, end);
        self.pushes(id(from));
    }

    /// Nothing is pushed yet.
    pub(super) fn opens_only(&mut self, from: i32, end: usize) {
        self.opens_kept(from, 0, end);
    }

    /// As [`Self::opens_only`], with a log that keeps what lies from `start` on.
    pub(super) fn opens_kept(&mut self, from: i32, start: usize, end: usize) {
        self.opens_in(EPOCH, from, start, end);
    }

    /// As [`Self::opens_kept`], in another epoch.
    pub(super) fn opens_in(&mut self, epoch: LeaderEpoch, from: i32, start: usize, end: usize) {
        let last_epoch = (end > start).then_some(LeaderEpoch::new(1));
        let session = SessionNumber(1);
        let (start, end) = (offset(start), offset(end));
        let open = Open { epoch, incarnation: RUN, session, start, last_epoch, end };
        self.event(Event::Received { from: id(from), message: Message::Open(open) });
    }

    /// A follower opens its first session with an empty log that begins there.
    pub(super) fn opens_empty(&mut self, from: i32, at: usize) {
        self.opens_kept(from, at, at);
    }

    /// What followers were answered since the last time.
    pub(super) fn verdicts(&mut self) -> Vec<Verdict> {
        let effects = std::mem::take(&mut self.effects);
        let mut verdicts = Vec::new();
        for effect in effects {
            if let Effect::Send { message: Message::Answer(answer), .. } = effect {
                verdicts.push(answer.verdict);
            }
        }
        verdicts
    }

    /// The numbers of the sessions that were asked for.
    pub(super) fn opened(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        for effect in &self.effects {
            if let Effect::Send { message: Message::Open(open), .. } = effect {
                numbers.push(open.session.0);
            }
        }
        numbers
    }

    /// A follower acknowledges an end, and everything that was asked.
    pub(super) fn acks(&mut self, from: i32, end: usize) {
        self.acks_from(from, 0, end);
    }

    /// The same, and its log begins there.
    pub(super) fn acks_from(&mut self, from: i32, start: usize, end: usize) {
        let stamp = self.host.stamp(self.now);
        let (end, log_start) = (offset(end), offset(start));
        let ack = Ack { epoch: EPOCH, incarnation: RUN, session: SessionNumber(1), end, log_start, stamp };
        self.event(Event::Received { from: id(from), message: Message::Ack(ack) });
    }

    /// Its broker is about to stop.
    pub(super) fn stops(&mut self) {
        self.host.on_stopping(self.now);
    }

    /// A produce request that was refused because the epoch ends.
    pub(super) fn holds(&mut self, request: u64, patience: Duration) {
        let deadline = self.now + patience;
        self.event(Event::Held(Hold { id: ProduceId(request), deadline }));
    }

    /// What requests were answered since the last time.
    pub(super) fn answers(&mut self) -> Vec<(u64, Outcome)> {
        let effects = std::mem::take(&mut self.effects);
        let mut answers = Vec::new();
        for effect in effects {
            if let Effect::Answer(id, outcome) = effect {
                answers.push((id.0, outcome));
            }
        }
        answers
    }

    pub(super) fn fences(&mut self, peer: i32) {
        self.host.on_peer(id(peer), Peer { incarnation: RUN, fenced: true, draining: false });
        self.event(Event::PeersChanged);
    }

    pub(super) fn altered(&mut self, outcome: Altered) {
        let partition_epoch = PartitionEpoch::new(self.version);
        self.event(Event::Altered { leader_epoch: EPOCH, partition_epoch, outcome });
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.event(Event::Tick);
    }

    /// Whether it wants to be looked at by now.
    pub(super) fn is_due(&self) -> bool {
        self.replica.deadline(&self.host).is_some_and(|at| at <= self.now)
    }

    pub(super) fn admits(&self, acks: Acks) -> Result<LeaderEpoch, Refusal> {
        let cx = Context { now: self.now, host: &self.host, log: &self.log };
        self.replica.admit_produce(&cx, acks)
    }

    /// Which ISRs were asked for since the last time.
    pub(super) fn alters(&mut self) -> Vec<Vec<BrokerId>> {
        let effects = std::mem::take(&mut self.effects);
        let mut asked = Vec::new();
        for effect in effects {
            if let Effect::Ask(Ask::Alter(alter)) = effect {
                asked.push(alter.isr);
            }
        }
        asked
    }
}
