//! The moments at which a broker does something that can be judged.
//!
//! Owns the calls from the cluster to its oracles; it changes nothing but the truth.

use ottla_core::replica::Assignment;
use ottla_core::types::{LeaderEpoch, Offset};

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
        self.checked(|world| {
            let mut truth = std::mem::take(&mut world.truth[p]);
            let result = truth.on_leading(now, epoch, run, world.seen_one(&world.nodes[b], p));
            world.truth[p] = truth;
            result
        });
    }

    pub(crate) fn watermark_moved(&mut self, b: usize, p: usize, end: Offset) {
        let node = &self.nodes[b];
        let id = node.id;
        if !node.replicas[p].is_leader() {
            self.checked(|world| world.truth[p].on_known_watermark(id, end));
            return;
        }
        let Assignment { isr, min_insync, .. } = node.replicas[p].assignment().clone();
        self.checked(|world| {
            let mut truth = std::mem::take(&mut world.truth[p]);
            let leader = world.seen_one(&world.nodes[b], p);
            let result = truth.on_watermark(&isr, min_insync, leader, end, &world.seen(p));
            world.truth[p] = truth;
            result
        });
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
            if with_it {
                self.checked(|world| {
                    let seen = world.seen_one(&world.nodes[f], p);
                    world.truth[p].on_believed(&world.nodes[b].disk.logs[p], end, seen)
                });
            }
        }
    }
}
