//! The one source of chance: a small generator, so that a seed means the same on every machine and in every year.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The numbers of that seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..upto`.
    pub(crate) fn within(&mut self, from: u64, upto: u64) -> u64 {
        if upto <= from { from } else { from + self.draw() % (upto - from) }
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.draw() % 1000 < per_mille
    }
}
