//! One turn of a Cluster: look, decide, do, say.
//!
//! Owns the order of the four and what follows a failure. Holds nothing between turns but how often a Cluster has failed.
//! A turn has a deadline; a panic in one fails that turn only.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use ottla_crds::cluster::OnDelete;
use ottla_crds::{Cluster, ClusterStatus};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;

use super::apply::{Failure, Hands, set_finalizers};
use super::brokers::Brokers;
use super::certificates::State;
use super::child::Owner;
use super::desired::{Desired, Settings, desired, is_asked, owner};
use super::kind::Kind;
use super::names::{FINALIZER, MANAGER, PAUSE, claim, pod};
use super::news;
use super::observe::{look, look_by_name};
use super::observed::Observed;
use super::plan::{Plan, Step, plan};
use super::reason::{Reason, Refusal};
use super::status::{View, status};
use super::{certificates, classes, depart, hosts, lost, nodes, safety};
use crate::backoff::Backoff;

/// How long one turn may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long after a turn that left something to wait for the next one comes, if nothing happens before.
const AGAIN: Duration = Duration::from_secs(10);
/// The same after one that left nothing: what no watch tells of is seen then.
const LATER: Duration = Duration::from_secs(60);

/// What turns are made with.
pub struct Context {
    /// The API server.
    pub hands: Hands,
    /// The brokers of Clusters.
    pub brokers: Brokers,
    /// What the operator was started with.
    pub settings: Settings,
    /// How many turns may be under way.
    pub room: Semaphore,
    /// How often each Cluster has failed in a row.
    pub backoff: Mutex<Backoff<(String, String)>>,
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server could not be asked, or refused.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// A step did not work.
    #[error(transparent)]
    Step(#[from] Failure),
    /// It took too long.
    #[error("not done within {DEADLINE:?}")]
    Late,
    /// An assertion failed.
    #[error("a reconcile panicked: {0}")]
    Panicked(String),
}

/// What a turn left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Something that only another turn can do, at once.
    More,
    /// Something to wait for.
    Waiting,
    /// Something that a person has to do.
    Refused,
    /// Nothing.
    Nothing,
}

/// One turn of `cluster`.
///
/// # Errors
/// [`Error`]; it is tried again after a delay that grows.
pub async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let _room = context.room.acquire().await;
    let began = tokio::time::Instant::now();
    let turn = AssertUnwindSafe(tokio::time::timeout(DEADLINE, turn(&key.0, &key.1, &context))).catch_unwind();
    let left = match turn.await {
        Ok(Ok(left)) => left,
        Ok(Err(_)) => Err(Error::Late),
        Err(panic) => Err(Error::Panicked(words(panic.as_ref()))),
    };
    let word = match &left {
        Ok(Left::Refused) => "refused",
        Ok(Left::More | Left::Waiting | Left::Nothing) => "ok",
        Err(_) => "error",
    };
    context.hands.metrics.reconciled("cluster", word, began.elapsed());
    let left = left?;
    if left == Left::Refused {
        return Ok(Action::requeue(context.backoff.lock().failed(key, rand::random())));
    }
    context.backoff.lock().forget(&key);
    let delay = match left {
        Left::More => Duration::ZERO,
        Left::Waiting => AGAIN,
        Left::Nothing | Left::Refused => LATER,
    };
    Ok(Action::requeue(delay.mul_f64(1.0 + rand::random::<f64>() / 5.0)))
}

/// When a turn that failed is taken again.
pub fn on_error(cluster: Arc<Cluster>, error: &Error, context: Arc<Context>) -> Action {
    let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let delay = context.backoff.lock().failed(key.clone(), rand::random());
    tracing::warn!(namespace = key.0, cluster = key.1, %error, ?delay, "reconcile a Cluster");
    Action::requeue(delay)
}

/// One turn for a Cluster that there is news of and that is not there.
pub async fn gone(namespace: String, name: String, context: &Context) {
    let key = (namespace.clone(), name.clone());
    context.backoff.lock().forget(&key);
    context.brokers.forget(&key);
    let _room = context.room.acquire().await;
    let began = tokio::time::Instant::now();
    let owner = Owner { name, namespace, uid: String::new() };
    let turn = tokio::time::timeout(DEADLINE, depart::release_documents(&context.hands, &owner));
    let done = turn.await.unwrap_or(Err(Error::Late));
    context.hands.metrics.reconciled("cluster", if done.is_ok() { "ok" } else { "error" }, began.elapsed());
    // News of what is left comes again, if only with the next look of the watches.
    if let Err(error) = done {
        tracing::warn!(owner.namespace, cluster = owner.name, %error, "look after a Cluster that is gone");
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without words").to_owned()
}

async fn turn(namespace: &str, name: &str, context: &Context) -> Result<Left, Error> {
    let clusters: Api<Cluster> = Api::namespaced(context.hands.client.clone(), namespace);
    // As it is now: the one that a watch has kept may be older than what this operator has written.
    let Some(cluster) = clusters.get_opt(name).await? else {
        context.backoff.lock().forget(&(namespace.to_owned(), name.to_owned()));
        return Ok(Left::Nothing);
    };
    let owner = owner(&cluster);
    if cluster.metadata.deletion_timestamp.is_some() {
        let gone = depart::turn(&context.hands, &clusters, &cluster, &owner).await?;
        return Ok(if gone { Left::Nothing } else { Left::Waiting });
    }
    if hold(&clusters, &cluster, context).await? {
        return Ok(Left::More);
    }
    let mut observed = look_around(context, &cluster, &owner).await?;
    let facts = observed.facts(&owner.name);
    let wanted = desired(&cluster, &facts, &context.settings);
    let (mut plan_now, mut refusals) = (Plan::default(), Vec::new());
    let paused = is_asked(&cluster, PAUSE);
    match &wanted {
        Ok(desired) => {
            let secrets = desired.secrets();
            let secrets = secrets.iter().map(|name| (Kind::Secret, name.as_str()));
            let names = desired.children.iter().map(|child| (child.kind, child.name.as_str())).chain(secrets);
            look_by_name(&context.hands.client, &owner, names, &mut observed).await?;
            ask(desired, &mut observed).await;
            plan_now = plan(desired, &observed);
            refusals.append(&mut plan_now.refusals);
            refusals.extend(hold_documents(context, &mut plan_now));
        }
        Err(refusal) => refusals.push(refusal.clone()),
    }
    let mut failed = None;
    if let (Ok(desired), false) = (&wanted, paused) {
        let work = Work { cluster: &cluster, desired, plan: &plan_now, observed: &observed };
        failed = perform(context, work, &mut refusals).await;
    }
    let refused = !refusals.is_empty();
    let lack = context.hands.schemas.lack("Cluster");
    if let Some(lack) = &lack {
        refusals.insert(0, Refusal::new(Reason::CRDTooOld, lack));
    }
    let view = View {
        cluster: &cluster,
        desired: wanted.as_ref().ok(),
        observed: &observed,
        plan: &plan_now,
        refusals: &refusals,
        paused,
    };
    let told = status(&view, observed.now);
    let told = if lack.is_some() { only_conditions(&cluster, told) } else { told };
    say(context, &clusters, &cluster, told).await?;
    if let Some(failure) = failed {
        return Err(failure.into());
    }
    let more = plan_now.steps.iter().any(Step::is_first) && !refused && !paused;
    Ok(match () {
        () if more => Left::More,
        () if refused => Left::Refused,
        () if lack.is_some() || plan_now.waits || plan_now.pending.is_some() || !plan_now.steps.is_empty() => {
            Left::Waiting
        }
        () => Left::Nothing,
    })
}

/// Everything that is known before it is known what should be.
async fn look_around(context: &Context, cluster: &Cluster, owner: &Owner) -> kube::Result<Observed> {
    let client = &context.hands.client;
    let mut observed = look(client, owner).await?;
    observed.now = now();
    look_for_unseen(context, cluster, owner, &mut observed).await?;
    observed.exclusive = classes::exclusive(client, cluster, &observed).await;
    observed.nodes = nodes::addresses(client, cluster, &observed).await;
    observed.hosts = hosts::hosts(client, &observed).await;
    observed.lost = lost::judge(cluster, &observed);
    Ok(observed)
}

/// Asks brokers what certificates they have, and whether some may be stopped; nobody while there is nothing to show to them.
async fn ask(desired: &Desired, observed: &mut Observed) {
    let Some(id) = observed.cluster_id() else { return };
    let state = State::read(observed, &desired.owner.name, id, &desired.holders, observed.now);
    let Some(credentials) = certificates::credentials(&state, id, &observed.processes(), observed.now) else { return };
    observed.reported = certificates::ask(&credentials, &safety::addresses(desired, observed)).await;
    let answers = safety::ask(desired, observed, &credentials).await;
    (observed.can_stop, observed.together) = (answers.each, answers.together);
}

/// The status that `cluster` has, with what `told` says of its conditions: those every definition has, of the rest one that
/// is older may not know everything.
fn only_conditions(cluster: &Cluster, told: ClusterStatus) -> ClusterStatus {
    let ClusterStatus { observed_generation, conditions, .. } = told;
    ClusterStatus { observed_generation, conditions, ..cluster.status.clone().unwrap_or_default() }
}

/// Keeps documents from being written that their definition would cut. Why, if there are any.
fn hold_documents(context: &Context, plan: &mut Plan) -> Option<Refusal> {
    let lack = context.hands.schemas.lack("MetadataShard")?;
    let before = plan.steps.len();
    plan.steps.retain(|step| !matches!(step, Step::CreateMetadata | Step::CreateShards));
    (plan.steps.len() < before).then(|| Refusal::new(Reason::CRDTooOld, lack))
}

/// Looks by name for brokers that are registered and were not found by label: one that is only without its labels must not
/// be taken for lost.
async fn look_for_unseen(
    context: &Context,
    cluster: &Cluster,
    owner: &Owner,
    observed: &mut Observed,
) -> kube::Result<()> {
    let unseen = observed.unseen(&owner.name);
    let mut wanted = Vec::new();
    for pool in &cluster.spec.pools {
        for id in &unseen {
            let pod = pod(&owner.name, &pool.name, *id);
            let claims =
                pool.storage.volumes.iter().map(|volume| (Kind::PersistentVolumeClaim, claim(&volume.name, &pod)));
            wanted.extend(claims.collect::<Vec<_>>());
            wanted.push((Kind::Pod, pod));
        }
    }
    let names = wanted.iter().map(|(kind, name)| (*kind, name.as_str()));
    look_by_name(&context.hands.client, owner, names, observed).await
}

/// Sees to it that a Cluster whose volumes go with it is kept until its metadata is gone as well, and no other one. Whether
/// something was written.
async fn hold(clusters: &Api<Cluster>, cluster: &Cluster, context: &Context) -> kube::Result<bool> {
    let wanted = cluster.spec.volumes.on_delete == OnDelete::Delete;
    let mut finalizers = cluster.finalizers().to_vec();
    if wanted == finalizers.iter().any(|one| one == FINALIZER) {
        return Ok(false);
    }
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    } else {
        finalizers.retain(|one| one != FINALIZER);
    }
    context.hands.metrics.wrote("Cluster", "finalize");
    set_finalizers(clusters, cluster, &finalizers).await?;
    Ok(true)
}

/// What is to be done, and what it follows from.
struct Work<'a> {
    cluster: &'a Cluster,
    desired: &'a Desired,
    plan: &'a Plan,
    observed: &'a Observed,
}

/// Does what was planned, and tells what a person wants to know of it. What a person has to see to is added to `refusals`;
/// the first thing that failed otherwise is given back. One step that fails does not keep the others from being tried.
async fn perform(context: &Context, work: Work<'_>, refusals: &mut Vec<Refusal>) -> Option<Failure> {
    let hands = &context.hands;
    let owner = &work.desired.owner;
    let (mut failed, mut all_done) = (None, Vec::new());
    for step in &work.plan.steps {
        let done = if step.is_at_brokers() {
            context.brokers.perform(work.cluster, step).await
        } else {
            hands.perform(owner, step, &work.observed.documents).await
        };
        match done {
            Ok(()) => {
                tracing::info!(namespace = owner.namespace, cluster = owner.name, %step, "done");
                all_done.push(step);
            }
            Err(Failure::Refused(refusal)) => {
                tracing::warn!(namespace = owner.namespace, cluster = owner.name, %step, refusal.message, "refused");
                refusals.push(refusal);
            }
            Err(failure) => {
                failed.get_or_insert(failure);
            }
        }
    }
    let news = news::of_steps(&all_done, work.desired, work.observed);
    hands.events.publish(&work.cluster.object_ref(&()), news).await;
    failed
}

/// Writes the status if it is another one, and tells what a person wants to know of the difference.
async fn say(context: &Context, clusters: &Api<Cluster>, cluster: &Cluster, status: ClusterStatus) -> kube::Result<()> {
    if cluster.status.as_ref() == Some(&status) {
        return Ok(());
    }
    context.hands.metrics.wrote("Cluster", "status");
    let name = cluster.name_any();
    let patch = json!({
        "apiVersion": ottla_crds::API_VERSION,
        "kind": "Cluster",
        "metadata": {"name": name, "uid": cluster.metadata.uid},
        "status": status,
    });
    clusters.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    let news = news::of_status(cluster.status.as_ref(), &status);
    context.hands.events.publish(&cluster.object_ref(&()), news).await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this shell is where the time comes from")]
fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default()
}
