//! The streams between a broker and the controller's: in order, complete, until one of the two ends.
//!
//! Owns what TCP owns: whatever is lost is sent again, later, and everything behind it waits; a connection may be reset,
//! and each end learns of it when it can. It knows nothing of what is said.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::controller::{Answer, Document, Presentation, Request};
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation, Lsn};

use crate::world::{Action, World};

/// What a broker says to the controller.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Hello {
        presentation: Presentation,
        run: Option<Incarnation>,
    },
    Beat {
        sequence: u64,
        run: Incarnation,
        draining: bool,
        synced: Lsn,
    },
    /// Said at once when that beat came down.
    Echo {
        sequence: u64,
    },
    Ask {
        id: u64,
        request: Request,
    },
    Leaving {
        run: Incarnation,
    },
}

/// What the controller says to a broker.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    NotController,
    Documents {
        epoch: ControllerEpoch,
        view: u64,
        complete: bool,
        documents: Vec<Document>,
    },
    Beat {
        sequence: u64,
        epoch: ControllerEpoch,
        view: u64,
        ages: BTreeMap<BrokerId, Duration>,
        /// How long before it left most brokers are known to have followed.
        most_heard: Option<Duration>,
    },
    Answer {
        id: u64,
        answer: Answer,
    },
}

/// One message, or the end.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Up(Box<Up>),
    Down(Box<Down>),
    Closed,
}

/// Who is at an end.
#[derive(Clone, Copy, Debug)]
struct End {
    node: usize,
    life: u64,
    open: bool,
}

/// One direction.
#[derive(Clone, Debug, Default)]
struct Pipe {
    sent: u64,
    taken: u64,
    early: BTreeMap<u64, Item>,
    /// When the last message arrives.
    last: u64,
}

/// A connection: end 0 has opened it, end 1 is the controller's.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    ends: [End; 2],
    /// By which end sends.
    pipes: [Pipe; 2],
}

/// The end that opens.
pub(crate) const CLIENT: usize = 0;
/// The end that decides.
pub(crate) const SERVER: usize = 1;

impl World {
    /// A new stream between two processes.
    pub(crate) fn open_stream(&mut self, client: usize, server: usize) -> u64 {
        self.streams_opened += 1;
        let end = |node: usize| End { node, life: self.nodes[node].life, open: true };
        let stream = Stream { ends: [end(client), end(server)], pipes: [Pipe::default(), Pipe::default()] };
        self.streams.insert(self.streams_opened, stream);
        self.streams_opened
    }

    /// Sends from one end to the other.
    pub(crate) fn send_item(&mut self, id: u64, from: usize, item: Item) {
        let lost = self.rng.chance(self.network.loss_per_mille);
        let slow = self.rng.chance(self.network.slow_per_mille);
        let again = if lost { self.rng.within(200_000, 800_000) } else { 0 };
        let delay = if slow { self.rng.within(2_000, 100_000) } else { self.rng.within(100, 1_500) };
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.ends[from].open) else { return };
        let pipe = &mut stream.pipes[from];
        let seq = pipe.sent;
        pipe.sent += 1;
        pipe.last = (self.now + delay + again).max(pipe.last + 1);
        let delay = pipe.last - self.now;
        self.plan(delay, Action::Stream { id, from, seq, item });
        if lost {
            self.count("message lost");
        }
        if lost && self.rng.chance(150) {
            self.reset_stream(id);
        }
    }

    /// Something between the two ends the connection.
    pub(crate) fn reset_stream(&mut self, id: u64) {
        self.count("connection reset");
        for end in [CLIENT, SERVER] {
            let delay = self.rng.within(100, 2_000);
            self.plan(delay, Action::Reset { id, end });
        }
    }

    /// One end learns that the connection was reset.
    pub(crate) fn end_reset(&mut self, id: u64, end: usize) {
        let Some(End { node, life, open: true }) = self.streams.get(&id).map(|stream| stream.ends[end]) else { return };
        if let Some(rest) = self.nodes[node].frozen_until.checked_sub(self.now).filter(|&rest| rest > 0) {
            self.plan(rest, Action::Reset { id, end });
        } else if self.alive(node, life) {
            self.loop_runs(node);
            self.stream_ended(id, end, node);
        }
    }

    fn stream_ended(&mut self, id: u64, end: usize, node: usize) {
        self.close_end(id, end);
        if end == CLIENT { self.uplink_ended(node, id) } else { self.line_ended(node, id) }
    }

    /// An end speaks and listens no more.
    pub(crate) fn close_end(&mut self, id: u64, end: usize) {
        if self.streams.get(&id).is_none_or(|stream| !stream.ends[end].open) {
            return;
        }
        self.send_item(id, end, Item::Closed);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.ends[end].open = false;
            if !stream.ends[1 - end].open {
                self.streams.remove(&id);
            }
        }
    }

    /// A process is gone: its ends are closed by its machine.
    pub(crate) fn close_all(&mut self, node: usize) {
        let of_node = |stream: &Stream, end: usize| stream.ends[end].node == node && stream.ends[end].open;
        for end in [CLIENT, SERVER] {
            let ids: Vec<u64> =
                self.streams.iter().filter(|(_, stream)| of_node(stream, end)).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.close_end(id, end));
        }
    }

    /// All streams between two processes.
    pub(crate) fn streams_between(&self, one: usize, other: usize) -> Vec<u64> {
        let between = |stream: &&Stream| {
            let nodes = [stream.ends[0].node, stream.ends[1].node];
            nodes == [one, other] || nodes == [other, one]
        };
        self.streams.iter().filter(|(_, stream)| between(stream)).map(|(id, _)| *id).collect()
    }

    /// A message arrives, or has to wait for those before it, or for the network.
    pub(crate) fn stream_arrives(&mut self, id: u64, from: usize, seq: u64, item: Item) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (sender, receiver) = (stream.ends[from], stream.ends[1 - from]);
        if self.network.blocked.contains(&(sender.node + 1, receiver.node + 1)) {
            let delay = self.rng.within(20_000, 120_000);
            self.plan(delay, Action::Stream { id, from, seq, item });
            return;
        }
        if let Some(rest) = self.nodes[receiver.node].frozen_until.checked_sub(self.now).filter(|&rest| rest > 0) {
            self.plan(rest, Action::Stream { id, from, seq, item });
            return;
        }
        stream.pipes[from].early.insert(seq, item);
        loop {
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.ends[1 - from].open) else { return };
            let pipe = &mut stream.pipes[from];
            let Some(item) = pipe.early.remove(&pipe.taken) else { return };
            pipe.taken += 1;
            if !self.alive(receiver.node, receiver.life) {
                return;
            }
            self.loop_runs(receiver.node);
            match item {
                Item::Up(up) => self.on_up(receiver.node, id, *up),
                Item::Down(down) => self.on_down(receiver.node, id, *down),
                Item::Closed => self.stream_ended(id, 1 - from, receiver.node),
            }
        }
    }
}
