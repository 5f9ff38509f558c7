//! Which brokers are lost: their node or their volume is gone, and has been for as long as `spec.repair` waits.
//!
//! Owns the judgement. Pure: the time is an argument, and since when something is so is read from what says it. A broker
//! that cannot run for another reason is not lost, nor one that the cluster still hears. Must never give one up that
//! may be the only one to have an acknowledged record.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use ottla_crds::Cluster;
use serde_json::Value;

use super::child::Seen;
use super::desired::is_asked;
use super::documents::Summary;
use super::kind::Kind;
use super::names;
use super::observed::Observed;
use super::plan::is_ready;
use super::reason::{Reason, Refusal};

#[cfg(test)]
mod tests;

/// How many partitions a sentence names.
const NAMED_MAX: usize = 5;
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What was seen of the machines that brokers run on or have to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Every node that was asked for.
    pub nodes: BTreeMap<String, Host>,
    /// By claim, the nodes that its volume can only be used on. None of a volume that can be used anywhere.
    pub homes: BTreeMap<String, Home>,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// It runs Pods, or may soon.
    Alive,
    /// There is none of that name.
    Gone,
    /// Nobody hears of it since then, or somebody has declared it out of service.
    Dead(Timestamp),
    /// Nodes may not be read.
    Unknown,
}

/// Where a volume can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// On these nodes; on none if all are gone.
    On(BTreeSet<String>),
    /// Volumes may not be read.
    Unknown,
}

/// What follows for brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Those that are given up, with the reason.
    pub brokers: BTreeMap<i32, String>,
    /// Those of which neither Pod nor volume is there, and which hold something.
    pub bare: BTreeSet<i32>,
    /// What keeps others from being given up.
    pub refusals: Vec<Refusal>,
}

/// What a node says of itself.
pub fn host(node: &Value) -> Host {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut taints = taints.filter_map(|taint| taint["key"].as_str());
    let dead = taints.any(|key| [UNREACHABLE, OUT_OF_SERVICE].contains(&key));
    match since(node, "Ready", |status| status != "True") {
        Some(time) if dead => Host::Dead(time),
        _ => Host::Alive,
    }
}

/// Since when a condition of an object has a status of that kind.
fn since(object: &Value, kind: &str, status: impl Fn(&str) -> bool) -> Option<Timestamp> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    let found = conditions.find(|one| one["type"] == kind && one["status"].as_str().is_some_and(&status))?;
    found["lastTransitionTime"].as_str()?.parse().ok()
}

/// Judges every broker of `cluster`.
pub fn judge(cluster: &Cluster, observed: &Observed) -> Lost {
    let mut lost = Lost::default();
    let Some(summary) = observed.documents.summary() else { return lost };
    // Of whoever sleeps nothing can be told.
    if is_asked(cluster, names::HIBERNATE) {
        return lost;
    }
    let after = SignedDuration::try_from(cluster.spec.repair.replace_lost_after.get()).unwrap_or(SignedDuration::MAX);
    let silent = |id: &i32| summary.layout.brokers.get(id).is_some_and(|node| !node.live);
    let mut candidates = BTreeMap::new();
    for (name, pod) in observed.of(Kind::Pod).filter(|(_, pod)| !is_ready(pod)) {
        let Some(id) = pod.broker().filter(silent) else { continue };
        match trouble(pod, observed) {
            Some((why, Some(since))) if observed.now.duration_since(since) >= after => {
                candidates.insert(id, why);
            }
            Some((why, None)) if stands_still(pod).is_some_and(|since| observed.now.duration_since(since) >= after) => {
                let message = format!(
                    "Pod {name} has not run for {} and {why}: bring its node back, or delete its volume and the Pod (--force) to \
                     have broker {id} replaced",
                    cluster.spec.repair.replace_lost_after
                );
                lost.refusals.push(Refusal::new(Reason::LostUnconfirmed, message));
            }
            Some(_) | None => {}
        }
    }
    let unseen = observed.unseen(cluster.metadata.name.as_deref().unwrap_or_default());
    let holds = |id: &i32| summary.held.get(id).is_some_and(|count| *count > 0);
    let bare: BTreeSet<i32> = unseen.into_iter().filter(|id| silent(id) && holds(id)).collect();
    let given_up: BTreeSet<i32> = candidates.keys().chain(&bare).copied().collect();
    for id in &given_up {
        let why = candidates.get(id).cloned();
        let why = why.unwrap_or_else(|| "it has neither Pod nor volume".to_owned());
        if let Some(refusal) = risk(summary, &given_up, *id, &why) {
            lost.refusals.push(refusal);
        } else if bare.contains(id) {
            lost.bare.insert(*id);
        } else {
            lost.brokers.insert(*id, why);
        }
    }
    lost
}

/// Since when a Pod does not run: it stopped being ready, or found no node.
fn stands_still(pod: &Value) -> Option<Timestamp> {
    since(pod, "Ready", |status| status == "False").or_else(|| since(pod, "PodScheduled", |status| status == "False"))
}

/// What keeps a Pod from ever running where it has to, and since when; no time if that cannot be known. Nothing if something
/// else does.
fn trouble(pod: &Value, observed: &Observed) -> Option<(String, Option<Timestamp>)> {
    let stopped = stands_still(pod)?;
    let hosts = &observed.hosts;
    if let Some(name) = pod["spec"]["nodeName"].as_str() {
        return match hosts.nodes.get(name)? {
            Host::Alive => None,
            Host::Gone => Some((format!("node {name} is gone"), Some(stopped))),
            Host::Dead(since) => Some((format!("node {name} does not answer"), Some(stopped.max(*since)))),
            // Whoever is told to go and does not: nothing on its node obeys.
            Host::Unknown if pod.is_going() => {
                Some((format!("this operator may not read node {name} to know why"), None))
            }
            Host::Unknown => None,
        };
    }
    let volumes = pod["spec"]["volumes"].as_array()?;
    let claim = volumes.iter().find_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())?;
    let found = observed.get(Kind::PersistentVolumeClaim, claim)?;
    if found["status"]["phase"] == "Lost" {
        return Some((format!("volume {claim} is lost"), Some(stopped)));
    }
    match hosts.homes.get(claim)? {
        Home::Unknown => Some((format!("this operator may not read where volume {claim} is"), None)),
        Home::On(nodes) => {
            let mut time = stopped;
            for node in nodes {
                match hosts.nodes.get(node) {
                    Some(Host::Gone) => {}
                    Some(Host::Dead(since)) => time = time.max(*since),
                    Some(Host::Alive | Host::Unknown) | None => return None,
                }
            }
            Some((format!("volume {claim} is on a node that is gone"), Some(time)))
        }
    }
}

/// What would be lost with a broker for good, if others are given up with it.
fn risk(summary: &Summary, given_up: &BTreeSet<i32>, id: i32, why: &str) -> Option<Refusal> {
    let layout = &summary.layout;
    let stays = |other: &i32| !given_up.contains(other) && layout.brokers.get(other).is_some_and(|node| node.live);
    let concerned = layout.spots().filter(|(.., spot)| spot.replicas.contains(&id) || spot.current.contains(&id));
    let alone: Vec<String> = concerned
        .filter(|(.., spot)| !spot.current.iter().any(stays))
        .map(|(topic, index, _)| format!("{topic}-{index}"))
        .collect();
    if alone.is_empty() {
        return None;
    }
    let more = match alone.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = alone.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "broker {id} is lost ({why}), and no other broker that serves has all that was acknowledged of partition(s) {named}{more}: nothing is \
         deleted or replaced; bring its node or volume back, or delete those topics"
    );
    Some(Refusal::new(Reason::DataAtRisk, message))
}

/// What has to be asked for: the nodes of Pods that do not serve, and the volumes of those that found no node.
pub fn questions(observed: &Observed) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let (mut nodes, mut volumes) = (BTreeSet::new(), BTreeMap::new());
    for (_, pod) in observed.of(Kind::Pod).filter(|(_, pod)| pod.label(names::BROKER_LABEL).is_some() && !is_ready(pod))
    {
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            nodes.insert(node.to_owned());
            continue;
        }
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
            let found = observed.get(Kind::PersistentVolumeClaim, claim);
            if let Some(name) = found.and_then(|found| found["spec"]["volumeName"].as_str()) {
                volumes.insert(claim.to_owned(), name.to_owned());
            }
        }
    }
    (nodes, volumes)
}
