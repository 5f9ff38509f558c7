//! The group coordinator of this broker: the shell around the machine of `ottla_core::group`.
//!
//! Owns which groups live here (those whose partition of `__consumer_offsets` this broker leads), a fixed number of
//! owners that share them, and the view of their records. It performs appends and keeps the view at the high watermark;
//! it decides nothing about members or offsets. No task, timer or channel belongs to a group.
//!
//! The truth is the log of `__consumer_offsets`. The view may vanish at any time, under load too: it is noticed before
//! an answer is taken from it, and built anew from the log (S5, G2).

mod batch;
mod code;
mod config;
mod host;
mod lag;
mod owner;
mod place;
mod reload;
mod topic;
mod views;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use ottla_core::group::message::{self, Described, FetchedTopic, Join, Joined, List, Listed, Synced};
use ottla_core::group::{Error, GroupId, Reply, Request, ViewError};
use ottla_core::types::BrokerId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::controller;
use crate::data::Data;
use crate::metadata::MetadataCell;
use crate::partitions::Partitions;

pub use code::error_code;
pub use lag::{Lag, Lags};
pub use place::{Coordinator, OFFSETS_TOPIC};

use owner::{Message, Owner};
use place::{Home, Places};
use views::Views;

/// How many owners share the groups. Each is one thread, because the view may block on the disk.
const OWNERS: usize = 2;
/// Requests that wait for one owner; more of them make their connections wait.
const INBOX_REQUESTS: usize = 1024;
/// How long positions wait for somebody to say that this broker is still the coordinator (R13).
const CONFIRMED_MAX: Duration = Duration::from_secs(2);

/// The group coordinator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else has the view of internal topics.
    #[error("the view of internal topics is in use already")]
    ViewTaken,
}

/// What the coordinator counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that found their owner's inbox full and waited.
    pub inbox_full: AtomicU64,
    /// Views that were lost and built anew, by shard.
    pub views_rebuilt: AtomicU64,
    /// Records of `__consumer_offsets` that could not be understood and were passed over.
    pub records_skipped: AtomicU64,
    /// What the groups of all shards take in memory.
    pub bytes: AtomicUsize,
    /// Requests that were refused because that is all there may be.
    pub no_room: AtomicU64,
}

/// Where handlers reach the coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    owners: Arc<[mpsc::Sender<Message>]>,
    places: Arc<Places>,
    views: Arc<Views>,
    controller: controller::Handle,
    counters: Arc<Counters>,
}

/// Starts the owners and has them take up the groups that this broker coordinates.
///
/// # Errors
/// [`StartError`] when the view's database cannot be had.
pub async fn start(
    config: &Config,
    data: &Arc<Data>,
    partitions: &Arc<Partitions>,
    metadata: &Arc<MetadataCell>,
    controller: &controller::Handle,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Handle, StartError> {
    let table = data.take_state().ok_or(StartError::ViewTaken)?;
    let views = Arc::new(Views::new(table, data.engine.clone(), data.state_folder.clone()));
    let places = Arc::new(Places::new(config.id(), Arc::clone(metadata), Arc::clone(partitions)));
    let counters = Arc::<Counters>::default();
    let mut owners = Vec::new();
    for _ in 0..OWNERS {
        let (sender, inbox) = mpsc::channel(INBOX_REQUESTS);
        let owner = Owner::new(
            inbox,
            owner::Tools {
                views: Arc::clone(&views),
                log: Arc::clone(&data.log),
                metadata: Arc::clone(metadata),
                counters: Arc::clone(&counters),
                clock: Clock,
            },
        );
        let (runtime, shutdown) = (tokio::runtime::Handle::current(), shutdown.clone());
        tasks.spawn_blocking(move || runtime.block_on(owner.run(shutdown)));
        owners.push(sender);
    }
    let handle = Handle { owners: owners.into(), places, views, controller: controller.clone(), counters };
    tasks.spawn(watch::run(handle.clone(), Arc::clone(metadata), shutdown.clone()));
    Ok(handle)
}

impl Handle {
    /// Who coordinates `group`, so that a client can be sent there. Creates `__consumer_offsets` on first need.
    ///
    /// # Errors
    /// [`Error::CoordinatorNotAvailable`] while there is no leader for the group's partition.
    pub async fn find(&self, group: &GroupId) -> Result<Coordinator, Error> {
        if let Some(found) = self.places.coordinator(group) {
            return found;
        }
        topic::create(&self.controller).await;
        self.places.coordinator(group).unwrap_or(Err(Error::CoordinatorNotAvailable))
    }

    /// Enters a group or its next generation; waits for the other members.
    pub async fn join(&self, join: Join) -> Joined {
        let (group, member) = (join.group.clone(), join.member.clone());
        let reply = self.ask(&group, Request::Join(join)).await;
        let joined = reply.and_then(|reply| reply.join().ok_or(Error::Unknown));
        joined.unwrap_or_else(|error| Joined::refused(error, member))
    }

    /// The groups that this broker coordinates and that pass the filters.
    ///
    /// # Errors
    /// [`Error::LoadInProgress`] while some of them are still being loaded.
    pub async fn list(&self, filter: &List) -> Result<Vec<Listed>, Error> {
        let asked = self.places.homes().into_iter().map(|home| self.ask_at(home, Request::List(filter.clone())));
        let mut groups = Vec::new();
        for reply in join_all(asked).await {
            match reply.map(Reply::list) {
                Ok(Some(listed)) => groups.extend(listed?),
                Ok(None) => return Err(Error::Unknown),
                // Led by another broker by now: that one will list it.
                Err(_) => {}
            }
        }
        Ok(groups)
    }

    /// A group's state and members.
    ///
    /// # Errors
    /// As the other questions to one group.
    pub async fn describe(&self, group: &GroupId) -> Result<Described, Error> {
        self.ask(group, Request::Describe(group.clone())).await?.describe().ok_or(Error::Unknown)?
    }

    /// Deletes an empty group with its offsets.
    ///
    /// # Errors
    /// As the other questions to one group.
    pub async fn delete(&self, group: &GroupId) -> Result<(), Error> {
        self.ask(group, Request::Delete(group.clone())).await?.delete().ok_or(Error::Unknown)?
    }

    /// How far behind its partitions each group is, at most `max` entries.
    pub fn lags(&self, max: usize) -> Lags {
        lag::lags(&self.places, &self.views, max)
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Throws the view away, as losing its files would. Nothing is lost: it is built anew from the log.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_view(&self) -> Result<(), ViewError> {
        self.views.clear(self.places.homes().iter().map(|home| home.index))
    }

    /// Asks the coordinator of `group`, if that is this broker.
    async fn ask(&self, group: &GroupId, request: Request) -> Result<Reply, Error> {
        let home = self.places.home(group)?;
        // What was committed elsewhere meanwhile would be missing in the answer.
        if matches!(request, Request::Fetch(_)) && !home.replica.still_leads(CONFIRMED_MAX).await {
            return Err(Error::NotCoordinator);
        }
        self.ask_at(home, request).await
    }

    async fn ask_at(&self, home: Home, request: Request) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Request { home: home.clone(), request, answer };
        self.send(&home, message).await;
        answered.await.map_err(|_| Error::NotCoordinator)
    }

    /// Hands a message to the owner of a shard, waiting while its inbox is full. An owner that is gone drops it.
    async fn send(&self, home: &Home, message: Message) {
        let owner = &self.owners[home.owner(self.owners.len())];
        if let Err(mpsc::error::TrySendError::Full(message)) = owner.try_send(message) {
            self.counters.inbox_full.fetch_add(1, Ordering::Relaxed);
            let _stopped = owner.send(message).await;
        }
    }
}

macro_rules! asks {
    ($($(#[$doc:meta])* $name:ident: $variant:ident($request:ty) => $answer:ty;)*) => {
        impl Handle {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The coordinator's refusal; [`Error::NotCoordinator`] if this broker does not coordinate the group.
                pub async fn $name(&self, request: $request) -> Result<$answer, Error> {
                    let group = request.group.clone();
                    self.ask(&group, Request::$variant(request)).await?.$name().ok_or(Error::Unknown)?
                }
            )*
        }
    };
}

asks! {
    /// A member's assignment; waits for the leader to bring it.
    sync: Sync(message::Sync) => Synced;
    /// A sign of life.
    heartbeat: Heartbeat(message::Heartbeat) => ();
    /// Members go: one outcome for each, in order.
    leave: Leave(message::Leave) => Vec<Option<Error>>;
    /// Positions to keep: one outcome for each, in order.
    commit: Commit(message::Commit) => Vec<Option<Error>>;
    /// Positions that were kept.
    fetch: Fetch(message::Fetch) => Vec<FetchedTopic>;
    /// Positions to forget: one outcome for each, in order.
    delete_offsets: DeleteOffsets(message::DeleteOffsets) => Vec<Option<Error>>;
}

/// For messages that name the broker.
impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let me: BrokerId = self.places.me();
        f.debug_struct("groups::Handle").field("broker", &me).finish_non_exhaustive()
    }
}
