//! What goes wrong with disks as a whole: emptied, restored from an old image, replaced.
//!
//! Owns the choice of what may be lost. It never does what no replication survives: the last copy of something committed
//! is never destroyed, and enough disks are left to vouch for the metadata (A7).

use ottla_core::controller::Member;
use ottla_core::controller::error::Standing;

use crate::log::SimLog;
use crate::node::{Disk, Node};
use crate::world::{Action, World};

/// For how long another minimum that was asked for may still come into force. Microseconds.
const MINIMUM_US: u64 = 10_000_000;

impl World {
    /// Whether everything committed is held without this broker, by another that may be elected; and nobody else has lost
    /// anything that he has not got back. With a minimum of one this broker may be about to become the only member:
    /// nothing survives that.
    pub(crate) fn is_spare(&self, b: usize, p: usize) -> bool {
        let id = self.nodes[b].id;
        let Some(assignment) = self.snapshot.partitions.get(p) else { return false };
        let alone = assignment.min_insync == 1 || self.minimum_asked_at.is_some_and(|at| self.now < at + MINIMUM_US);
        let mut others = self.nodes.iter().filter(|node| node.id != id && assignment.replicas.contains(&node.id));
        let lost = |node: &Node| node.disk.logs[p].wiped || node.disk.logs[p].suspect;
        !alone && !others.clone().any(lost) && others.any(|node| assignment.is_member(node.id))
    }

    /// Whether a disk is the one that its broker last ran on, as far as the root knows, and holds at least what it held.
    pub(crate) fn vouches(&self, b: usize) -> bool {
        let (id, disk) = (self.nodes[b].id, self.standing(b));
        let member = self.store.root().and_then(|root| root.members.get(&id));
        member.is_some_and(|member| is_own(member, disk))
    }

    /// Whether a whole disk may be lost. While a document is older than it was, the disks are what proves it.
    pub(crate) fn may_lose(&self, b: usize) -> bool {
        let left = (0..self.nodes.len()).filter(|&other| other != b && self.vouches(other)).count();
        let spare = (0..self.truth.len()).all(|p| self.is_spare(b, p));
        spare && left * 2 >= self.nodes.len() && !self.store.went_back()
    }

    pub(crate) fn empty_disk(&mut self, b: usize) {
        if self.healed || !self.may_lose(b) {
            return;
        }
        self.tell_fault(format_args!("broker {} loses its disk", b + 1));
        self.count("empty disk");
        let partitions = self.truth.len();
        let (logs, watermarks) = (vec![SimLog::default(); partitions], vec![Default::default(); partitions]);
        let directory = self.new_directory();
        self.replace_disk(b, Disk { logs, watermarks, directory, ..Disk::default() });
    }

    pub(crate) fn new_directory(&mut self) -> u64 {
        self.directories += 1;
        100 + self.directories
    }

    /// Somebody keeps an image of a disk whose broker runs on.
    pub(crate) fn image_disk(&mut self, b: usize) {
        if self.nodes[b].runs() {
            self.copy_disk(b);
        }
    }

    pub(crate) fn copy_disk(&mut self, b: usize) {
        let node = &mut self.nodes[b];
        // As an image of a disk that runs: whatever was not synced is not in it.
        let mut copy = node.disk.clone();
        for log in &mut copy.logs {
            log.drop_unsynced();
        }
        node.copy = Some(copy);
    }

    /// An old image of the disk is put back: of a run before the last one that was let in, or one that ends before what
    /// the controller has written down of its journal. What is younger cannot be noticed (ADR 0009).
    pub(crate) fn restore_disk(&mut self) {
        let kept = self.nodes.iter().enumerate().filter(|(_, node)| node.copy.is_some());
        let kept: Vec<usize> = kept.map(|(b, _)| b).collect();
        let at = usize::try_from(self.rng.within(0, kept.len() as u64)).unwrap_or(0);
        let Some(&b) = kept.get(at) else { return };
        let node = &self.nodes[b];
        let Some(copy) = node.copy.clone() else { return };
        let known = self.store.root().and_then(|root| root.members.get(&node.id));
        let Some(known) = known else { return };
        let of_earlier_run = copy.run < node.disk.served && known.broker.incarnation >= node.disk.served;
        let served = node.disk.served;
        let same_run = copy.run == node.disk.run && copy.run == known.broker.incarnation;
        let behind = same_run && copy.synced < known.synced.get();
        if !(of_earlier_run || behind) || copy.directory != node.disk.directory || !self.may_lose(b) {
            return;
        }
        self.tell_fault(format_args!("broker {} gets an old image of its disk back", b + 1));
        self.count(if behind { "disk of the same run restored" } else { "disk restored" });
        self.replace_disk(b, Disk { served, ..copy });
    }

    fn replace_disk(&mut self, b: usize, disk: Disk) {
        self.kill_node(b, "its disk is gone");
        // A disk may have forgotten which controller it has followed.
        self.epochs[b] = disk.vector().values().map(|seen| seen.epoch).max().unwrap_or_default();
        let node = &mut self.nodes[b];
        node.disk = disk;
        node.disk.logs.iter_mut().for_each(|log| log.wiped = true);
        let delay = self.rng.within(50_000, 600_000);
        // What it says when it is back may not be heard everywhere at once.
        let other = usize::try_from(self.rng.within(1, self.nodes.len() as u64 + 1)).unwrap_or(1);
        let span = self.rng.within(0, 2_500_000);
        self.block(b + 1, other, span);
        self.plan(delay, Action::Start(b));
    }
}

/// Whether the disk is the one that is registered, in the state in which that run, or the one before, left it.
pub(crate) fn is_own(member: &Member, disk: Standing) -> bool {
    let run = disk.incarnation == member.broker.incarnation || member.admitted_from == Some(disk.incarnation);
    run && member.broker.directory == disk.directory && disk.synced >= member.synced
}
