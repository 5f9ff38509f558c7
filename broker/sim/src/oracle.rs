//! The invariants of replication, judged from outside: an oracle sees every disk and every message, and believes nobody.
//!
//! Owns the truth of each partition: what is committed, who led when, which bytes an offset had in which epoch. A broken
//! invariant is a [`Violation`] that carries its name; nothing here steers the simulation.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::replica::{Assignment, LogView};
use ottla_core::types::{BrokerId, Incarnation, LeaderEpoch, Offset};

use crate::committed::Snapshot;
use crate::log::{Record, SimLog, offset, producer_of};

#[cfg(test)]
mod tests;

/// How long a deposed leader may go on believing, clocks that run at different speeds included. Microseconds.
const DEPOSED_US: u64 = 1_030_000;

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What a check finds.
pub(crate) type Checked = Result<(), Violation>;

pub(crate) fn holds(invariant: &'static str, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// What is known of one replica at the moment of a check.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Which broker.
    pub(crate) id: BrokerId,
    /// Its process runs and is registered.
    pub(crate) registered: bool,
    /// Its disk.
    pub(crate) log: &'a SimLog,
}

/// The truth about one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    committed: Vec<Record>,
    /// How far each epoch's leader has committed: a replica that has not heard of a later epoch can know of no more.
    committed_by: BTreeMap<LeaderEpoch, Offset>,
    leaders: BTreeMap<LeaderEpoch, (BrokerId, Incarnation)>,
    begun: BTreeMap<LeaderEpoch, u64>,
    prefixes: BTreeMap<(Offset, LeaderEpoch), u64>,
    shown: BTreeMap<LeaderEpoch, Offset>,
    versions: Option<Assignment>,
    sequences: BTreeMap<u64, u64>,
    /// The epochs of all unclean elections.
    unclean: BTreeSet<LeaderEpoch>,
}

impl Truth {
    /// The true high watermark.
    pub(crate) fn watermark(&self) -> Offset {
        offset(self.committed.len())
    }

    /// A committed record.
    pub(crate) fn committed(&self, at: Offset) -> Option<&Record> {
        usize::try_from(at.get()).ok().and_then(|index| self.committed.get(index))
    }

    fn prefix(&self) -> u64 {
        self.committed.last().map_or(0, |record| record.prefix)
    }

    /// Whether something of that epoch was given up by an unclean election since: nothing is promised for it any more.
    fn is_given_up(&self, epoch: LeaderEpoch) -> bool {
        self.unclean.last().is_some_and(|&unclean| epoch < unclean)
    }

    /// How far leaders up to that epoch have committed.
    fn committed_until(&self, epoch: LeaderEpoch) -> Offset {
        let ends = self.committed_by.range(..=epoch).map(|(_, &end)| end);
        ends.max().unwrap_or_default().min(self.watermark())
    }

    fn commit(&mut self, epoch: LeaderEpoch, grown: &[Record]) {
        self.committed.extend_from_slice(grown);
        self.committed_by.insert(epoch, self.watermark());
    }

    /// Whether nobody has led since the unclean election of that epoch. Until then nobody but the elected is a member.
    pub(crate) fn is_unsettled(&self, unclean: LeaderEpoch) -> bool {
        self.begun.range(unclean..).next().is_none()
    }

    /// An unclean election: from here on, what the leader has of what was committed is all that is. If it has nothing of
    /// that, for its log begins with what an earlier such election gave up, then what lies below its log is nobody's. Said
    /// again as long as the election is unsettled: who has not heard of its own election follows an earlier leader, and
    /// may cut or drop what it had.
    pub(crate) fn on_unclean(&mut self, epoch: LeaderEpoch, leader: &SimLog) {
        self.unclean.insert(epoch);
        let common = |&end: &usize| {
            leader.synced() >= offset(end) && leader.prefix(offset(end)) == Some(self.prefix_at(offset(end)))
        };
        match (0..=self.committed.len()).rev().find(common) {
            Some(end) => self.committed.truncate(end),
            None => self.committed = leader.unknown_below(),
        }
        let kept = self.watermark();
        for end in self.committed_by.values_mut() {
            *end = kept.min(*end);
        }
        self.sequences = leader.sequences(kept);
    }

    /// The first leader since an unclean election begins. What it knows to have been committed is committed again, though
    /// an unclean election before this one may have given it up.
    pub(crate) fn on_first_since_unclean(&mut self, epoch: LeaderEpoch, leader: &SimLog, watermark: Offset) {
        let Some(&unclean) = self.unclean.last() else { return };
        if epoch < unclean || !self.is_unsettled(unclean) {
            return;
        }
        self.on_unclean(unclean, leader);
        self.commit(epoch, leader.range(self.watermark(), watermark));
        self.sequences = leader.sequences(self.watermark());
    }

    /// The hash of everything that is committed below `end`.
    pub(crate) fn prefix_at(&self, end: Offset) -> u64 {
        let end = usize::try_from(end.get()).unwrap_or(0).min(self.committed.len());
        end.checked_sub(1).map_or(0, |last| self.committed[last].prefix)
    }

    /// A5: versions and epochs go up by one; an epoch has one leader.
    pub(crate) fn on_version(&mut self, new: &Assignment) -> Checked {
        if let Some(old) = &self.versions {
            let (from, to) = (old.partition_epoch.get(), new.partition_epoch.get());
            holds("A5", to >= from, || format!("version {from} became {to}"))?;
            holds("A5", new.leader_epoch >= old.leader_epoch, || "a leader epoch went back".to_owned())?;
        }
        if let Some(leader) = new.leader {
            let first = *self.leaders.entry(new.leader_epoch).or_insert(leader);
            holds("A5", first == leader, || format!("epoch {} has two leaders", new.leader_epoch))?;
        }
        self.versions = Some(new.clone());
        Ok(())
    }

    /// R2, R6, A5: somebody begins to lead.
    pub(crate) fn on_leading(&mut self, now: u64, epoch: LeaderEpoch, run: Incarnation, seen: Seen<'_>) -> Checked {
        let given = self.leaders.get(&epoch).copied();
        holds("A5", given == Some((seen.id, run)), || {
            format!("{} run {run} leads in epoch {epoch}, which was given to {given:?}", seen.id)
        })?;
        let newest = self.versions.as_ref().is_some_and(|newest| newest.leader_epoch == epoch);
        let previous = self.begun.insert(epoch, now);
        holds("R6", previous.is_none(), || format!("epoch {epoch} began twice"))?;
        if newest { self.has_all("R2", seen) } else { Ok(()) }
    }

    /// Whether a log has everything that is committed.
    pub(crate) fn is_whole(&self, log: &SimLog) -> bool {
        log.synced() >= self.watermark() && log.prefix(self.watermark()) == Some(self.prefix())
    }

    fn has_all(&self, invariant: &'static str, seen: Seen<'_>) -> Checked {
        let (end, synced) = (self.watermark(), seen.log.synced());
        holds(invariant, synced >= end, || format!("{} has {synced} durable, committed is {end}", seen.id))?;
        holds(invariant, seen.log.prefix(end) == Some(self.prefix()), || {
            format!("{} has other bytes below the committed end {end}", seen.id)
        })
    }

    /// R3: who may be elected has everything that is committed.
    pub(crate) fn on_members(&self, assignment: &Assignment, seen: &[Seen<'_>]) -> Checked {
        let members = seen.iter().filter(|seen| seen.registered && assignment.is_member(seen.id));
        members.into_iter().try_for_each(|&member| self.has_all("R3", member))
    }

    /// R4, R1, T1: a leader says that everything below `end` is committed.
    pub(crate) fn on_watermark(
        &mut self,
        (isr, min, epoch): (&[BrokerId], u16, LeaderEpoch),
        leader: Seen<'_>,
        end: Offset,
        seen: &[Seen<'_>],
    ) -> Checked {
        holds("R4", isr.len() >= usize::from(min), || format!("{} in sync are fewer than {min}", isr.len()))?;
        holds("R4", leader.log.synced() >= end, || format!("leader {} has less than {end} durable", leader.id))?;
        if self.is_given_up(epoch) {
            return Ok(());
        }
        for member in seen.iter().filter(|seen| isr.contains(&seen.id) && !seen.log.wiped && !seen.log.suspect) {
            let same = member.log.prefix(end) == leader.log.prefix(end);
            holds("R4", member.log.synced() >= end && same, || {
                format!("{} has {} durable, the leader says {end}", member.id, member.log.synced())
            })?;
        }
        let known = self.watermark();
        if end > known {
            let grown = leader.log.range(known, end);
            holds("R1", leader.log.prefix(known) == Some(self.prefix()), || {
                format!("leader {} commits other bytes below {known}", leader.id)
            })?;
            for (record, at) in grown.iter().zip(known.get()..) {
                let (producer, number) = producer_of(record.value);
                let before = self.sequences.insert(producer, number).unwrap_or(0);
                holds("T1", producer == 0 || number == before + 1, || {
                    format!("{number} of producer {producer} is committed at {at} after {before}")
                })?;
            }
            self.commit(epoch, grown);
        } else {
            holds("R1", leader.log.prefix(end) == Some(self.prefix_at(end)), || {
                format!("leader {} commits other bytes below {end}", leader.id)
            })?;
        }
        Ok(())
    }

    /// R10: a follower knows of a high watermark.
    pub(crate) fn on_known_watermark(&self, id: BrokerId, epoch: LeaderEpoch, end: Offset) -> Checked {
        let known = self.watermark();
        holds("R10", end <= known || self.is_given_up(epoch), || {
            format!("follower {id} believes in {end}, committed is {known}")
        })
    }

    /// R7, R9: a record comes into a log.
    pub(crate) fn on_appended(&mut self, at: Offset, record: &Record, before: Option<LeaderEpoch>) -> Checked {
        holds("R9", before.is_none_or(|before| before <= record.epoch), || {
            format!("epoch {} follows {before:?}", record.epoch)
        })?;
        let known = *self.prefixes.entry((at, record.epoch)).or_insert(record.prefix);
        holds("R7", known == record.prefix, || {
            format!("offset {at} of epoch {} has two contents, or two prefixes", record.epoch)
        })
    }

    /// R8: a follower cuts its log; nothing that is committed is among what it loses, if it is a member. Who is none may
    /// not have heard of a later epoch, and its leader may lack what that one has committed: only what was committed up to
    /// its own epoch is not to be lost. (A replica that comes back late holds records that never were, at offsets that are
    /// committed by now.)
    pub(crate) fn on_cut(&self, epoch: LeaderEpoch, seen: Seen<'_>, end: Offset) -> Checked {
        let member = self.versions.as_ref().is_some_and(|newest| newest.is_member(seen.id));
        let committed = if member { self.watermark() } else { self.committed_until(epoch) };
        let lost = seen.log.get(end).filter(|_| end < committed);
        holds("R8", lost.is_none() || self.is_given_up(epoch) || lost != self.committed(end), || {
            format!("{} cuts to {end}, which is committed up to {committed}", seen.id)
        })
    }

    /// R14: a follower removes what its leader has removed; only what is committed may go.
    pub(crate) fn on_removed(&self, id: BrokerId, epoch: LeaderEpoch, start: Offset) -> Checked {
        let known = self.watermark();
        holds("R14", start <= known || self.is_given_up(epoch), || {
            format!("{id} removes everything below {start}, committed is {known}")
        })
    }

    /// R11: what a leader believes of a follower.
    pub(crate) fn on_believed(&self, leader: &SimLog, end: Offset, follower: Seen<'_>) -> Checked {
        let synced = follower.log.synced();
        let same = follower.log.prefix(end) == leader.prefix(end);
        holds("R11", synced >= end && same, || {
            format!("{} is believed to stand at {end}, {synced} are durable there", follower.id)
        })
    }

    /// R1: an acks=all answer leaves.
    pub(crate) fn on_acked(&self, epoch: LeaderEpoch, at: Offset, value: u64) -> Checked {
        holds("R1", self.is_given_up(epoch) || self.committed(at).is_some_and(|record| record.value == value), || {
            format!("{value} at {at} is acknowledged but not committed")
        })
    }

    /// R13: a leader serves something that another leader could contradict.
    pub(crate) fn on_served(&self, now: u64, epoch: LeaderEpoch, by: BrokerId) -> Checked {
        let deposed = self.begun.range(LeaderEpoch::new(epoch.get() + 1)..).map(|(_, &at)| at).min();
        let given_up = self.is_given_up(epoch);
        holds("R13", given_up || deposed.is_none_or(|at| at + DEPOSED_US >= now), || {
            format!("{by} serves in epoch {epoch}, deposed {} ms ago", (now - deposed.unwrap_or(now)) / 1000)
        })
    }

    /// R10: a consumer reads.
    pub(crate) fn on_read(&self, by: BrokerId, epoch: LeaderEpoch, at: Offset, record: Option<&Record>) -> Checked {
        holds("R10", self.is_given_up(epoch) || record.is_some() && record == self.committed(at), || {
            format!("a consumer reads {record:?} at {at} from {by}, committed is {:?}", self.committed(at))
        })
    }

    /// R10: a high watermark is shown.
    pub(crate) fn on_shown(&mut self, by: BrokerId, epoch: LeaderEpoch, end: Offset) -> Checked {
        let since = self.unclean.range(..=epoch).next_back().copied().unwrap_or(LeaderEpoch::NONE);
        let before = self.shown.range(since..=epoch).map(|(_, &end)| end).max();
        holds("R10", before.is_none_or(|before| before <= end), || format!("{by} shows {end} after {before:?}"))?;
        self.shown.insert(epoch, end);
        Ok(())
    }

    /// R12: who joins the ISR has no damage that was found in an earlier epoch. In the same one a change may be under way
    /// that rests on what was acknowledged before; the complaint ends that epoch.
    pub(crate) fn on_joined(&self, id: BrokerId, epoch: LeaderEpoch, log: &SimLog) -> Checked {
        holds("R12", !log.suspect || log.suspect_in >= epoch, || format!("{id} joins with a suspect log"))
    }

    /// A9: a broker is let in whose disk is not what it was; until it has caught up it may neither lead nor be elected.
    pub(crate) fn on_admitted(&self, newest: &Assignment, id: BrokerId, log: &SimLog) -> Checked {
        let takes_part = newest.is_member(id) || newest.leader_id() == Some(id);
        // Damage that was found is R12's: the controller hears of it from the broker.
        let lost = log.wiped && !log.suspect;
        holds("A9", !(lost && takes_part) || self.is_whole(log), || {
            format!("{id} is let in as a member; it has {}, committed is {}", log.synced(), self.watermark())
        })
    }

    /// R12: a replica with a suspect log does something that a member does.
    pub(crate) fn on_suspect(&self, id: BrokerId, what: &str) -> Checked {
        holds("R12", false, || format!("{id} {what} although its log is suspect"))
    }

    /// R14, once healed: what the leader has removed is nowhere any more.
    pub(crate) fn on_settled(&self, newest: &Assignment, seen: &[Seen<'_>]) -> Checked {
        let leader = seen.iter().find(|seen| Some(seen.id) == newest.leader_id());
        let start = leader.map_or(Offset::default(), |leader| leader.log.log_start());
        for replica in seen.iter().filter(|seen| newest.replicas.contains(&seen.id)) {
            holds("R14", replica.log.log_start() >= start, || {
                format!("{} keeps records from {} on, its leader from {start} on", replica.id, replica.log.log_start())
            })?;
        }
        Ok(())
    }

    /// Once healed: a leader, everybody in sync, equal logs.
    pub(crate) fn on_healed(&self, newest: &Assignment, seen: &[Seen<'_>]) -> Checked {
        holds("Liveness", newest.leader.is_some(), || format!("no leader: {newest:?}"))?;
        holds("Liveness", newest.isr.len() == newest.replicas.len(), || format!("not all in sync: {newest:?}"))?;
        let (end, prefix) = (self.watermark(), self.prefix());
        for replica in seen.iter().filter(|seen| newest.replicas.contains(&seen.id)) {
            holds("Liveness", replica.log.synced() == end && replica.log.prefix(end) == Some(prefix), || {
                format!("{} ends at {}, committed is {end}", replica.id, replica.log.end())
            })?;
        }
        Ok(())
    }
}

/// A6: no run of a broker comes back.
pub(crate) fn check_brokers(old: &Snapshot, new: &Snapshot) -> Checked {
    for (id, peer) in &new.peers {
        let before = old.peers.get(id).map(|peer| peer.incarnation);
        holds("A6", before.is_none_or(|before| before <= peer.incarnation), || format!("{id}: a run came back"))?;
    }
    Ok(())
}
