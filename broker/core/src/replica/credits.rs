//! Credits: how many bytes may be under way to one data directory.
//!
//! Owns the counting on both ends of a pair of brokers; all partitions of the pair share it. The receiver never blocks on
//! its journal, because the sender never sends what was not granted; a batch larger than everything granted goes alone.

/// The sender's side: what the receiver has granted and is not used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    granted: u64,
    under_way: u64,
}

impl Window {
    /// The receiver takes up to `granted` bytes at a time.
    pub const fn new(granted: u64) -> Self {
        Self { granted, under_way: 0 }
    }

    /// How many bytes may be sent now.
    pub const fn room(&self) -> u64 {
        self.granted.saturating_sub(self.under_way)
    }

    /// Whether `bytes` may be sent: they fit, or nothing else is under way.
    pub const fn admits(&self, bytes: u64) -> bool {
        bytes <= self.room() || self.under_way == 0
    }

    /// They were sent.
    pub const fn on_sent(&mut self, bytes: u64) {
        self.under_way = self.under_way.saturating_add(bytes);
    }

    /// The receiver has them on its disk, or dropped them.
    pub const fn on_returned(&mut self, bytes: u64) {
        self.under_way = self.under_way.saturating_sub(bytes);
    }

    /// The connection is a new one: nothing is under way on it.
    pub const fn on_reset(&mut self) {
        self.under_way = 0;
    }
}

/// The receiver's side: one budget for everybody who sends to a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
    senders: u32,
}

impl Budget {
    /// At most `bytes` are ever on their way, from `senders` brokers.
    pub const fn new(bytes: u64, senders: u32) -> Self {
        Self { bytes, senders }
    }

    /// What each of them is granted.
    pub const fn share(&self) -> u64 {
        if self.senders == 0 { self.bytes } else { self.bytes / self.senders as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_granted_is_not_sent() {
        let mut window = Window::new(Budget::new(300, 3).share());
        assert!(window.admits(60));
        window.on_sent(60);
        assert!(!window.admits(60));
        assert!(window.admits(40));
        window.on_returned(60);
        assert!(window.admits(1000), "alone");
        window.on_sent(1000);
        assert!(!window.admits(1));
        window.on_reset();
        assert_eq!(window.room(), 100);
    }
}
