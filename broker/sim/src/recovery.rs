//! Documents that are restored to an older state or deleted, and what a person does about it.
//!
//! Owns when somebody does that to the store (A7): only while most disks prove that it is older than it was, and every disk
//! is its broker's own. Controllers stop then, by themselves; a while later everybody is stopped, the documents are made
//! again from the disks by the production plan (A8), and everybody is started. Until then no such document may be written.

use std::collections::BTreeSet;

use ottla_core::controller::recover::{Directory, Stored, plan};
use ottla_core::controller::{Document, DocumentId, Member, ReadOutcome};

use crate::disks::is_own;
use crate::oracle::holds;
use crate::store::CLUSTER;
use crate::world::{Action, World};

impl World {
    /// Somebody restores a document to an older state, or deletes it.
    pub(crate) fn lose_document(&mut self) {
        let ids: Vec<DocumentId> = self.store.ids().into_iter().collect();
        let at = self.rng.within(0, ids.len() as u64);
        let Some(&id) = usize::try_from(at).ok().and_then(|at| ids.get(at)) else { return };
        if self.healed || self.store.went_back() || !(0..self.nodes.len()).all(|b| self.vouches(b)) {
            return;
        }
        if self.rng.chance(400) {
            self.tell_fault(format_args!("somebody deletes {id}"));
            self.count("document deleted");
            self.store.delete(id);
        } else {
            let states = self.store.earlier(id).len() as u64;
            let Some(old) = usize::try_from(self.rng.within(0, states)).ok() else { return };
            let Some(old) = self.store.earlier(id).get(old).cloned() else { return };
            let seen = old.header().seen();
            // Whoever claims asks the brokers of the root that it finds: of fewer brokers than there are, half is less.
            if matches!(&old, Document::Root(root) if root.members.len() < self.nodes.len()) {
                return;
            }
            let ahead = |node: &&crate::node::Node| {
                node.disk.copies.get(&id).is_some_and(|copy| copy.header().version > seen.version)
            };
            if self.nodes.iter().filter(ahead).count() * 2 <= self.nodes.len() {
                return;
            }
            self.tell_fault(format_args!("somebody restores {id} to version {} of epoch {}", seen.version, seen.epoch));
            self.count("document went back");
            self.store.restore(old);
        }
        let delay = self.rng.within(1_000_000, 5_000_000);
        self.plan(delay, Action::Recover);
    }

    /// A run that was registered, and that no disk records, was nobody's: nothing that went back needs to know of it (A6).
    fn forget_runs_of_nobody(&mut self) {
        for node in &self.nodes {
            if let Some(peer) = self.snapshot.peers.get_mut(&node.id) {
                peer.incarnation = peer.incarnation.min(node.disk.run);
            }
        }
    }

    /// Everybody is stopped, the documents are made again from the disks, and everybody is started.
    pub(crate) fn recover(&mut self) {
        if !self.store.went_back() {
            return;
        }
        for b in 0..self.nodes.len() {
            self.kill_node(b, "stopped for the recovery of its metadata");
        }
        let directory = |b: usize| Directory {
            name: format!("disk of broker {}", b + 1),
            cluster: CLUSTER,
            standing: self.standing(b),
            copies: self.nodes[b].disk.copies.clone(),
            damaged: false,
        };
        let directories: Vec<Directory> = (0..self.nodes.len()).map(directory).collect();
        let stored = |id: DocumentId| match self.store.read(id) {
            ReadOutcome::Found(document, _) => Some((id, Stored::Document(document))),
            ReadOutcome::Missing | ReadOutcome::Failed | ReadOutcome::Unreadable(_) => None,
        };
        let stored = self.store.ids().into_iter().filter_map(stored).collect();
        let plan = match plan(&directories, &stored, &BTreeSet::new()) {
            Ok(plan) => plan,
            Err(why) => return self.fail("A8", format!("the metadata cannot be recovered: {why}")),
        };
        let documents: Vec<Document> = plan.documents(self.rng.draw().to_be_bytes());
        self.tell_fault(format_args!("the metadata is recovered in epoch {}", plan.epoch));
        self.count("metadata recovered");
        // Where one of these was replaced, or has become older, something is missing indeed.
        let complete = plan.is_complete() || !all_are_own(&directories);
        self.checked(|_| holds("A8", complete, || format!("every disk is there, and yet {:?}", plan.doubts)));
        for document in documents {
            self.checked(|world| world.store.recover(document));
        }
        self.forget_runs_of_nobody();
        self.committed();
        for b in 0..self.nodes.len() {
            let delay = self.rng.within(50_000, 800_000);
            self.plan(delay, Action::Start(b));
        }
    }
}

/// Whether the newest copy of the root says of every broker that its disk is one of these.
fn all_are_own(directories: &[Directory]) -> bool {
    let roots = directories.iter().filter_map(|one| match one.copies.get(&DocumentId::Root) {
        Some(Document::Root(root)) => Some(root),
        Some(Document::Shard(_)) | None => None,
    });
    let newest = roots.max_by_key(|root| root.header.seen());
    let is_there = |member: &Member| directories.iter().any(|one| is_own(member, one.standing));
    newest.is_some_and(|root| root.members.values().all(is_there))
}
