//! Handing out producer ids, in blocks: no id is ever given twice, some are skipped.

use super::{Machine, ProducerIdBlock, Work};
use crate::types::ProducerId;

/// How many ids one block holds.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

impl Machine {
    pub(super) fn allocate_producer_ids(&mut self, work: &mut Work) -> ProducerIdBlock {
        let root = self.root_for(work);
        let first = root.next_producer_id;
        root.next_producer_id = skipped(first);
        ProducerIdBlock { first, count: PRODUCER_ID_BLOCK }
    }
}

/// The first id after the block that begins at `first`. A claim skips one as well: whatever an earlier controller was
/// about to hand out is nobody's.
pub(super) fn skipped(first: ProducerId) -> ProducerId {
    let next = first.get().checked_add(PRODUCER_ID_BLOCK);
    ProducerId::new(next.expect("at a thousand blocks a second, the ids last for 292,000 years"))
}
