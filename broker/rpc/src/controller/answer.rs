//! Between the answers to brokers and the generated types.

use std::sync::Arc;

use ottla_core::controller::error::{BrokerRequestError, CreateTopicError, NotController, RegisterError};
use ottla_core::controller::{Answer, ProducerIdBlock, Registered, StopState};
use ottla_core::metadata::{Partition, Topic};
use ottla_core::types::{Incarnation, ProducerId};

use super::DecodeError;
use super::admin;
use super::convert::count;
use super::pb::{self, answer::Answer as Kind};
use super::refusal::Refusal;

impl From<&Answer> for Kind {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Register(outcome) => Self::Register(registered_to(outcome)),
            Answer::Admit(outcome) => Self::Admit(done_to(outcome)),
            Answer::ReplicasDeleted(outcome) => Self::ReplicasDeleted(done_to(outcome)),
            Answer::AlterPartitions(outcome) => Self::AlterPartitions(partitions_to(outcome)),
            Answer::HandOver(outcome) => Self::HandOver(partitions_to(outcome)),
            Answer::RenewTerms(outcome) => Self::RenewTerms(partitions_to(outcome)),
            Answer::ReplicasLost(outcome) => Self::ReplicasLost(done_to(outcome)),
            Answer::PrepareStop(outcome) => Self::PrepareStop(stop_to(outcome)),
            Answer::AllocateProducerIds(outcome) => Self::AllocateProducerIds(producer_ids_to(outcome)),
            Answer::CreateTopics(topics) => {
                Self::CreateTopics(pb::TopicAnswers { topics: topics.iter().map(topic_to).collect() })
            }
            Answer::DeleteTopics(results) => Self::DeleteTopics(admin::deleted_to(results)),
            Answer::CreatePartitions(results) => Self::CreatePartitions(admin::all_done_to(results)),
            Answer::AlterConfigs(results) => Self::AlterConfigs(admin::all_done_to(results)),
            Answer::ElectLeaders(outcome) => Self::ElectLeaders(admin::elections_to(outcome)),
            Answer::Reassign(results) => Self::Reassign(admin::all_done_to(results)),
            Answer::ListReassignments(outcome) => Self::ListReassignments(admin::reassignments_to(outcome)),
            Answer::Unregister(outcome) => Self::Unregister(done_to(outcome)),
        }
    }
}

impl TryFrom<Kind> for Answer {
    type Error = DecodeError;

    fn try_from(answer: Kind) -> Result<Self, DecodeError> {
        Ok(match answer {
            Kind::Register(registered) => Self::Register(registered_from(registered)?),
            Kind::Admit(done) => Self::Admit(done_from(done)?),
            Kind::ReplicasDeleted(done) => Self::ReplicasDeleted(done_from(done)?),
            Kind::AlterPartitions(partitions) => Self::AlterPartitions(partitions_from(partitions)?),
            Kind::HandOver(partitions) => Self::HandOver(partitions_from(partitions)?),
            Kind::RenewTerms(partitions) => Self::RenewTerms(partitions_from(partitions)?),
            Kind::ReplicasLost(done) => Self::ReplicasLost(done_from(done)?),
            Kind::PrepareStop(state) => Self::PrepareStop(stop_from(state)?),
            Kind::AllocateProducerIds(block) => Self::AllocateProducerIds(producer_ids_from(block)?),
            Kind::CreateTopics(answers) => {
                Self::CreateTopics(answers.topics.into_iter().map(topic_from).collect::<Result<_, _>>()?)
            }
            Kind::DeleteTopics(topics) => Self::DeleteTopics(admin::deleted_from(topics)?),
            Kind::CreatePartitions(done) => Self::CreatePartitions(admin::all_done_from(done)?),
            Kind::AlterConfigs(done) => Self::AlterConfigs(admin::all_done_from(done)?),
            Kind::ElectLeaders(elections) => Self::ElectLeaders(admin::elections_from(elections)?),
            Kind::Reassign(done) => Self::Reassign(admin::all_done_from(done)?),
            Kind::ListReassignments(moving) => Self::ListReassignments(admin::reassignments_from(moving)?),
            Kind::Unregister(done) => Self::Unregister(done_from(done)?),
        })
    }
}

pub(super) fn done_to<E: Refusal>(outcome: &Result<(), E>) -> pb::Done {
    pb::Done { refused: outcome.as_ref().err().map(Refusal::to_pb) }
}

pub(super) fn done_from<E: Refusal>(done: pb::Done) -> Result<Result<(), E>, DecodeError> {
    Ok(match done.refused {
        Some(refused) => Err(E::from_pb(&refused)?),
        None => Ok(()),
    })
}

fn registered_to(outcome: &Result<Registered, RegisterError>) -> pb::Registered {
    match outcome {
        Ok(registered) => {
            pb::Registered { refused: None, incarnation: registered.incarnation.get(), trusted: registered.trusted }
        }
        Err(error) => pb::Registered { refused: Some(error.to_pb()), ..Default::default() },
    }
}

fn registered_from(registered: pb::Registered) -> Result<Result<Registered, RegisterError>, DecodeError> {
    Ok(match registered.refused {
        Some(refused) => Err(Refusal::from_pb(&refused)?),
        None => Ok(Registered { incarnation: Incarnation::new(registered.incarnation), trusted: registered.trusted }),
    })
}

type Partitions<E> = Result<Vec<Result<Partition, E>>, BrokerRequestError>;

fn partitions_to<E: Refusal>(outcome: &Partitions<E>) -> pb::PartitionAnswers {
    // Without sentences: there may be as many as there are partitions.
    let partition = |outcome: &Result<Partition, E>| match outcome {
        Ok(partition) => pb::PartitionAnswer { refused: None, partition: Some(partition.into()) },
        Err(error) => pb::PartitionAnswer { refused: Some(error.facts()), partition: None },
    };
    match outcome {
        Ok(partitions) => {
            pb::PartitionAnswers { refused: None, partitions: partitions.iter().map(partition).collect() }
        }
        Err(error) => pb::PartitionAnswers { refused: Some(error.to_pb()), partitions: Vec::new() },
    }
}

fn partitions_from<E: Refusal>(answers: pb::PartitionAnswers) -> Result<Partitions<E>, DecodeError> {
    let partition = |answer: pb::PartitionAnswer| match (answer.refused, answer.partition) {
        (Some(refused), _) => Ok(Err(E::from_pb(&refused)?)),
        (None, Some(partition)) => Ok(Ok(partition.into())),
        (None, None) => Err(DecodeError::Missing("partition")),
    };
    Ok(match answers.refused {
        Some(refused) => Err(Refusal::from_pb(&refused)?),
        None => Ok(answers.partitions.into_iter().map(partition).collect::<Result<_, DecodeError>>()?),
    })
}

fn stop_to(outcome: &Result<StopState, BrokerRequestError>) -> pb::StopState {
    // A usize has no more than 64 bits.
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match outcome {
        Ok(state) => pb::StopState {
            refused: None,
            leads: number(state.leads),
            would_fall_short: number(state.would_fall_short),
            example: state.example.as_ref().map(Into::into),
        },
        Err(error) => pb::StopState { refused: Some(error.to_pb()), ..Default::default() },
    }
}

fn stop_from(state: pb::StopState) -> Result<Result<StopState, BrokerRequestError>, DecodeError> {
    Ok(match state.refused {
        Some(refused) => Err(Refusal::from_pb(&refused)?),
        None => Ok(StopState {
            leads: count(state.leads, "a number of leaderships")?,
            would_fall_short: count(state.would_fall_short, "a number of partitions")?,
            example: state.example.map(Into::into),
        }),
    })
}

fn producer_ids_to(outcome: &Result<ProducerIdBlock, NotController>) -> pb::ProducerIds {
    match outcome {
        Ok(block) => pb::ProducerIds { refused: None, first: block.first.get(), count: block.count },
        Err(error) => pb::ProducerIds { refused: Some(error.to_pb()), ..Default::default() },
    }
}

fn producer_ids_from(block: pb::ProducerIds) -> Result<Result<ProducerIdBlock, NotController>, DecodeError> {
    if let Some(refused) = block.refused {
        return Ok(Err(Refusal::from_pb(&refused)?));
    }
    // Whoever hands them out adds the two.
    if block.first < 0 || block.count <= 0 || block.first.checked_add(block.count).is_none() {
        return Err(DecodeError::Range { what: "a number of producer ids", got: block.count });
    }
    Ok(Ok(ProducerIdBlock { first: ProducerId::new(block.first), count: block.count }))
}

fn topic_to(outcome: &Result<Arc<Topic>, CreateTopicError>) -> pb::TopicAnswer {
    match outcome {
        Ok(topic) => pb::TopicAnswer { refused: None, topic: Some((&**topic).into()) },
        Err(error) => pb::TopicAnswer { refused: Some(error.to_pb()), topic: None },
    }
}

fn topic_from(answer: pb::TopicAnswer) -> Result<Result<Arc<Topic>, CreateTopicError>, DecodeError> {
    Ok(match (answer.refused, answer.topic) {
        (Some(refused), _) => Err(Refusal::from_pb(&refused)?),
        (None, Some(topic)) => Ok(Arc::new(topic.try_into()?)),
        (None, None) => return Err(DecodeError::Missing("topic")),
    })
}
