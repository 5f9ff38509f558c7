//! The database that the view lives in.
//!
//! Owns its folder, and another one when the first goes bad under the running broker. All of it can be deleted at any
//! time: the log says it all again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_core::group::{View, ViewError};
use ottla_core::table::{Durability, Table};
use ottla_core::types::PartitionIndex;
use ottla_state::{Engine, OpenError, RocksTable};
use parking_lot::Mutex;

/// Which database is meant: the first is 0, every replacement one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life(u32);

pub(super) struct Views {
    engine: Engine,
    root: PathBuf,
    current: Mutex<(Life, Arc<RocksTable>)>,
}

impl Views {
    /// The database `table`, which lives in the folder `root`; `engine` opens others if it goes bad.
    pub(super) fn new(table: RocksTable, engine: Engine, root: PathBuf) -> Self {
        remove_replacements(&root);
        Self { engine, root, current: Mutex::new((Life(0), Arc::new(table))) }
    }

    pub(super) fn current(&self) -> (Life, Arc<RocksTable>) {
        self.current.lock().clone()
    }

    /// Another, empty database in place of the one of `bad`, unless somebody was faster.
    pub(super) fn replace(&self, bad: Life) -> Result<(), OpenError> {
        let mut current = self.current.lock();
        if current.0 != bad {
            return Ok(());
        }
        let next = Life(bad.0 + 1);
        let folder = replacement(&self.root, next);
        let _absent = std::fs::remove_dir_all(&folder);
        let table = self.engine.open(&folder)?;
        *current = (next, Arc::new(table));
        Ok(())
    }

    /// Empties the views of `shards` behind their owners' backs.
    pub(super) fn clear(&self, shards: impl Iterator<Item = PartitionIndex>) -> Result<(), ViewError> {
        let (_, table) = self.current();
        table.write(shards.flat_map(View::clear).collect(), Durability::Lazy)?;
        Ok(())
    }
}

fn replacement(root: &Path, life: Life) -> PathBuf {
    let mut name = root.as_os_str().to_owned();
    name.push(format!(".{}", life.0));
    name.into()
}

/// What an earlier run of the broker went on with.
fn remove_replacements(root: &Path) {
    let lives = (1..).map(|life| replacement(root, Life(life)));
    for folder in lives.take_while(|folder| folder.exists()) {
        let _gone = std::fs::remove_dir_all(folder);
    }
}
