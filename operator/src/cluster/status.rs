//! `status`: what a Cluster is, in the words of its schema.
//!
//! Owns conditions, counts and the operation. Pure: the time is an argument. Everything follows from what was seen; the
//! status before matters only for the times at which conditions changed, and for how a restart is called: one that ends a roll
//! is part of it. Must never change such a time without a change.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ottla_crds::cluster::{
    ControllerStatus, ListenerStatus, OperationStatus, PartitionsStatus, PoolStatus, VersionStatus,
};
use ottla_crds::shared::Condition;
use ottla_crds::{Cluster, ClusterStatus};
use ottla_rpc::trust::Mode;
use serde_json::Value;

use super::balance;
use super::certificates::Stage;
use super::child::Seen;
use super::desired::{self, Desired};
use super::health::{self, Health};
use super::kind::Kind;
use super::names;
use super::observed::Observed;
use super::outside::{self, Outside};
use super::plan::{Operation, Plan, is_current, is_ready};
use super::reason::{Reason, Refusal};
use crate::verdict::Conditions;

/// Everything that a status says something about.
pub struct View<'a> {
    /// Whose status it is, with the status that it has.
    pub cluster: &'a Cluster,
    /// What it should be; `None` when `spec` is refused.
    pub desired: Option<&'a Desired>,
    /// What it is.
    pub observed: &'a Observed,
    /// What was found to do.
    pub plan: &'a Plan,
    /// What a person has to do something about: of the plan, of `spec`, and of the API server.
    pub refusals: &'a [Refusal],
    /// A person has asked that nothing be changed.
    pub paused: bool,
}

/// The status that follows from a look at `now`.
pub fn status(view: &View<'_>, now: Timestamp) -> ClusterStatus {
    let summary = view.observed.documents.summary();
    let led = summary.filter(|summary| summary.controller.is_some());
    let health = health::judge(view.desired, view.observed, now);
    ClusterStatus {
        observed_generation: view.cluster.metadata.generation,
        conditions: conditions(view, &health, now),
        cluster_id: summary.map(|summary| summary.cluster_id.clone()),
        version: version(view),
        controller: led
            .and_then(|summary| summary.controller)
            .map(|(broker, epoch)| ControllerStatus { broker, epoch }),
        listeners: listeners(view),
        pools: pools(view),
        partitions: led.map(|summary| PartitionsStatus {
            total: Some(summary.partitions),
            under_replicated: Some(summary.under_replicated),
            offline: Some(summary.offline),
        }),
        operation: operation(view, &health, now),
    }
}

fn conditions(view: &View<'_>, health: &Health, now: Timestamp) -> Vec<Condition> {
    let before = view.cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let made = Conditions { before, generation: view.cluster.metadata.generation, now };
    // What keeps a Pod from serving that is not to run is nobody's affair.
    let of_pods = if sleeps(view, health) { &[][..] } else { &health.refusals };
    let waiting = waiting(view, now);
    let overdue = waiting.as_ref().filter(|(_, overdue)| *overdue).map(|(refusal, _)| refusal);
    let refusals: Vec<&Refusal> = view.refusals.iter().chain(of_pods).chain(overdue).collect();
    let mut conditions = vec![
        made.of("Ready", ready(view, health)),
        made.of(
            "Reconciling",
            reconciling(view, health, waiting.as_ref().map(|(refusal, _)| refusal), !refusals.is_empty()),
        ),
        made.of("Stalled", stalled(&refusals)),
        made.of("UpdatePending", pending(view)),
        made.of("DataSafe", data_safe(view, health)),
        made.of("Balanced", balanced(view, health)),
        made.of("CertificatesValid", certificates(view)),
    ];
    conditions.extend(insecure(view).map(|verdict| made.of("Insecure", verdict)));
    conditions
}

/// What a listener has no address from yet, and whether it has waited too long: brokers serve meanwhile, and clients that need
/// no such address notice nothing.
fn waiting(view: &View<'_>, now: Timestamp) -> Option<(Refusal, bool)> {
    let desired = view.desired?;
    let brokers: Vec<i32> = desired.brokers.keys().copied().collect();
    let waits = Outside::of(view.observed).waits(&desired.owner, &desired::listeners(view.cluster), &brokers, now);
    waits.map(|(message, overdue)| (Refusal::new(Reason::ListenerPending, message), overdue))
}

/// Which listeners strangers reach without TLS or without having to say who they are; nothing where strangers reach none.
fn insecure(view: &View<'_>) -> Option<Verdict> {
    let listeners = desired::listeners(view.cluster);
    outside::listeners(&listeners).next()?;
    let open = outside::listeners(&listeners).filter(|one| one.tls.is_none() || one.authentication.is_empty());
    let names: Vec<&str> = open.map(|one| one.name.as_str()).collect();
    if names.is_empty() {
        return Some(("False", Reason::AsDeclared, String::new()));
    }
    let message = format!(
        "listener {}: whoever reaches it reads and writes everything, and nothing is encrypted (insecure: true)",
        names.join(", ")
    );
    Some(("True", Reason::ListenerInsecure, message))
}

type Verdict = crate::verdict::Verdict<Reason>;

/// Whether no broker is to run, and nothing keeps it so.
fn sleeps(view: &View<'_>, health: &Health) -> bool {
    view.desired.is_some_and(|desired| desired.hibernates) && (!view.paused || health.serving == 0)
}

fn ready(view: &View<'_>, health: &Health) -> Verdict {
    if view.desired.is_none()
        && let Some(refusal) = view.refusals.first()
    {
        return ("False", refusal.reason, refusal.message.clone());
    }
    let (serving, total) = (health.serving, health.total);
    if sleeps(view, health) {
        let what = if serving == 0 { "no broker runs" } else { "brokers are being stopped" };
        let message = format!("{what}: the Cluster is annotated {}=true", names::HIBERNATE);
        return ("False", Reason::Hibernated, message);
    }
    if total == 0 {
        return ("False", Reason::NoBrokers, "spec.pools declares no broker: raise replicas".to_owned());
    }
    if serving == total {
        return ("True", Reason::BrokersReady, format!("{total} of {total} brokers serve"));
    }
    if health.restarting > 0 && view.refusals.is_empty() {
        let restarted = match health.restarting {
            1 => "one is".to_owned(),
            more => format!("{more} are"),
        };
        return ("True", Reason::Rolling, format!("{serving} of {total} brokers serve, {restarted} being restarted"));
    }
    let (reason, what) = health.worst.clone().unwrap_or((Reason::BrokersNotReady, String::new()));
    let what = if what.is_empty() { what } else { format!("; {what}") };
    ("False", reason, format!("{serving} of {total} brokers serve{what}"))
}

fn reconciling(view: &View<'_>, health: &Health, waiting: Option<&Refusal>, stalled: bool) -> Verdict {
    let idle = ("False", Reason::AsDeclared, String::new());
    if view.paused {
        let waiting = view.plan.steps.len();
        return match waiting {
            0 => ("False", Reason::Paused, String::new()),
            _ => (
                "True",
                Reason::Paused,
                format!("{waiting} change(s) wait: the Cluster is annotated {}=true", names::PAUSE),
            ),
        };
    }
    if stalled {
        return idle;
    }
    if let Some(operation) = at_work(view, health) {
        let reason = match operation.kind {
            "Roll" => Reason::Rolling,
            "Hibernate" => Reason::Hibernated,
            "Rebalance" | "ScaleIn" | "Replace" => Reason::Rebalancing,
            _ => Reason::Applying,
        };
        return ("True", reason, format!("{} {}: {}", operation.kind, operation.step, operation.reason));
    }
    if let Some(step) = view.plan.steps.first() {
        return ("True", Reason::Applying, step.to_string());
    }
    if sleeps(view, health) && !view.plan.waits {
        return ("False", Reason::Hibernated, String::new());
    }
    if view.plan.waits || health.serving < health.total {
        return ("True", Reason::BrokersStarting, format!("{} of {} brokers serve", health.serving, health.total));
    }
    if let Some(waiting) = waiting {
        return ("True", waiting.reason, waiting.message.clone());
    }
    idle
}

fn stalled(refusals: &[&Refusal]) -> Verdict {
    let Some(first) = refusals.first() else { return ("False", Reason::AsDeclared, String::new()) };
    let mut sentences: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
    sentences.dedup();
    ("True", first.reason, sentences.join(". "))
}

fn pending(view: &View<'_>) -> Verdict {
    match &view.plan.pending {
        Some(pending) => ("True", pending.reason, pending.message.clone()),
        None => ("False", Reason::AsDeclared, String::new()),
    }
}

fn data_safe(view: &View<'_>, health: &Health) -> Verdict {
    if sleeps(view, health) {
        return ("Unknown", Reason::Hibernated, "no broker is to run; the volumes keep every record".to_owned());
    }
    let Some(summary) = view.observed.documents.summary().filter(|summary| summary.controller.is_some()) else {
        return ("Unknown", Reason::Unknown, "no broker has been the controller yet".to_owned());
    };
    let count = |count: i64, what: &str| format!("{count} of {} partitions {what}", summary.partitions);
    if summary.offline > 0 {
        return ("False", Reason::PartitionsOffline, count(summary.offline, "have no leader"));
    }
    if summary.under_replicated > 0 {
        let what = "have fewer in-sync replicas than replicas";
        return ("False", Reason::UnderReplicated, count(summary.under_replicated, what));
    }
    ("True", Reason::AllInSync, String::new())
}

fn balanced(view: &View<'_>, health: &Health) -> Verdict {
    if sleeps(view, health) {
        return ("Unknown", Reason::Hibernated, "no broker is to run".to_owned());
    }
    let led = view.observed.documents.summary().filter(|summary| summary.controller.is_some());
    let (Some(desired), Some(summary)) = (view.desired, led) else {
        return ("Unknown", Reason::Unknown, "no broker has been the controller yet".to_owned());
    };
    if let Some(operation) =
        view.plan.operation.as_ref().filter(|one| matches!(one.kind, "Rebalance" | "ScaleIn" | "Replace"))
    {
        return ("False", Reason::Rebalancing, operation.reason.clone());
    }
    let staying = desired.brokers.values().filter(|seat| !seat.leaves).map(|seat| seat.id).collect();
    match balance::uneven(&summary.layout, &staying) {
        Some((id, load)) => {
            let share = balance::share(&summary.layout, &staying);
            let mode = format!("{:?}", desired.rebalance.mode);
            let message =
                format!("broker {id} holds {load} replica(s), its share is {share}; spec.rebalance.mode is {mode}");
            ("False", Reason::Uneven, message)
        }
        None => ("True", Reason::EvenlySpread, String::new()),
    }
}

fn certificates(view: &View<'_>) -> Verdict {
    let Some(course) = &view.plan.certificates else {
        return (
            "Unknown",
            Reason::Unknown,
            "there are none before the metadata, nor while spec is refused".to_owned(),
        );
    };
    let ids = |ids: &BTreeSet<i32>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if course.missing > 0 {
        let message = format!("{} certificate(s) are missing or have expired: they are being made", course.missing);
        return ("False", Reason::CertificatesMissing, message);
    }
    if course.mode == Mode::Preferred {
        let message = match course.plaintext.is_empty() {
            true => "plaintext is let in until every broker says that it has its certificate".to_owned(),
            false => format!(
                "plaintext is let in: broker(s) {} run without certificates, until they are restarted ({})",
                ids(&course.plaintext),
                names::RESTART
            ),
        };
        return ("False", Reason::PlaintextAllowed, message);
    }
    let rotating = |message| ("True", Reason::AuthorityRotating, message);
    match &course.stage {
        Stage::Settled if course.old > 0 => rotating("3/3: the old authority goes".to_owned()),
        Stage::Settled => ("True", Reason::CertificatesCurrent, String::new()),
        Stage::Believed(waited) => {
            rotating(format!("1/3: broker(s) {} do not say yet that they believe the new authority", ids(waited)))
        }
        Stage::Shown(waited) => {
            rotating(format!("2/3: broker(s) {} do not say yet that they show what it has signed", ids(waited)))
        }
    }
}

/// The tag of an image.
fn tag(image: &str) -> Option<&str> {
    image.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

fn version(view: &View<'_>) -> Option<VersionStatus> {
    let desired = view.desired?;
    let pods = desired.brokers.values().map(|seat| view.observed.get(Kind::Pod, &seat.pod));
    let images: Option<Vec<&str>> = pods.map(|pod| pod?["spec"]["containers"][0]["image"].as_str()).collect();
    let one = images.filter(|images| images.windows(2).all(|pair| pair[0] == pair[1]));
    let current = one.and_then(|images| images.first().and_then(|image| tag(image)).map(str::to_owned));
    Some(VersionStatus { current, target: tag(&desired.image).map(str::to_owned) })
}

fn listeners(view: &View<'_>) -> Vec<ListenerStatus> {
    if view.desired.is_none() {
        return Vec::new();
    }
    let owner = desired::owner(view.cluster);
    let outside = Outside::of(view.observed);
    let status = |listener: &ottla_crds::cluster::Listener| ListenerStatus {
        name: listener.name.clone(),
        bootstrap_servers: desired::servers(&owner, listener, &outside),
        ca_secret: None,
    };
    desired::listeners(view.cluster).iter().map(status).collect()
}

fn pools(view: &View<'_>) -> Vec<PoolStatus> {
    let wanted = |name: &str| {
        let children = view.desired.map_or(&[][..], |desired| &desired.children);
        children.iter().find(|child| child.kind == Kind::Pod && child.name == name).map(|child| &child.manifest)
    };
    let pool = |pool: &ottla_crds::cluster::Pool| {
        let of_pool = |pod: &&(&str, &Value)| pod.1.label(names::POOL_LABEL) == Some(&pool.name);
        let pods: Vec<(&str, &Value)> = view.observed.of(Kind::Pod).collect();
        let pods: Vec<&(&str, &Value)> = pods.iter().filter(of_pool).collect();
        let count = |which: &dyn Fn(&(&str, &Value)) -> bool| {
            i32::try_from(pods.iter().filter(|pod| which(pod)).count()).unwrap_or(i32::MAX)
        };
        PoolStatus {
            name: pool.name.clone(),
            replicas: Some(count(&|_| true)),
            ready: Some(count(&|(_, pod)| is_ready(pod))),
            outdated: Some(count(&|(name, pod)| wanted(name).is_some_and(|wanted| !is_current(pod, wanted)))),
        }
    };
    view.cluster.spec.pools.iter().map(pool).collect()
}

/// What was being done when the status was last written.
fn before<'a>(view: &View<'a>) -> Option<&'a OperationStatus> {
    view.cluster.status.as_ref().and_then(|status| status.operation.as_ref())
}

/// What is being done. A roll is one until the last broker that was restarted serves.
fn at_work(view: &View<'_>, health: &Health) -> Option<Operation> {
    let planned = view.plan.operation.clone().filter(|_| !view.paused);
    let rolled = before(view).is_some_and(|before| before.kind.as_deref() == Some("Roll"));
    let (serving, total) = (health.serving, health.total);
    let rests = view.paused || !view.plan.waits && serving == total;
    match planned {
        Some(operation) if operation.kind != "StartBrokers" || !rolled => Some(operation),
        None if !rolled || rests => None,
        other => {
            let reason = other.map_or("waits until the broker that was restarted serves".to_owned(), |one| one.reason);
            Some(Operation { kind: "Roll", step: format!("{serving}/{total}"), reason })
        }
    }
}

fn operation(view: &View<'_>, health: &Health, now: Timestamp) -> Option<OperationStatus> {
    let operation = at_work(view, health)?;
    let same = before(view).filter(|before| before.kind.as_deref() == Some(operation.kind));
    Some(OperationStatus {
        kind: Some(operation.kind.to_owned()),
        step: Some(operation.step.clone()),
        reason: Some(operation.reason.clone()),
        since: same
            .and_then(|before| before.since.clone())
            .or_else(|| Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
    })
}

#[cfg(test)]
mod tests;
