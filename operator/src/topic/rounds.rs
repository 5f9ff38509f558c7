//! When the Topics of which Cluster get a turn.
//!
//! Owns the watches and the clock of one scope: a turn soon after a change, another one once in a period, and none twice
//! within a second. One turn at a time per Cluster; a turn has a deadline, and a panic in one fails that turn only. Bounded by
//! the number of Clusters that Topics name.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, select};
use futures::{FutureExt, StreamExt};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use ottla_crds::{Cluster, Topic};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::turn::{Keeper, Key, Left, Stores, sleeps, turn};
use crate::cluster::watch::{Scope, good, mirrored};

pub use super::turn::Context;

/// How long changes are gathered: whoever applies many Topics applies them in one go.
const GATHER: Duration = Duration::from_millis(200);
/// The least time from the end of a turn to the next one of the same Cluster.
const APART: Duration = Duration::from_secs(1);
/// How long after a turn that left something to wait for the next one comes.
const AGAIN: Duration = Duration::from_secs(5);
/// How long one turn may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// One Cluster and its Topics.
struct Slot {
    /// When the next turn is due; `None` while nothing asks for one.
    due: Option<Instant>,
    /// No turn before that.
    not_before: Instant,
    /// `None` while a turn is under way.
    keeper: Option<Keeper>,
}

impl Slot {
    fn new(now: Instant) -> Self {
        Self { due: None, not_before: now, keeper: Some(Keeper::default()) }
    }

    fn ask(&mut self, at: Instant) {
        let at = at.max(self.not_before);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.keeper.is_some() && self.due.is_some_and(|due| due <= now)
    }
}

/// What of a Cluster matters to its Topics.
#[derive(PartialEq, Eq)]
struct Face {
    uid: Option<String>,
    generation: Option<i64>,
    going: bool,
    sleeps: bool,
    ready: Option<String>,
}

/// A change that asks for a turn.
enum News {
    Topic(Key),
    Cluster(Key, Face),
    /// A watch has begun anew and knows everything of its kind.
    Listed,
}

/// Looks after the Topics of `scope` until `stop`; turns under way come to their end.
pub async fn run(scope: Scope, context: Arc<Context>, stop: CancellationToken) {
    let (stores, mut news) = watch(&context.hands.client, &scope);
    let mut slots: HashMap<Key, Slot> = HashMap::new();
    let mut faces: HashMap<Key, Face> = HashMap::new();
    let mut turns = JoinSet::new();
    let mut ready = false;
    let known = stores.clone();
    let mut filled =
        std::pin::pin!(
            async move { known.topics.wait_until_ready().await.and(known.clusters.wait_until_ready().await) }
        );
    loop {
        let free = ready && turns.len() < context.concurrency;
        let next = slots.values().filter(|slot| free && slot.keeper.is_some()).filter_map(|slot| slot.due).min();
        tokio::select! {
            () = stop.cancelled() => break,
            _ = &mut filled, if !ready => ready = true,
            Some(change) = news.next() => {
                heed(change, &stores, &mut slots, &mut faces, Instant::now());
            }
            Some(done) = turns.join_next() => {
                let (key, keeper, left) = done.expect("a turn catches its own panics and nobody aborts it");
                rest(&mut slots, key, keeper, left, context.period);
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                begin(&mut slots, &mut turns, &stores, &context);
            }
        }
    }
    while turns.join_next().await.is_some() {}
}

/// The Topics and Clusters of `scope`, and what changes about them.
fn watch(client: &Client, scope: &Scope) -> (Stores, BoxStream<'static, News>) {
    let (topics, topic_news) = reflect(client, scope, "Topic", |topic: Topic| News::Topic(cluster_of(&topic)));
    let (clusters, cluster_news) = reflect(client, scope, "Cluster", |cluster: Cluster| {
        let (key, face) = (key_of(&cluster), face(&cluster));
        News::Cluster(key, face)
    });
    (Stores { topics, clusters }, select(topic_news, cluster_news).boxed())
}

/// Objects of a kind as they are known, and the news `of` each one that changes or goes.
fn reflect<K>(
    client: &Client,
    scope: &Scope,
    kind: &'static str,
    of: fn(K) -> News,
) -> (Store<K>, BoxStream<'static, News>)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (reader, events) = mirrored::<K>(client, scope);
    let news = good(events, kind).filter_map(move |event| std::future::ready(news(event, of)));
    (reader, news.boxed())
}

/// What an event of a watch tells. Objects that are listed are in the store once all of them are, and not before.
fn news<K>(event: watcher::Event<K>, of: fn(K) -> News) -> Option<News> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => Some(of(object)),
        watcher::Event::InitDone => Some(News::Listed),
        watcher::Event::Init | watcher::Event::InitApply(_) => None,
    }
}

fn key_of(cluster: &Cluster) -> Key {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// The Cluster that `topic` names.
fn cluster_of(topic: &Topic) -> Key {
    (topic.namespace().unwrap_or_default(), topic.spec.cluster_ref.name.clone())
}

fn face(cluster: &Cluster) -> Face {
    let conditions = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    Face {
        uid: cluster.uid(),
        generation: cluster.metadata.generation,
        going: cluster.metadata.deletion_timestamp.is_some(),
        sleeps: sleeps(cluster),
        ready: conditions.iter().find(|one| one.type_ == "Ready").map(|one| one.status.clone()),
    }
}

/// Whose Topics get a turn because of a change.
fn heed(change: News, stores: &Stores, slots: &mut HashMap<Key, Slot>, faces: &mut HashMap<Key, Face>, now: Instant) {
    let ask = |slots: &mut HashMap<Key, Slot>, key| {
        slots.entry(key).or_insert_with(|| Slot::new(now)).ask(now + GATHER);
    };
    match change {
        News::Topic(key) => ask(slots, key),
        News::Cluster(key, face) => {
            // A Cluster changes often in ways that no topic depends on.
            let same = faces.get(&key) == Some(&face);
            // Whoever goes may be gone without another word: that is never the same.
            let going = face.going;
            if going {
                faces.remove(&key);
            } else {
                faces.insert(key.clone(), face);
            }
            if going || !same {
                ask(slots, key);
            }
        }
        News::Listed => {
            // Who came or went while nobody watched has said nothing: whoever is known, and whoever was, is looked at.
            *faces = stores.clusters.state().iter().map(|cluster| (key_of(cluster), face(cluster))).collect();
            let mut keys: BTreeSet<Key> = stores.topics.state().iter().map(|topic| cluster_of(topic)).collect();
            keys.extend(slots.keys().cloned());
            keys.into_iter().for_each(|key| ask(slots, key));
        }
    }
}

/// Begins the turns that are due.
fn begin(
    slots: &mut HashMap<Key, Slot>,
    turns: &mut JoinSet<(Key, Keeper, Left)>,
    stores: &Stores,
    context: &Arc<Context>,
) {
    let now = Instant::now();
    let mut due: Vec<(&Key, &mut Slot)> = slots.iter_mut().filter(|(_, slot)| slot.is_due(now)).collect();
    // Whoever has waited longest comes first, so that one that is always due keeps nobody waiting.
    due.sort_by_key(|(_, slot)| slot.due);
    for (key, slot) in due {
        if turns.len() >= context.concurrency {
            break;
        }
        let Some(mut keeper) = slot.keeper.take() else { continue };
        slot.due = None;
        let (key, stores, context) = (key.clone(), stores.clone(), Arc::clone(context));
        turns.spawn(async move {
            let left = guarded(&key, &mut keeper, &stores, &context).await;
            (key, keeper, left)
        });
    }
}

/// A turn that ends in time, whatever happens in it.
async fn guarded(key: &Key, keeper: &mut Keeper, stores: &Stores, context: &Context) -> Left {
    let began = Instant::now();
    let work = tokio::time::timeout(DEADLINE, turn(key, keeper, stores, context));
    let left = match AssertUnwindSafe(Box::pin(work)).catch_unwind().await {
        Ok(Ok(left)) => left,
        Ok(Err(_)) => {
            tracing::warn!(namespace = key.0, cluster = key.1, "the Topics of a Cluster: not done within {DEADLINE:?}");
            Left::Failed
        }
        Err(_) => {
            tracing::error!(namespace = key.0, cluster = key.1, "a turn of the Topics of a Cluster panicked");
            Left::Failed
        }
    };
    let word = if left == Left::Failed { "error" } else { "ok" };
    context.hands.metrics.reconciled("topic", word, began.elapsed());
    left
}

/// After a turn: when the next one comes if nothing happens.
fn rest(slots: &mut HashMap<Key, Slot>, key: Key, mut keeper: Keeper, left: Left, period: Duration) {
    let Some(slot) = slots.get_mut(&key) else { return };
    if left == Left::Nobody && slot.due.is_none() {
        slots.remove(&key);
        return;
    }
    let delay = match left {
        Left::Failed => keeper.backoff.failed((), rand::random()),
        // Brokers that take a change and do not make it are not asked for it every second.
        Left::More => keeper.backoff.failed((), rand::random()).min(period),
        Left::Waiting | Left::Nothing | Left::Nobody => {
            keeper.backoff.forget(&());
            if left == Left::Waiting { AGAIN.min(period) } else { period.mul_f64(1.0 + rand::random::<f64>() / 5.0) }
        }
    };
    let now = Instant::now();
    slot.not_before = now + APART;
    slot.due = slot.due.map(|due| due.max(slot.not_before));
    slot.keeper = Some(keeper);
    slot.ask(now + delay);
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::reflector::store::Writer;

    use super::*;

    fn key() -> Key {
        ("n".to_owned(), "c".to_owned())
    }

    fn seen(generation: i64, going: bool) -> News {
        News::Cluster(
            key(),
            Face { uid: Some("u".to_owned()), generation: Some(generation), going, sleeps: false, ready: None },
        )
    }

    /// Stores that know nothing, and who makes that of Topics known.
    fn stores() -> (Stores, Writer<Topic>) {
        let ((topics, writer), (clusters, _)) = (store(), store());
        (Stores { topics, clusters }, writer)
    }

    #[tokio::test]
    async fn a_cluster_asks_only_for_what_matters_to_topics() {
        let ((stores, _writer), mut faces) = (stores(), HashMap::new());
        let mut asks = |change| {
            let mut slots = HashMap::new();
            heed(change, &stores, &mut slots, &mut faces, Instant::now());
            slots.into_keys().next()
        };
        assert_eq!(asks(seen(1, false)), Some(key()));
        assert_eq!(asks(seen(1, false)), None, "its partitions were counted, say");
        assert_eq!(asks(seen(2, false)), Some(key()));
        assert_eq!(asks(seen(2, true)), Some(key()));
        assert_eq!(asks(seen(2, true)), Some(key()), "it may be gone by now");
        assert_eq!(asks(News::Topic(key())), Some(key()));
        assert_eq!(asks(seen(2, false)), Some(key()), "whoever has gone was forgotten");
    }

    #[tokio::test]
    async fn who_came_or_went_while_nobody_watched_gets_a_turn() {
        let ((stores, mut writer), mut faces, now) = (stores(), HashMap::new(), Instant::now());
        let gone = ("n".to_owned(), "whose-topics-went".to_owned());
        let mut slots = HashMap::from([(gone.clone(), Slot::new(now))]);
        let topic = "{apiVersion: ottla.dev/v1alpha1, kind: Topic, metadata: {name: t, namespace: n}, spec: {clusterRef: {name: c}}}";
        let topic: Topic = serde_yaml::from_str(topic).unwrap();
        for event in [watcher::Event::Init, watcher::Event::InitApply(topic), watcher::Event::InitDone] {
            assert!(slots.values().all(|slot| slot.due.is_none()), "before all are known there is nothing to look at");
            writer.apply_watcher_event(&event);
            if let Some(change) = news(event, |topic| News::Topic(cluster_of(&topic))) {
                heed(change, &stores, &mut slots, &mut faces, now);
            }
        }
        for key in [gone, key()] {
            assert_eq!(slots[&key].due, Some(now + GATHER), "{key:?}");
        }
    }

    #[tokio::test]
    async fn turns_keep_apart_and_the_earliest_wish_counts() {
        let now = Instant::now();
        let mut slots = HashMap::from([(key(), Slot::new(now))]);
        slots.get_mut(&key()).unwrap().keeper = None;
        rest(&mut slots, key(), Keeper::default(), Left::Nothing, Duration::from_secs(60));
        let slot = slots.get_mut(&key()).unwrap();
        assert!(slot.due.unwrap() >= now + Duration::from_secs(60));
        slot.ask(now);
        assert_eq!(slot.due, Some(slot.not_before));
        assert!(!slot.is_due(now), "a turn has just ended");
        let after = slot.not_before;
        assert!(slot.is_due(after));
        slot.keeper = None;
        assert!(!slot.is_due(after), "one is under way");
    }

    #[tokio::test]
    async fn nobody_is_forgotten_while_somebody_asks() {
        let now = Instant::now();
        let mut slots = HashMap::from([(key(), Slot::new(now))]);
        slots.get_mut(&key()).unwrap().ask(now);
        rest(&mut slots, key(), Keeper::default(), Left::Nobody, APART);
        assert!(slots.contains_key(&key()), "a Topic came while the turn was under way");
        slots.get_mut(&key()).unwrap().due = None;
        rest(&mut slots, key(), Keeper::default(), Left::Nobody, APART);
        assert!(slots.is_empty());
    }

    #[tokio::test]
    async fn who_does_not_answer_or_do_is_asked_more_and_more_rarely() {
        for left in [Left::Failed, Left::More] {
            let now = Instant::now();
            let mut slots = HashMap::from([(key(), Slot::new(now))]);
            for least in [0, 1, 2, 4, 8] {
                let slot = slots.get_mut(&key()).unwrap();
                slot.due = None;
                let keeper = slot.keeper.take().unwrap();
                rest(&mut slots, key(), keeper, left, Duration::from_secs(60));
                assert!(slots[&key()].due.unwrap() >= now + Duration::from_secs(least), "{left:?}");
            }
        }
    }
}
