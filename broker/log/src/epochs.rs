//! The leader epochs of one partition: at which offset each one began.
//!
//! Owns the cache that answers OffsetForLeaderEpoch and guards R9 (epochs and their starts strictly increase), and its
//! checkpoint in Kafka's text form. The checkpoint is a hint: epochs are in the batches, and are rebuilt from them.

use ottla_core::types::{LeaderEpoch, Offset};

/// Kafka's name for the checkpoint.
pub const CHECKPOINT: &str = "leader-epoch-checkpoint";

/// One epoch of which batches were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start: Offset,
}

/// The epochs of one partition, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<EpochStart>,
}

impl Epochs {
    /// Takes entries as a disk has them; from the first that breaks the order on they are dropped.
    pub fn restore(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            if !epochs.note(entry.epoch, entry.start) && epochs.latest() != Some(entry.epoch) {
                break;
            }
        }
        epochs.entries.shrink_to_fit();
        epochs
    }

    /// A batch of `epoch` begins at `start`. Whether that is news: an older epoch or start never is (R9).
    pub fn note(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.get() < 0 {
            return false;
        }
        match self.entries.last() {
            Some(last) if epoch <= last.epoch || start < last.start => return false,
            // The older epoch has appended nothing.
            Some(last) if start == last.start => {
                self.entries.pop();
            }
            Some(_) | None => {}
        }
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// The epoch of the newest batch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The epoch of the batch at `offset`.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Where `asked` ended, in Kafka's way: with the largest epoch not above it, and the start of the next one or `end`,
    /// the log's. `None` for an epoch that is newer than every batch.
    pub fn end_of(&self, asked: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let last = self.entries.last()?;
        if asked == last.epoch {
            return Some((asked, end));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= asked);
        let next = self.entries.get(higher)?;
        let epoch = higher.checked_sub(1).map_or(asked, |floor| self.entries[floor].epoch);
        Some((epoch, next.start))
    }

    /// Forgets epochs of which nothing is left below `end`.
    pub fn truncate_end(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start < end);
    }

    /// Forgets epochs that ended at or below `start`; the one that holds `start` begins there now.
    pub fn truncate_start(&mut self, start: Offset) {
        let inside = self.entries.partition_point(|entry| entry.start <= start);
        if inside > 0 {
            self.entries.drain(..inside - 1);
            self.entries[0].start = start;
        }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// Kafka's text form: version, count, one line each.
    pub fn checkpoint(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            text.push_str(&format!("{} {}\n", entry.epoch, entry.start));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::restore(
            entries.iter().map(|&(epoch, start)| EpochStart { epoch: epoch.into(), start: Offset::new(start) }),
        )
    }

    fn end_of(epochs: &Epochs, asked: i32, end: i64) -> Option<(i32, i64)> {
        epochs.end_of(asked.into(), Offset::new(end)).map(|(epoch, end)| (epoch.get(), end.get()))
    }

    #[test]
    fn ends_of_epochs_are_kafkas() {
        let cache = epochs(&[(2, 10), (4, 20), (7, 25)]);
        assert_eq!(end_of(&cache, 7, 40), Some((7, 40)));
        assert_eq!(end_of(&cache, 4, 40), Some((4, 25)));
        assert_eq!(end_of(&cache, 5, 40), Some((4, 25)));
        assert_eq!(end_of(&cache, 2, 40), Some((2, 20)));
        assert_eq!(end_of(&cache, 1, 40), Some((1, 10)));
        assert_eq!(end_of(&cache, 8, 40), None);
        assert_eq!(end_of(&Epochs::default(), 0, 40), None);
    }

    #[test]
    fn epochs_and_starts_only_grow() {
        let mut cache = epochs(&[(2, 10), (4, 20)]);
        assert!(!cache.note(3.into(), Offset::new(30)));
        assert!(!cache.note(5.into(), Offset::new(19)));
        assert!(!cache.note(4.into(), Offset::new(30)));
        assert!(cache.note(5.into(), Offset::new(20)));
        assert_eq!(cache, epochs(&[(2, 10), (5, 20)]));
        assert_eq!(cache.at(Offset::new(9)), None);
        assert_eq!(cache.at(Offset::new(19)), Some(2.into()));
        assert_eq!(cache.at(Offset::new(99)), Some(5.into()));
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut cache = epochs(&[(2, 10), (4, 20), (7, 25)]);
        cache.truncate_end(Offset::new(25));
        cache.truncate_start(Offset::new(15));
        assert_eq!(cache, epochs(&[(2, 15), (4, 20)]));
        assert_eq!(cache.checkpoint(), "0\n2\n2 15\n4 20\n");
        cache.truncate_start(Offset::new(20));
        assert_eq!(cache, epochs(&[(4, 20)]));
    }
}
