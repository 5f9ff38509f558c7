//! The pool of open segment files: few descriptors for any number of partitions.
//!
//! Owns which files stay open (the most recently used). A file that is dropped from the pool while someone uses it stays
//! open until they are done. Nothing else in the crate keeps a segment's file open.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_core::types::{Offset, TopicPartition};
use parking_lot::Mutex;

use crate::disk::{Disk, DiskError, DiskFile, Open};
use crate::segment::{Kind, file_name};

/// Where a partition's files are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: TopicPartition,
    pub(crate) folder: Arc<str>,
}

impl Place {
    /// The path of one file of a segment.
    pub(crate) fn path(&self, base: Offset, kind: Kind) -> String {
        format!("{}/{}", self.folder, file_name(base, kind))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    id: TopicPartition,
    base: Offset,
    kind: Kind,
}

#[derive(Debug)]
struct Opened {
    file: Arc<dyn DiskFile>,
    writable: bool,
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<Key, Opened>,
    clock: u64,
}

/// At most `capacity` open files.
#[derive(Debug)]
pub(crate) struct FilePool {
    disk: Arc<dyn Disk>,
    capacity: usize,
    state: Mutex<State>,
}

impl FilePool {
    pub(crate) fn new(disk: Arc<dyn Disk>, capacity: usize) -> Self {
        Self { disk, capacity, state: Mutex::default() }
    }

    /// A file to read.
    pub(crate) fn read(&self, place: &Place, base: Offset, kind: Kind) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.get(place, base, kind, false)
    }

    /// A file to read and write; made if it is missing.
    pub(crate) fn write(&self, place: &Place, base: Offset, kind: Kind) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.get(place, base, kind, true)
    }

    fn get(&self, place: &Place, base: Offset, kind: Kind, writable: bool) -> Result<Arc<dyn DiskFile>, DiskError> {
        let key = Key { id: place.id, base, kind };
        {
            let mut state = self.state.lock();
            state.clock += 1;
            let now = state.clock;
            if let Some(opened) = state.files.get_mut(&key)
                && (opened.writable || !writable)
            {
                opened.used = now;
                return Ok(Arc::clone(&opened.file));
            }
        }
        let how = if writable { Open::Create } else { Open::Read };
        let file = self.disk.open(&place.path(base, kind), how)?;
        let mut state = self.state.lock();
        if state.files.len() >= self.capacity {
            state.close_oldest(self.capacity / 8 + 1);
        }
        let used = state.clock;
        state.files.insert(key, Opened { file: Arc::clone(&file), writable, used });
        Ok(file)
    }

    /// Closes the files of a segment that is gone.
    pub(crate) fn forget(&self, id: TopicPartition, base: Offset) {
        let mut state = self.state.lock();
        for kind in Kind::ALL {
            state.files.remove(&Key { id, base, kind });
        }
    }

    /// Closes the files of a partition that is gone.
    pub(crate) fn forget_partition(&self, id: TopicPartition) {
        self.state.lock().files.retain(|key, _| key.id != id);
    }

    /// How many files are open.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().files.len()
    }
}

impl State {
    /// Many at once, so that the scan is paid rarely.
    fn close_oldest(&mut self, count: usize) {
        let mut used: Vec<u64> = self.files.values().map(|opened| opened.used).collect();
        used.sort_unstable();
        let Some(&limit) = used.get(count.min(used.len()).saturating_sub(1)) else { return };
        self.files.retain(|_, opened| opened.used > limit);
    }
}
