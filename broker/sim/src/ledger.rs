//! What a simulated broker has taken in of the metadata, as `broker/src/controller/ledger.rs` does: a durable copy first,
//! then the image in force.
//!
//! Owns the copies on the disk, of which a crash may leave some first part, and bringing the replicas in line with images,
//! which are held back until the broker is admitted. What it acts on is judged (A2, A4).

use ottla_core::controller::{Document, DocumentId, Follower, ShardId, Vector};
use ottla_core::metadata::Image;
use ottla_core::replica::{Event, Peer, View};
use ottla_core::types::ControllerEpoch;

use crate::committed::told;
use crate::enroll::Entry;
use crate::mutants::ShellRule;
use crate::node::Disk;
use crate::oracle::holds;
use crate::store::CLUSTER;
use crate::world::{Beside, World};

impl Disk {
    /// Per document the newest state that was acted on here. A shard that the root does not count means nothing.
    pub(crate) fn vector(&self) -> Vector {
        let count = match self.copies.get(&DocumentId::Root) {
            Some(Document::Root(root)) => Some(root.shard_count),
            Some(Document::Shard(_)) | None => None,
        };
        let counted = |id: &DocumentId| match (id, count) {
            (DocumentId::Root, _) | (DocumentId::Shard(_), None) => true,
            (DocumentId::Shard(ShardId(shard)), Some(count)) => *shard < count,
        };
        let counted = self.copies.iter().filter(|(id, _)| counted(id));
        counted.map(|(id, document)| (*id, document.header().seen())).collect()
    }
}

impl World {
    /// Copies documents to the disk, one after the other: the process may die in between.
    pub(crate) fn keep(&mut self, b: usize, documents: &[Document]) {
        if !self.holds(ShellRule::CopiedBeforeActing) {
            return;
        }
        for document in documents {
            if self.dies_now(b) {
                self.count("died while it copied metadata");
                return;
            }
            let copies = &mut self.nodes[b].disk.copies;
            let at = document.header().seen();
            if copies.get(&document.id()).is_none_or(|known| known.header().seen() < at) {
                copies.insert(document.id(), document.clone());
            }
        }
    }

    /// Takes in what the controller of an epoch has committed; whether it did.
    pub(crate) fn take_in(
        &mut self,
        b: usize,
        (epoch, view): (ControllerEpoch, View),
        complete: bool,
        documents: Vec<Document>,
    ) -> bool {
        let life = self.nodes[b].life;
        let believes = !self.holds(ShellRule::MetadataGoesForward);
        let Some(control) = self.nodes[b].control.as_mut() else { return false };
        if believes && complete {
            control.follower = Follower::new(CLUSTER, Vector::new());
        }
        if let Err(error) = control.follower.check(epoch, complete, documents.iter()) {
            self.story.tell(self.now, format_args!("broker {} refuses metadata: {error}", b + 1));
            self.count("metadata refused");
            return false;
        }
        self.keep(b, &documents);
        if !self.alive(b, life) {
            return false;
        }
        self.judge_taken(b, epoch, &documents);
        let Some(control) = self.nodes[b].control.as_mut() else { return false };
        let Ok(newer) = control.follower.take(epoch, complete, documents) else { return false };
        control.unapplied |= newer;
        control.view = control.view.max(view);
        self.apply(b);
        true
    }

    fn judge_taken(&mut self, b: usize, epoch: ControllerEpoch, documents: &[Document]) {
        let seen = self.epochs[b].max(epoch);
        let before = std::mem::replace(&mut self.epochs[b], seen);
        self.checked(|_| {
            holds("A2", epoch >= before, || {
                format!("broker {} acts on metadata of epoch {epoch}, it has acted on epoch {before}", b + 1)
            })
        });
        for document in documents {
            self.checked(|world| world.store.check_line(document));
        }
    }

    /// The newest image comes into force, once the broker is admitted.
    pub(crate) fn apply(&mut self, b: usize) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if !matches!(control.entry, Entry::Admitted(_)) {
            return;
        }
        let view = control.view;
        if std::mem::take(&mut control.unapplied) {
            let image = control.follower.image().clone();
            self.apply_image(b, &image);
        }
        if self.alive(b, life) {
            self.nodes[b].host.on_view(view);
            self.attend(b);
        }
    }

    fn apply_image(&mut self, b: usize, image: &Image) {
        let life = self.nodes[b].life;
        let before = std::mem::replace(&mut self.nodes[b].image, image.clone());
        let peers_changed = before.brokers() != image.brokers();
        for broker in image.brokers().values().filter(|_| peers_changed) {
            let peer = Peer { incarnation: broker.incarnation, fenced: broker.fenced, draining: false };
            self.nodes[b].host.on_peer(broker.id, peer);
        }
        for p in 0..self.truth.len() {
            let Some(assignment) = told(image, p) else { continue };
            if told(&before, p).as_ref() == Some(&assignment) && self.nodes[b].began[p] {
                continue;
            }
            let begins = !std::mem::replace(&mut self.nodes[b].began[p], true);
            if begins && self.nodes[b].disk.logs[p].suspect {
                // What was found stays written down until the log has started over.
                self.count("suspect at the start");
                self.step(b, p, Event::LogSuspect, &Beside::NONE);
            }
            if self.alive(b, life) {
                self.step(b, p, Event::Assigned(assignment), &Beside::NONE);
            }
            if !self.alive(b, life) {
                return;
            }
        }
        for p in 0..self.truth.len() {
            if peers_changed && self.alive(b, life) {
                self.step(b, p, Event::PeersChanged, &Beside::NONE);
            }
        }
    }
}
