//! The connections between brokers: who dials whom, what goes out when, what comes in.
//!
//! Owns the sockets, the credits and the queues' emptying. The leader of partitions dials, once for what was just
//! appended and once for those that are far behind (ADR 0003). It decides nothing: what arrives is given to the replica
//! that it names. It must never hold more than was granted, nor keep a slow broker's bytes.

mod accept;
mod credit;
mod dial;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_core::limits;
use ottla_core::replica::{Event, Message};
use ottla_core::types::{BrokerId, ClusterId, TopicPartition};
use ottla_rpc::{controller, replication};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::controller::Shared;
use crate::partitions::Partitions;

pub use dial::run as dial;

/// The most bytes of one frame: a push, or one batch that is larger than a push.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
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

/// Messages that go out together, none of them with records.
fn encoded(messages: impl IntoIterator<Item = (TopicPartition, Message)>) -> Bytes {
    let mut bytes = BytesMut::new();
    for (partition, message) in messages {
        replication::put(&replication::Item::Message { partition, message }, 0, &mut bytes);
    }
    bytes.freeze()
}

/// Serves other brokers until the broker stops.
pub async fn serve(socket: TcpListener, me: Me, controller: Shared, shutdown: CancellationToken) {
    let incoming = tonic::transport::server::TcpIncoming::from(socket).with_nodelay(Some(true));
    let accept = accept::Accept::new(me, shutdown.clone());
    let served = replication::server()
        .add_service(controller::service(Arc::new(controller)))
        .add_service(replication::Replication::new(Arc::new(accept)))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
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
