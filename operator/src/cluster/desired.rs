//! What a Cluster should be made of: every child, from `spec` and a few facts.
//!
//! Owns which brokers there are, and the composition; each kind of child has a file of its own. Pure: no IO, no clock, no
//! randomness. Must never give an id of an earlier broker to a new one, nor leave out a broker that may hold a record.

use std::collections::BTreeMap;

use ottla_crds::Cluster;
use ottla_crds::cluster::{Listener, ListenerType, Pool, Rebalance, Updates};

use super::certificates::Holder;
use super::check::check;
use super::child::{Child, Owner};
use super::kind::Kind;
use super::lost::Lost;
use super::names;
use super::observed::Facts;
use super::reason::{Reason, Refusal};

mod access;
mod config;
mod network;
mod pod;
mod storage;

pub use config::{bootstrap_servers, servers};
pub use storage::filled;

#[cfg(test)]
mod tests;

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The brokers' image, without its tag.
    pub image: String,
    /// The version that a new Cluster runs when it does not say.
    pub version: String,
}

/// A broker that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: i32,
    /// Its pool.
    pub pool: String,
    /// Its Pod.
    pub pod: String,
    /// Its volume's claim.
    pub claim: String,
    /// It is to leave, and still holds replicas.
    pub leaves: bool,
    /// The label of its Pod that says which zone it is in.
    pub rack: Option<String>,
}

/// What should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Whose it is.
    pub owner: Owner,
    /// Every child, in the order in which they are created.
    pub children: Vec<Child>,
    /// Every broker, by id.
    pub brokers: BTreeMap<i32, Seat>,
    /// Brokers that leave and whose pool is not declared any more: what they have stays as it is.
    pub kept: Vec<i32>,
    /// Brokers that leave and are proven to hold nothing.
    pub dismissed: Vec<i32>,
    /// Brokers that are lost: others take their place.
    pub lost: Lost,
    /// The image that brokers should run.
    pub image: String,
    /// When brokers may be restarted, and how many together.
    pub updates: Updates,
    /// When replicas are moved, and how fast.
    pub rebalance: Rebalance,
    /// A person has asked that no broker run.
    pub hibernates: bool,
    /// Who shows a certificate, and the Secret that it is in.
    pub holders: BTreeMap<Holder, String>,
    /// By which a person asks for another certificate authority.
    pub rotate: Option<String>,
}

impl Desired {
    /// Every Secret of the cluster.
    pub fn secrets(&self) -> Vec<String> {
        let name = &self.owner.name;
        self.holders.values().cloned().chain([names::authority(name), names::authorities(name)]).collect()
    }

    /// The Pod of a broker.
    pub fn pod(&self, seat: &Seat) -> Option<&Child> {
        self.children.iter().find(|child| child.kind == Kind::Pod && child.name == seat.pod)
    }
}

/// Everything that `cluster` should be made of.
///
/// # Errors
/// The [`Refusal`] that a person has to do something about.
pub fn desired(cluster: &Cluster, facts: &Facts, settings: &Settings) -> Result<Desired, Refusal> {
    check(cluster)?;
    let owner = owner(cluster);
    let image = match (&cluster.spec.version, &facts.image) {
        (Some(version), _) => format!("{}:{version}", settings.image),
        (None, Some(running)) => running.clone(),
        (None, None) => format!("{}:{}", settings.image, settings.version),
    };
    let listeners = listeners(cluster);
    let seating = Seating::of(cluster, facts);
    let mut children = access::children(&owner, facts);
    let properties = config::brokers(&owner, cluster, &listeners);
    children.push(properties.config.clone());
    children.push(config::clients(&owner, &listeners, &facts.outside));
    children.extend(network::children(&owner, cluster, &listeners));
    children.extend(network::outside(&owner, &listeners, &seating.ids()));
    let hibernates = is_asked(cluster, names::HIBERNATE);
    // Of brokers that are not to run none has to stay.
    let pods = if hibernates { 0 } else { seating.pods() };
    children.push(storage::disruption_budget(&owner, pods, facts.steady));
    for (pool, seat) in seating.seats(cluster) {
        let disk = storage::Disk { owner: &owner, cluster, pool, facts, image: &image };
        children.push(storage::claim(&disk, seat));
        let recipe = pod::Recipe {
            owner: &owner,
            cluster,
            pool,
            listeners: &listeners,
            image: &image,
            properties: &properties,
            outside: &facts.outside,
        };
        children.push(recipe.pod(seat));
    }
    for seat in seating.brokers.values() {
        if let Some(found) = facts.volumes.get(&seat.id).filter(|found| **found != seat.claim) {
            let message = format!(
                "spec.pools[{}].storage.volumes: broker {} keeps its records in {found}; a volume cannot get another name: give it \
                 its name back, or add a pool",
                seat.pool, seat.id
            );
            return Err(Refusal::new(Reason::VolumeImmutable, message));
        }
    }
    children.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let holders = holders(&owner, &seating, facts);
    let Seating { brokers, kept, dismissed, .. } = seating;
    let lost = facts.lost.clone();
    let (updates, rebalance) = (cluster.spec.updates.clone(), cluster.spec.rebalance.clone());
    let rotate = cluster.metadata.annotations.as_ref().and_then(|all| all.get(names::ROTATE)).cloned();
    Ok(Desired {
        owner,
        children,
        brokers,
        kept,
        dismissed,
        lost,
        image,
        updates,
        rebalance,
        hibernates,
        holders,
        rotate,
    })
}

/// Also brokers whose pool is not declared any more, for as long as they stay.
fn holders(owner: &Owner, seating: &Seating, facts: &Facts) -> BTreeMap<Holder, String> {
    let of_pools = facts.seats.iter().flat_map(|(pool, ids)| ids.iter().map(move |id| (*id, pool)));
    let kept = of_pools.filter(|(id, _)| seating.kept.contains(id));
    let kept = kept.map(|(id, pool)| (id, names::pod(&owner.name, pool, id)));
    let seated = seating.brokers.values().map(|seat| (seat.id, seat.pod.clone()));
    let brokers = seated.chain(kept).map(|(id, pod)| (Holder::Broker(id), names::certificate(&pod)));
    brokers.chain([(Holder::Operator, names::operator_certificate(&owner.name))]).collect()
}

/// Whether a person has set that annotation to `true`.
pub fn is_asked(cluster: &Cluster, annotation: &str) -> bool {
    let annotations = cluster.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(annotation)).is_some_and(|value| value == "true")
}

/// Who the children of `cluster` belong to.
pub fn owner(cluster: &Cluster) -> Owner {
    let metadata = &cluster.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Owner { name: text(&metadata.name), namespace: text(&metadata.namespace), uid: text(&metadata.uid) }
}

/// The declared listeners, or the one that there is without any.
pub fn listeners(cluster: &Cluster) -> Vec<Listener> {
    if !cluster.spec.listeners.is_empty() {
        return cluster.spec.listeners.clone();
    }
    vec![Listener {
        name: "internal".to_owned(),
        port: names::DEFAULT_PORT,
        kind: ListenerType::Internal,
        tls: None,
        authentication: Vec::new(),
        bootstrap: None,
        broker_template: None,
        insecure: false,
    }]
}

/// Who sits where.
struct Seating {
    brokers: BTreeMap<i32, Seat>,
    kept: Vec<i32>,
    dismissed: Vec<i32>,
    /// How many of the dismissed are not even registered.
    forgotten: usize,
}

impl Seating {
    fn of(cluster: &Cluster, facts: &Facts) -> Self {
        let mut seating = Self { brokers: BTreeMap::new(), kept: Vec::new(), dismissed: Vec::new(), forgotten: 0 };
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        // Unknown is not empty.
        let is_empty = |id: i32| facts.held.as_ref().is_some_and(|held| held.get(&id).is_none_or(|count| *count == 0));
        let mut next_id = facts.next_id;
        // What was forgotten is not called back: its volume goes.
        let seats = |pool: &String| facts.seats.get(pool).into_iter().flatten().copied();
        let is_lost = |id: &i32| facts.lost.brokers.contains_key(id);
        let forgotten = |id: &i32| facts.forgotten.contains(id);
        seating.dismissed.extend(facts.seats.keys().flat_map(seats).filter(forgotten));
        seating.forgotten = seating.dismissed.len();
        // Nor is a broker kept whose volume goes with its Pod, once that volume is of no use.
        let doomed = |id: &i32| facts.going.contains(id) && is_empty(*id) && !forgotten(id);
        seating.dismissed.extend(facts.seats.keys().flat_map(seats).filter(doomed));
        let remains = |id: &i32| !forgotten(id) && !doomed(id) && !is_lost(id);
        for pool in &cluster.spec.pools {
            let replicas = usize::try_from(pool.replicas).unwrap_or(0);
            let present: Vec<i32> = seats(&pool.name).filter(remains).collect();
            for (position, id) in present.iter().enumerate() {
                let leaves = position >= replicas;
                if leaves && is_empty(*id) {
                    seating.dismissed.push(*id);
                } else {
                    seating.sit(name, pool, *id, leaves);
                }
            }
            for _ in present.len()..replicas {
                seating.sit(name, pool, next_id, false);
                next_id += 1;
            }
        }
        let declared = |pool: &String| cluster.spec.pools.iter().any(|known| known.name == *pool);
        for id in facts.seats.keys().filter(|pool| !declared(pool)).flat_map(seats).filter(remains) {
            if is_empty(id) { seating.dismissed.push(id) } else { seating.kept.push(id) }
        }
        seating
    }

    fn sit(&mut self, cluster: &str, pool: &Pool, id: i32, leaves: bool) {
        let pod = names::pod(cluster, &pool.name, id);
        let volume = pool.storage.volumes.first().map_or("data", |volume| volume.name.as_str());
        let claim = names::claim(volume, &pod);
        self.brokers.insert(id, Seat { id, pool: pool.name.clone(), pod, claim, leaves, rack: pool.rack.clone() });
    }

    /// How many brokers may have a Pod: also those that are to go.
    fn pods(&self) -> usize {
        self.brokers.len() + self.kept.len() + self.dismissed.len() - self.forgotten
    }

    /// Every broker that may have a Pod, those that are to go included.
    fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.brokers.keys().chain(&self.kept).chain(&self.dismissed).copied().collect();
        ids.sort_unstable();
        ids
    }

    fn seats<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = (&'a Pool, &'a Seat)> {
        let pool = |seat: &Seat| cluster.spec.pools.iter().find(|pool| pool.name == seat.pool);
        self.brokers.values().filter_map(move |seat| Some((pool(seat)?, seat)))
    }
}
