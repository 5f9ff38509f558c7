//! What goes wrong, and when.
//!
//! Owns the choice of faults. It never does what no replication survives: the last copy of something committed is never
//! destroyed. Everything else may happen at any time, together.

use ottla_core::replica::{Assignment, Event, LogView, Replica};
use ottla_core::types::Offset;

use crate::controller::Controller;
use crate::log::SimLog;
use crate::node::{Disk, Node};
use crate::world::{Action, Beside, Payload, World};

impl World {
    /// One more fault, and when the next one comes.
    pub(crate) fn inject_fault(&mut self) {
        if self.healed {
            return;
        }
        let pause = self.rng.within(100_000, 1_200_000);
        self.plan(pause, Action::Fault);
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        match self.rng.within(0, 28) {
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
            19 | 20 => self.restore_disk(b),
            21 | 22 => self.die_stalled(b),
            23 | 24 => self.die_deaf(b),
            25 | 26 => self.flap(b),
            _ => self.change_something(b),
        }
    }

    fn tell_fault(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.now, format_args!("fault: {what}"));
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
        self.block(0, b + 1, span);
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
        self.network.asks_slow_until = self.now + span;
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
        for b in 0..self.nodes.len() {
            self.crash(b);
        }
    }

    fn freeze(&mut self, b: usize) {
        let span = self.rng.within(100_000, 3_500_000);
        self.tell_fault(format_args!("broker {} stands still for {} ms", b + 1, span / 1000));
        self.count("freeze");
        self.nodes[b].frozen_until = self.now + span;
        self.nodes[b].late_until = self.now + span;
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

    pub(crate) fn slow_disk(&mut self, b: usize) {
        if self.healed {
            return;
        }
        let span = self.rng.within(1_000_000, 8_000_000);
        self.tell_fault(format_args!("the disk of broker {} is slow for {} ms", b + 1, span / 1000));
        self.nodes[b].disk.slow_until = self.now + span;
    }

    /// Whether everything committed is held without this broker, by another that may be elected; and nobody else has lost
    /// anything that he has not got back: a change that is under way may count on who will be the last.
    fn is_spare(&self, b: usize, p: usize) -> bool {
        let id = self.nodes[b].id;
        let Some(assignment) = self.snapshot.partitions.get(p) else { return false };
        let mut others = self.nodes.iter().filter(|node| node.id != id && assignment.replicas.contains(&node.id));
        let lost = |node: &Node| node.disk.logs[p].wiped || node.disk.logs[p].suspect;
        !others.clone().any(lost) && others.any(|node| assignment.is_member(node.id))
    }

    pub(crate) fn empty_disk(&mut self, b: usize) {
        let controller_runs = self.controller_down_until <= self.now;
        if self.healed || !controller_runs || (0..self.truth.len()).any(|p| !self.is_spare(b, p)) {
            return;
        }
        self.tell_fault(format_args!("broker {} loses its disk", b + 1));
        self.count("empty disk");
        let partitions = self.truth.len();
        let (logs, watermarks) = (vec![SimLog::default(); partitions], vec![Default::default(); partitions]);
        self.replace_disk(b, Disk { logs, watermarks, ..Disk::default() });
    }

    fn copy_disk(&mut self, b: usize) {
        let node = &mut self.nodes[b];
        // As an image of a disk that runs: whatever was not synced is not in it.
        let mut copy = node.disk.clone();
        for log in &mut copy.logs {
            log.drop_unsynced();
        }
        node.copy = Some(copy);
    }

    /// An old image of the disk is put back, of a run before the last one that was heard: only that can be noticed (A9).
    fn restore_disk(&mut self, b: usize) {
        let controller_runs = self.controller_down_until <= self.now;
        if !controller_runs || (0..self.truth.len()).any(|p| !self.is_spare(b, p)) {
            return;
        }
        let node = &self.nodes[b];
        let heard = node.registered && node.host.controller_acked().is_some();
        let Some(copy) = node.copy.clone().filter(|copy| heard && copy.run < node.disk.run) else { return };
        self.tell_fault(format_args!("broker {} gets an old image of its disk back", b + 1));
        self.count("disk restored");
        self.replace_disk(b, copy);
    }

    fn replace_disk(&mut self, b: usize, disk: Disk) {
        self.kill_node(b, "its disk is gone");
        // Otherwise this could become the only member of an ISR while it is no more: nothing survives that. Its stream is
        // closed: no heartbeat of it comes afterwards.
        self.queue.retain(|_, action| {
            !matches!(action, Action::Deliver { from, to: 0, payload: Payload::Heartbeat { .. } } if *from == b + 1)
        });
        self.controller.refused(self.nodes[b].id);
        self.after_controller();
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

    fn suspect(&mut self, b: usize) {
        let p = usize::try_from(self.rng.within(0, self.truth.len() as u64)).unwrap_or(0);
        // With a minimum of one, this may be about to become the only member: nothing survives that.
        let alone = self.snapshot.partitions[p].min_insync == 1;
        let awake = self.nodes[b].runs() && self.nodes[b].frozen_until <= self.now;
        if !awake || !self.is_spare(b, p) || alone {
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
        let alone = self.snapshot.partitions[p].min_insync == 1;
        if self.healed || !self.nodes[b].runs() || !self.is_spare(b, p) || alone {
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
            let most = self.snapshot.partitions.get(p).map_or(2, |partition| partition.replicas.len() as u64);
            let min = u16::try_from(self.rng.within(1, most)).unwrap_or(1);
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
        let (run, at) = (self.nodes[b].disk.run, self.nodes[b].instant(self.now));
        self.nodes[b].host.on_stopping(at);
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
