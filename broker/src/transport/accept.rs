//! Taking what leaders push, and answering them.
//!
//! Owns one exchange for each connection that another broker has dialled: messages and records to the replicas that they
//! name, credits back once records are durable or dropped, what this broker says as a follower. It must never wait for
//! the journal with a replica's lock held.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use ottla_core::replica::{Lane, Message};
use ottla_core::types::{BrokerId, Lsn};
use ottla_rpc::replication::{self, Decoder, Handler, Incoming, Item, Outgoing, put};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{CREDIT_BYTES, FRAME_BYTES_MAX, Me, encoded};
use crate::clock::Clock;
use crate::partitions::{Peer, Replica};

/// Pieces of an answer that wait for the socket.
const PIECES: usize = 16;

/// Whoever dials is answered by this.
pub(super) struct Accept {
    me: Me,
    shutdown: CancellationToken,
}

impl Accept {
    pub(super) fn new(me: Me, shutdown: CancellationToken) -> Self {
        Self { me, shutdown }
    }
}

impl Handler for Accept {
    fn exchange(&self, incoming: Incoming) -> Outgoing {
        let (pieces, answer) = mpsc::channel(PIECES);
        let (me, shutdown) = (self.me.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let exchange = Exchange { me, pieces };
            tokio::select! {
                () = exchange.run(incoming) => {}
                () = shutdown.cancelled() => {}
            }
        });
        ReceiverStream::new(answer).boxed()
    }
}

/// Records whose bytes are to be given back: when they are durable so far, or at once.
struct Taken {
    lsn: Option<Lsn>,
    bytes: usize,
    /// How many of them count against the throttle.
    throttled: usize,
}

struct Exchange {
    me: Me,
    pieces: mpsc::Sender<Bytes>,
}

impl Exchange {
    async fn run(self, mut incoming: Incoming) {
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        let Some((from, lane)) = self.greet(&mut incoming, &mut decoder).await else { return };
        let peer = self.me.partitions.hub().peers.get(from);
        let opened = (lane == Lane::Live).then(|| peer.as_follower.open());
        let (taken, returns) = mpsc::unbounded_channel();
        tokio::select! {
            () = self.hear(incoming, decoder, (from, lane), taken) => {}
            () = self.give_back(returns) => {}
            () = self.speak(&peer), if opened.is_some() => {}
            () = self.pieces.closed() => {}
        }
        if let Some(opened) = opened {
            peer.as_follower.close(opened);
        }
    }

    /// Who dialled, if that is somebody of this cluster who means this broker.
    async fn greet(&self, incoming: &mut Incoming, decoder: &mut Decoder) -> Option<(BrokerId, Lane)> {
        let item = loop {
            match decoder.next() {
                Ok(Some((item, _))) => break item,
                Ok(None) => decoder.feed(incoming.next().await?.ok()?),
                Err(_) => return None,
            }
        };
        let Item::Hello { cluster, from, to, lane, .. } = item else { return None };
        if cluster != self.me.cluster || to != self.me.id {
            let (id, own) = (self.me.id, self.me.cluster);
            let reason = format!("this is broker {id} of cluster {own}, not broker {to} of cluster {cluster}");
            self.say(&Item::Refused { reason }).await;
            return None;
        }
        if let Err(reason) = incoming.caller().check_broker(from) {
            tracing::warn!(reason, remote = ?incoming.caller().remote, "a leader is refused");
            self.say(&Item::Refused { reason }).await;
            return None;
        }
        let incarnation = self.me.partitions.hub().run();
        let welcome =
            Item::Welcome { version: replication::VERSION, from: self.me.id, incarnation, credit_bytes: CREDIT_BYTES };
        self.say(&welcome).await.then_some((from, lane))
    }

    async fn say(&self, item: &Item) -> bool {
        let mut bytes = BytesMut::new();
        put(item, 0, &mut bytes);
        self.pieces.send(bytes.freeze()).await.is_ok()
    }

    async fn hear(
        &self,
        mut incoming: Incoming,
        mut decoder: Decoder,
        (from, lane): (BrokerId, Lane),
        taken: mpsc::UnboundedSender<Taken>,
    ) {
        loop {
            match decoder.next() {
                Ok(Some((Item::Message { partition, message }, records))) => {
                    // Credits are for records only.
                    let bytes = if matches!(message, Message::Push(_)) { records.len() } else { 0 };
                    if bytes > 0
                        && let Some(log) = self.me.partitions.hub().log()
                    {
                        // Credits keep this from waiting; when they do not, others are not let in front.
                        log.room(bytes).await;
                    }
                    let replica = self.me.partitions.get(partition);
                    let is_throttled =
                        |replica: &Arc<Replica>| lane == Lane::CatchUp && replica.is_received_throttled();
                    let throttled = if replica.as_ref().is_some_and(is_throttled) { bytes } else { 0 };
                    let lsn = replica.and_then(|replica| replica.receive(from, message, records).lsn);
                    if bytes > 0 {
                        let _over = taken.send(Taken { lsn, bytes, throttled });
                    }
                }
                Ok(Some(_)) => return,
                Ok(None) => match incoming.next().await {
                    Some(Ok(data)) => decoder.feed(data),
                    Some(Err(_)) | None => return,
                },
                Err(error) => {
                    tracing::warn!(%error, broker = %from, "what a leader sent cannot be read");
                    return;
                }
            }
        }
    }

    /// Gives back what is durable: several at once, as the journal syncs several at once.
    async fn give_back(&self, mut returns: mpsc::UnboundedReceiver<Taken>) {
        let hub = self.me.partitions.hub();
        while let Some(mut taken) = returns.recv().await {
            while let Ok(next) = returns.try_recv() {
                taken.lsn = taken.lsn.max(next.lsn);
                (taken.bytes, taken.throttled) = (taken.bytes + next.bytes, taken.throttled + next.throttled);
            }
            if taken.throttled > 0 {
                hub.throttles.receiving.spend(Clock.monotonic(), taken.throttled);
                // Whoever has no credits left sends nothing.
                while let Some(wait) = hub.throttles.receiving.wait(Clock.monotonic()) {
                    hub.counters.throttled.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(wait).await;
                }
            }
            if let (Some(lsn), Some(log)) = (taken.lsn, hub.log()) {
                // A directory that is offline takes nothing more; its leaders notice that nothing is acknowledged.
                if log.durable(lsn).await.is_err() {
                    return;
                }
            }
            if !self.say(&Item::Returned { bytes: taken.bytes as u64 }).await {
                return;
            }
        }
    }

    async fn speak(&self, peer: &Arc<Peer>) {
        loop {
            peer.as_follower.wake.notified().await;
            let mut messages = peer.as_follower.take();
            while !messages.is_empty() {
                let bytes = encoded(&self.me.partitions, &mut messages);
                if self.pieces.send(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
