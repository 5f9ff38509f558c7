//! Offsets that were durable once and cannot be read any more.
//!
//! Owns the quarantined ranges of one partition: ordered, merged, never shrinking except when the log start passes them
//! (S3: damage is named and kept apart; it is never truncated and never served).

use ottla_core::types::Offset;

/// `from..upto` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedRange {
    /// First offset.
    pub from: Offset,
    /// Offset behind the last.
    pub upto: Offset,
}

/// The damaged ranges of one partition, in order and apart. Empty, it owns no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    ranges: Vec<DamagedRange>,
}

impl Damage {
    /// Adds a range; whether that is news.
    pub fn add(&mut self, range: DamagedRange) -> bool {
        if range.from >= range.upto || self.ranges.iter().any(|r| r.from <= range.from && range.upto <= r.upto) {
            return false;
        }
        let mut merged = range;
        self.ranges.retain(|known| {
            let apart = known.upto < merged.from || merged.upto < known.from;
            if !apart {
                merged.from = merged.from.min(known.from);
                merged.upto = merged.upto.max(known.upto);
            }
            apart
        });
        let at = self.ranges.partition_point(|known| known.from < merged.from);
        self.ranges.insert(at, merged);
        true
    }

    /// The range that holds `offset`.
    pub fn at(&self, offset: Offset) -> Option<DamagedRange> {
        self.ranges.iter().copied().find(|range| range.from <= offset && offset < range.upto)
    }

    /// The first range at or past `offset`.
    pub fn next(&self, offset: Offset) -> Option<DamagedRange> {
        self.ranges.iter().copied().find(|range| range.upto > offset)
    }

    /// Forgets what lies below the log start.
    pub fn truncate_start(&mut self, start: Offset) {
        self.ranges.retain(|range| range.upto > start);
    }

    /// Forgets what lies at or past `end`.
    pub fn truncate_end(&mut self, end: Offset) {
        self.ranges.retain(|range| range.from < end);
        if let Some(last) = self.ranges.last_mut() {
            last.upto = last.upto.min(end);
        }
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[DamagedRange] {
        &self.ranges
    }
}

impl FromIterator<DamagedRange> for Damage {
    fn from_iter<T: IntoIterator<Item = DamagedRange>>(ranges: T) -> Self {
        let mut damage = Self::default();
        for range in ranges {
            damage.add(range);
        }
        damage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, upto: i64) -> DamagedRange {
        DamagedRange { from: Offset::new(from), upto: Offset::new(upto) }
    }

    #[test]
    fn ranges_merge_and_stay_in_order() {
        let mut damage: Damage = [range(10, 20), range(40, 50), range(30, 35)].into_iter().collect();
        assert_eq!(damage.ranges(), [range(10, 20), range(30, 35), range(40, 50)]);
        assert!(!damage.add(range(12, 20)));
        assert!(!damage.add(range(60, 60)));
        assert!(damage.add(range(20, 40)));
        assert_eq!(damage.ranges(), [range(10, 50)]);
        assert_eq!(damage.at(Offset::new(50)), None);
        assert_eq!(damage.at(Offset::new(49)), Some(range(10, 50)));
        damage.truncate_start(Offset::new(50));
        assert_eq!(damage.ranges(), []);
    }
}
