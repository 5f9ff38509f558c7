//! A cluster as it is: its objects and its metadata, as the API server showed them.
//!
//! Owns the view that decisions are made on, and the facts that follow from it. Pure. Nothing of it outlives a reconcile:
//! half-done work is found again by looking.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ottla_core::types::ClusterId;
use serde_json::Value;

use super::certificates::{Process, Reported};
use super::child::Seen;
use super::documents::Documents;
use super::kind::Kind;
use super::lost::{Hosts, Lost};
use super::names;
use super::outside::Outside;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Every object with the cluster's label, and every object of a child's name, whoever owns it.
    pub objects: BTreeMap<(Kind, String), Value>,
    /// The cluster's metadata.
    pub documents: Documents,
    /// What brokers say of being stopped; who is not in it has not been asked or has not answered.
    pub can_stop: BTreeMap<i32, CanStop>,
    /// Several of which the controller has said that all of them may be stopped together; none if it was not asked.
    pub together: BTreeSet<i32>,
    /// What brokers say of their certificates; who is not in it has not answered.
    pub reported: BTreeMap<i32, Reported>,
    /// Classes, by the names that pools give them, whose volumes can be one Pod's alone; none if it was not asked.
    pub exclusive: BTreeSet<Option<String>>,
    /// The machines of brokers that do not serve.
    pub hosts: Hosts,
    /// Brokers that are lost, as they were judged.
    pub lost: Lost,
    /// The address of each node that may be read, by its name; none if nobody connects to nodes.
    pub nodes: BTreeMap<String, String>,
    /// When this was.
    pub now: Timestamp,
}

/// Whether a broker may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanStop {
    /// Nothing would be lost or unavailable.
    Yes,
    /// Something would.
    No,
}

impl Observed {
    /// An object.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Every object of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        self.objects
            .iter()
            .filter(move |((found, _), _)| *found == kind)
            .map(|((_, name), value)| (name.as_str(), value))
    }

    /// What follows from it for what should be.
    pub fn facts(&self, cluster: &str) -> Facts {
        let mut seats: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        let mut volumes = BTreeMap::new();
        for kind in [Kind::PersistentVolumeClaim, Kind::Pod] {
            for (name, object) in self.of(kind) {
                let Some((pool, id)) = seat(cluster, kind, name, object) else { continue };
                seats.entry(pool).or_default().insert(id);
                if kind == Kind::PersistentVolumeClaim {
                    volumes.insert(id, name.to_owned());
                }
            }
        }
        let summary = self.documents.summary();
        let known = summary.into_iter().flat_map(|summary| summary.registered.iter().chain(&summary.retired));
        let highest = known.chain(seats.values().flatten()).max().copied();
        Facts {
            next_id: highest.map_or(0, |id| id + 1),
            going: self.going(),
            lost: self.lost.clone(),
            seats,
            volumes,
            image: self.image(),
            modes: self.modes(),
            filled: self.filled(),
            exclusive: self.exclusive.clone(),
            shard_count: summary.map(|summary| summary.shard_count),
            held: summary.map(|summary| summary.held.clone()),
            forgotten: summary
                .map(|summary| summary.retired.difference(&summary.registered).copied().collect())
                .unwrap_or_default(),
            outside: Outside::of(self),
            steady: match &self.documents {
                Documents::Absent | Documents::Begun => true,
                Documents::Damaged(_) => false,
                Documents::Whole(summary) => summary.under_replicated == 0 && summary.offline == 0,
            },
        }
    }

    /// Every broker that has a Pod, and whether that was made with certificates.
    pub fn processes(&self) -> BTreeMap<i32, Process> {
        let process = |(name, pod): (&str, &Value)| {
            if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
                return None;
            }
            let certificate = names::certificate(name);
            let volumes = pod["spec"]["volumes"].as_array();
            let mounts =
                volumes.is_some_and(|all| all.iter().any(|one| one["secret"]["secretName"] == certificate.as_str()));
            Some((pod.broker()?, if mounts { Process::Newer } else { Process::Older }))
        };
        self.of(Kind::Pod).filter_map(process).collect()
    }

    /// The cluster's id, once it has metadata.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        ClusterId::parse_kafka(&self.documents.summary()?.cluster_id)
    }

    /// Registered brokers of which neither a Pod nor a volume was seen: somebody may have taken their labels off.
    pub fn unseen(&self, cluster: &str) -> Vec<i32> {
        let seats = self.facts(cluster).seats;
        let registered = self.documents.summary().into_iter().flat_map(|summary| &summary.registered);
        registered.filter(|id| !seats.values().any(|ids| ids.contains(id))).copied().collect()
    }

    /// How each volume may be used.
    fn modes(&self) -> BTreeMap<String, Value> {
        let claims = self.of(Kind::PersistentVolumeClaim);
        claims.map(|(name, claim)| (name.to_owned(), claim["spec"]["accessModes"].clone())).collect()
    }

    /// Brokers whose volume somebody has deleted.
    fn going(&self) -> BTreeSet<i32> {
        let claims = self.of(Kind::PersistentVolumeClaim).filter(|(_, claim)| claim.is_going());
        claims.filter_map(|(_, claim)| claim.broker()).collect()
    }

    /// The volumes of brokers that have had their share.
    fn filled(&self) -> BTreeSet<String> {
        let claims = self.of(Kind::PersistentVolumeClaim);
        let filled = claims.filter(|(_, claim)| claim.annotation(names::FILLED).is_some());
        filled.map(|(name, _)| name.to_owned()).collect()
    }

    /// The image of most of the brokers' Pods; where there are none, of most of their volumes.
    fn image(&self) -> Option<String> {
        let pods = self.of(Kind::Pod).filter(|(_, pod)| pod.broker().is_some());
        let running = most(pods.filter_map(|(_, pod)| pod["spec"]["containers"][0]["image"].as_str()));
        running.or_else(|| {
            most(self.of(Kind::PersistentVolumeClaim).filter_map(|(_, claim)| claim.annotation(names::IMAGE)))
        })
    }
}

/// The most frequent text, the greater one of two as frequent.
fn most<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(text, count)| (*count, *text)).map(|(text, _)| text.to_owned())
}

/// The pool and the broker that an object belongs to: by its labels, or by its name if somebody has taken them off.
fn seat(cluster: &str, kind: Kind, name: &str, object: &Value) -> Option<(String, i32)> {
    if object.label(names::CLUSTER_LABEL).is_some_and(|label| label != cluster) {
        return None;
    }
    if let (Some(pool), Some(id)) = (object.label(names::POOL_LABEL), object.broker()) {
        return Some((pool.to_owned(), id));
    }
    let pod = if kind == Kind::PersistentVolumeClaim {
        name.split_once(&format!("-{cluster}-"))?.1
    } else {
        name.strip_prefix(&format!("{cluster}-"))?
    };
    let (pool, id) = pod.rsplit_once('-')?;
    Some((pool.to_owned(), id.parse().ok()?))
}

/// What `desired` needs to know beyond `spec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Which brokers each pool has, by their Pods and volumes.
    pub seats: BTreeMap<String, BTreeSet<i32>>,
    /// The claim that holds each broker's records.
    pub volumes: BTreeMap<i32, String>,
    /// The first id that no broker ever had.
    pub next_id: i32,
    /// The image that runs.
    pub image: Option<String>,
    /// The access modes of every claim that is there.
    pub modes: BTreeMap<String, Value>,
    /// Claims whose brokers have had their share of replicas.
    pub filled: BTreeSet<String>,
    /// Classes whose volumes can be one Pod's alone.
    pub exclusive: BTreeSet<Option<String>>,
    /// How many topic shards the metadata has; `None` when it is not whole.
    pub shard_count: Option<u32>,
    /// How many partitions each broker holds; `None` when the metadata is not whole.
    pub held: Option<BTreeMap<i32, u64>>,
    /// Brokers whose volume somebody has deleted.
    pub going: BTreeSet<i32>,
    /// Brokers that are lost.
    pub lost: Lost,
    /// Brokers that were unregistered, and hold nothing.
    pub forgotten: BTreeSet<i32>,
    /// Where it is reached from outside.
    pub outside: Outside,
    /// Every partition, if there is one, has a leader and all its in-sync replicas.
    pub steady: bool,
}
