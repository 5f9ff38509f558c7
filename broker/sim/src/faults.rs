//! What goes wrong, and when.
//!
//! Owns the choice of faults. It never does what no replication survives: the last copy of something committed is never
//! destroyed. Everything else may happen at any time, together.

use ottla_core::replica::{Assignment, Event, LogView, Replica};
use ottla_core::types::Offset;

use crate::node::Node;
use crate::world::{Action, Beside, World};

impl World {
    /// One more fault, and when the next one comes.
    pub(crate) fn inject_fault(&mut self) {
        if self.healed {
            return;
        }
        let pause = self.rng.within(100_000, 1_200_000);
        self.plan(pause, Action::Fault);
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        match self.rng.within(0, 37) {
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
            18 => self.slow_api(b),
            28 => self.api_down(),
            29 => self.start_twin(b),
            34 => self.lose_document(),
            35 | 36 => self.image_disk(b),
            30 => self.cut_from_api(b),
            31 => self.worse_api(),
            32 | 33 => self.touch_lease(b),
            19 | 20 => self.restore_disk(),
            21 | 22 => self.die_stalled(b),
            23 | 24 => self.die_deaf(b),
            25 | 26 => self.flap(b),
            _ => self.change_something(b),
        }
    }

    pub(crate) fn tell_fault(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.now, format_args!("fault: {what}"));
    }

    /// The broker whose process holds the Lease, or held it last; the first, before there was any.
    pub(crate) fn controller(&self) -> usize {
        self.store.holder().map_or(0, |holder| holder.node)
    }

    fn crash(&mut self, b: usize) {
        if self.rng.chance(300) {
            self.copy_disk(b);
        }
        self.kill_node(b, "killed");
        let delay = self.rng.within(50_000, 3_000_000);
        self.plan(delay, Action::Start(b));
    }

    pub(crate) fn crash_now(&mut self, b: usize) {
        if !self.healed {
            self.crash(b);
        }
    }

    /// A machine whose connections stall before it dies: what it said last, and what it was told last, comes when the next
    /// process runs already. Either its disk is gone then, or its processes die one after the other, mostly beginning with
    /// one that leads: what the others lack is on its disk.
    fn die_stalled(&mut self, b: usize) {
        let leads = |node: &Node| node.runs() && node.replicas.iter().any(Replica::is_leader);
        let leader = self.nodes.iter().position(leads);
        let span = self.rng.within(100_000, 600_000);
        let empty = self.rng.chance(400);
        let b = if empty || self.rng.chance(400) { b } else { leader.unwrap_or(b) };
        self.tell_fault(format_args!("broker {} stalls, and dies in {} ms", b + 1, span / 1000));
        self.count("stalled before it died");
        if empty {
            self.network.stalled.insert(b + 1, self.now + span);
            self.plan(span, Action::EmptyDisk(b));
            return;
        }
        self.network.stalled.insert(b + 1, self.now + span + 3_500_000);
        self.plan(span, Action::Restart(b));
        let again = self.rng.within(500_000, 2_500_000);
        self.plan(span + again, Action::Restart(b));
    }

    /// Killed, and started at once.
    pub(crate) fn restart(&mut self, b: usize) {
        if !self.healed {
            self.kill_node(b, "killed");
            self.plan(50_000, Action::Start(b));
        }
    }

    /// A broker that hears nothing from the controller any more, so that it knows old metadata only when it dies; the next
    /// process may find damage before it hears anything newer.
    fn die_deaf(&mut self, b: usize) {
        let span = self.rng.within(500_000, 3_000_000);
        self.tell_fault(format_args!("broker {} hears nothing from the controller for {} ms", b + 1, span / 1000));
        self.count("deaf before it died");
        let controller = self.controller();
        self.block(controller + 1, b + 1, span);
        let last = if self.rng.chance(500) { Action::Crash(b) } else { Action::Damage(b) };
        self.plan(span - 1000, last);
    }

    /// A broker that restarts, and is taken for dead again and again while changes of ISRs wait in a queue; its disk may
    /// become slow while it is about to join.
    fn flap(&mut self, b: usize) {
        let span = self.rng.within(3_000_000, 6_000_000);
        self.tell_fault(format_args!("broker {} restarts while the controller is slow, {} ms", b + 1, span / 1000));
        self.count("flapping");
        self.restart(b);
        self.api.slow_until = self.now + span;
        for _ in 0..8 {
            let at = self.rng.within(1_000_000, span);
            self.plan(at, Action::TakenForDead(b));
        }
        let at = self.rng.within(1_200_000, 3_000_000);
        if self.rng.chance(700) {
            self.plan(at, Action::SlowDisk(b));
        }
    }

    fn power_loss(&mut self) {
        self.tell_fault(format_args!("power loss"));
        self.count("power loss");
        let all = self.rng.chance(500);
        for b in 0..self.nodes.len() {
            if all || self.rng.chance(600) {
                self.crash(b);
            }
        }
    }

    fn freeze(&mut self, b: usize) {
        let span = self.rng.within(100_000, 3_500_000);
        self.tell_fault(format_args!("broker {} stands still for {} ms", b + 1, span / 1000));
        self.count("freeze");
        self.nodes[b].frozen_until = self.now + span;
        self.nodes[b].late_until = self.now + span;
    }

    pub(crate) fn block(&mut self, from: usize, to: usize, span: u64) {
        self.network.blocked.insert((from, to));
        self.plan(span, Action::Unblock(from, to));
    }

    fn cut_one_way(&mut self) {
        let nodes = self.nodes.len() as u64 + 1;
        let (from, to) = (self.rng.within(1, nodes), self.rng.within(1, nodes));
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("nothing comes from {from} to {to} for {} ms", span / 1000));
        self.count("one-way partition");
        self.block(usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0), span);
    }

    /// From everybody.
    fn cut_off(&mut self, b: usize) {
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("broker {} is cut off for {} ms", b + 1, span / 1000));
        for other in (1..=self.nodes.len()).filter(|&other| other != b + 1) {
            self.block(b + 1, other, span);
            self.block(other, b + 1, span);
        }
    }

    fn cut_from_controller(&mut self, b: usize) {
        let span = self.rng.within(300_000, 4_000_000);
        self.tell_fault(format_args!("broker {} is cut from the controller for {} ms", b + 1, span / 1000));
        let controller = self.controller();
        self.block(b + 1, controller + 1, span);
        self.block(controller + 1, b + 1, span);
    }

    /// The controller and one broker here, everybody else there.
    fn split(&mut self, b: usize) {
        let span = self.rng.within(2_000_000, 5_000_000);
        self.tell_fault(format_args!("broker {} and the controller are cut from the rest, {} ms", b + 1, span / 1000));
        self.count("split");
        let here = [self.controller() + 1, b + 1];
        for other in (1..=self.nodes.len()).filter(|other| !here.contains(other)) {
            for side in here {
                self.block(other, side, span);
                self.block(side, other, span);
            }
        }
    }

    fn fail_write(&mut self, b: usize) {
        let p = self.rng.within(0, self.truth.len() as u64);
        self.nodes[b].disk.fails.insert(usize::try_from(p).unwrap_or(0));
    }

    pub(crate) fn slow_disk(&mut self, b: usize) {
        if self.healed {
            return;
        }
        let span = self.rng.within(1_000_000, 8_000_000);
        self.tell_fault(format_args!("the disk of broker {} is slow for {} ms", b + 1, span / 1000));
        self.nodes[b].disk.slow_until = self.now + span;
    }

    fn suspect(&mut self, b: usize) {
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        let awake = self.nodes[b].runs() && self.nodes[b].frozen_until <= self.now;
        if !awake || !self.is_spare(b, p) {
            return;
        }
        self.tell_fault(format_args!("broker {} finds damage in p{p}", b + 1));
        self.count("suspect log");
        self.loop_runs(b);
        self.forget_flushes(b, p);
        let epoch = self.nodes[b].replicas[p].assignment().leader_epoch;
        self.nodes[b].disk.logs[p].damage(&mut self.rng, epoch);
        self.step(b, p, Event::LogSuspect, &Beside::NONE);
        if self.rng.chance(400) {
            self.crash(b);
        }
    }

    /// It dies, and damage is found when it starts.
    pub(crate) fn die_damaged(&mut self, b: usize) {
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        if self.healed || !self.nodes[b].runs() || !self.is_spare(b, p) {
            return;
        }
        let epoch = self.nodes[b].replicas[p].assignment().leader_epoch;
        self.kill_node(b, "with damage");
        self.nodes[b].disk.logs[p].damage(&mut self.rng, epoch);
        self.count("damage in a crash");
        let delay = self.rng.within(20_000, 300_000);
        self.plan(delay, Action::Start(b));
    }

    /// Retention: each replica for itself, at most up to what it knows to be committed.
    pub(crate) fn retain(&mut self) {
        if self.healed {
            return;
        }
        self.plan(400_000, Action::Retain);
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        let node = &mut self.nodes[b];
        if !node.runs() || node.frozen_until > self.now || node.disk.logs[p].suspect {
            return;
        }
        let log = &mut node.disk.logs[p];
        let end = node.replicas[p].high_watermark().min(log.synced());
        let least = if self.rng.chance(300) { end } else { log.log_start() };
        let start = self.rng.within(least.get().unsigned_abs(), end.get().unsigned_abs() + 1);
        let start = Offset::new(i64::try_from(start).unwrap_or(0)).min(end);
        if start > log.log_start() {
            log.remove_below(start);
            node.disk.watermarks[p] = node.disk.watermarks[p].max(start);
            self.story.tell(self.now, format_args!("broker {} keeps p{p} from {start} on", b + 1));
            self.count("retention");
            self.step(b, p, Event::StartMoved, &Beside::NONE);
        }
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
        let controller = self.controller();
        if self.rng.chance(300) {
            self.crash(controller);
            return;
        }
        self.nodes[controller].frozen_until = self.now + span;
        self.nodes[controller].late_until = self.now + span;
    }

    /// Something between a broker and the controller resets the connection and refuses another one for a moment; the
    /// process lives on, and comes back.
    pub(crate) fn reset(&mut self, b: usize) {
        let controller = self.controller();
        if self.healed || controller == b {
            return;
        }
        self.tell_fault(format_args!("connections between broker {} and the controller are refused", b + 1));
        self.count("taken for dead");
        let span = self.rng.within(350_000, 900_000);
        self.network.refusing.insert(b, self.now + span);
        for stream in self.streams_between(b, controller) {
            self.reset_stream(stream);
        }
    }

    /// A planned stop, or another min.insync.replicas.
    fn change_something(&mut self, b: usize) {
        if self.rng.chance(500) {
            self.change_minimum(b);
            return;
        }
        let id = self.nodes[b].id;
        let alone = |p: &Assignment| p.isr.iter().all(|&member| member == id);
        if !self.nodes[b].runs() || self.snapshot.partitions.iter().any(alone) {
            return;
        }
        self.tell_fault(format_args!("broker {id} drains"));
        self.drain(b);
    }

    /// Everything works again; what was broken comes right by itself.
    pub(crate) fn heal(&mut self) {
        self.tell_fault(format_args!("none any more"));
        self.healed = true;
        self.network = Default::default();
        self.api = Default::default();
        self.store.lies_until = 0;
        self.recover();
        for b in 0..self.nodes.len() {
            let node = &mut self.nodes[b];
            node.frozen_until = node.frozen_until.min(self.now);
            node.dies_after = None;
            node.disk.fails.clear();
            node.disk.slow_until = 0;
            let delay = self.rng.within(0, 500_000);
            self.plan(delay, Action::Start(b));
        }
    }
}
