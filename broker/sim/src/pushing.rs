//! The shell's part in pushing: what a follower is sent, as far as credits go.
//!
//! Owns the queues of who has something to push, and the windows. It never sends what was not granted.

use std::collections::VecDeque;

use ottla_core::replica::{Event, Lane, Message, Push, Window};
use ottla_core::types::BrokerId;

use crate::world::{Action, Beside, Local, World};

/// Records in one push.
const PUSH_RECORDS_MAX: i64 = 8;
/// Records that may be under way to one broker.
const WINDOW_RECORDS: u64 = 24;
/// Records that are still in memory.
const TAIL_RECORDS: i64 = 24;

impl World {
    pub(crate) fn push(
        &mut self,
        b: usize,
        to: BrokerId,
        p: usize,
        push: Push,
        lane: Lane,
        events: &mut VecDeque<Event>,
    ) {
        let log = &self.nodes[b].disk.logs[p];
        let end = push.end.min(push.base.plus(PUSH_RECORDS_MAX));
        let beside = Beside { records: log.range(push.base, end).to_vec(), ..Beside::NONE };
        let upto = push.base.plus(i64::try_from(beside.records.len()).unwrap_or(0));
        let cached = upto.plus(TAIL_RECORDS) >= log.end();
        if lane == Lane::CatchUp {
            self.count("pushed on the catch-up connection");
        }
        let sent = beside.records.len() as u64;
        let life = self.nodes[b].life;
        self.window(b, to).on_sent(sent);
        let delay = self.rng.within(500, 8_000);
        self.plan(delay, Action::Local { node: b, life, what: Local::Credit { to, records: sent } });
        self.send_replica(b, to, p, Message::Push(Push { end: upto, ..push }), beside, lane);
        events.push_back(Event::Sent { to, session: push.session, upto, cached });
    }

    fn window(&mut self, b: usize, to: BrokerId) -> &mut Window {
        self.nodes[b].windows.entry(to).or_insert(Window::new(WINDOW_RECORDS))
    }

    /// Whoever has room is offered what is ready for it, once each time.
    pub(crate) fn pump(&mut self, b: usize) {
        let life = self.nodes[b].life;
        for (to, p) in self.nodes[b].ready.clone() {
            if self.window(b, to).room() == 0 {
                self.count("no credit");
                continue;
            }
            self.nodes[b].ready.remove(&(to, p));
            self.step(b, p, Event::Room(to), &Beside::NONE);
            if !self.alive(b, life) {
                return;
            }
        }
    }
}
