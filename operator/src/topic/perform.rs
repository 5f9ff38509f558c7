//! Doing: the steps of all plans of one cluster, those of a kind together.
//!
//! Owns the batches, what a broker's refusal means to a person, and the throttle of moves. One topic that is refused does
//! not keep the others from being done. Must never decide what is done.

use std::collections::BTreeMap;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource as _, ResourceExt};
use ottla_client::types::{BrokerId, PartitionIndex, TopicId};
use ottla_client::{
    Client, ConfigChange, ErrorCode, NamedPartition, NewTopic, Operation, Refused, Resource, Result, Settled,
};
use ottla_crds::Topic;
use serde_json::json;

use super::declared::{FINALIZER, RECORD, Record};
use super::plan::Step;
use super::reason::{Reason, Refusal};
use super::status::Failure;
use super::world::World;
use crate::cluster::layout::{RATES, THROTTLED, THROTTLES};
use crate::cluster::names::MANAGER;

/// How many topics one request changes: what a broker answers within its own time limits.
const TOPICS_PER_REQUEST: usize = 250;

/// What became of a batch: why a topic's step was not done, by its place, and the ids of those that were created.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) failures: BTreeMap<usize, Failure>,
    pub(super) created: Vec<(usize, String)>,
}

/// Does the steps at the brokers; each belongs to the Topic at the place that stands with it. `rate` is how many bytes per
/// second a broker may spend on moves.
pub(super) async fn perform(client: &Client, steps: &[(usize, &str, &Step)], world: &World, rate: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut created = Vec::new();
    let creations = pick(steps, |_, step| {
        let Step::Create(declared) = step else { return None };
        Some(NewTopic {
            name: declared.name.clone(),
            partitions: Some(declared.partitions),
            replicas: declared.replicas.map(|replicas| i16::try_from(replicas).unwrap_or(i16::MAX)),
            assignments: Vec::new(),
            configs: declared.config.clone(),
        })
    });
    for some in creations.chunks(TOPICS_PER_REQUEST) {
        let (places, asked) = split(some);
        let answer = client.create_topics(&asked, false).await;
        settle(&places, answer, |at, topic| created.push((at, topic.id.to_string())), &mut outcome.failures);
    }
    outcome.created = created;
    let growths = pick(steps, |name, step| {
        let Step::AddPartitions { to, .. } = step else { return None };
        Some((name.to_owned(), *to))
    });
    for some in growths.chunks(TOPICS_PER_REQUEST) {
        let (places, asked) = split(some);
        let answer = client.create_partitions(&asked, false).await;
        settle(&places, answer, |_, ()| {}, &mut outcome.failures);
    }
    let changes = pick(steps, |name, step| {
        let Step::Configure(changes) = step else { return None };
        Some((Resource::Topic(name.to_owned()), alterations(changes)))
    });
    let changes = unthrottle(client, changes, world, &mut outcome.failures).await;
    alter(client, changes, &mut outcome.failures).await;
    relocate(client, steps, world, rate, &mut outcome.failures).await;
    let deletions = pick(steps, |_, step| {
        let Step::Delete(id) = step else { return None };
        TopicId::parse_kafka(id)
    });
    for some in deletions.chunks(TOPICS_PER_REQUEST) {
        let (places, asked) = split(some);
        let answer = client.delete_topics_by_id(&asked).await;
        settle(&places, answer, |_, ()| {}, &mut outcome.failures);
    }
    outcome
}

fn pick<T>(steps: &[(usize, &str, &Step)], which: impl Fn(&str, &Step) -> Option<T>) -> Vec<(usize, T)> {
    steps.iter().filter_map(|(at, name, step)| Some((*at, which(name, step)?))).collect()
}

/// Places and what is asked for them.
fn split<T: Clone>(items: &[(usize, T)]) -> (Vec<usize>, Vec<T>) {
    items.iter().cloned().unzip()
}

/// Takes the answer to one request. What did not succeed stands in `failures`, the first reason of each place.
fn settle<R>(
    places: &[usize],
    answer: Result<Vec<Settled<R>>>,
    mut done: impl FnMut(usize, R),
    failures: &mut BTreeMap<usize, Failure>,
) {
    match answer {
        Ok(answers) => {
            for (at, answer) in places.iter().zip(answers) {
                match answer {
                    Ok(value) => done(*at, value),
                    Err(refused) => drop(failures.entry(*at).or_insert_with(|| failure(&refused))),
                }
            }
        }
        Err(error) => {
            for at in places {
                failures.entry(*at).or_insert_with(|| Failure::Later(error.to_string()));
            }
        }
    }
}

type Change = (Resource, Vec<ConfigChange>);

async fn alter(client: &Client, changes: Vec<(usize, Change)>, failures: &mut BTreeMap<usize, Failure>) {
    for some in changes.chunks(TOPICS_PER_REQUEST) {
        let (places, asked) = split(some);
        settle(&places, client.alter_configs(&asked, false).await, |_, ()| {}, failures);
    }
}

fn alterations(changes: &BTreeMap<String, Option<String>>) -> Vec<ConfigChange> {
    let change = |(name, value): (&String, &Option<String>)| ConfigChange {
        name: name.clone(),
        operation: value.clone().map_or(Operation::Unset, Operation::Set),
    };
    changes.iter().map(change).collect()
}

/// Sets the rate of these brokers, or takes it back; why not, if one of them has another one still.
async fn pace(client: &Client, brokers: impl Iterator<Item = i32>, rate: Option<String>) -> Option<Failure> {
    let changes = alterations(&RATES.map(|name| (name.to_owned(), rate.clone())).into_iter().collect());
    let all = brokers.map(|id| (0, (Resource::Broker(BrokerId::new(id)), changes.clone())));
    let mut refused = BTreeMap::new();
    alter(client, all.collect(), &mut refused).await;
    refused.remove(&0)
}

/// Takes the brokers' rates back before the last throttle of a topic: by that they are known for this operator's own, also
/// by one that comes after a kill. Gives the changes that may follow.
async fn unthrottle(
    client: &Client,
    mut changes: Vec<(usize, Change)>,
    world: &World,
    failures: &mut BTreeMap<usize, Failure>,
) -> Vec<(usize, Change)> {
    let is_last =
        |one: &ConfigChange| THROTTLES.contains(&one.name.as_str()) && matches!(one.operation, Operation::Unset);
    let lasts = |(_, (_, changes)): &(usize, Change)| changes.iter().any(is_last);
    if world.moving > 0 || !changes.iter().any(lasts) {
        return changes;
    }
    if let Some(why) = pace(client, world.brokers.keys().copied(), None).await {
        changes.retain(|change| {
            let waits = lasts(change);
            if waits {
                failures.entry(change.0).or_insert_with(|| why.clone());
            }
            !waits
        });
    }
    changes
}

/// Throttles what is about to move, then has it moved. A topic that could not be throttled does not move.
async fn relocate(
    client: &Client,
    steps: &[(usize, &str, &Step)],
    world: &World,
    rate: u64,
    failures: &mut BTreeMap<usize, Failure>,
) {
    let topics = pick(steps, |name, step| matches!(step, Step::Move(_)).then(|| name.to_owned()));
    if topics.is_empty() {
        return;
    }
    // The topics first: by them rates are known for this operator's own.
    let all = alterations(&THROTTLES.map(|name| (name.to_owned(), Some(THROTTLED.to_owned()))).into_iter().collect());
    let throttles = topics.iter().map(|(at, name)| (*at, (Resource::Topic(name.clone()), all.clone())));
    alter(client, throttles.collect(), failures).await;
    let live = world.brokers.iter().filter(|(_, broker)| broker.live).map(|(id, _)| *id);
    if let Some(why) = pace(client, live, Some(rate.to_string())).await {
        for (at, _) in topics {
            failures.entry(at).or_insert_with(|| why.clone());
        }
        return;
    }
    let mut targets = Vec::new();
    for (at, name, step) in steps.iter().filter(|(at, ..)| !failures.contains_key(at)) {
        let Step::Move(moves) = step else { continue };
        for (index, replicas) in moves {
            let partition = NamedPartition::new(*name, PartitionIndex::new(*index));
            targets.push((*at, (partition, replicas.iter().map(|id| BrokerId::new(*id)).collect::<Vec<_>>())));
        }
    }
    for some in targets.chunks(TOPICS_PER_REQUEST) {
        let (places, asked) = split(some);
        settle(&places, client.reassign(&asked).await, |_, ()| {}, failures);
    }
}

/// What a broker's answer means for a topic.
fn failure(refused: &Refused) -> Failure {
    let (reason, way_out) = match refused.code {
        // Somebody else was faster, or the broker that was looked at is behind: the next look tells.
        ErrorCode::TOPIC_ALREADY_EXISTS
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::REASSIGNMENT_IN_PROGRESS
        | ErrorCode::REQUEST_TIMED_OUT => return Failure::Later(refused.to_string()),
        code if code.retriable() => return Failure::Later(refused.to_string()),
        ErrorCode::INVALID_REPLICATION_FACTOR => {
            (Reason::TooFewBrokers, "; lower spec.replicas, or raise replicas of the Cluster's pools")
        }
        ErrorCode::INVALID_CONFIG => (Reason::InvalidConfig, "; correct spec.config"),
        ErrorCode::INVALID_TOPIC_EXCEPTION => (Reason::InvalidName, "; set another spec.topicName"),
        _ => (Reason::BrokerRefused, ""),
    };
    Failure::Refused(Refusal::new(reason, format!("{refused}{way_out}")))
}

/// Writes the operator's own finalizer and record onto `topic`, and gives it back as it is then.
///
/// # Errors
/// What the API server answered; a Topic that is gone is not made again.
pub(super) async fn note(
    topics: &Api<Topic>,
    topic: &Topic,
    finalizer: bool,
    record: Option<&Record>,
) -> kube::Result<Topic> {
    let mut metadata = json!({"name": topic.name_any(), "uid": topic.meta().uid});
    if finalizer {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    if let Some(record) = record {
        metadata["annotations"] = json!({RECORD: record.text()});
    }
    let patch = json!({"apiVersion": ottla_crds::API_VERSION, "kind": "Topic", "metadata": metadata});
    let how = PatchParams::apply(MANAGER).force();
    topics.patch(&topic.name_any(), &how, &Patch::Apply(patch)).await
}
