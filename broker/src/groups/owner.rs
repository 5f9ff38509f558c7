//! An owner: one thread that steps some of the shards, one event at a time.
//!
//! Owns their timers' deadlines, the waiting for the journal, and the answers that are still to be sent. It runs on a
//! thread of its own because the view may block on the disk. It never waits for anything but its next event.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use ottla_core::group::{AppendError, Config, Event, Now, Reply, Request, Token, TopicName};
use ottla_core::types::{Lsn, PartitionIndex};
use ottla_log::store::LogDir;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Counters;
use super::host::{Around, Host};
use super::place::Home;
use super::views::{Life, Views};
use crate::clock::Clock;
use crate::metadata::MetadataCell;

/// Messages taken from the inbox before the timers are looked at again.
const MESSAGES_AT_ONCE: usize = 128;

/// What an owner is told.
pub(super) enum Message {
    /// A client asks; its shard is taken up if it was not.
    Request { home: Home, request: Request, answer: oneshot::Sender<Reply> },
    /// This broker leads the shard's partition.
    TakeUp(Home),
    /// It leads these only, of those that this owner may have; others are put down.
    Keep(Vec<Home>),
    /// Topics are gone.
    TopicsDeleted(Arc<Vec<TopicName>>),
}

/// What an owner works with.
pub(super) struct Tools {
    pub(super) views: Arc<Views>,
    pub(super) log: Arc<LogDir>,
    pub(super) metadata: Arc<MetadataCell>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
}

type Durable = Pin<Box<dyn Future<Output = bool> + Send>>;

pub(super) struct Owner {
    inbox: mpsc::Receiver<Message>,
    tools: Tools,
    hosts: BTreeMap<PartitionIndex, Host>,
    life: Life,
    tokens: u64,
    answers: HashMap<Token, oneshot::Sender<Reply>>,
    /// The journal's sync that is waited for.
    durable: Option<Durable>,
    /// The latest append since that wait began.
    appended: Option<Lsn>,
    /// Told when a high watermark moves: where others hold replicas the own disk is not enough.
    moved: Arc<Notify>,
}

impl Owner {
    pub(super) fn new(inbox: mpsc::Receiver<Message>, tools: Tools) -> Self {
        let (life, _) = tools.views.current();
        Self {
            inbox,
            tools,
            hosts: BTreeMap::new(),
            life,
            tokens: 0,
            answers: HashMap::new(),
            durable: None,
            appended: None,
            moved: Arc::new(Notify::new()),
        }
    }

    /// Works until the broker stops; whoever still waits then is sent to look for another coordinator.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let now = self.tools.clock.monotonic();
            let deadline = self.hosts.values().filter_map(|host| host.deadline(now)).min();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                durable = wait(&mut self.durable) => self.on_durable(durable),
                () = self.moved.notified() => self.on_moved(),
                message = self.inbox.recv() => match message {
                    Some(message) => self.on_messages(message),
                    None => break,
                },
                () = until(deadline) => {}
            }
            self.on_time();
        }
        let indexes: Vec<_> = self.hosts.keys().copied().collect();
        for index in indexes {
            self.put_down(index);
        }
    }

    fn on_messages(&mut self, first: Message) {
        let mut next = Some(first);
        let mut left = MESSAGES_AT_ONCE;
        while let Some(message) = next {
            self.on_message(message);
            left -= 1;
            next = if left > 0 { self.inbox.try_recv().ok() } else { None };
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Request { home, request, answer } => {
                let index = home.index;
                self.take_up(home);
                self.tokens += 1;
                let token = Token(self.tokens);
                self.answers.insert(token, answer);
                self.with(index, |host, around| host.step(around, Event::Request { token, request }));
            }
            Message::TakeUp(home) => self.take_up(home),
            Message::Keep(homes) => {
                let gone = |host: &&Host| {
                    !homes.iter().any(|home| home.index == host.home.index && home.is_same_term(&host.home))
                };
                let gone: Vec<_> = self.hosts.values().filter(gone).map(|host| host.home.index).collect();
                for index in gone {
                    self.put_down(index);
                }
            }
            Message::TopicsDeleted(topics) => {
                for index in self.hosts.keys().copied().collect::<Vec<_>>() {
                    self.with(index, |host, around| host.step(around, Event::TopicsDeleted(topics.to_vec())));
                }
            }
        }
    }

    /// Begins to load a shard, and finishes at once if there is little to read: who asks first should not have to ask
    /// twice.
    fn take_up(&mut self, home: Home) {
        let index = home.index;
        match self.hosts.get(&index) {
            Some(host) if host.home.is_same_term(&home) => return,
            Some(_) => self.put_down(index),
            None => {}
        }
        home.replica.follow(&self.moved);
        self.hosts.insert(index, Host::new(home, self.config()));
        self.with(index, |host, around| {
            host.begin_load(around);
            // One piece of log, and the end if that was all.
            host.go_on(around);
            host.go_on(around);
        });
    }

    fn put_down(&mut self, index: PartitionIndex) {
        self.with(index, |host, around| host.step(around, Event::Unloaded));
        self.hosts.remove(&index);
    }

    /// The journal has synced, or never will again.
    fn on_durable(&mut self, durable: bool) {
        self.durable = None;
        let waiting: Vec<_> =
            self.hosts.values().filter(|host| host.is_waiting_for_log()).map(|host| host.home.index).collect();
        for index in waiting {
            self.with(index, |host, around| {
                if durable {
                    host.settle(around);
                } else {
                    host.fail_all(around, AppendError::Storage);
                }
            });
        }
        self.wait_for_log();
    }

    /// High watermarks have moved: more may be committed, and there may be more to read.
    fn on_moved(&mut self) {
        let waiting: Vec<_> =
            self.hosts.values().filter(|host| host.waits_for_others()).map(|host| host.home.index).collect();
        for index in waiting {
            self.with(index, |host, around| {
                host.settle(around);
                host.go_on(around);
            });
        }
    }

    /// Rings what is due and reads on where there is log to read.
    fn on_time(&mut self) {
        if self.tools.views.current().0 != self.life {
            self.move_to_new_view();
        }
        let now = self.tools.clock.monotonic();
        let due = |host: &&Host| host.deadline(now).is_some_and(|at| at <= now);
        for index in self.hosts.values().filter(due).map(|host| host.home.index).collect::<Vec<_>>() {
            self.with(index, Host::on_time);
        }
    }

    /// Does something with a shard, then what follows from it: answers, waits.
    fn with(&mut self, index: PartitionIndex, act: impl FnOnce(&mut Host, &mut Around<'_>)) {
        let Some(host) = self.hosts.get_mut(&index) else { return };
        let (life, table) = self.tools.views.current();
        if life != self.life {
            self.move_to_new_view();
            return self.with(index, act);
        }
        let mut around = Around {
            now: Now { monotonic: self.tools.clock.monotonic(), wall: self.tools.clock.wall() },
            table: &*table,
            counters: &self.tools.counters,
            replies: Vec::new(),
            appended: None,
            table_failed: false,
        };
        act(host, &mut around);
        let Around { replies, appended, table_failed, .. } = around;
        for (token, reply) in replies {
            if let Some(answer) = self.answers.remove(&token) {
                let _nobody_waits_any_more = answer.send(reply);
            }
        }
        self.appended = self.appended.max(appended);
        self.wait_for_log();
        if table_failed && let Err(error) = self.tools.views.replace(life) {
            tracing::error!(%error, "the view of consumer groups cannot be replaced");
        }
    }

    /// Another database has taken the place of the one that this owner's shards were in.
    fn move_to_new_view(&mut self) {
        (self.life, _) = self.tools.views.current();
        for index in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.with(index, Host::start_over);
        }
    }

    fn wait_for_log(&mut self) {
        if self.durable.is_none()
            && let Some(lsn) = self.appended.take()
        {
            let log = Arc::clone(&self.tools.log);
            self.durable = Some(Box::pin(async move { log.durable(lsn).await.is_ok() }));
        }
    }

    fn config(&self) -> Config {
        super::config::coordinator(&self.tools.metadata.config())
    }
}

async fn wait(durable: &mut Option<Durable>) -> bool {
    match durable {
        Some(durable) => durable.await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
