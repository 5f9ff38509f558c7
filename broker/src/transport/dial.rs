//! Dialling every other broker that this one may lead partitions towards, and pushing.
//!
//! Owns one task for each (broker, lane): connect, say who we are, then messages first and records as credits allow.
//! Queues name partitions; bytes are read when there is room for them. A connection that breaks has lost what was under
//! way: sessions find that out and begin again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use ottla_core::replica::{Event, Lane, Message, Push};
use ottla_core::types::{BrokerId, TopicPartition};
use ottla_rpc::replication::{self, Decoder, Incoming, Item, put};
use ottla_rpc::transport::{Knock, knock};
use ottla_rpc::trust::{self, Credentials, DialError, Name};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::credit::Credit;
use super::{FRAME_BYTES_MAX, Me, encoded};
use crate::clock::Clock;
use crate::controller::GRPC;
use crate::metadata::MetadataCell;
use crate::partitions::{Peer, Pushing, Replica};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_millis(1000);
/// How long to wait before a broker is dialled again.
const AGAIN: Duration = Duration::from_millis(100);
/// Pieces that wait for the socket.
const PIECES: usize = 4;
/// How long the rest of a cold read may take to be thought of again, when the disk refuses.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// A broker that is dialled.
struct Dialled {
    address: (String, u16),
    stop: CancellationToken,
}

/// Dials whoever is registered, until the broker stops.
pub async fn run(me: Me, credentials: Credentials, metadata: Arc<MetadataCell>, shutdown: CancellationToken) {
    let mut changes = metadata.changes();
    let mut dialled: BTreeMap<BrokerId, Dialled> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let image = metadata.image();
        let others = image.brokers().values().filter(|broker| broker.id != me.id);
        let wanted: BTreeMap<_, _> = others
            .filter_map(|broker| {
                let endpoint = broker.endpoints.get(GRPC)?;
                Some((broker.id, (endpoint.host.clone(), endpoint.port)))
            })
            .collect();
        dialled.retain(|id, dialled| {
            let stays = wanted.get(id) == Some(&dialled.address);
            if !stays {
                dialled.stop.cancel();
            }
            stays
        });
        for (id, address) in wanted {
            dialled.entry(id).or_insert_with(|| {
                let stop = shutdown.child_token();
                for lane in [Lane::Live, Lane::CatchUp] {
                    let line = Line::new(me.clone(), credentials.clone(), (id, address.clone()), lane);
                    let stop = stop.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = line.run() => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Dialled { address, stop }
            });
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// One connection, again and again.
struct Line {
    me: Me,
    to: BrokerId,
    address: (String, u16),
    lane: Lane,
    credentials: Credentials,
    /// Why it was last not reached: said once.
    complained: Mutex<Option<String>>,
    peer: Arc<Peer>,
    /// Partitions that a throttle holds back for a while.
    parked: Arc<Mutex<BTreeSet<TopicPartition>>>,
}

/// Why a broker is not reached.
enum Unreached {
    /// Nobody listens there.
    Refused,
    /// Anything else.
    Else,
}

impl Line {
    fn new(me: Me, credentials: Credentials, (to, address): (BrokerId, (String, u16)), lane: Lane) -> Self {
        let peer = me.partitions.hub().peers.get(to);
        let complained = Mutex::default();
        Self { me, to, address, lane, credentials, complained, peer, parked: Arc::default() }
    }

    /// What goes on for long is said once.
    fn complain(&self, reason: String) {
        let mut complained = self.complained.lock();
        if complained.as_ref() != Some(&reason) {
            tracing::warn!(reason, broker = %self.to, "a broker does not take what this one pushes");
            *complained = Some(reason);
        }
    }

    async fn run(&self) {
        let mut reached = false;
        loop {
            match self.connect().await {
                Ok((pieces, incoming)) => {
                    reached = true;
                    self.talk(pieces, incoming).await;
                }
                Err(Unreached::Refused) if reached && self.lane == Lane::Live => {
                    // It was there, and does not run any more.
                    reached = false;
                    self.tell_refused();
                }
                Err(Unreached::Refused | Unreached::Else) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn tell_refused(&self) {
        tracing::info!(broker = %self.to, "its connection was reset, and it takes no other: it does not run");
        for replica in self.me.partitions.all() {
            if !replica.is_alone() {
                replica.handle(Event::PeerRefused(self.to));
            }
        }
    }

    async fn connect(&self) -> Result<(mpsc::Sender<Bytes>, Incoming), Unreached> {
        let (host, port) = (self.address.0.as_str(), self.address.1);
        match knock(host, port, CONNECT_MAX).await {
            Knock::There => {}
            Knock::Refused => return Err(Unreached::Refused),
            Knock::Unknown => return Err(Unreached::Else),
        }
        let (pieces, body) = mpsc::channel(PIECES);
        let mut hello = BytesMut::new();
        put(&self.hello(), 0, &mut hello);
        pieces.try_send(hello.freeze()).map_err(|_| Unreached::Else)?;
        let dialled = async {
            let name = Name::Broker(self.to);
            let channel = trust::connect(&self.credentials, name, (host, port), |endpoint| endpoint).await;
            let complain = |error: DialError| error.is_about_trust().then(|| self.complain(error.to_string()));
            let channel = channel.map_err(complain).ok()?;
            let dialled = replication::dial(channel, ReceiverStream::new(body)).await;
            dialled.map_err(|status| self.on_status(&status)).ok()
        };
        let incoming = timeout(CONNECT_MAX, dialled).await.ok().flatten().ok_or(Unreached::Else)?;
        Ok((pieces, incoming))
    }

    fn on_status(&self, status: &Status) {
        if status.code() == Code::PermissionDenied {
            self.complain(status.message().to_owned());
        }
    }

    fn hello(&self) -> Item {
        Item::Hello {
            version: replication::VERSION,
            cluster: self.me.cluster,
            from: self.me.id,
            to: self.to,
            incarnation: self.me.partitions.hub().run(),
            lane: self.lane,
        }
    }

    /// Until the connection breaks.
    async fn talk(&self, pieces: mpsc::Sender<Bytes>, incoming: Incoming) {
        let credit = Credit::none();
        let opened = match self.lane {
            Lane::Live => self.peer.as_leader.open(),
            Lane::CatchUp => self.peer.behind.open(),
        };
        tokio::select! {
            () = self.hear(incoming, &credit) => {}
            () = self.speak(&pieces, &credit) => {}
        }
        match self.lane {
            Lane::Live => self.peer.as_leader.close(opened),
            Lane::CatchUp => self.peer.behind.close(opened),
        }
    }

    async fn hear(&self, mut incoming: Incoming, credit: &Credit) {
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        while let Some(Ok(data)) = incoming.next().await {
            decoder.feed(data);
            loop {
                match decoder.next() {
                    Ok(Some((item, _))) => {
                        if !self.on_item(item, credit) {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, broker = %self.to, "what a follower sent cannot be read");
                        return;
                    }
                }
            }
        }
    }

    /// Whether the connection is of use.
    fn on_item(&self, item: Item, credit: &Credit) -> bool {
        match item {
            Item::Welcome { credit_bytes, .. } => credit.grant(credit_bytes),
            Item::Returned { bytes } => credit.returned(bytes),
            Item::Message { partition, message } => {
                if let Some(replica) = self.me.partitions.get(partition) {
                    replica.receive(self.to, message, Bytes::new());
                }
            }
            Item::Refused { reason } => {
                self.complain(reason);
                return false;
            }
            Item::Hello { .. } => return false,
        }
        true
    }

    /// Messages first, then one partition's records, as long as there are any and credits allow.
    async fn speak(&self, pieces: &mpsc::Sender<Bytes>, credit: &Credit) {
        let ready = self.peer.ready(self.lane);
        let outbox = match self.lane {
            Lane::Live => &self.peer.as_leader,
            Lane::CatchUp => &self.peer.behind,
        };
        loop {
            let mut messages = outbox.take();
            if !messages.is_empty() {
                while !messages.is_empty() {
                    let bytes = encoded(&self.me.partitions, &mut messages);
                    if pieces.send(bytes).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            if let Some(room) = credit.room()
                && let Some(id) = ready.take()
            {
                if self.push(id, room, pieces, credit).await.is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = outbox.wake.notified() => {}
                () = ready.wake.notified() => {}
                () = credit.wake.notified() => {}
            }
        }
    }

    async fn push(
        &self,
        id: TopicPartition,
        room: usize,
        pieces: &mpsc::Sender<Bytes>,
        credit: &Credit,
    ) -> Result<(), ()> {
        let Some(replica) = self.me.partitions.get(id) else { return Ok(()) };
        let hub = self.me.partitions.hub();
        let throttled = self.lane == Lane::CatchUp && replica.is_sent_throttled();
        if throttled && let Some(wait) = hub.throttles.sending.wait(Clock.monotonic()) {
            hub.counters.throttled.fetch_add(1, Ordering::Relaxed);
            self.park(id, wait);
            return Ok(());
        }
        let pushing = match replica.push(self.to, self.lane, room) {
            Pushing::Cold(push) => self.read_cold(&replica, push, room).await,
            known @ (Pushing::Nothing | Pushing::Batches(..)) => known,
        };
        let Pushing::Batches(push, chunks, bytes) = pushing else { return Ok(()) };
        let mut header = BytesMut::new();
        put(&Item::Message { partition: id, message: Message::Push(push) }, bytes, &mut header);
        credit.sent(bytes);
        if throttled {
            hub.throttles.sending.spend(Clock.monotonic(), bytes);
        }
        pieces.send(header.freeze()).await.map_err(|_| ())?;
        for chunk in chunks {
            pieces.send(chunk).await.map_err(|_| ())?;
        }
        Ok(())
    }

    /// Others go on meanwhile.
    fn park(&self, id: TopicPartition, wait: Duration) {
        if !self.parked.lock().insert(id) {
            return;
        }
        let (peer, lane, parked) = (Arc::clone(&self.peer), self.lane, Arc::clone(&self.parked));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            parked.lock().remove(&id);
            peer.ready(lane).put(id);
        });
    }

    /// Reads where reading may wait for the disk.
    async fn read_cold(&self, replica: &Arc<Replica>, push: Push, room: usize) -> Pushing {
        let log = Arc::clone(&replica.log);
        let bytes_max = room.min(crate::partitions::PUSH_BYTES_MAX);
        let read = tokio::task::spawn_blocking(move || log.read(push.base, push.end, bytes_max, true)).await;
        match read {
            Ok(Ok(read)) if read.bytes > 0 => replica.sent(self.to, push, read.next, (read.chunks, read.bytes)),
            Ok(Ok(_)) => Pushing::Nothing,
            Ok(Err(error)) => {
                tracing::error!(%error, partition = %replica.log.id(), offset = %push.base, "read for a follower");
                self.park(replica.log.id(), READ_AGAIN);
                Pushing::Nothing
            }
            Err(_interrupted) => Pushing::Nothing,
        }
    }
}
