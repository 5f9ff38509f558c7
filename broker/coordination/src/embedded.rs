//! Coordination of one process, or of the brokers in it, on an ordered table with synced writes.
//!
//! Documents are durable when `put` returns; several of one call cost one flush. Leases are kept in memory: whoever
//! could hold one lives in this process, and dies with it. The table must belong to this process alone.
//!
//! A key is `d/` and the name; a value is the revision (8 bytes) and the content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_core::table::{self, Durability, Table};

use crate::{
    Change, Coordination, Document, Expected, Holder, Lease, LeaseError, Put, PutError, Revision, Unavailable, Watch,
};

/// Coordination on a table.
pub struct Embedded<T> {
    table: T,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is in memory. The lock is held while documents are written: a compare-and-swap is one step.
#[derive(Default)]
struct State {
    leases: BTreeMap<String, Lease>,
    revisions: u64,
    /// Per name, the newest state that watchers have to hear of.
    latest: BTreeMap<String, Document>,
    /// Counts changes; a watcher remembers how far it has come.
    changes: u64,
    changed_at: BTreeMap<String, u64>,
    /// Why nothing is written any more: a flush failed, and what is on disk is not known.
    offline: Option<String>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_revision(&mut self) -> u64 {
        self.revisions += 1;
        self.revisions
    }

    fn note(&mut self, document: Document) {
        self.changes += 1;
        self.changed_at.insert(document.name.clone(), self.changes);
        self.latest.insert(document.name.clone(), document);
    }
}

fn key(name: &str) -> Vec<u8> {
    [b"d/", name.as_bytes()].concat()
}

fn value(revision: u64, content: &[u8]) -> Vec<u8> {
    [&revision.to_be_bytes(), content].concat()
}

fn parse(name: &str, value: Vec<u8>) -> Result<(u64, Document), Unavailable> {
    let value = Bytes::from(value);
    let Some(revision) = value.first_chunk().copied().map(u64::from_be_bytes) else {
        return Err(Unavailable(format!("the stored document {name} is cut short")));
    };
    let document =
        Document { name: name.to_owned(), content: value.slice(8..), revision: Revision(revision.to_string()) };
    Ok((revision, document))
}

fn unavailable(error: table::TableError) -> Unavailable {
    Unavailable(error.to_string())
}

impl<T: Table> Embedded<T> {
    /// Coordination on what `table` holds.
    ///
    /// # Errors
    /// [`Unavailable`] when the table cannot be read.
    pub fn new(table: T) -> Result<Self, Unavailable> {
        let mut state = State::default();
        for (key, value) in table.scan(b"d/", b"d0", usize::MAX).map_err(unavailable)? {
            let name = String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned();
            let (revision, document) = parse(&name, value)?;
            state.revisions = state.revisions.max(revision);
            state.note(document);
        }
        Ok(Self { table, shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) })
    }

    fn change_lease(
        &self,
        name: &str,
        is_as_seen: impl FnOnce(Option<&Lease>) -> bool,
        next: Option<(&Holder, Duration)>,
    ) -> Result<Option<Lease>, LeaseError> {
        let mut state = self.shared.state();
        if !is_as_seen(state.leases.get(name)) {
            return Err(LeaseError::Taken);
        }
        let revision = Revision(state.next_revision().to_string());
        let lease = next.map(|(holder, duration)| Lease { holder: holder.clone(), duration, revision });
        match &lease {
            Some(lease) => state.leases.insert(name.to_owned(), lease.clone()),
            None => state.leases.remove(name),
        };
        Ok(lease)
    }
}

fn check(put: &Put, state: &State, taken: &BTreeSet<&str>) -> Result<(), PutError> {
    if let Some(reason) = &state.offline {
        return Err(PutError::NotDone(format!("writing stopped after an error: {reason}")));
    }
    put.check()?;
    let current = state.latest.get(&put.name).map(|document| &document.revision);
    let as_expected = match &put.expected {
        Expected::Absent => current.is_none(),
        Expected::At(revision) => current == Some(revision),
    };
    if as_expected && !taken.contains(put.name.as_str()) { Ok(()) } else { Err(PutError::Conflict) }
}

impl<T: Table> Coordination for Embedded<T> {
    fn observe(&self, name: &str) -> Result<Option<Lease>, Unavailable> {
        Ok(self.shared.state().leases.get(name).cloned())
    }

    fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        duration: Duration,
        seen: Option<&Revision>,
    ) -> Result<Lease, LeaseError> {
        let as_seen = |lease: Option<&Lease>| lease.map(|lease| &lease.revision) == seen;
        let lease = self.change_lease(name, as_seen, Some((holder, duration)))?;
        Ok(lease.expect("a lease with a holder was made"))
    }

    fn renew(&self, name: &str, holder: &Holder, duration: Duration, held: &Revision) -> Result<Lease, LeaseError> {
        let ours =
            |lease: Option<&Lease>| lease.is_some_and(|lease| lease.revision == *held && lease.holder == *holder);
        let lease = self.change_lease(name, ours, Some((holder, duration)))?;
        Ok(lease.expect("a lease with a holder was made"))
    }

    fn release(&self, name: &str, holder: &Holder, held: &Revision) -> Result<(), LeaseError> {
        let ours =
            |lease: Option<&Lease>| lease.is_some_and(|lease| lease.revision == *held && lease.holder == *holder);
        self.change_lease(name, ours, None).map(|_| ())
    }

    fn get(&self, name: &str) -> Result<Option<Document>, Unavailable> {
        let value = self.table.get(&key(name)).map_err(unavailable)?;
        value.map(|value| parse(name, value).map(|(_, document)| document)).transpose()
    }

    fn put(&self, puts: Vec<Put>) -> Vec<Result<Revision, PutError>> {
        let mut state = self.shared.state();
        let mut changes = Vec::new();
        let mut written = Vec::new();
        let mut taken = BTreeSet::new();
        let mut results = Vec::with_capacity(puts.len());
        for put in &puts {
            let result = check(put, &state, &taken).map(|()| {
                let revision = state.next_revision();
                changes.push(table::Change::Put(key(&put.name), value(revision, &put.content)));
                taken.insert(put.name.as_str());
                let revision = Revision(revision.to_string());
                let (name, content) = (put.name.clone(), put.content.clone());
                written.push(Document { name, content, revision: revision.clone() });
                revision
            });
            results.push(result);
        }
        if changes.is_empty() {
            return results;
        }
        if let Err(error) = self.table.write(changes, Durability::Synced) {
            // A flush that failed may have been written nevertheless, and one that succeeds later proves nothing (S2).
            state.offline = Some(error.to_string());
            let lost = |result: Result<Revision, PutError>| result.and(Err(PutError::Unknown(error.to_string())));
            return results.into_iter().map(lost).collect();
        }
        for document in written {
            state.note(document);
        }
        drop(state);
        self.shared.changed.notify_all();
        results
    }

    fn list(&self, prefix: &str) -> Result<Vec<Document>, Unavailable> {
        let state = self.shared.state();
        Ok(state.latest.values().filter(|document| document.name.starts_with(prefix)).cloned().collect())
    }

    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, Unavailable> {
        Ok(Box::new(Follower { shared: self.shared.clone(), prefix: prefix.to_owned(), seen: 0 }))
    }
}

/// A watch: remembers how many changes it has told of.
struct Follower {
    shared: Arc<Shared>,
    prefix: String,
    seen: u64,
}

impl Follower {
    fn unseen(&self, state: &State) -> Option<(u64, Document)> {
        let newer = |(name, at): (&String, &u64)| {
            (*at > self.seen && name.starts_with(&self.prefix)).then_some((*at, name.clone()))
        };
        let (at, name) = state.changed_at.iter().filter_map(newer).min()?;
        Some((at, state.latest.get(&name)?.clone()))
    }
}

impl Watch for Follower {
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, Unavailable> {
        let shared = self.shared.clone();
        let state = shared.state();
        let nothing = |state: &mut State| self.unseen(state).is_none();
        let (state, _) =
            shared.changed.wait_timeout_while(state, timeout, nothing).unwrap_or_else(PoisonError::into_inner);
        Ok(self.unseen(&state).map(|(at, document)| {
            self.seen = at;
            Change::Put(document)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_core::table::{MemoryTable, TableError};

    #[test]
    fn embedded_is_coordination() {
        crate::conformance::all(|| Embedded::new(MemoryTable::default()).expect("empty"));
    }

    /// A table whose writes fail, after they were made.
    #[derive(Default)]
    struct Failing(MemoryTable);

    impl Table for Failing {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
            self.0.get(key)
        }
        fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<table::Entry>, TableError> {
            self.0.scan(start, end, limit)
        }
        fn write(&self, changes: Vec<table::Change>, durability: Durability) -> Result<(), TableError> {
            self.0.write(changes, durability)?;
            Err(TableError { operation: "write", reason: "the disk is gone".into() })
        }
    }

    #[test]
    fn a_failed_flush_leaves_the_outcome_unknown() {
        let store = Embedded::new(Failing::default()).expect("empty");
        let put = Put { name: "a".into(), content: Bytes::from_static(b"1"), expected: Expected::Absent };
        let results = store.put(vec![put]);
        assert!(matches!(results[..], [Err(PutError::Unknown(_))]), "{results:?}");
        assert_eq!(store.get("a").expect("readable").expect("written").content, "1");
        let put = Put { name: "b".into(), content: Bytes::new(), expected: Expected::Absent };
        assert!(matches!(store.put(vec![put])[..], [Err(PutError::NotDone(_))]), "S2: no retry to success");
    }

    #[test]
    fn a_damaged_value_is_an_error_and_no_panic() {
        let table = MemoryTable::default();
        table.write(vec![table::Change::Put(b"d/a".to_vec(), vec![1, 2])], Durability::Synced).expect("write");
        assert!(Embedded::new(table).is_err());
    }
}
