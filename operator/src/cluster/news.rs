//! What of a turn is worth an Event on the Cluster.
//!
//! Owns the choice: steps that were done and a person wants to know of, and conditions whose reason changed. Pure. What is
//! the same as before is never told again.

use k8s_openapi::api::core::v1::ObjectReference;
use ottla_crds::ClusterStatus;
use ottla_crds::shared::Condition;
use serde_json::Value;

use super::child::{Child, Owner, Seen};
use super::desired::Desired;
use super::kind::Kind;
use super::names;
use super::observed::Observed;
use super::plan::{Step, Why, is_declared_otherwise};
use super::reason::Reason;
use crate::events::News;
use crate::verdict::changed;

/// What to tell of `steps`, which were planned on `observed` and have been done.
pub(super) fn of_steps(steps: &[&Step], desired: &Desired, observed: &Observed) -> Vec<News> {
    let owner = &desired.owner;
    let news = |step: &&Step| match step {
        Step::CreateMetadata => {
            Some(News::good("ClusterCreated", format!("cluster {} begins: its metadata is created", owner.name)))
        }
        Step::Apply { child, why } => of_apply(child, *why, observed).map(|news| news.about(child_of(owner, child))),
        Step::Delete { kind: Kind::Pod, name, uid, why } => {
            let about = reference(owner, Kind::Pod, name, Some(uid));
            Some(of_stop(name, *why, desired, observed)?.about(about))
        }
        Step::Delete { kind: Kind::PersistentVolumeClaim, name, why: Why::Dismissed, .. } => {
            Some(News::good("BrokerLeft", format!("a broker has left: its empty volume {name} is deleted")))
        }
        Step::Unregister { broker }
            if desired.lost.brokers.contains_key(broker) || desired.lost.bare.contains(broker) =>
        {
            let note = format!("broker {broker} was lost: others hold its replicas, and the cluster has forgotten it");
            Some(News::good("BrokerReplaced", note))
        }
        Step::Unregister { broker } => {
            let note = format!("broker {broker} holds nothing and does not run: the cluster has forgotten it");
            Some(News::good("BrokerUnregistered", note))
        }
        Step::CreateShards
        | Step::Certify { .. }
        | Step::Mend { .. }
        | Step::Delete { .. }
        | Step::Move { .. }
        | Step::Pace { .. }
        | Step::Release { .. } => None,
    };
    steps.iter().filter_map(news).collect()
}

fn reference(owner: &Owner, kind: Kind, name: &str, uid: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some(kind.resource().api_version),
        kind: Some(kind.name().to_owned()),
        namespace: Some(owner.namespace.clone()),
        name: Some(name.to_owned()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    }
}

fn child_of(owner: &Owner, child: &Child) -> ObjectReference {
    reference(owner, child.kind, &child.name, None)
}

fn of_apply(child: &Child, why: Why, observed: &Observed) -> Option<News> {
    let name = &child.name;
    let size =
        |object: &Value| object["spec"]["resources"]["requests"]["storage"].as_str().unwrap_or_default().to_owned();
    match (child.kind, why) {
        (Kind::PersistentVolumeClaim, Why::Missing) => {
            let broker = child.manifest.broker()?;
            let known = observed.documents.summary().is_some_and(|summary| summary.registered.contains(&broker));
            let pool = child.manifest.label(names::POOL_LABEL).unwrap_or_default();
            (!known)
                .then(|| News::good("BrokerAdded", format!("broker {broker} joins pool {pool}, with volume {name}")))
        }
        (Kind::PersistentVolumeClaim, Why::Changed) => {
            let (was, is) = (size(observed.get(child.kind, name)?), size(&child.manifest));
            (was != is).then(|| News::good("VolumeGrown", format!("volume {name} grows from {was} to {is}")))
        }
        (Kind::Pod, Why::Missing) => Some(News::good("BrokerStarted", format!("Pod {name} is made"))),
        _ => None,
    }
}

fn of_stop(name: &str, why: Why, desired: &Desired, observed: &Observed) -> Option<News> {
    let note = match why {
        Why::Outdated => {
            let wanted = desired.children.iter().find(|child| child.kind == Kind::Pod && child.name == name)?;
            format!("Pod {name} is restarted: {}", cause(observed.get(Kind::Pod, name)?, &wanted.manifest))
        }
        Why::Idle => format!("Pod {name} did not run and is not what is declared any more: it is made anew"),
        Why::Ended => format!("Pod {name} has ended: it is made anew"),
        Why::Dismissed => {
            return Some(News::good("BrokerStopped", format!("Pod {name} is stopped: its broker leaves")));
        }
        Why::Hibernated => {
            return Some(News::good("BrokerStopped", format!("Pod {name} is stopped: the Cluster hibernates")));
        }
        Why::Missing | Why::Changed | Why::Edited | Why::Orphaned | Why::Predecessor => return None,
    };
    Some(News::good("BrokerRestarted", note))
}

/// Why a Pod is not what is wanted.
fn cause(pod: &Value, wanted: &Value) -> String {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    let differs = |key: &str| pod.annotation(key) != wanted.annotation(key);
    let (was, is) = (image(pod), image(wanted));
    if was != is {
        return format!("image {was} becomes {is}");
    }
    if let Some(value) = pod.annotation(names::RESTART) {
        return format!("it is annotated {}={value}", names::RESTART);
    }
    match wanted.annotation(names::RESTARTED) {
        Some(value) if differs(names::RESTARTED) => format!("the Cluster is annotated {}={value}", names::RESTART),
        _ if is_declared_otherwise(pod, wanted) => "its declaration has changed".to_owned(),
        _ => "this operator makes it otherwise".to_owned(),
    }
}

/// What to tell of a status that follows another one.
pub(super) fn of_status(before: Option<&ClusterStatus>, after: &ClusterStatus) -> Vec<News> {
    let change = Change { before, after };
    let mut news = Vec::new();
    if let Some(stalled) = change.to("Stalled").filter(|one| one.status == "True") {
        news.push(News::warning(&stalled.reason, &stalled.message));
    }
    news.extend(change.pause());
    news.extend(change.sleep());
    news.extend(change.ready());
    news.extend(change.roll());
    news.extend(change.rebalance());
    news.extend(change.loss());
    news.extend(change.authority());
    if let Some(pending) = change.to("UpdatePending").filter(|one| one.status == "True") {
        // The others are as they should be, or pass.
        let warning = [Reason::RollHalted, Reason::StopUnconfirmed].iter().any(|one| pending.reason == one.as_str());
        news.push(News { warning, ..News::good(&pending.reason, &pending.message) });
    }
    if let Some(offline) = change.to("DataSafe").filter(|one| one.reason == Reason::PartitionsOffline.as_str()) {
        news.push(News::warning(&offline.reason, &offline.message));
    }
    news
}

/// Two statuses, one after the other.
struct Change<'a> {
    before: Option<&'a ClusterStatus>,
    after: &'a ClusterStatus,
}

fn condition<'a>(status: &'a ClusterStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|one| one.type_ == kind)
}

fn has(status: Option<&ClusterStatus>, kind: &str, reason: Reason) -> bool {
    status.and_then(|status| condition(status, kind)).is_some_and(|one| one.reason == reason.as_str())
}

fn does(status: Option<&ClusterStatus>, kind: &str) -> bool {
    let operation = status.and_then(|status| status.operation.as_ref());
    operation.is_some_and(|operation| operation.kind.as_deref() == Some(kind))
}

impl<'a> Change<'a> {
    /// A condition, if its status or its reason is another one than before.
    fn to(&self, kind: &str) -> Option<&'a Condition> {
        let before = self.before.map_or(&[][..], |before| &before.conditions);
        changed(before, &self.after.conditions, kind)
    }

    fn pause(&self) -> Option<News> {
        let (was, is) =
            (has(self.before, "Reconciling", Reason::Paused), has(Some(self.after), "Reconciling", Reason::Paused));
        match (was, is) {
            (false, true) => Some(News::good("Paused", format!("nothing is changed while {} is true", names::PAUSE))),
            (true, false) => Some(News::good("Resumed", format!("{} is not true any more", names::PAUSE))),
            (true, true) | (false, false) => None,
        }
    }

    fn authority(&self) -> Option<News> {
        let rotates = |status: Option<&ClusterStatus>| has(status, "CertificatesValid", Reason::AuthorityRotating);
        match (rotates(self.before), rotates(Some(self.after))) {
            (false, true) => Some(News::good("RotationBegun", "the certificate authority is replaced")),
            (true, false) => {
                let done = has(Some(self.after), "CertificatesValid", Reason::CertificatesCurrent);
                done.then(|| News::good("RotationDone", "every broker shows what the new authority has signed"))
            }
            (true, true) | (false, false) => None,
        }
    }

    fn sleep(&self) -> Option<News> {
        let sleeps = |status: Option<&ClusterStatus>| has(status, "Ready", Reason::Hibernated);
        let done = |status: Option<&ClusterStatus>| sleeps(status) && !does(status, "Hibernate");
        if done(Some(self.after)) && !done(self.before) {
            return Some(News::good("Hibernated", "no broker runs; volumes, metadata and Services stay"));
        }
        // One whose spec is refused meanwhile is not awake.
        let woken = sleeps(self.before) && !sleeps(Some(self.after)) && does(Some(self.after), "Create");
        woken.then(|| News::good("Woken", format!("{} is not true any more: the brokers start", names::HIBERNATE)))
    }

    fn ready(&self) -> Option<News> {
        let is_ready = |one: &Condition| one.status == "True";
        let was = self.before.and_then(|before| condition(before, "Ready")).is_some_and(is_ready);
        let now = condition(self.after, "Ready")?;
        match (was, is_ready(now)) {
            (false, true) => Some(News::good("Ready", &now.message)),
            (true, false) if now.reason != Reason::Hibernated.as_str() => {
                Some(News::warning(&now.reason, &now.message))
            }
            _ => None,
        }
    }

    fn loss(&self) -> Option<News> {
        let begins = !does(self.before, "Replace") && does(Some(self.after), "Replace");
        let operation = self.after.operation.as_ref().filter(|_| begins)?;
        Some(News::warning("BrokerLost", operation.reason.clone().unwrap_or_default()))
    }

    fn rebalance(&self) -> Option<News> {
        match (does(self.before, "Rebalance"), does(Some(self.after), "Rebalance")) {
            (false, true) => {
                let operation = self.after.operation.as_ref()?;
                Some(News::good("RebalanceBegun", operation.reason.clone().unwrap_or_default()))
            }
            (true, false) => {
                let balanced = condition(self.after, "Balanced").is_some_and(|one| one.status == "True");
                balanced.then(|| News::good("RebalanceDone", "every broker holds its share of replicas"))
            }
            (true, true) | (false, false) => None,
        }
    }

    fn roll(&self) -> Option<News> {
        match (does(self.before, "Roll"), does(Some(self.after), "Roll")) {
            (false, true) => {
                let operation = self.after.operation.as_ref()?;
                Some(News::good("RollBegun", operation.reason.clone().unwrap_or_default()))
            }
            (true, false) => {
                let outdated: i32 = self.after.pools.iter().filter_map(|pool| pool.outdated).sum();
                (outdated == 0).then(|| News::good("RollDone", "every broker runs what is declared"))
            }
            (true, true) | (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests;
