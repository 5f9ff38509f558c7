//! What to do next for one Topic, from what it declares and what its Cluster has.
//!
//! Owns the policies: adoption, drift, deletion, and what two Topics for one topic mean. Pure: no IO, no clock. Nothing is remembered
//! from one plan to the next but the record on the resource. Must never delete a topic that the record does not name, nor
//! one that another Topic declares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::ResourceExt;
use ottla_core::config::{BrokerConfig, ConfigError, check_topic};
use ottla_core::controller::{check_name, is_internal};
use ottla_core::metadata::ExplicitConfig;
use ottla_crds::Topic;
use ottla_crds::topic::{AdoptionPolicy, DeletionPolicy, Drift, DriftPolicy};

use super::claims::Claim;
use super::declared::{Declared, FINALIZER, PARTITIONS, RECORD, REPLICAS, Record, words};
use super::reason::{Reason, Refusal};
use super::replicas::resize;
use super::world::{Found, Sight, World};
use crate::cluster::layout::{THROTTLED, THROTTLES};
use crate::cluster::names::PAUSE;

#[cfg(test)]
mod tests;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the operator's own finalizer and record onto the resource, or take them off.
    Note {
        /// Whether the resource is kept until its topic is deleted.
        finalizer: bool,
        /// What was applied.
        record: Option<Record>,
    },
    /// Create the topic as declared.
    Create(Declared),
    /// Add partitions.
    AddPartitions {
        /// How many there are.
        from: i32,
        /// How many there should be.
        to: i32,
    },
    /// Change what is set: a value, or `None` for the default.
    Configure(BTreeMap<String, Option<String>>),
    /// Give partitions other replicas.
    Move(BTreeMap<i32, Vec<i32>>),
    /// Delete the topic of this id.
    Delete(String),
}

/// How a topic stands to its declaration once the steps are done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing to wait for.
    #[default]
    Settled,
    /// It is not there or not usable yet, which passes by itself.
    Waiting(Reason, String),
    /// Replicas move.
    Moving(String),
    /// A person has to do something.
    Refused(Refusal),
}

/// What to do, and what to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in order.
    pub steps: Vec<Step>,
    /// How the topic stands.
    pub state: State,
    /// Where it differs and is left so.
    pub drift: Vec<Drift>,
    /// A person has asked that nothing be changed.
    pub paused: bool,
}

impl Plan {
    fn of(steps: impl IntoIterator<Item = Step>, state: State) -> Self {
        Self { steps: steps.into_iter().collect(), state, ..Self::default() }
    }

    fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::of([], State::Refused(Refusal::new(reason, message)))
    }

    /// What may be done now: nothing while paused.
    pub fn allowed(&self) -> &[Step] {
        if self.paused { &[] } else { &self.steps }
    }
}

/// What to do for `claim`, whose Cluster looks like `sight`.
pub fn plan(claim: Claim<'_>, sight: &Sight) -> Plan {
    let topic = claim.topic;
    let paused = topic.annotations().get(PAUSE).is_some_and(|value| value == "true");
    let going = topic.metadata.deletion_timestamp.is_some();
    let plan = if going { depart(claim, sight) } else { stay(claim, sight) };
    // A Cluster that is gone holds nobody back: then the finalizer goes, paused or not.
    let paused = paused && !matches!(sight, Sight::Missing | Sight::Going);
    Plan { paused, ..plan }
}

fn holds(topic: &Topic) -> bool {
    topic.finalizers().iter().any(|one| one == FINALIZER)
}

/// The step that writes `finalizer` and `record`, if they are not there.
fn note(topic: &Topic, finalizer: bool, record: Option<Record>) -> Option<Step> {
    let written = topic.annotations().get(RECORD);
    let same = holds(topic) == finalizer && written == record.as_ref().map(Record::text).as_ref();
    (!same).then_some(Step::Note { finalizer, record })
}

/// The step that lets the resource go.
fn release(topic: &Topic) -> Option<Step> {
    if holds(topic) { note(topic, false, Record::of(topic)) } else { None }
}

/// A Topic that is being deleted.
fn depart(claim: Claim<'_>, sight: &Sight) -> Plan {
    let topic = claim.topic;
    let released = || Plan::of(release(topic), State::Settled);
    if !holds(topic) || topic.spec.deletion_policy == DeletionPolicy::Retain || claim.heir.is_some() {
        return released();
    }
    let Some(record) = Record::of(topic) else { return released() };
    match sight {
        Sight::Missing | Sight::Going => released(),
        Sight::Asleep => deletion_waits(&asleep(topic)),
        Sight::Silent(why) => deletion_waits(why),
        Sight::Seen(world) => match world.topics.get(topic.topic_name()) {
            Some(found) if record.is_of(&found.id) && !found.internal => {
                let state = State::Waiting(Reason::DeletionWaits, "the topic is being deleted".to_owned());
                Plan::of([Step::Delete(found.id.clone())], state)
            }
            Some(_) | None => released(),
        },
    }
}

fn deletion_waits(why: &str) -> Plan {
    let message =
        format!("the topic is deleted once the brokers answer ({why}); to keep it, set spec.deletionPolicy: Retain");
    Plan::of([], State::Waiting(Reason::DeletionWaits, message))
}

fn asleep(topic: &Topic) -> String {
    format!("Cluster {} sleeps, and its topics with it", topic.spec.cluster_ref.name)
}

/// A Topic that is to stay.
fn stay(claim: Claim<'_>, sight: &Sight) -> Plan {
    let topic = claim.topic;
    let cluster = &topic.spec.cluster_ref.name;
    let declared = Declared::of(topic);
    match sight {
        Sight::Missing => {
            let message =
                format!("there is no Cluster {cluster} in this namespace: create it, or correct spec.clusterRef");
            return Plan::of(release(topic), State::Waiting(Reason::ClusterNotFound, message));
        }
        Sight::Going => {
            let message = format!("Cluster {cluster} is being deleted");
            return Plan::of(release(topic), State::Waiting(Reason::ClusterGoing, message));
        }
        Sight::Asleep | Sight::Silent(_) | Sight::Seen(_) => {}
    }
    if let Some(older) = claim.older {
        let message = format!(
            "topic {} of Cluster {cluster} is declared by Topic {older} already, which is older: delete one of the two, or give \
             this one another spec.topicName",
            declared.name
        );
        return Plan::of(release(topic), State::Refused(Refusal::new(Reason::TopicClaimed, message)));
    }
    if let Some(refusal) = refusal(&declared) {
        return Plan::of([], State::Refused(refusal));
    }
    match sight {
        Sight::Asleep => Plan::of([], State::Waiting(Reason::Hibernated, asleep(topic))),
        Sight::Silent(why) => Plan::of([], State::Waiting(Reason::ClusterNotReady, why.clone())),
        Sight::Missing | Sight::Going => Plan::default(),
        Sight::Seen(world) => match world.topics.get(&declared.name) {
            Some(found) => present(topic, &declared, found, world),
            None if claim.made => Plan::of([], being_created()),
            None => absent(topic, declared, world),
        },
    }
}

/// What is wrong with a declaration, whatever the cluster has. Values that contradict each other are for the brokers to
/// judge: they know their own configuration.
fn refusal(declared: &Declared) -> Option<Refusal> {
    if is_internal(&declared.name) {
        let message = format!("topic {} belongs to the brokers: choose another spec.topicName", declared.name);
        return Some(Refusal::new(Reason::InvalidName, message));
    }
    if let Err(error) = check_name(&declared.name) {
        return Some(Refusal::new(Reason::InvalidName, format!("{error}: set spec.topicName")));
    }
    match check_topic(&declared.config, &BrokerConfig::default(), false) {
        Err(error @ (ConfigError::Unknown(_) | ConfigError::Invalid(_))) => {
            Some(Refusal::new(Reason::InvalidConfig, format!("spec.config: {error}")))
        }
        Ok(()) | Err(_) => None,
    }
}

fn too_few(declared: &Declared, world: &World) -> Option<Plan> {
    let (wanted, brokers) = (declared.replicas?, world.brokers.len());
    let enough = usize::try_from(wanted).is_ok_and(|wanted| wanted <= brokers);
    if let (false, Some(why)) = (enough, world.grows())
        && usize::try_from(wanted).is_ok_and(|wanted| wanted <= world.declared)
    {
        let message = format!("spec.replicas is {wanted}, and {why}");
        return Some(Plan::of([], State::Waiting(Reason::ClusterNotReady, message)));
    }
    (!enough).then(|| {
        let message = format!(
            "spec.replicas is {wanted}, and the cluster has {brokers} broker(s): lower it, or raise replicas of the Cluster's pools"
        );
        Plan::refused(Reason::TooFewBrokers, message)
    })
}

/// What is said of a topic that was there for this very declaration and is not any more, if that is only to be reported.
fn lost(topic: &Topic, declared: &Declared) -> Option<Plan> {
    let record = Record::of(topic)?;
    let id = record.id.as_deref()?;
    let unchanged = record == declared.record(Some(id));
    (unchanged && topic.spec.drift_policy == DriftPolicy::Report).then(|| {
        let message = format!(
            "topic {} ({id}) is not there any more, and driftPolicy is Report: to have an empty one made, set spec.driftPolicy: \
             Correct; else delete this Topic",
            declared.name
        );
        Plan::refused(Reason::TopicLost, message)
    })
}

/// A topic that is not there.
fn absent(topic: &Topic, declared: Declared, world: &World) -> Plan {
    if let Some(plan) = lost(topic, &declared).or_else(|| too_few(&declared, world)) {
        return plan;
    }
    let keep = topic.spec.deletion_policy == DeletionPolicy::Delete;
    // Whoever may not adopt, or has to delete, says first that it creates: a stop in between must not make it a stranger.
    let record = match keep || topic.spec.adoption_policy == AdoptionPolicy::Never {
        true => Some(declared.record(None)),
        false => Record::of(topic),
    };
    let step = note(topic, keep, record).unwrap_or(Step::Create(declared));
    Plan::of([step], being_created())
}

fn being_created() -> State {
    State::Waiting(Reason::Applying, "the topic is being created".to_owned())
}

/// A topic that is there.
fn present(topic: &Topic, declared: &Declared, found: &Found, world: &World) -> Plan {
    let Some(config) = &found.config else {
        let message = "the topic's configuration could not be read".to_owned();
        return Plan::of([], State::Waiting(Reason::ClusterNotReady, message));
    };
    let applied = Record::of(topic).filter(|record| record.is_of(&found.id));
    let differences = differences(declared, found, config);
    if applied.is_none()
        && let Some(refusal) = adoption(topic.spec.adoption_policy, &declared.name, &differences)
    {
        return Plan { drift: differences, ..Plan::of([], State::Refused(refusal)) };
    }
    let plan = correct(topic, declared, applied.as_ref(), found, world, differences);
    if !plan.steps.is_empty() || matches!(plan.state, State::Refused(_)) {
        return plan;
    }
    let keep = topic.spec.deletion_policy == DeletionPolicy::Delete;
    let steps = note(topic, keep, Some(declared.record(Some(&found.id)))).into_iter().collect();
    Plan { steps, ..plan }
}

/// Why a topic that was there before may not become this declaration's.
fn adoption(policy: AdoptionPolicy, name: &str, differences: &[Drift]) -> Option<Refusal> {
    let ways = "delete the topic, declare another spec.topicName, or set spec.adoptionPolicy: ";
    match policy {
        AdoptionPolicy::Never => {
            let message = format!("topic {name} is there already, and adoptionPolicy is Never: {ways}IfIdentical");
            Some(Refusal::new(Reason::NotAdopted, message))
        }
        AdoptionPolicy::IfIdentical if !differences.is_empty() => {
            let list = differences.iter().map(words).collect::<Vec<_>>().join("; ");
            let message = format!(
                "topic {name} is there already and differs ({list}), and adoptionPolicy is IfIdentical: {ways}Always"
            );
            Some(Refusal::new(Reason::NotIdentical, message))
        }
        AdoptionPolicy::IfIdentical | AdoptionPolicy::Always => None,
    }
}

/// What makes a topic what its declaration says. What the declaration itself changed since it was last applied is applied
/// in any case; what others changed is corrected or reported.
fn correct(
    topic: &Topic,
    declared: &Declared,
    applied: Option<&Record>,
    found: &Found,
    world: &World,
    differences: Vec<Drift>,
) -> Plan {
    let mut plan = Plan::default();
    let mut changes = BTreeMap::new();
    for difference in differences {
        let asked_for = applied.is_some_and(|applied| applied.says(&difference.field) != difference.declared);
        let may = asked_for || topic.spec.drift_policy == DriftPolicy::Correct;
        match difference.field.as_str() {
            PARTITIONS if may && declared.partitions > found.count() => {
                plan.steps.push(Step::AddPartitions { from: found.count(), to: declared.partitions });
            }
            // Nothing takes partitions away again.
            PARTITIONS => plan.drift.push(difference),
            REPLICAS if may => match too_few(declared, world) {
                Some(refused) => plan.state = refused.state,
                None => plan.steps.extend(moves(declared, found, world)),
            },
            _ if may => drop(changes.insert(difference.field, difference.declared)),
            _ => plan.drift.push(difference),
        }
    }
    if found.moving > 0 {
        let message = format!("{} of {} partitions move to other brokers", found.moving, found.count());
        if plan.state == State::Settled {
            plan.state = State::Moving(message);
        }
    } else {
        // The throttle of moves that have arrived.
        let left = THROTTLES.iter().filter(|key| !declared.config.contains_key(**key)).filter(|key| {
            found.config.as_ref().and_then(|config| config.get(**key)).is_some_and(|value| value == THROTTLED)
        });
        changes.extend(left.map(|key| ((*key).to_owned(), None)));
    }
    if !changes.is_empty() {
        plan.steps.insert(0, Step::Configure(changes));
    }
    plan
}

/// What moves so that every partition has the declared number of replicas.
fn moves(declared: &Declared, found: &Found, world: &World) -> Option<Step> {
    let wanted = usize::try_from(declared.replicas?).ok()?;
    let mut brokers = world.brokers.clone();
    let other = found.partitions.iter().filter(|(_, replicas)| replicas.len() != wanted);
    let targets: BTreeMap<i32, Vec<i32>> =
        other.map(|(index, replicas)| (*index, resize(replicas, wanted, &mut brokers))).collect();
    (!targets.is_empty()).then_some(Step::Move(targets))
}

fn differences(declared: &Declared, found: &Found, config: &ExplicitConfig) -> Vec<Drift> {
    let drift = |field: &str, declared: Option<String>, actual: Option<String>| Drift {
        field: field.to_owned(),
        declared,
        actual,
    };
    let mut differences = Vec::new();
    if declared.partitions != found.count() {
        differences.push(drift(PARTITIONS, Some(declared.partitions.to_string()), Some(found.count().to_string())));
    }
    if let Some(wanted) = declared.replicas {
        let counts: BTreeSet<usize> = found.partitions.values().map(Vec::len).collect();
        if counts.iter().any(|count| i32::try_from(*count) != Ok(wanted)) {
            let actual = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            differences.push(drift(REPLICAS, Some(wanted.to_string()), Some(actual)));
        }
    }
    let keys: BTreeSet<&String> = declared.config.keys().chain(config.keys()).collect();
    for key in keys {
        let (wanted, actual) = (declared.config.get(key), config.get(key));
        // Throttles come and go with moves, whoever moves.
        let passing = wanted.is_none() && THROTTLES.contains(&key.as_str());
        if wanted != actual && !passing {
            differences.push(drift(key, wanted.cloned(), actual.cloned()));
        }
    }
    differences
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note { finalizer, record } => {
                let record = record.as_ref().map_or_else(|| "nothing".to_owned(), Record::text);
                write!(f, "note {record}{}", if *finalizer { ", held until it is deleted" } else { "" })
            }
            Self::Create(declared) => {
                write!(f, "create with {} partition(s)", declared.partitions)?;
                match declared.replicas {
                    Some(replicas) => write!(f, " of {replicas} replica(s)"),
                    None => Ok(()),
                }
            }
            Self::AddPartitions { from, to } => write!(f, "add partitions, {from} become {to}"),
            Self::Configure(changes) => {
                let one = |(key, value): (&String, &Option<String>)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => format!("{key} back to its default"),
                };
                write!(f, "set {}", changes.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Self::Move(targets) => write!(f, "move {targets:?}"),
            Self::Delete(id) => write!(f, "delete {id}"),
        }
    }
}
