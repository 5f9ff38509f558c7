//! The simulated disk's files and directories, and what a crash leaves of them.
//!
//! Owns the difference between what a process sees (`now`) and what is safe (`durable`). A change stands in `pending`
//! until a sync; a crash keeps an arbitrary part of it. It must stay at least as hostile as the contract of
//! [`crate::disk::Disk`] allows.

use std::collections::BTreeMap;

use super::random::Random;
use super::state::Fate;

/// Identity of a file or directory, whatever its name is.
pub(super) type NodeId = u64;

/// A write is torn into pieces of this size at most.
const SECTOR_BYTES: usize = 512;
/// Or of this size, on a device that writes whole pages.
const PAGE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

/// How much of the pending changes a crash keeps.
#[derive(Clone, Copy, Debug)]
enum Survival {
    Nothing,
    Everything,
    Prefix,
    Scattered { shuffled: bool },
}

impl Survival {
    const fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::Prefix,
            4 => Self::Scattered { shuffled: false },
            _ => Self::Scattered { shuffled: true },
        }
    }

    /// The part of `changes` that survives, in the order in which it is to be applied.
    fn pick<T>(self, changes: Vec<T>, random: &mut Random) -> Vec<T> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Everything => changes,
            Self::Prefix => {
                let keep = random.index(changes.len() + 1);
                changes.into_iter().take(keep).collect()
            }
            Self::Scattered { shuffled } => {
                let keep_of_8 = 1 + random.below(7);
                let mut kept: Vec<T> = changes.into_iter().filter(|_| random.below(8) < keep_of_8).collect();
                if shuffled {
                    for index in (1..kept.len()).rev() {
                        kept.swap(index, random.index(index + 1));
                    }
                }
                kept
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }

    /// Cuts a write at multiples of `piece_bytes` of the file.
    fn tear(self, piece_bytes: usize) -> Vec<Self> {
        match self {
            Self::Length(length) => vec![Self::Length(length)],
            Self::Write { mut offset, bytes } => {
                let mut pieces = Vec::new();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(rest.len().min(piece_bytes - offset % piece_bytes));
                    pieces.push(Self::Write { offset, bytes: piece.to_vec() });
                    offset += piece.len();
                    rest = behind;
                }
                pieces
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Space reserved beyond the length.
    pub(super) allocated: usize,
    /// Whether it has a name; without one it takes no space here.
    pub(super) linked: bool,
}

impl Default for File {
    fn default() -> Self {
        Self { now: Vec::new(), durable: Vec::new(), pending: Vec::new(), allocated: 0, linked: true }
    }
}

impl File {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.change(Change::Length(length));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    /// Done, everything is durable. Failed, some of it is and the rest never will be, whatever is synced later.
    /// Interrupted, some of it is and the rest still can be.
    pub(super) fn sync(&mut self, fate: Fate, random: &mut Random) {
        let changes = match fate {
            Fate::Done => std::mem::take(&mut self.pending),
            Fate::Failed => Survival::draw(random).pick(std::mem::take(&mut self.pending), random),
            Fate::Interrupted => Survival::draw(random).pick(self.pending.clone(), random),
        };
        for change in changes {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        let piece_bytes = if random.one_in(2) { SECTOR_BYTES } else { PAGE_BYTES };
        let pieces: Vec<_> = std::mem::take(&mut self.pending).into_iter().flat_map(|c| c.tear(piece_bytes)).collect();
        let length_only = random.one_in(8);
        for piece in Survival::draw(random).pick(pieces, random) {
            piece.apply(&mut self.durable);
        }
        if length_only && self.durable.len() < self.now.len() {
            self.durable.resize(self.now.len(), 0);
        }
        self.now.clone_from(&self.durable);
    }

    /// Damage that no one notices: durable at once, and in what is still to become durable too.
    pub(super) fn corrupt(&mut self, byte: usize, change: impl Fn(u8) -> u8) {
        let at = |content: &mut Vec<u8>, byte: Option<usize>| {
            if let Some(value) = byte.and_then(|byte| content.get_mut(byte)) {
                *value = change(*value);
            }
        };
        at(&mut self.now, Some(byte));
        at(&mut self.durable, Some(byte));
        for pending in &mut self.pending {
            if let Change::Write { offset, bytes } = pending {
                at(bytes, byte.checked_sub(*offset));
            }
        }
    }

    /// Cuts the file behind everyone's back.
    pub(super) fn cut(&mut self, length: usize) {
        self.now.truncate(length);
        self.durable.clone_from(&self.now);
        self.pending.clear();
    }

    /// Bytes that the file takes of the disk.
    pub(super) fn space(&self) -> u64 {
        if !self.linked {
            return 0;
        }
        self.now.len().max(self.allocated).next_multiple_of(PAGE_BYTES) as u64
    }
}

/// One atomic change of a directory.
type Renaming = Vec<(String, Option<NodeId>)>;

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) now: BTreeMap<String, NodeId>,
    pub(super) durable: BTreeMap<String, NodeId>,
    pending: Vec<Renaming>,
}

impl Directory {
    pub(super) fn set(&mut self, names: Renaming) {
        apply(&names, &mut self.now);
        self.pending.push(names);
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.now);
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        let changes = std::mem::take(&mut self.pending);
        // Names are journaled: some changes may be missing, but the order of those that are there holds.
        let survival = match Survival::draw(random) {
            Survival::Scattered { .. } => Survival::Scattered { shuffled: false },
            whole @ (Survival::Nothing | Survival::Everything | Survival::Prefix) => whole,
        };
        for names in survival.pick(changes, random) {
            apply(&names, &mut self.durable);
        }
        self.now.clone_from(&self.durable);
    }
}

fn apply(names: &Renaming, map: &mut BTreeMap<String, NodeId>) {
    for (name, node) in names {
        match node {
            Some(node) => map.insert(name.clone(), *node),
            None => map.remove(name),
        };
    }
}
