//! The moments at which a broker does something that can be judged.
//!
//! Owns the calls from the cluster to its oracles; it changes nothing but the truth.

use ottla_core::replica::{Assignment, LogView};
use ottla_core::types::{LeaderEpoch, Offset};

use crate::committed::Snapshot;
use crate::control::Control;
use crate::world::World;

impl World {
    /// A record comes into a broker's log.
    pub(crate) fn append(&mut self, b: usize, p: usize, at: Offset, epoch: LeaderEpoch, value: u64) {
        let log = &mut self.nodes[b].disk.logs[p];
        if log.end() != at {
            self.fail("R7", format!("broker {} appends p{p} at {at}, its log ends elsewhere", b + 1));
            return;
        }
        let before = at.get().checked_sub(1).and_then(|last| log.get(Offset::new(last))).map(|record| record.epoch);
        let record = log.append(epoch, value);
        self.checked(|world| world.truth[p].on_appended(at, &record, before));
    }

    pub(crate) fn leads(&mut self, b: usize, p: usize, epoch: LeaderEpoch) {
        let now = self.now;
        let run = self.nodes[b].disk.run;
        self.story.tell(now, format_args!("broker {} leads p{p} in epoch {epoch}", b + 1));
        self.takes_part(b, p, "leads");
        self.checked(|world| {
            let mut truth = std::mem::take(&mut world.truth[p]);
            let node = &world.nodes[b];
            truth.on_first_since_unclean(epoch, &node.disk.logs[p], node.replicas[p].high_watermark());
            let result = truth.on_leading(now, epoch, run, world.seen_one(&world.nodes[b], p));
            world.truth[p] = truth;
            result
        });
    }

    pub(crate) fn watermark_moved(&mut self, b: usize, p: usize, end: Offset) {
        let node = &self.nodes[b];
        let id = node.id;
        let epoch = node.replicas[p].assignment().leader_epoch;
        if !node.replicas[p].is_leader() {
            if end <= node.disk.logs[p].log_start() {
                // It says nothing of what it has: it has gone back, or begins.
                return;
            }
            self.checked(|world| world.truth[p].on_known_watermark(id, epoch, end));
            return;
        }
        let Assignment { isr, min_insync, .. } = node.replicas[p].assignment().clone();
        self.checked(|world| {
            let mut truth = std::mem::take(&mut world.truth[p]);
            let leader = world.seen_one(&world.nodes[b], p);
            let result = truth.on_watermark((&isr, min_insync, epoch), leader, end, &world.seen(p));
            world.truth[p] = truth;
            result
        });
    }

    /// A replica does what only a sound one may do.
    pub(crate) fn takes_part(&mut self, b: usize, p: usize, what: &str) {
        if self.nodes[b].disk.logs[p].suspect {
            let id = self.nodes[b].id;
            self.checked(|world| world.truth[p].on_suspect(id, what));
        }
    }

    /// Somebody was elected uncleanly, now or earlier, and has not begun to lead: what it has now is all that is committed.
    pub(crate) fn judge_unclean(&mut self, p: usize, old: Option<&Assignment>, new: &Assignment) {
        let Some(epoch) = new.unclean.filter(|&epoch| self.truth[p].is_unsettled(epoch)) else { return };
        // Whoever was elected may be out of leadership again: nobody else is a member then.
        let elected = new.leader_id().or_else(|| new.isr.iter().chain(&new.elr).next().copied());
        let Some(leader) = self.nodes.iter().find(|node| Some(node.id) == elected) else { return };
        self.truth[p].on_unclean(epoch, &leader.disk.logs[p]);
        if new.unclean != old.and_then(|old| old.unclean) {
            self.count("unclean election");
        }
    }

    /// A version is committed: who joined, and who of those that lack something is still counted on.
    pub(crate) fn judge_members(&mut self, p: usize, old: Option<&Assignment>, new: &Assignment) {
        for b in 0..self.nodes.len() {
            let id = self.nodes[b].id;
            let joined = new.isr.contains(&id)
                && old.is_some_and(|old| old.leader_epoch == new.leader_epoch && !old.isr.contains(&id));
            if joined {
                self.checked(|world| world.truth[p].on_joined(id, new.leader_epoch, &world.nodes[b].disk.logs[p]));
            }
            let whole = self.truth[p].is_whole(&self.nodes[b].disk.logs[p]);
            let log = &mut self.nodes[b].disk.logs[p];
            log.wiped &= !(new.isr.contains(&id) && whole);
        }
    }

    /// Brokers that are let in by what was committed just now.
    pub(crate) fn judge_admitted(&mut self, old: &Snapshot, new: &Snapshot) {
        for b in 0..self.nodes.len() {
            let id = self.nodes[b].id;
            let open = |snapshot: &Snapshot| snapshot.peers.get(&id).is_some_and(|peer| !peer.fenced);
            // What dies while it is let in is nobody's any more: the next process asks anew.
            let own = self.nodes[b].control.as_ref().and_then(Control::own_run);
            let lives = own.is_some() && own == new.peers.get(&id).map(|peer| peer.incarnation);
            if !open(old) && open(new) && lives {
                for p in 0..self.truth.len() {
                    let judged = |world: &mut Self| {
                        world.truth[p].on_admitted(&new.partitions[p], id, &world.nodes[b].disk.logs[p])
                    };
                    self.checked(judged);
                }
            }
        }
    }

    /// What was due was done: a deadline that stays in the past would be rung for without end.
    pub(crate) fn check_rest(&mut self, b: usize, p: usize) {
        let node = &self.nodes[b];
        let now = node.instant(self.now);
        if node.replicas[p].deadline(&node.host).is_some_and(|at| at <= now) {
            let (id, leads) = (node.id, node.replicas[p].is_leader());
            self.fail("Liveness", format!("broker {id} is due again at once for p{p}; it leads: {leads}"));
        }
    }

    /// R11: what the leader believes of followers that are in its epoch.
    pub(crate) fn check_beliefs(&mut self, b: usize, p: usize) {
        if !self.nodes[b].runs() || !self.nodes[b].replicas[p].is_leader() {
            return;
        }
        for f in 0..self.nodes.len() {
            let Some((run, end)) = self.nodes[b].replicas[p].follower_end(self.nodes[f].id) else { continue };
            let follower = &self.nodes[f];
            let epoch = self.nodes[b].replicas[p].assignment().leader_epoch;
            let with_it =
                follower.runs() && follower.disk.run == run && follower.replicas[p].assignment().leader_epoch == epoch;
            if with_it && !follower.disk.logs[p].suspect {
                self.checked(|world| {
                    let seen = world.seen_one(&world.nodes[f], p);
                    world.truth[p].on_believed(&world.nodes[b].disk.logs[p], end, seen)
                });
            }
        }
    }
}
