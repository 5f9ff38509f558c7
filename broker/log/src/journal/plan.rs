//! Where the next frames will lie at the latest: what makes `submit` say no before a number is given out.
//!
//! Owns the promise that a frame which was taken finds its place in a file that exists. It reckons with the worst
//! packing, so the writer is never behind the plan: if frames fit here, they fit there.

use super::format::{BLOCK, GROUP_HEADER_BYTES};

/// What a group costs beyond its frames: its header and its padding.
pub(super) const GROUP_COST: u64 = BLOCK + GROUP_HEADER_BYTES as u64;

/// Room for groups in a file of this length: everything but the file header.
pub(super) const fn usable(file_bytes: u64) -> u64 {
    (file_bytes / BLOCK).saturating_sub(1) * BLOCK
}

/// A place at or behind the one where the last frame that was taken will end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Room behind it in its file.
    left: u64,
    /// Which file: 0 is the one that is being written, n the n-th spare one.
    ahead: usize,
    /// Bytes since the last group was reckoned with.
    run: u64,
    group_bytes: u64,
}

impl Plan {
    /// Where the writer stands, with so much room behind it.
    pub(super) const fn at(left: u64, group_bytes: u64) -> Self {
        Self { left, ahead: 0, run: 0, group_bytes }
    }

    /// How many spare files it reckons with.
    pub(super) const fn ahead(&self) -> usize {
        self.ahead
    }

    /// The writer has begun the next spare file.
    pub(super) const fn rotated(&mut self) {
        self.ahead = self.ahead.saturating_sub(1);
    }

    /// Takes a frame of `bytes`, leaving `reserve` in the last file; false if there is no room. `fresh` says that a
    /// group may begin with it. `spare` is the length of the n-th spare file, counted from 0.
    pub(super) fn take(&mut self, bytes: u64, fresh: bool, reserve: u64, spare: impl Fn(usize) -> Option<u64>) -> bool {
        let begins = fresh || self.run >= self.group_bytes;
        let cost = bytes.saturating_add(if begins { GROUP_COST } else { 0 });
        let next = spare(self.ahead);
        let keep = if next.is_some() { 0 } else { reserve };
        if cost.saturating_add(keep) <= self.left {
            self.left -= cost;
            self.run = if begins { GROUP_HEADER_BYTES as u64 + bytes } else { self.run + bytes };
            return true;
        }
        let Some(next) = next.map(usable) else { return false };
        let cost = bytes.saturating_add(GROUP_COST);
        let keep = if spare(self.ahead + 1).is_some() { 0 } else { reserve };
        if cost.saturating_add(keep) > next {
            return false;
        }
        let run = GROUP_HEADER_BYTES as u64 + bytes;
        *self = Self { left: next - cost, ahead: self.ahead + 1, run, group_bytes: self.group_bytes };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where a writer puts groups of frames that were planned in batches: (file, blocks used).
    fn written(files: &[u64], batches: &[Vec<u64>], group_bytes: u64) -> Option<(usize, u64)> {
        let (mut file, mut used) = (0, 0);
        for batch in batches {
            let mut rest = &batch[..];
            while let Some(&first) = rest.first() {
                let left = usable(files[file]) - used;
                if GROUP_HEADER_BYTES as u64 + first > left {
                    (file, used) = (file + 1, 0);
                    files.get(file)?;
                    continue;
                }
                let (mut bytes, mut frames) = (GROUP_HEADER_BYTES as u64, 0);
                for &frame in rest {
                    if (frames > 0 && bytes >= group_bytes) || bytes + frame > left {
                        break;
                    }
                    (bytes, frames) = (bytes + frame, frames + 1);
                }
                used += bytes.next_multiple_of(BLOCK);
                rest = &rest[frames..];
            }
        }
        Some((file, used))
    }

    proptest! {
        #[test]
        fn what_is_planned_fits(
            files in prop::collection::vec(2_u64..64, 1..6),
            frames in prop::collection::vec(prop_oneof![64_u64..300, 64_u64..20_000, Just(4096), Just(4032)], 1..200),
            group_bytes in 1_u64..30_000,
        ) {
            let files: Vec<u64> = files.into_iter().map(|blocks| blocks * BLOCK).collect();
            let mut plan = Plan::at(usable(files[0]), group_bytes);
            let mut taken = Vec::new();
            for frame in frames {
                if plan.take(frame, taken.is_empty(), 0, |n| files.get(n + 1).copied()) {
                    taken.push(frame);
                }
            }
            prop_assert!(plan.ahead() < files.len());
            let place = written(&files, &[taken], group_bytes);
            prop_assert!(place.is_some_and(|(file, _)| file <= plan.ahead()), "{:?} beyond {:?}", place, plan);
        }
    }

    #[test]
    fn the_reserve_is_left_in_the_last_file_only() {
        let spares = [16 * BLOCK];
        let spare = |n: usize| spares.get(n).copied();
        let mut plan = Plan::at(3 * BLOCK, 1 << 20);
        assert!(plan.take(BLOCK, true, 4 * BLOCK, spare), "there is a file behind");
        assert!(plan.take(10 * BLOCK - 64, true, 4 * BLOCK, spare));
        assert_eq!(plan.ahead(), 1);
        assert!(!plan.take(64, false, 4 * BLOCK, spare));
        assert!(plan.take(64, false, 3 * BLOCK, spare));
    }
}
