//! One replica by hand: its log is a list of epochs, its peers say what a test lets them say.

use super::*;

/// A log of which only the epochs matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs(Vec<LeaderEpoch>);

impl Epochs {
    pub(super) fn of(epochs: &[i32]) -> Self {
        Self(epochs.iter().map(|&epoch| LeaderEpoch::new(epoch)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn truncate(&mut self, end: Offset) {
        self.0.truncate(usize::try_from(end.get()).unwrap());
    }
}

fn offset(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap())
}

impl LogView for Epochs {
    fn log_start(&self) -> Offset {
        Offset::new(0)
    }

    fn log_end(&self) -> Offset {
        offset(self.0.len())
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.0.last().copied()
    }

    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let last = *self.0.last()?;
        let next = self.0.partition_point(|&epoch| epoch <= asked);
        if asked > last {
            return None;
        }
        let epoch = next.checked_sub(1).map_or(asked, |before| self.0[before]);
        Some((epoch, offset(next)))
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
    #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; its value is arbitrary")]
    pub(super) fn leader_with(records: usize, replicas: &[i32], isr: &[i32], min: u16) -> Self {
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
        let mut harness = Self { replica, host, effects: Vec::new(), log, now, version: 0, replicas };
        harness.assigned(isr, min);
        harness
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
            unclean: false,
        };
        self.event(Event::Assigned(assignment));
    }

    /// Appends so many records, which are durable and pushed to everybody at once.
    pub(super) fn append(&mut self, records: usize) {
        self.log.0.extend(vec![EPOCH; records]);
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
        let last_epoch = end.checked_sub(1).map(|_| LeaderEpoch::new(1));
        let open = Open { epoch: EPOCH, incarnation: RUN, session: SessionNumber(1), last_epoch, end: offset(end) };
        self.event(Event::Received { from: id(from), message: Message::Open(open) });
        self.pushes(id(from));
    }

    /// A follower acknowledges an end, and everything that was asked.
    pub(super) fn acks(&mut self, from: i32, end: usize) {
        let stamp = self.host.stamp(self.now);
        let ack = Ack { epoch: EPOCH, incarnation: RUN, session: SessionNumber(1), end: offset(end), stamp };
        self.event(Event::Received { from: id(from), message: Message::Ack(ack) });
    }

    pub(super) fn altered(&mut self, outcome: Altered) {
        let partition_epoch = PartitionEpoch::new(self.version);
        self.event(Event::Altered { leader_epoch: EPOCH, partition_epoch, outcome });
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.event(Event::Tick);
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
