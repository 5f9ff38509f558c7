//! The simulated disk's tree of names, its faults and its lives.
//!
//! Owns which node has which name, now and after a crash. It must not decide when a fault happens: the test says so.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Directory, File, Node, NodeId};
use super::random::Random;
use crate::disk::{Space, parent};

/// The root directory, which is always there.
pub(super) const ROOT: NodeId = 0;

/// Size of a disk without a bound.
const UNBOUNDED: u64 = 1 << 40;

/// How a changing operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// The disk says no; a sync loses pages.
    Failed,
    /// The process or the power ends in the middle of it.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) life: u64,
    pub(super) operations: u64,
    pub(super) stop_at: Option<u64>,
    pub(super) fail_at: Vec<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) direct: bool,
    pub(super) read_only: bool,
    pub(super) locked: bool,
    nodes: BTreeMap<NodeId, Node>,
    next_node: NodeId,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            life: 0,
            operations: 0,
            stop_at: None,
            fail_at: Vec::new(),
            capacity: None,
            direct: true,
            read_only: false,
            locked: false,
            nodes: BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]),
            next_node: ROOT + 1,
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop_at.is_some_and(|at| self.operations >= at)
    }

    /// Counts a changing operation and says how it ends.
    pub(super) fn begin(&mut self) -> Fate {
        self.operations += 1;
        let now = self.operations;
        let due = self.fail_at.len();
        self.fail_at.retain(|&at| at != now);
        match (self.stopped(), self.fail_at.len() < due) {
            (true, _) => Fate::Interrupted,
            (false, true) => Fate::Failed,
            (false, false) => Fate::Done,
        }
    }

    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.stop_at = None;
        self.fail_at.clear();
        self.locked = false;
    }

    pub(super) fn crash(&mut self) {
        self.end_life();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.crash(&mut self.random),
                Node::Directory(directory) => directory.crash(&mut self.random),
            }
        }
        let mut reached = BTreeSet::new();
        let mut next = vec![ROOT];
        while let Some(id) = next.pop() {
            if reached.insert(id)
                && let Some(directory) = self.directory(id)
            {
                next.extend(directory.now.values());
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.linked = true;
            }
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        let names = path.split('/').filter(|name| !name.is_empty());
        let mut node = ROOT;
        for name in names {
            node = *self.directory(node)?.now.get(name)?;
        }
        Some(node)
    }

    pub(super) fn find_file(&mut self, path: &str) -> Option<&mut File> {
        self.find(path).and_then(|node| self.file(node))
    }

    pub(super) fn file(&mut self, node: NodeId) -> Option<&mut File> {
        match self.nodes.get_mut(&node)? {
            Node::File(file) => Some(file),
            Node::Directory(_) => None,
        }
    }

    pub(super) fn directory(&self, node: NodeId) -> Option<&Directory> {
        match self.nodes.get(&node)? {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        }
    }

    pub(super) fn directory_mut(&mut self, node: NodeId) -> Option<&mut Directory> {
        match self.nodes.get_mut(&node)? {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        }
    }

    fn parent_of(&mut self, path: &str) -> Option<&mut Directory> {
        self.find(parent(path)).and_then(|node| self.directory_mut(node))
    }

    /// Adds a node under a name; `None` if its directory is missing.
    pub(super) fn add(&mut self, path: &str, node: Node) -> Option<NodeId> {
        let id = self.next_node;
        self.parent_of(path)?.set(vec![(last_name(path), Some(id))]);
        self.nodes.insert(id, node);
        self.next_node += 1;
        Some(id)
    }

    fn mark_unlinked(&mut self, path: &str) {
        if let Some(file) = self.find_file(path) {
            file.linked = false;
        }
    }

    pub(super) fn unlink(&mut self, path: &str) {
        self.mark_unlinked(path);
        if let Some(directory) = self.parent_of(path) {
            directory.set(vec![(last_name(path), None)]);
        }
    }

    /// False if there is nothing at `from`, or no directory for `to`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> bool {
        let (Some(node), Some(_)) = (self.find(from), self.find(parent(to))) else { return false };
        if from == to {
            return true;
        }
        self.mark_unlinked(to);
        let (gone, come) = ((last_name(from), None), (last_name(to), Some(node)));
        if parent(from) == parent(to) {
            if let Some(directory) = self.parent_of(from) {
                directory.set(vec![gone, come]);
            }
            return true;
        }
        // Between two directories nothing is atomic here.
        if let Some(directory) = self.parent_of(to) {
            directory.set(vec![come]);
        }
        if let Some(directory) = self.parent_of(from) {
            directory.set(vec![gone]);
        }
        true
    }

    pub(super) fn sync(&mut self, node: NodeId, fate: Fate) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            file.sync(fate, &mut self.random);
        }
    }

    pub(super) fn sync_all(&mut self, fate: Fate) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.sync(fate, &mut self.random),
                Node::Directory(directory) if fate == Fate::Done => directory.sync(),
                Node::Directory(_) => {}
            }
        }
    }

    pub(super) fn space(&self) -> Space {
        let used: u64 =
            self.nodes.values().map(|node| if let Node::File(file) = node { file.space() } else { 0 }).sum();
        let total = self.capacity.unwrap_or(UNBOUNDED);
        Space { free: total.saturating_sub(used), total }
    }

    /// Whether `more` bytes do not fit.
    pub(super) fn is_full_for(&self, more: u64) -> bool {
        more > self.space().free
    }

    pub(super) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut next = vec![(String::new(), ROOT)];
        while let Some((path, id)) = next.pop() {
            match self.nodes.get(&id) {
                Some(Node::File(_)) => found.push(path),
                Some(Node::Directory(directory)) => next.extend(directory.now.iter().map(|(name, &node)| {
                    (if path.is_empty() { name.clone() } else { format!("{path}/{name}") }, node)
                })),
                None => {}
            }
        }
        found.sort();
        found
    }
}

fn last_name(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned()
}
