//! What a log does as a follower's: batches of a leader, cuts, starting over.

use bytes::{Bytes, BytesMut};
use ottla_core::types::{LeaderEpoch, Lsn, Offset, Timestamp, TopicPartition};
use ottla_log::partition::{AppendError, TruncateError};

use super::oracle::{Given, placed};
use super::world::World;

impl World {
    /// One step of a follower, or none: whether the life goes on.
    pub(crate) fn follow(&mut self) -> Option<bool> {
        match self.random.below(100) {
            0..=24 => Some(self.replicate()),
            25..=28 => Some(self.truncate()),
            29 => Some(self.start_over()),
            _ => None,
        }
    }

    /// A leader, of this epoch or an earlier one, pushes some batches.
    fn replicate(&mut self) -> bool {
        let Some(id) = self.some_partition() else { return true };
        if self.random.one_in(4) {
            let memory = self.known.get_mut(&id).unwrap();
            memory.epoch += 1;
            self.log(id).begin_epoch(self.known[&id].leader_epoch()).unwrap();
        }
        let log = self.log(id);
        // A leader has the same batches before these, whether or not they are deleted here.
        let before = self.known[&id].given.values().next_back();
        let oldest = before.map_or(0, Given::epoch).max(log.last_epoch().map_or(0, LeaderEpoch::get));
        let newest = self.known[&id].epoch;
        let epoch = oldest + i32::try_from(self.random.below((newest - oldest + 1).unsigned_abs().into())).unwrap();
        let pushed = self.pushed(id, epoch);
        let mut bytes = BytesMut::new();
        pushed.iter().for_each(|(_, given)| bytes.extend_from_slice(&given.bytes));
        let memory = self.known.get_mut(&id).unwrap();
        match log.append_replica(bytes.freeze(), Timestamp::new(self.clock)) {
            Ok(replicated) => {
                let lsns = pushed.len() as u64;
                for ((base, mut given), back) in pushed.into_iter().zip((0..lsns).rev()) {
                    given.acked = replicated.flushed;
                    let first = if replicated.flushed { 0 } else { back };
                    given.lsn = Lsn::new(replicated.lsn.get() - first);
                    memory.give(base, given);
                }
                assert_eq!(replicated.end.get(), memory.end());
                assert_eq!(log.log_end(), replicated.end);
                true
            }
            Err(AppendError::Full | AppendError::NoSpace) => self.pump(),
            Err(AppendError::Offline(_)) => {
                if memory.opted_out {
                    // They may be in the file already.
                    pushed.into_iter().for_each(|(base, given)| {
                        memory.given.insert(base, given);
                    });
                }
                false
            }
            Err(error) => panic!("push: {error}"),
        }
    }

    /// Batches that follow on from the log; into an empty one, sometimes, one that holds its start.
    fn pushed(&mut self, id: TopicPartition, epoch: i32) -> Vec<(i64, Given)> {
        let memory = &self.known[&id];
        let mut base = memory.end().max(memory.asked_start);
        let (fresh, mut sequence) = (memory.given.is_empty(), memory.sequence);
        let count = 1 + self.random.below(5);
        let mut pushed = Vec::new();
        for n in 0..count {
            let producer = self.random.one_in(3).then_some(sequence);
            let batch = self.batch(producer);
            let records = i64::from(batch.header().record_count);
            if n == 0 && fresh && self.random.one_in(2) {
                base = (base - records + 1).max(0);
            }
            let bytes: Bytes = placed(batch.bytes(), Offset::new(base), LeaderEpoch::new(epoch));
            sequence += i32::from(producer.is_some());
            let end = base + records;
            let (lsn, acked) = (Lsn::new(u64::MAX), false);
            pushed.push((base, Given { end, bytes, lsn, acked, sequence: producer }));
            base = end;
        }
        pushed
    }

    fn truncate(&mut self) -> bool {
        self.check_heard();
        let Some(id) = self.some_partition() else { return true };
        let log = self.log(id);
        let (start, end) = (log.log_start().get(), log.log_end().get());
        let span = (end - start + 1).cast_unsigned();
        let back = if self.random.one_in(2) { self.random.below(span.min(12)) } else { self.random.below(span) };
        let target = end - i64::try_from(back).unwrap();
        let memory = self.known.get_mut(&id).unwrap();
        let expected = memory.cut_at(target, start);
        match log.truncate(Offset::new(target)) {
            Ok(cut) => {
                assert_eq!(cut.end.get(), expected, "{}: cut at {target} of {start}..{end}", memory.topic);
                assert_eq!(log.log_end(), cut.end);
                assert!(log.flushed_end() <= cut.end);
                if target < end {
                    memory.cut(expected, cut.lsn);
                }
                true
            }
            Err(error) => self.refused(&error),
        }
    }

    fn start_over(&mut self) -> bool {
        self.check_heard();
        let Some(id) = self.some_partition() else { return true };
        let log = self.log(id);
        let start = i64::try_from(self.random.below(log.log_end().get().cast_unsigned() + 50)).unwrap();
        match log.start_over(Offset::new(start), &[]) {
            Ok(lsn) => {
                assert_eq!((log.log_start().get(), log.log_end().get()), (start, start));
                self.known.get_mut(&id).unwrap().start_over(start, lsn);
                true
            }
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&mut self, error: &TruncateError) -> bool {
        match error {
            TruncateError::Full | TruncateError::Cutting { .. } => self.pump(),
            TruncateError::Offline(_) | TruncateError::Io(_) => false,
            TruncateError::Deleted | TruncateError::BelowStart { .. } => panic!("cut: {error}"),
        }
    }
}
