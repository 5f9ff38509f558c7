//! `Table`: an ordered map of bytes to bytes, the one shape in which derived state is kept.
//!
//! Owns the contract that RocksDB (crate `ottla-state`) and memory (`MemoryTable`, for tests and simulation) both
//! fulfil. It must never learn what the keys mean.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the key to the value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes the key; removing an absent key is no error.
    Delete(Vec<u8>),
    /// Removes every key in `start..end` (`end` excluded).
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// When a write may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before `write` returns; survives power loss.
    Synced,
    /// Visible at once, on disk some time later, in order: what survives a crash is a prefix of the writes.
    Lazy,
}

/// A table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("table {operation}: {reason}")]
pub struct TableError {
    /// What was being done: `get`, `scan`, `write`, `open`.
    pub operation: &'static str,
    /// What the storage said.
    pub reason: String,
}

/// A key with its value, as a scan returns it.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes to bytes.
///
/// * Keys are ordered as bytes. A scan sees every write that returned before it began.
/// * `write` applies all of its changes, in order, or none, also across a crash.
/// * Every method may block on disk; async callers hand it to a thread that may block.
pub trait Table: Send + Sync {
    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// [`TableError`] when the storage cannot be read or what it read is damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError>;

    /// Up to `limit` entries from `start` (included) to `end` (excluded), in ascending order of keys.
    ///
    /// # Errors
    /// As [`Table::get`].
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Entry>, TableError>;

    /// Applies `changes` atomically.
    ///
    /// # Errors
    /// [`TableError`] when the storage refused; nothing of `changes` is visible then.
    fn write(&self, changes: Vec<Change>, durability: Durability) -> Result<(), TableError>;
}

/// A table in memory, for tests and simulation. `Durability` makes no difference to it.
#[derive(Debug, Default)]
pub struct MemoryTable {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Table for MemoryTable {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Entry>, TableError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let range = (Bound::Included(start), Bound::Excluded(end));
        Ok(entries.range::<[u8], _>(range).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, changes: Vec<Change>, _durability: Durability) -> Result<(), TableError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    entries.insert(key, value);
                }
                Change::Delete(key) => {
                    entries.remove(&key);
                }
                Change::DeleteRange(start, end) => {
                    entries.retain(|key, _| !(start <= *key && *key < end));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_table() {
        conformance::all(MemoryTable::default);
    }
}
