//! One database as a `Table`.

use ottla_core::table::{Change, Durability, Entry, Table, TableError};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

/// A table on RocksDB. Closing it is dropping it; nothing that was `Synced` needs a clean close.
pub struct RocksTable {
    db: DB,
}

impl RocksTable {
    pub(crate) fn new(db: DB) -> Self {
        Self { db }
    }
}

impl std::fmt::Debug for RocksTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksTable").field("path", &self.db.path()).finish()
    }
}

fn failed(operation: &'static str) -> impl Fn(rocksdb::Error) -> TableError {
    move |error| TableError { operation, reason: error.into_string() }
}

impl Table for RocksTable {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        self.db.get(key).map_err(failed("get"))
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Entry>, TableError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let entries = self.db.iterator_opt(IteratorMode::From(start, Direction::Forward), options);
        let owned = |(key, value): (Box<[u8]>, Box<[u8]>)| (key.into_vec(), value.into_vec());
        entries.take(limit).map(|entry| entry.map(owned)).collect::<Result<_, _>>().map_err(failed("scan"))
    }

    fn write(&self, changes: Vec<Change>, durability: Durability) -> Result<(), TableError> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put(key, value) => batch.put(key, value),
                Change::Delete(key) => batch.delete(key),
                Change::DeleteRange(start, end) if start < end => batch.delete_range(start, end),
                Change::DeleteRange(..) => {}
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(batch, &options).map_err(failed("write"))
    }
}
