//! One turn of a Cluster's Topics: look, decide, do, look again, say.
//!
//! Owns the order. What is kept from turn to turn is a memory and nothing else: the connection, and what was written that
//! the watch has not told yet. One Topic that fails does not keep the others from being done.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use ottla_client::{Client, ClientConfig};
use ottla_crds::{Cluster, Topic, TopicStatus};
use serde_json::json;

use super::addresses::Addresses;
use super::claims::{Claim, claims};
use super::declared::{Declared, FINALIZER, Record};
use super::news::{news_of_note, news_of_status, news_of_step};
use super::observe::look;
use super::perform::{note, perform};
use super::plan::{Plan, State, Step, plan};
use super::reason::{Reason, Refusal};
use super::status::{Failure, is_told, status};
use super::world::{Sight, World};
use crate::backoff::Backoff;
use crate::cluster::apply::Hands;
use crate::cluster::names::{HIBERNATE, MANAGER};
use crate::cluster::watch::strip;
use crate::events::News;

/// How often one turn looks and does before it says how far it came: intent, creation, record, and one to spare.
const ROUNDS: usize = 4;
/// How many objects are written at once.
const WRITES: usize = 16;
/// How long one call to the brokers may take, with the client's own retries.
const CALL: Duration = Duration::from_secs(20);
/// After how many turns in a row that found nobody the Topics that were Ready say so. A restart is no news.
const SILENCES: u32 = 3;

/// A Cluster by namespace and name, whether it exists or not.
pub(super) type Key = (String, String);

/// What turns are made with.
pub struct Context {
    /// The API server.
    pub hands: Hands,
    /// Where brokers listen.
    pub addresses: Arc<dyn Addresses>,
    /// How often a cluster is looked at when nothing happens.
    pub period: Duration,
    /// For how many Clusters turns may be under way.
    pub concurrency: usize,
}

/// What the watches know.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) topics: Store<Topic>,
    pub(super) clusters: Store<Cluster>,
}

/// What a turn left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nobody declares a topic of this Cluster.
    Nobody,
    /// Something that another turn goes on with, soon.
    More,
    /// Something that passes by itself.
    Waiting,
    /// Nobody answered: the longer the rarer.
    Failed,
    /// Nothing.
    Nothing,
}

/// What is kept of a Cluster between turns.
#[derive(Default)]
pub(super) struct Keeper {
    connection: Option<(Vec<String>, Client)>,
    /// Topics as they were written, until the watch has caught up.
    written: HashMap<String, Arc<Topic>>,
    silences: u32,
    pub(super) backoff: Backoff<()>,
}

/// One Topic in a turn.
struct Work {
    topic: Arc<Topic>,
    plan: Plan,
    failure: Option<Failure>,
    /// Whether its topic was created in this turn.
    made: bool,
    /// What a person wants to know of this turn.
    news: Vec<News>,
}

impl Work {
    fn new(topic: Arc<Topic>) -> Self {
        Self { topic, plan: Plan::default(), failure: None, made: false, news: Vec::new() }
    }
}

impl Keeper {
    /// The Topics of `key` as they are known.
    fn topics(&mut self, stores: &Stores, key: &Key) -> Vec<Work> {
        let ours = |topic: &Topic| {
            topic.spec.cluster_ref.name == key.1 && topic.metadata.namespace.as_deref() == Some(key.0.as_str())
        };
        let mut seen = BTreeSet::new();
        let mut works: Vec<Work> = Vec::new();
        for topic in stores.topics.state_filter(|topic| ours(topic)) {
            let uid = topic.uid().unwrap_or_default();
            let newer = self.written.get(&uid).filter(|written| is_newer(written, &topic)).cloned();
            if newer.is_none() {
                self.written.remove(&uid);
            }
            seen.insert(uid);
            works.push(Work::new(newer.unwrap_or(topic)));
        }
        self.written.retain(|uid, _| seen.contains(uid));
        works
    }

    fn wrote(&mut self, mut topic: Topic) -> Arc<Topic> {
        strip(&mut topic);
        let topic = Arc::new(topic);
        self.written.insert(topic.uid().unwrap_or_default(), Arc::clone(&topic));
        topic
    }

    fn client(&mut self, bootstrap: Vec<String>) -> Client {
        if let Some((known, client)) = &self.connection
            && *known == bootstrap
        {
            return client.clone();
        }
        let config = ClientConfig {
            bootstrap: bootstrap.clone(),
            client_id: MANAGER.to_owned(),
            call_timeout: CALL,
            connect_timeout: Duration::from_secs(3),
            ..ClientConfig::default()
        };
        let client = Client::new(config);
        self.connection = Some((bootstrap, client.clone()));
        client
    }

    /// What there is to see, and whom to ask.
    async fn see(&mut self, cluster: Option<&Cluster>, works: &[Work], context: &Context) -> (Sight, Option<Client>) {
        let Some(cluster) = cluster else { return (Sight::Missing, None) };
        if cluster.metadata.deletion_timestamp.is_some() {
            return (Sight::Going, None);
        }
        if sleeps(cluster) {
            return (Sight::Asleep, None);
        }
        let bootstrap = context.addresses.bootstrap(cluster);
        if bootstrap.is_empty() {
            let why = format!("Cluster {} has no Internal listener for the operator: add one", cluster.name_any());
            return (Sight::Silent(why), None);
        }
        let client = self.client(bootstrap);
        let names = works.iter().map(|work| work.topic.topic_name()).collect();
        match look(&client, &names).await {
            Ok(world) => (Sight::Seen(World { declared: declared(cluster), ..world }), Some(client)),
            Err(error) => (Sight::Silent(silence(cluster, &error)), None),
        }
    }
}

/// How many brokers a Cluster declares.
fn declared(cluster: &Cluster) -> usize {
    cluster.spec.pools.iter().filter_map(|pool| usize::try_from(pool.replicas).ok()).sum()
}

/// That brokers are too few for a topic passes by itself while some of those that are declared have not joined yet.
fn unless_brokers_come(failure: Failure, world: &World) -> Failure {
    match (failure, world.grows()) {
        (Failure::Refused(refusal), Some(why)) if refusal.reason == Reason::TooFewBrokers => Failure::Later(why),
        (failure, _) => failure,
    }
}

/// Whether a Cluster says that it sleeps, and nobody has asked for its waking.
pub(super) fn sleeps(cluster: &Cluster) -> bool {
    let asked = cluster.annotations().get(HIBERNATE).is_some_and(|value| value == "true");
    let conditions = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    asked && conditions.iter().any(|one| one.type_ == "Ready" && one.reason == "Hibernated")
}

/// Why the brokers of a Cluster do not answer: what it says itself, if it says that it is not Ready. What a connection
/// met is different each time, and would be a write each time.
fn silence(cluster: &Cluster, error: &ottla_client::Error) -> String {
    let name = cluster.name_any();
    tracing::debug!(cluster = name, %error, "look at the topics of a Cluster");
    let conditions = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    match conditions.iter().find(|one| one.type_ == "Ready" && one.status == "False") {
        Some(ready) => format!("Cluster {name} is not Ready ({})", ready.reason),
        None => format!("the brokers of Cluster {name} do not answer the operator"),
    }
}

/// Whether `written` came after `watched`. Versions are numbers of one sequence; where they are not, the watch is right.
fn is_newer(written: &Topic, watched: &Topic) -> bool {
    let version = |topic: &Topic| topic.resource_version().and_then(|text| text.parse::<u128>().ok());
    version(written) > version(watched)
}

/// One turn of the Topics of `key`.
pub(super) async fn turn(key: &Key, keeper: &mut Keeper, stores: &Stores, context: &Context) -> Left {
    let mut works = keeper.topics(stores, key);
    if works.is_empty() {
        keeper.connection = None;
        return Left::Nobody;
    }
    let cluster = stores.clusters.get(&ObjectRef::new(&key.1).within(&key.0));
    let mut sight = Sight::Missing;
    let mut failed = false;
    for round in 0..ROUNDS {
        let (seen, client) = keeper.see(cluster.as_deref(), &works, context).await;
        sight = seen;
        decide(&mut works, &sight);
        let acts = works.iter().any(|work| work.failure.is_none() && !work.plan.allowed().is_empty());
        if !acts || round + 1 == ROUNDS {
            break;
        }
        if let (Some(client), Sight::Seen(world)) = (&client, &sight) {
            act(client, &mut works, world, cluster.as_deref()).await;
        }
        failed |= write_notes(keeper, &key.0, &mut works, context).await;
    }
    keeper.silences = if matches!(sight, Sight::Silent(_)) { keeper.silences.saturating_add(1) } else { 0 };
    failed |= say(keeper, &key.0, &mut works, &sight, context).await;
    let told = works.iter_mut().map(|work| (work.topic.object_ref(&()), std::mem::take(&mut work.news)));
    context.hands.events.publish_all(told.collect()).await;
    left(&works, &sight, failed)
}

fn left(works: &[Work], sight: &Sight, failed: bool) -> Left {
    let steps = |work: &Work| work.failure.is_none() && !work.plan.allowed().is_empty();
    let waits = |work: &Work| {
        matches!(work.failure, Some(Failure::Later(_)))
            || matches!(work.plan.state, State::Waiting(..) | State::Moving(_))
    };
    match sight {
        _ if failed => Left::Failed,
        Sight::Silent(_) => Left::Failed,
        // The Cluster's own watch tells when it comes, or wakes.
        Sight::Missing | Sight::Going | Sight::Asleep => Left::Nothing,
        Sight::Seen(_) if works.iter().any(steps) => Left::More,
        Sight::Seen(_) if works.iter().any(waits) => Left::Waiting,
        Sight::Seen(_) => Left::Nothing,
    }
}

/// Plans every Topic, each knowing of the others that declare the same topic.
fn decide(works: &mut [Work], sight: &Sight) {
    let topics: Vec<&Topic> = works.iter().map(|work| work.topic.as_ref()).collect();
    let claims = claims(&topics).into_iter().zip(works.iter());
    let plans: Vec<Plan> = claims.map(|(claim, work)| plan(Claim { made: work.made, ..claim }, sight)).collect();
    for (work, plan) in works.iter_mut().zip(plans) {
        work.plan = plan;
    }
}

/// Does at the brokers what has not failed in this turn yet. Who was created is noted at once: until then it is a stranger.
async fn act(client: &Client, works: &mut [Work], world: &World, cluster: Option<&Cluster>) {
    let mut steps = Vec::new();
    for (at, work) in works.iter().enumerate().filter(|(_, work)| work.failure.is_none()) {
        let at_brokers = work.plan.allowed().iter().filter(|step| !matches!(step, Step::Note { .. }));
        steps.extend(at_brokers.map(|step| (at, work.topic.topic_name(), step)));
    }
    if steps.is_empty() {
        return;
    }
    let rate = cluster.and_then(|cluster| cluster.spec.rebalance.throttle.bytes().ok()).unwrap_or(u64::MAX >> 1);
    let outcome = perform(client, &steps, world, rate).await;
    let mut news = Vec::new();
    for (at, _, step) in &steps {
        let (namespace, name) = (works[*at].topic.namespace().unwrap_or_default(), works[*at].topic.name_any());
        match outcome.failures.get(at) {
            None => {
                tracing::info!(namespace, topic = name, %step, "done");
                news.extend(news_of_step(&works[*at].topic, step).map(|news| (*at, news)));
            }
            Some(failure) => tracing::warn!(namespace, topic = name, %step, ?failure, "not done"),
        }
    }
    for (at, news) in news {
        works[at].news.push(news);
    }
    for (at, id) in outcome.created {
        let topic = &works[at].topic;
        let finalizer = topic.finalizers().iter().any(|one| one == FINALIZER);
        let record = Some(Declared::of(topic).record(Some(&id)));
        works[at].made = true;
        works[at].plan.steps = vec![Step::Note { finalizer, record }];
    }
    for (at, failure) in outcome.failures {
        works[at].failure = Some(unless_brokers_come(failure, world));
    }
}

/// Writes what the plans want noted on the resources. Whether the API server failed at one of them.
async fn write_notes(keeper: &mut Keeper, namespace: &str, works: &mut [Work], context: &Context) -> bool {
    let topics: Api<Topic> = Api::namespaced(context.hands.client.clone(), namespace);
    let mut notes: Vec<(usize, Arc<Topic>, bool, Option<Record>)> = Vec::new();
    for (at, work) in works.iter().enumerate().filter(|(_, work)| work.failure.is_none()) {
        for step in work.plan.allowed() {
            if let Step::Note { finalizer, record } = step {
                notes.push((at, Arc::clone(&work.topic), *finalizer, record.clone()));
            }
        }
    }
    let write = |(at, topic, finalizer, record): (usize, Arc<Topic>, bool, Option<Record>)| {
        let topics = topics.clone();
        async move { (at, note(&topics, &topic, finalizer, record.as_ref()).await) }.boxed()
    };
    let (answers, failed) = written(works, notes.into_iter().map(write).collect(), "note", namespace, context).await;
    for (at, answer) in answers {
        match answer {
            Ok(topic) => {
                let work = &mut works[at];
                work.news.extend(news_of_note(&work.topic, &topic).filter(|_| !work.made));
                work.topic = keeper.wrote(topic);
            }
            Err(words) => works[at].failure = Some(Failure::Later(words)),
        }
    }
    failed
}

/// Makes writes of Topics, several at a time: what became of each, by its place, and whether the API server failed at one.
async fn written<'a>(
    works: &[Work],
    writes: Vec<BoxFuture<'a, (usize, kube::Result<Topic>)>>,
    what: &'static str,
    namespace: &str,
    context: &Context,
) -> (Vec<(usize, Result<Topic, String>)>, bool) {
    let mut running = futures::stream::iter(writes).buffer_unordered(WRITES);
    let (mut answers, mut failed) = (Vec::new(), false);
    while let Some((at, answer)) = running.next().await {
        context.hands.metrics.wrote("Topic", what);
        failed |= answer.as_ref().is_err_and(|error| !is_gone(error));
        answers.push((at, answer.map_err(|error| not_written(&works[at].topic, namespace, &error))));
    }
    (answers, failed)
}

fn not_written(topic: &Topic, namespace: &str, error: &kube::Error) -> String {
    let name = topic.name_any();
    if !is_gone(error) {
        tracing::warn!(namespace, topic = name, %error, "write a Topic");
    }
    format!("Topic {name} could not be written")
}

/// Whether the object that was written is not there any more.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// Writes every status that is another one. Whether the API server failed at one of them.
async fn say(keeper: &mut Keeper, namespace: &str, works: &mut [Work], sight: &Sight, context: &Context) -> bool {
    let topics: Api<Topic> = Api::namespaced(context.hands.client.clone(), namespace);
    let quiet = matches!(sight, Sight::Silent(_)) && keeper.silences < SILENCES;
    let now = now();
    let lack = context.hands.schemas.lack("Topic").map(|lack| Failure::Refused(Refusal::new(Reason::CRDTooOld, lack)));
    let mut news: Vec<(usize, Arc<Topic>, TopicStatus)> = Vec::new();
    for (at, work) in works.iter().enumerate().filter(|(_, work)| is_worth_telling(work)) {
        if quiet && is_told(&work.topic) && work.topic.metadata.deletion_timestamp.is_none() {
            continue;
        }
        let failure = lack.as_ref().or(work.failure.as_ref());
        let mut status = status(&work.topic, &work.plan, failure, sight, now);
        if lack.is_some() {
            // Conditions every definition has; of the rest one that is older may not know everything.
            let TopicStatus { observed_generation, conditions, .. } = status;
            status = TopicStatus { observed_generation, conditions, ..work.topic.status.clone().unwrap_or_default() };
        }
        if work.topic.status.as_ref() != Some(&status) {
            news.push((at, Arc::clone(&work.topic), status));
        }
    }
    let write = |(at, topic, status): (usize, Arc<Topic>, TopicStatus)| {
        let topics = topics.clone();
        async move {
            let (name, uid) = (topic.name_any(), topic.meta().uid.clone());
            let metadata = json!({"name": name, "uid": uid});
            let patch =
                json!({"apiVersion": ottla_crds::API_VERSION, "kind": "Topic", "metadata": metadata, "status": status});
            (at, topics.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await)
        }
        .boxed()
    };
    let (answers, failed) = written(works, news.into_iter().map(write).collect(), "status", namespace, context).await;
    for (at, answer) in answers {
        let Ok(topic) = answer else { continue };
        works[at].news.extend(news_of_status(works[at].topic.status.as_ref(), topic.status.as_ref()));
        keeper.wrote(topic);
    }
    failed
}

/// A Topic that is being deleted and has nothing to wait for is gone before anybody reads it.
fn is_worth_telling(work: &Work) -> bool {
    work.topic.metadata.deletion_timestamp.is_none() || work.plan.state != State::Settled
}

#[expect(clippy::disallowed_methods, reason = "this shell is where the time comes from")]
fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default()
}
