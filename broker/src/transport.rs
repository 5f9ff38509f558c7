//! The connections between brokers: who dials whom, what goes out when, what comes in.
//!
//! Owns the sockets, the credits and the queues' emptying. The leader of partitions dials, once for what was just
//! appended and once for those that are far behind (ADR 0003). It decides nothing: what arrives is given to the replica
//! that it names. It must never hold more than was granted, nor keep a slow broker's bytes.

mod accept;
mod credit;
mod dial;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_core::limits;
use ottla_core::replica::{Answer, Event, Message, Verdict};
use ottla_core::types::{BrokerId, ClusterId, TopicPartition};
use ottla_rpc::trust::{self, Callers, Credentials, Guarded};
use ottla_rpc::{controller, operations, replication};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::controller::{Operations, Shared};
use crate::partitions::Partitions;

pub use dial::run as dial;

/// The most bytes of one frame: a push, or one batch that is larger than a push.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Messages that go out together come to about so many bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// What one connection may have under way: two for each of a handful of brokers.
const CREDIT_BYTES: u64 = (limits::REPLICATION_BYTES / 4) as u64;

/// Who this broker is to others.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub id: BrokerId,
    /// Its replicas.
    pub partitions: Arc<Partitions>,
}

/// The first of these messages, as many as go out together; those that are left are for the next time.
fn encoded(partitions: &Partitions, messages: &mut VecDeque<(TopicPartition, Message)>) -> Bytes {
    let mut bytes = BytesMut::new();
    while bytes.len() < PIECE_BYTES
        && let Some((partition, message)) = messages.pop_front()
    {
        let producers = producers(partitions, partition, &message);
        replication::put(&replication::Item::Message { partition, message }, producers.len(), &mut bytes);
        bytes.extend_from_slice(&producers);
    }
    bytes.freeze()
}

/// Who is told to start over is told what producers did below (T1). Looked up only now, so that queues hold no bytes; what
/// lies below a log start that was once said does not change any more.
fn producers(partitions: &Partitions, id: TopicPartition, message: &Message) -> Bytes {
    match message {
        Message::Answer(Answer { verdict: Verdict::StartOver(start), .. }) => {
            let known = partitions.get(id).map(|replica| replica.log.producers_below(*start));
            ottla_log::producers::to_bytes(&known.unwrap_or_default())
        }
        Message::Answer(_) | Message::Open(_) | Message::Push(_) | Message::Ack(_) => Bytes::new(),
    }
}

/// Serves other brokers, and whoever runs the cluster, until the broker stops.
pub async fn serve(
    socket: TcpListener,
    credentials: Credentials,
    me: Me,
    (controller, operations): (Shared, Operations),
    shutdown: CancellationToken,
) {
    let accept = accept::Accept::new(me, shutdown.clone());
    let replication = replication::Replication::new(Arc::new(accept));
    let served = replication::server()
        .add_service(Guarded::new(controller::service(Arc::new(controller)), Callers::Brokers))
        .add_service(Guarded::new(replication, Callers::Brokers))
        .add_service(Guarded::new(operations::Server::new(operations), Callers::Operator))
        .serve_with_incoming_shutdown(trust::accept(socket, credentials), shutdown.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "other brokers are not served any more");
    }
}

/// While the controller is silent, leaders ask their followers whether they still lead (R13).
pub async fn solicit(partitions: Arc<Partitions>, shutdown: CancellationToken) {
    let hub = Arc::clone(partitions.hub());
    let half = hub.host.read().settings.confirmation_max / 2;
    let mut ticks = tokio::time::interval(half / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let now = Clock.monotonic();
        if !hub.host.read().should_solicit(now) {
            continue;
        }
        for replica in partitions.all() {
            if !replica.is_alone() && replica.leads_in().is_some() {
                replica.handle(Event::Solicit);
            }
        }
    }
}
