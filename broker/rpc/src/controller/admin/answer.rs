//! The answers to what people ask for.

use ottla_core::controller::error::{DeleteTopicError, NotController};
use ottla_core::controller::{Elected, Moving};
use ottla_core::types::TopicId;

use super::{each, named};
use crate::controller::DecodeError;
use crate::controller::answer::{done_from, done_to};
use crate::controller::convert::sixteen;
use crate::controller::pb;
use crate::controller::refusal::Refusal;
use crate::convert::{brokers, numbers};

pub(in crate::controller) fn all_done_to<E: Refusal>(results: &[Result<(), E>]) -> pb::AllDone {
    pb::AllDone { items: results.iter().map(done_to).collect() }
}

pub(in crate::controller) fn all_done_from<E: Refusal>(done: pb::AllDone) -> Result<Vec<Result<(), E>>, DecodeError> {
    each(done.items, done_from)
}

type Deleted = Result<(String, TopicId), DeleteTopicError>;

pub(in crate::controller) fn deleted_to(results: &[Deleted]) -> pb::DeletedTopics {
    let topic = |result: &Deleted| match result {
        Ok((name, id)) => pb::DeletedTopic { refused: None, name: name.clone(), id: id.to_bytes().to_vec() },
        Err(error) => pb::DeletedTopic { refused: Some(error.to_pb()), ..Default::default() },
    };
    pb::DeletedTopics { topics: results.iter().map(topic).collect() }
}

pub(in crate::controller) fn deleted_from(topics: pb::DeletedTopics) -> Result<Vec<Deleted>, DecodeError> {
    each(topics.topics, |topic| {
        Ok(match topic.refused {
            Some(refused) => Err(Refusal::from_pb(&refused)?),
            None => Ok((topic.name, TopicId::from_bytes(sixteen(&topic.id, "a topic id")?))),
        })
    })
}

pub(in crate::controller) fn elections_to(outcome: &Result<Vec<Elected>, NotController>) -> pb::Elections {
    let election = |(named, result): &Elected| pb::Election {
        refused: result.as_ref().err().map(Refusal::facts),
        partition: Some(named.into()),
    };
    match outcome {
        Ok(elected) => pb::Elections { refused: None, elections: elected.iter().map(election).collect() },
        Err(error) => pb::Elections { refused: Some(error.to_pb()), elections: Vec::new() },
    }
}

pub(in crate::controller) fn elections_from(
    elections: pb::Elections,
) -> Result<Result<Vec<Elected>, NotController>, DecodeError> {
    if let Some(refused) = elections.refused {
        return Ok(Err(Refusal::from_pb(&refused)?));
    }
    let elected = each(elections.elections, |election| {
        let result = match election.refused {
            Some(refused) => Err(Refusal::from_pb(&refused)?),
            None => Ok(()),
        };
        Ok((named(election.partition)?, result))
    });
    elected.map(Ok)
}

pub(in crate::controller) fn reassignments_to(outcome: &Result<Vec<Moving>, NotController>) -> pb::Reassignments {
    let moving = |moving: &Moving| pb::Moving {
        partition: Some((&moving.partition).into()),
        topic_id: moving.topic_id.to_bytes().to_vec(),
        replicas: numbers(&moving.replicas),
        adding: numbers(&moving.adding),
        removing: numbers(&moving.removing),
    };
    match outcome {
        Ok(all) => pb::Reassignments { refused: None, partitions: all.iter().map(moving).collect() },
        Err(error) => pb::Reassignments { refused: Some(error.to_pb()), partitions: Vec::new() },
    }
}

pub(in crate::controller) fn reassignments_from(
    reassignments: pb::Reassignments,
) -> Result<Result<Vec<Moving>, NotController>, DecodeError> {
    if let Some(refused) = reassignments.refused {
        return Ok(Err(Refusal::from_pb(&refused)?));
    }
    let moving = each(reassignments.partitions, |moving| {
        Ok(Moving {
            partition: named(moving.partition)?,
            topic_id: TopicId::from_bytes(sixteen(&moving.topic_id, "a topic id")?),
            replicas: brokers(moving.replicas),
            adding: brokers(moving.adding),
            removing: brokers(moving.removing),
        })
    });
    moving.map(Ok)
}
