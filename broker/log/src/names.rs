//! The topics' names of one data directory, each kept once however many partitions it has.
//!
//! Owns finding the shared copy without looking at the partitions: 100,000 of them must be created in linear time. Must
//! not keep a name alive for long once no partition has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// So many names are kept before those that nobody has are looked for.
const SWEPT_MIN: usize = 64;

/// Shared copies of names.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: BTreeSet<Arc<str>>,
    /// How many were left when it was last swept.
    kept: usize,
}

impl Names {
    /// The one copy of `name`.
    pub(crate) fn share(&self, name: &str) -> Arc<str> {
        let mut inner = self.0.lock();
        if let Some(known) = inner.names.get(name) {
            return Arc::clone(known);
        }
        // Only when as many have come as were left: a sweep is paid for by those who came.
        if inner.names.len() >= 2 * inner.kept.max(SWEPT_MIN / 2) {
            inner.names.retain(|known| Arc::strong_count(known) > 1);
            inner.kept = inner.names.len();
        }
        let shared: Arc<str> = Arc::from(name);
        inner.names.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_goes_when_nobody_has_it() {
        let names = Names::default();
        let held = names.share("orders");
        assert!(Arc::ptr_eq(&held, &names.share("orders")));
        for n in 0..10_000 {
            names.share(&format!("passing-{n}"));
            assert!(names.0.lock().names.len() <= SWEPT_MIN);
        }
        assert!(Arc::ptr_eq(&held, &names.share("orders")));
    }
}
