//! What goes wrong, and when.
//!
//! Owns the choice of faults. It never does what no replication survives: the last copy of something committed is never
//! destroyed. Everything else may happen at any time, together.

use ottla_core::replica::Assignment;
use ottla_core::types::BrokerId;

use crate::controller::Controller;
use crate::log::SimLog;
use crate::node::Disk;
use crate::world::{Action, Local, Payload, World};

impl World {
    /// One more fault, and when the next one comes.
    pub(crate) fn inject_fault(&mut self) {
        if self.healed {
            return;
        }
        let pause = self.rng.within(100_000, 1_200_000);
        self.plan(pause, Action::Fault);
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        match self.rng.within(0, 20) {
            0 | 1 => self.crash(b),
            2 | 3 => {
                let effects = u32::try_from(self.rng.within(0, 300)).unwrap_or(0);
                self.nodes[b].dies_after = Some(effects);
            }
            4 | 5 => self.freeze(b),
            6 => self.cut_one_way(),
            7 => self.cut_off(b),
            8 => self.cut_from_controller(b),
            9 => self.split(b),
            10 => self.fail_write(b),
            11 => self.slow_disk(b),
            12 => self.empty_disk(b),
            13 => self.suspect(b),
            14 => self.worse_network(),
            15 => self.silence_controller(),
            16 => self.power_loss(),
            17 => self.reset(b),
            18 => self.busy_controller(b),
            _ => self.change_something(b),
        }
    }

    fn tell_fault(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.now, format_args!("fault: {what}"));
    }

    fn crash(&mut self, b: usize) {
        self.kill_node(b, "killed");
        let delay = self.rng.within(50_000, 3_000_000);
        self.plan(delay, Action::Start(b));
    }

    fn power_loss(&mut self) {
        self.tell_fault(format_args!("power loss"));
        self.count("power loss");
        for b in 0..self.nodes.len() {
            self.crash(b);
        }
    }

    fn freeze(&mut self, b: usize) {
        let span = self.rng.within(100_000, 3_500_000);
        self.tell_fault(format_args!("broker {} stands still for {} ms", b + 1, span / 1000));
        self.count("freeze");
        self.nodes[b].frozen_until = self.now + span;
    }

    fn block(&mut self, from: usize, to: usize, span: u64) {
        self.network.blocked.insert((from, to));
        self.plan(span, Action::Unblock(from, to));
    }

    fn cut_one_way(&mut self) {
        let nodes = self.nodes.len() as u64 + 1;
        let (from, to) = (self.rng.within(0, nodes), self.rng.within(0, nodes));
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("nothing comes from {from} to {to} for {} ms", span / 1000));
        self.count("one-way partition");
        self.block(usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0), span);
    }

    /// From everybody.
    fn cut_off(&mut self, b: usize) {
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("broker {} is cut off for {} ms", b + 1, span / 1000));
        for other in (0..=self.nodes.len()).filter(|&other| other != b + 1) {
            self.block(b + 1, other, span);
            self.block(other, b + 1, span);
        }
    }

    fn cut_from_controller(&mut self, b: usize) {
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("broker {} is cut from the controller for {} ms", b + 1, span / 1000));
        self.block(b + 1, 0, span);
        self.block(0, b + 1, span);
    }

    /// Controller and one broker here, everybody else there.
    fn split(&mut self, b: usize) {
        let span = self.rng.within(2_000_000, 5_000_000);
        self.tell_fault(format_args!("broker {} and the controller are cut from the rest, {} ms", b + 1, span / 1000));
        self.count("split");
        for other in (1..=self.nodes.len()).filter(|&other| other != b + 1) {
            for side in [0, b + 1] {
                self.block(other, side, span);
                self.block(side, other, span);
            }
        }
    }

    fn fail_write(&mut self, b: usize) {
        let p = self.rng.within(0, self.truth.len() as u64);
        self.nodes[b].disk.fails.insert(usize::try_from(p).unwrap_or(0));
    }

    fn slow_disk(&mut self, b: usize) {
        let span = self.rng.within(1_000_000, 8_000_000);
        self.tell_fault(format_args!("the disk of broker {} is slow for {} ms", b + 1, span / 1000));
        self.nodes[b].disk.slow_until = self.now + span;
    }

    /// Whether everything committed is held without this broker, by others that may be elected.
    fn is_spare(&self, b: usize, p: usize) -> bool {
        let id = self.nodes[b].id;
        let assignment = &self.snapshot.partitions.get(p);
        assignment.is_some_and(|assignment| {
            let others = |member: &&BrokerId| assignment.is_member(**member) && **member != id;
            let intact = |log: &SimLog| !log.wiped && !log.suspect;
            let whole = |member: &BrokerId| self.nodes.iter().any(|n| n.id == *member && intact(&n.disk.logs[p]));
            assignment.replicas.iter().filter(others).any(whole)
        })
    }

    fn empty_disk(&mut self, b: usize) {
        let controller_runs = self.controller_down_until <= self.now;
        if !controller_runs || (0..self.truth.len()).any(|p| !self.is_spare(b, p)) {
            return;
        }
        self.tell_fault(format_args!("broker {} loses its disk", b + 1));
        self.count("empty disk");
        self.kill_node(b, "its disk is gone");
        // Otherwise this could become the only member of an ISR while it is no more: nothing survives that.
        self.controller.refused(self.nodes[b].id);
        self.after_controller();
        let partitions = self.truth.len();
        let node = &mut self.nodes[b];
        let mut logs = std::mem::take(&mut node.disk.logs);
        for log in &mut logs {
            log.truncate(Default::default());
            log.wiped = true;
        }
        node.disk = Disk { logs, watermarks: vec![Default::default(); partitions], ..Disk::default() };
        let delay = self.rng.within(50_000, 600_000);
        // What it says when it is back may not be heard everywhere at once.
        let other = usize::try_from(self.rng.within(1, self.nodes.len() as u64 + 1)).unwrap_or(1);
        let span = self.rng.within(0, 2_500_000);
        self.block(b + 1, other, span);
        self.plan(delay, Action::Start(b));
    }

    fn suspect(&mut self, b: usize) {
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        // With a minimum of one, this may be about to become the only member: nothing survives that.
        let alone = self.snapshot.partitions[p].min_insync == 1;
        if !self.nodes[b].runs() || !self.is_spare(b, p) || alone {
            return;
        }
        self.tell_fault(format_args!("broker {} finds damage in p{p}", b + 1));
        self.count("suspect log");
        self.nodes[b].disk.logs[p].suspect = true;
        let life = self.nodes[b].life;
        self.plan(0, Action::Local { node: b, life, what: Local::Suspect(p) });
    }

    fn worse_network(&mut self) {
        let network = &mut self.network;
        network.loss_per_mille = self.rng.within(0, 60);
        network.twice_per_mille = self.rng.within(0, 60);
        network.slow_per_mille = self.rng.within(0, 80);
    }

    fn silence_controller(&mut self) {
        let span = self.rng.within(500_000, 3_500_000);
        self.tell_fault(format_args!("the controller is silent for {} ms", span / 1000));
        self.count("silent controller");
        self.controller_down_until = self.now + span;
    }

    /// Something between a broker and the controller resets the connection and refuses another one for a moment; the
    /// process lives on, and its next heartbeat lets it in again.
    pub(crate) fn reset(&mut self, b: usize) {
        if self.healed || self.controller_down_until > self.now {
            return;
        }
        self.tell_fault(format_args!("the controller takes broker {} for dead", b + 1));
        self.count("taken for dead");
        self.controller.refused(self.nodes[b].id);
        self.after_controller();
    }

    /// Changes of ISRs stand in a queue while heartbeats do not, and a broker comes and goes meanwhile.
    fn busy_controller(&mut self, b: usize) {
        let span = self.rng.within(2_000_000, 5_000_000);
        self.tell_fault(format_args!("the controller is slow for {} ms", span / 1000));
        self.count("slow controller");
        self.network.asks_slow_until = self.now + span;
        for _ in 0..4 {
            let at = self.rng.within(0, span);
            self.plan(at, Action::TakenForDead(b));
        }
    }

    /// A planned stop, or another min.insync.replicas.
    fn change_something(&mut self, b: usize) {
        if self.rng.chance(500) {
            let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
            let min = u16::try_from(self.rng.within(1, 3)).unwrap_or(1);
            if self.nodes.iter().any(|node| node.disk.logs[p].suspect) {
                return;
            }
            self.tell_fault(format_args!("p{p} has min.insync.replicas {min} now"));
            self.controller.set_min_insync(p, min);
            self.after_controller();
            return;
        }
        let id = self.nodes[b].id;
        let alone = |p: &Assignment| p.isr.iter().all(|&member| member == id);
        if !self.nodes[b].runs() || self.snapshot.partitions.iter().any(alone) {
            return;
        }
        self.tell_fault(format_args!("broker {id} drains"));
        self.count("planned stop");
        let run = self.nodes[b].disk.run;
        self.send(b + 1, 0, Payload::Drain { run });
        self.nodes[b].dies_after = Some(600);
    }

    /// Everything works again; what was broken comes right by itself.
    pub(crate) fn heal(&mut self) {
        self.tell_fault(format_args!("none any more"));
        self.healed = true;
        self.network = Default::default();
        self.controller_down_until = self.now;
        for b in 0..self.nodes.len() {
            let node = &mut self.nodes[b];
            node.frozen_until = node.frozen_until.min(self.now);
            node.dies_after = None;
            node.disk.fails.clear();
            node.disk.slow_until = 0;
            let draining = self.snapshot.peers.get(&self.nodes[b].id).is_some_and(|peer| peer.draining);
            if draining {
                self.kill_node(b, "its planned stop");
            }
            let delay = self.rng.within(0, 500_000);
            self.plan(delay, Action::Start(b));
        }
    }
}
