//! What goes wrong between brokers and the API server: it is down, slow, not reached, loses answers; the Lease is touched.
//!
//! Owns the choice. None of it may cost more than time: the Lease is advice, and whatever was written is settled by reading.

use ottla_core::controller::error::Standing;
use ottla_core::controller::{Answer, ConfigChange, ConfigTarget, Request, SILENCE_MAX};
use ottla_core::types::{BrokerId, DirectoryId, Incarnation, Lsn};

use crate::control::{Asker, Control};
use crate::enroll::Question;
use crate::node::Node;
use crate::store::{Holder, topic_name};
use crate::world::{Action, World};

impl World {
    /// Changes of ISRs wait for a slow store while heartbeats do not, and a broker comes and goes meanwhile.
    pub(crate) fn slow_api(&mut self, b: usize) {
        let span = self.rng.within(2_000_000, 5_000_000);
        self.tell_fault(format_args!("the API server is slow for {} ms", span / 1000));
        self.count("slow api");
        self.api.slow_until = self.now + span;
        for _ in 0..4 {
            let at = self.rng.within(0, span);
            self.plan(at, Action::TakenForDead(b));
        }
    }

    pub(crate) fn api_down(&mut self) {
        let span = self.rng.within(300_000, 5_000_000);
        self.tell_fault(format_args!("the API server is down for {} ms", span / 1000));
        self.count("api down");
        self.api.down_until = self.now + span;
    }

    pub(crate) fn cut_from_api(&mut self, b: usize) {
        let span = self.rng.within(500_000, 6_000_000);
        let b = if self.rng.chance(500) { self.controller() } else { b };
        self.tell_fault(format_args!("broker {} does not reach the API server for {} ms", b + 1, span / 1000));
        self.count("cut from the api");
        self.api.unreached.insert(b, self.now + span);
    }

    pub(crate) fn worse_api(&mut self) {
        self.api.lost_per_mille = self.rng.within(0, 150);
        self.api.late_per_mille = self.rng.within(0, 100);
        self.api.refused_per_mille = self.rng.within(0, 100);
    }

    /// Somebody deletes the Lease, or gives it to another broker, best to one that has decided before and does not know
    /// that it is over; or several hold it at once.
    pub(crate) fn touch_lease(&mut self, b: usize) {
        match self.rng.within(0, 10) {
            0 | 1 => {
                self.tell_fault(format_args!("somebody deletes the Lease"));
                self.count("lease deleted");
                self.store.delete_lease();
            }
            2..=6 => {
                let leads = |node: &Node| node.control.as_ref().is_some_and(Control::leads);
                let deposed =
                    self.nodes.iter().position(|node| leads(node) && Some(&node.id) != self.deciding().as_ref());
                let b = deposed.unwrap_or(b);
                self.tell_fault(format_args!("somebody gives the Lease to broker {}", b + 1));
                self.count("lease given away");
                let life = self.nodes[b].life;
                self.store.edit_lease(Holder { node: b, life });
            }
            _ => {
                let span = self.rng.within(500_000, 4_000_000);
                self.tell_fault(format_args!("everybody is given the Lease, {} ms", span / 1000));
                self.count("lease taken twice");
                self.store.lies_until = self.now + span;
            }
        }
    }

    /// Whose the root is.
    fn deciding(&self) -> Option<BrokerId> {
        self.store.root().map(|root| root.header.writer)
    }

    /// Another process comes up under the id of a broker that may live, on an empty disk, and is gone soon.
    pub(crate) fn start_twin(&mut self, b: usize) {
        let controller = self.controller();
        let directory = self.new_directory();
        let mut registration = self.registration(b);
        registration.standing = Standing {
            directory: DirectoryId::from_bytes(u128::from(directory).to_be_bytes()),
            incarnation: Incarnation::default(),
            synced: Lsn::default(),
        };
        let leads = self.nodes[controller].control.as_ref().is_some_and(Control::leads);
        if self.nodes[controller].frozen_until > self.now || !leads || !self.may_lose(b) {
            return;
        }
        self.tell_fault(format_args!("a second process comes up as broker {}", b + 1));
        self.count("second process");
        // Heard a moment ago, by the very controller that is asked.
        let now = self.nodes[controller].instant(self.now);
        let heard = self.nodes[controller].control.as_ref().and_then(|control| control.heard.get(&self.nodes[b].id));
        let heard = heard.is_some_and(|&at| now.saturating_duration_since(at) < SILENCE_MAX / 2);
        let current = self
            .snapshot
            .peers
            .get(&self.nodes[b].id)
            .is_some_and(|peer| peer.incarnation == self.nodes[b].disk.run && self.nodes[b].runs());
        let open = !self.streams_between(b, controller).is_empty() || b == controller;
        let lives = current && open && heard;
        self.ask_here(controller, Asker::Own(Question::Twin { of: b, lives }), Request::Register(registration));
    }

    /// What a second process is told. If it is let in, the first one's time is over: somebody restarts it.
    pub(crate) fn twin_answered(&mut self, b: usize, lives: bool, answer: Option<&Answer>) {
        let Some(Answer::Register(Ok(registered))) = answer else { return };
        if lives {
            let run = registered.incarnation;
            return self.fail("A6", format!("a second process is let in as broker {}, run {run}", b + 1));
        }
        self.count("second process let in");
        self.kill_node(b, "another process has its id");
        self.plan(300_000, Action::Start(b));
    }

    /// Somebody sets another min.insync.replicas, at whichever broker.
    pub(crate) fn change_minimum(&mut self, b: usize) {
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        let most = self.snapshot.partitions.get(p).map_or(2, |partition| partition.replicas.len() as u64);
        let min = self.rng.within(1, most);
        let lost = |log: &crate::log::SimLog| log.suspect || log.wiped;
        if !self.nodes[b].up || self.nodes.iter().any(|node| lost(&node.disk.logs[p])) {
            return;
        }
        self.tell_fault(format_args!("p{p} gets min.insync.replicas {min}"));
        self.minimum_asked_at = Some(self.now);
        let shards = u32::try_from(self.truth.len()).unwrap_or(1);
        let change = ottla_core::config::Alteration::Set(min.to_string());
        let change = ConfigChange::Alter(vec![("min.insync.replicas".to_owned(), change)]);
        let resources = vec![(ConfigTarget::Topic(topic_name(p, shards)), change)];
        self.ask_controller(b, Question::Minimum, Request::AlterConfigs { resources, validate_only: false });
    }

    pub(crate) fn minimum_changed(&mut self, answer: Option<&Answer>) {
        if let Some(Answer::AlterConfigs(results)) = answer
            && results.iter().all(Result::is_ok)
        {
            self.count("another minimum");
        }
    }
}
