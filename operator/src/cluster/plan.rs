//! What to do next, from what should be and what is.
//!
//! Owns the order: what brokers need before brokers, metadata before disks, disks before Pods. Pure: no IO, no clock.
//! Nothing is remembered from one plan to the next; whatever was half done is found by looking. Must never delete a disk
//! of a broker that is not proven empty, nor make metadata up for a cluster that had some.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::balance::Move;
use super::certificates::{Course, Order};
use super::child::{Child, Seen};
use super::desired::Desired;
use super::documents::Documents;
use super::kind::Kind;
use super::names;
use super::observed::Observed;
use super::reason::{Reason, Refusal};
use compare::{compare_amounts, covers};

mod certify;
mod compare;
mod hibernate;
mod moves;
mod roll;
mod sweep;

pub use moves::Throttle;
pub(super) use roll::{candidates, is_declared_otherwise};
pub use roll::{is_current, is_ready};

#[cfg(test)]
mod tests;

/// Why a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not there.
    Missing,
    /// It is not what is declared any more.
    Changed,
    /// Somebody has changed it.
    Edited,
    /// Nothing wants it any more.
    Orphaned,
    /// It belongs to an earlier Cluster of the same name.
    Predecessor,
    /// Its process has ended for good.
    Ended,
    /// It is outdated and does not run.
    Idle,
    /// It is outdated, and its broker may stop.
    Outdated,
    /// Its broker has left.
    Dismissed,
    /// A person wants that no broker runs.
    Hibernated,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the documents of a new cluster.
    CreateMetadata,
    /// Create the shards that a controller may not create.
    CreateShards,
    /// Apply a child whole.
    Apply {
        /// What.
        child: Child,
        /// Why.
        why: Why,
    },
    /// Draw a key, have its certificate signed, and apply the Secret of both.
    Certify {
        /// The Secret, without the two.
        secret: Child,
        /// What to draw it for.
        order: Order,
        /// When that was decided.
        now: Timestamp,
    },
    /// Put back labels, annotations and owner of a Pod, whose other fields cannot change.
    Mend {
        /// Its name.
        pod: String,
        /// What its metadata shall have.
        metadata: Value,
    },
    /// Delete an object, if it still is this one.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Why.
        why: Why,
    },
    /// Give partitions other replicas.
    Move {
        /// Which, and whom.
        moves: Vec<Move>,
        /// How fast.
        throttle: Throttle,
    },
    /// Have what moves already go as fast as is declared now.
    Pace {
        /// Bytes per second.
        rate: String,
        /// Brokers that have another rate.
        brokers: Vec<i32>,
    },
    /// Take throttles off.
    Release {
        /// Of which topics.
        topics: Vec<String>,
        /// Of which brokers.
        brokers: Vec<i32>,
    },
    /// Have the cluster forget a broker that holds nothing and does not run.
    Unregister {
        /// Its id.
        broker: i32,
    },
}

impl Step {
    /// Whether it is done at the brokers, not at the API server.
    pub fn is_at_brokers(&self) -> bool {
        matches!(self, Self::Move { .. } | Self::Pace { .. } | Self::Release { .. } | Self::Unregister { .. })
    }
}

impl Step {
    /// Whether more is to be done as soon as this is.
    pub fn is_first(&self) -> bool {
        matches!(self, Self::CreateMetadata | Self::Certify { order: Order::Authority { .. }, .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateMetadata => f.write_str("create metadata"),
            Self::CreateShards => f.write_str("create shards"),
            Self::Apply { child, why } => write!(f, "apply {} {}: {why:?}", child.kind.name(), child.name),
            Self::Certify { secret, order, .. } => write!(f, "certify Secret {}: {order:?}", secret.name),
            Self::Mend { pod, .. } => write!(f, "mend Pod {pod}"),
            Self::Delete { kind, name, why, .. } => write!(f, "delete {} {name}: {why:?}", kind.name()),
            Self::Move { moves, throttle } => {
                let Throttle { rate, brokers, topics } = throttle;
                if !(brokers.is_empty() && topics.is_empty()) {
                    write!(f, "throttle {topics:?} at brokers {brokers:?} to {rate} B/s; ")?;
                }
                let one = |one: &Move| format!("{}-{} to {:?}", one.topic, one.partition, one.replicas);
                write!(f, "move {}", moves.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Self::Pace { rate, brokers } => write!(f, "throttle brokers {brokers:?} to {rate} B/s"),
            Self::Release { topics, brokers } => write!(f, "throttle neither {topics:?} nor brokers {brokers:?}"),
            Self::Unregister { broker } => write!(f, "unregister broker {broker}"),
        }
    }
}

/// What is being done, in the words of `status.operation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which.
    pub kind: &'static str,
    /// How far.
    pub step: String,
    /// What it is about.
    pub reason: String,
}

/// Everything that follows from a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do now, in order.
    pub steps: Vec<Step>,
    /// What a person has to do something about.
    pub refusals: Vec<Refusal>,
    /// Why brokers run something older than what is wanted, if nothing is being done about it.
    pub pending: Option<Refusal>,
    /// What is being done.
    pub operation: Option<Operation>,
    /// What is to become of the certificates; `None` before there is metadata.
    pub certificates: Option<Course>,
    /// Something has been asked for and is not there yet.
    pub waits: bool,
}

/// What to do about the difference between `desired` and `observed`.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let brokers_later = |kind: Kind| matches!(kind, Kind::PersistentVolumeClaim | Kind::Pod);
    for child in desired.children.iter().filter(|child| !brokers_later(child.kind)) {
        plan.ensure(desired, observed, child);
    }
    if plan.metadata(desired, observed) && certify::plan(&mut plan, desired, observed) {
        for child in desired.children.iter().filter(|child| child.kind == Kind::PersistentVolumeClaim) {
            // Who does not run needs no new disk.
            if !desired.hibernates || observed.get(child.kind, &child.name).is_some() {
                plan.ensure_claim(desired, observed, child);
            }
        }
        if desired.hibernates {
            hibernate::plan(&mut plan, desired, observed);
        } else {
            roll::plan(&mut plan, desired, observed);
            if is_left_over(desired, observed) {
                plan.hold_pods();
            }
            moves::plan(&mut plan, desired, observed);
        }
    }
    sweep::plan(&mut plan, desired, observed);
    plan
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    /// Of an earlier Cluster of the same name.
    Predecessor,
    Foreign,
}

fn whose(desired: &Desired, kind: Kind, object: &Value) -> Whose {
    let owner = &desired.owner;
    match object.owner() {
        Some((uid, _)) if uid == owner.uid => Whose::Ours,
        // A disk is taken over: its records are the cluster's, whichever object declares it.
        Some((_, name)) if name == owner.name && kind == Kind::PersistentVolumeClaim => Whose::Ours,
        Some((_, name)) if name == owner.name => Whose::Predecessor,
        Some(_) => Whose::Foreign,
        None => {
            let others = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
            let labelled = object.label(names::CLUSTER_LABEL) == Some(&owner.name);
            // A person's own object may carry the label; only what was applied by us is ours without its owner.
            let stays = matches!(kind, Kind::PersistentVolumeClaim | Kind::Lease);
            let made = stays || object.annotation(names::APPLIED).or(object.annotation(names::REVISION)).is_some();
            if !others && labelled && made { Whose::Ours } else { Whose::Foreign }
        }
    }
}

/// Whether something that Pods need is an earlier Cluster's, or on its way out: what is there now goes, and takes the place of
/// what this Cluster needs until it has gone.
fn is_left_over(desired: &Desired, observed: &Observed) -> bool {
    let children = desired.children.iter().map(|child| (child.kind, child.name.clone()));
    let secrets = desired.secrets().into_iter().map(|name| (Kind::Secret, name));
    let mut needed = children.filter(|(kind, _)| kind.serves_pods()).chain(secrets);
    needed.any(|(kind, name)| {
        let found = observed.get(kind, &name);
        found.is_some_and(|found| found.is_going() || whose(desired, kind, found) == Whose::Predecessor)
    })
}

impl Plan {
    /// Makes no Pod now, and stops none that would have to be made again.
    fn hold_pods(&mut self) {
        let is_held = |step: &Step| {
            matches!(step, Step::Apply { child, .. } if child.kind == Kind::Pod)
                || matches!(step, Step::Delete { kind: Kind::Pod, why: Why::Outdated, .. })
        };
        let before = self.steps.len();
        self.steps.retain(|step| !is_held(step));
        self.waits |= self.steps.len() < before;
    }

    fn refuse(&mut self, reason: Reason, message: String) {
        self.refusals.push(Refusal::new(reason, message));
    }

    fn delete(&mut self, kind: Kind, name: &str, object: &Value, why: Why) {
        // An earlier Cluster's Lease goes with that Cluster, by Kubernetes; the operator may not delete any.
        if object.is_going() || kind == Kind::Lease && why == Why::Predecessor {
            self.waits = true;
        } else {
            self.steps.push(Step::Delete { kind, name: name.to_owned(), uid: object.uid().to_owned(), why });
        }
    }

    /// The object of `child`'s name, if there is one that may be compared with it. Has it created if there is none.
    fn present<'a>(&mut self, desired: &Desired, observed: &'a Observed, child: &Child) -> Option<&'a Value> {
        let (kind, name) = (child.kind, &child.name);
        let Some(found) = observed.get(kind, name) else {
            self.steps.push(Step::Apply { child: child.clone(), why: Why::Missing });
            return None;
        };
        match whose(desired, kind, found) {
            Whose::Foreign => {
                let way_out = if kind == Kind::PersistentVolumeClaim {
                    format!(
                        "delete it, or label it {}={} to have it taken over",
                        names::CLUSTER_LABEL,
                        desired.owner.name
                    )
                } else {
                    "delete it, or give the Cluster another name".to_owned()
                };
                self.refuse(Reason::NameTaken, format!("{} {name} is not this Cluster's; {way_out}", kind.name()));
                None
            }
            Whose::Predecessor => {
                self.delete(kind, name, found, Why::Predecessor);
                None
            }
            Whose::Ours => Some(found),
        }
    }

    fn ensure(&mut self, desired: &Desired, observed: &Observed, child: &Child) {
        let Some(found) = self.present(desired, observed, child) else { return };
        if found.is_going() {
            self.waits = true;
            return;
        }
        let wanted = child.stamped();
        if !covers(found, &wanted) {
            let same = found.annotation(names::APPLIED) == wanted.annotation(names::APPLIED);
            let why = if same { Why::Edited } else { Why::Changed };
            self.steps.push(Step::Apply { child: child.clone(), why });
        }
    }

    /// A disk: it grows, and changes in nothing else.
    fn ensure_claim(&mut self, desired: &Desired, observed: &Observed, child: &Child) {
        if let Some(found) = observed.get(Kind::PersistentVolumeClaim, &child.name) {
            let (was, wanted) = (&found["spec"], &child.manifest["spec"]);
            let size = |spec: &Value| spec["resources"]["requests"]["storage"].as_str().unwrap_or_default().to_owned();
            let class = |spec: &Value| spec["storageClassName"].as_str().map(str::to_owned);
            if compare_amounts(&size(was), &size(wanted)).is_some_and(std::cmp::Ordering::is_gt) {
                let (was, wanted) = (size(was), size(wanted));
                let message =
                    format!("volume {} has {was}; it cannot shrink to {wanted}: declare {was} or more", child.name);
                return self.refuse(Reason::VolumeImmutable, message);
            }
            if let (Some(was), Some(wanted)) = (class(was), class(wanted))
                && was != wanted
            {
                let message = format!(
                    "volume {} is of StorageClass {was} and cannot become {wanted}: declare {was}, or add a pool",
                    child.name
                );
                return self.refuse(Reason::VolumeImmutable, message);
            }
            if found.is_going() {
                let message = format!(
                    "volume {} is being deleted, and goes once its Pod stops: move its broker's replicas to others before that",
                    child.name
                );
                return self.refuse(Reason::VolumeGoing, message);
            }
        }
        self.ensure(desired, observed, child);
    }

    /// Whether there is metadata for brokers to start with.
    fn metadata(&mut self, desired: &Desired, observed: &Observed) -> bool {
        let claims = observed.of(Kind::PersistentVolumeClaim);
        let has_disk =
            claims.into_iter().any(|(_, claim)| whose(desired, Kind::PersistentVolumeClaim, claim) == Whose::Ours);
        let lost = |what: &str| {
            let name = &desired.owner.name;
            format!("{what}; nothing is created or deleted: restore it, or run `ottla cluster recover-metadata {name}`")
        };
        match &observed.documents {
            // Disks are created after the metadata: whoever has one had metadata.
            Documents::Absent | Documents::Begun if has_disk => {
                self.refuse(Reason::MetadataLost, lost("the cluster has volumes, and its metadata is gone"));
                false
            }
            Documents::Absent | Documents::Begun => {
                self.steps.push(Step::CreateMetadata);
                self.waits = true;
                false
            }
            Documents::Damaged(what) => {
                self.refuse(Reason::MetadataLost, lost(&format!("the cluster's metadata has lost a part: {what}")));
                false
            }
            Documents::Whole(summary) => {
                if summary.grows && !summary.has_room {
                    self.steps.push(Step::CreateShards);
                }
                true
            }
        }
    }
}

/// What of a Pod can be put back without a restart.
fn mendable(pod: &Child) -> Value {
    let metadata = &pod.manifest["metadata"];
    json!({
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "ownerReferences": metadata["ownerReferences"],
    })
}
