//! The block of producer ids that this broker hands out. What is left of it when the broker stops is nobody's.

use ottla_core::controller::ProducerIdBlock;
use ottla_core::types::ProducerId;

/// What is left of the block.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// The next id, if one is left.
    pub(super) fn take(&mut self) -> Option<ProducerId> {
        let id = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(ProducerId::new(id))
    }

    /// Goes on with `block`; its first id.
    pub(super) fn refill(&mut self, block: ProducerIdBlock) -> ProducerId {
        self.next = block.first.get().saturating_add(1);
        self.end = block.first.get().saturating_add(block.count);
        block.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_handed_out_once() {
        let mut ids = ProducerIds::default();
        assert_eq!(ids.take(), None);
        let block = ProducerIdBlock { first: ProducerId::new(1000), count: 3 };
        let mut given = vec![ids.refill(block)];
        given.extend(std::iter::from_fn(|| ids.take()));
        assert_eq!(given, [1000, 1001, 1002].map(ProducerId::new));
    }
}
