//! Why a topic was not created, with its code and facts.
//!
//! The core's errors name keys, operations and rules by static text. What comes over the network is looked up among those
//! that this binary has; for one that it does not have, the sentence stands.

#![expect(clippy::wildcard_enum_match_arm, reason = "a code that is not of one enum is of another, or of none")]

use ottla_core::config::{ConfigError, Conflict, InvalidValue, UnknownKey, broker, topic};
use ottla_core::controller::error::{
    CreateTopicError, InvalidAssignment, InvalidPartitions, InvalidReplicationFactor, InvalidRequest, NotController,
    TooManyPartitions,
};
use ottla_core::topic_name::InvalidName;
use ottla_core::types::PartitionIndex;

use super::{Facts, Refusal, plain, wide, with_numbers, with_texts};
use crate::controller::DecodeError;
use crate::controller::pb::{self, Code};

/// Every rule of a conflict, every operation on an internal topic, every count next to an assignment.
const TEXTS: [&str; 5] =
    ["may not be larger than", "creation", "deletion", "the number of partitions", "the replication factor"];

impl Refusal for CreateTopicError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Name(error) => name_facts(error),
            Self::Exists(name) => with_texts(Code::TopicExists, [name]),
            Self::Partitions(error) => partitions_facts(error),
            Self::ReplicationFactor(InvalidReplicationFactor::NotPositive(factor)) => {
                with_numbers(Code::FactorNotPositive, [(*factor).into()])
            }
            Self::ReplicationFactor(InvalidReplicationFactor::TooLarge { wanted, registered }) => {
                with_numbers(Code::FactorTooLarge, [wide(*wanted), wide(*registered)])
            }
            Self::Assignment(error) => assignment_facts(error),
            Self::Config(error) => config_facts(error),
            Self::Request(error) => request_facts(error),
            Self::TooMany(TooManyPartitions { got, max }) => {
                with_numbers(Code::TooManyPartitions, [wide(*got), wide(*max)])
            }
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        if let Some(name) = name_known(code, facts)? {
            return Ok(Some(name.into()));
        }
        if let Some(assignment) = assignment_known(code, facts)? {
            return Ok(Some(assignment.into()));
        }
        if let Some(config) = config_known(code, facts)? {
            return Ok(Some(config.into()));
        }
        if let Some(request) = request_known(code, facts)? {
            return Ok(Some(request.into()));
        }
        Ok(Some(match code {
            Code::TopicExists => Self::Exists(facts.text()?.to_owned()),
            Code::PartitionsNotPositive => InvalidPartitions::NotPositive(facts.narrow()?).into(),
            Code::PartitionsSame => InvalidPartitions::Same(facts.narrow()?).into(),
            Code::PartitionsFewer => InvalidPartitions::Fewer {
                topic: facts.text()?.to_owned(),
                current: facts.narrow()?,
                wanted: facts.narrow()?,
            }
            .into(),
            Code::FactorNotPositive => InvalidReplicationFactor::NotPositive(facts.narrow()?).into(),
            Code::FactorTooLarge => {
                InvalidReplicationFactor::TooLarge { wanted: facts.narrow()?, registered: facts.narrow()? }.into()
            }
            Code::TooManyPartitions => TooManyPartitions { got: facts.narrow()?, max: facts.narrow()? }.into(),
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

fn name_facts(error: &InvalidName) -> pb::Refusal {
    match error {
        InvalidName::Empty => plain(Code::NameEmpty),
        InvalidName::Dots => plain(Code::NameDots),
        InvalidName::TooLong { length } => with_numbers(Code::NameTooLong, [wide(*length)]),
        InvalidName::Characters { name } => with_texts(Code::NameCharacters, [name]),
        InvalidName::Collision { name, other } => with_texts(Code::NameCollision, [name, other]),
    }
}

fn name_known(code: Code, facts: &mut Facts<'_>) -> Result<Option<InvalidName>, DecodeError> {
    Ok(Some(match code {
        Code::NameEmpty => InvalidName::Empty,
        Code::NameDots => InvalidName::Dots,
        Code::NameTooLong => InvalidName::TooLong { length: facts.narrow()? },
        Code::NameCharacters => InvalidName::Characters { name: facts.text()?.to_owned() },
        Code::NameCollision => {
            InvalidName::Collision { name: facts.text()?.to_owned(), other: facts.text()?.to_owned() }
        }
        _ => return Ok(None),
    }))
}

fn partitions_facts(error: &InvalidPartitions) -> pb::Refusal {
    match error {
        InvalidPartitions::NotPositive(count) => with_numbers(Code::PartitionsNotPositive, [(*count).into()]),
        InvalidPartitions::Same(count) => with_numbers(Code::PartitionsSame, [(*count).into()]),
        InvalidPartitions::Fewer { topic, current, wanted } => pb::Refusal {
            texts: vec![topic.clone()],
            ..with_numbers(Code::PartitionsFewer, [(*current).into(), (*wanted).into()])
        },
    }
}

pub(super) fn assignment_facts(error: &InvalidAssignment) -> pb::Refusal {
    match error {
        InvalidAssignment::Empty => plain(Code::AssignmentEmpty),
        InvalidAssignment::Twice(broker) => with_numbers(Code::AssignmentTwice, [broker.get().into()]),
        InvalidAssignment::UnknownBroker(broker) => with_numbers(Code::AssignmentUnknownBroker, [broker.get().into()]),
        InvalidAssignment::Uneven { got, expected } => {
            with_numbers(Code::AssignmentUneven, [wide(*got), wide(*expected)])
        }
        InvalidAssignment::Gap(partition) => with_numbers(Code::AssignmentGap, [partition.get().into()]),
        InvalidAssignment::Count { added, assigned } => {
            with_numbers(Code::AssignmentCount, [wide(*added), wide(*assigned)])
        }
        InvalidAssignment::Fenced => plain(Code::AssignmentFenced),
    }
}

pub(super) fn assignment_known(code: Code, facts: &mut Facts<'_>) -> Result<Option<InvalidAssignment>, DecodeError> {
    Ok(Some(match code {
        Code::AssignmentEmpty => InvalidAssignment::Empty,
        Code::AssignmentTwice => InvalidAssignment::Twice(facts.broker()?),
        Code::AssignmentUnknownBroker => InvalidAssignment::UnknownBroker(facts.broker()?),
        Code::AssignmentUneven => InvalidAssignment::Uneven { got: facts.narrow()?, expected: facts.narrow()? },
        Code::AssignmentGap => InvalidAssignment::Gap(PartitionIndex::new(facts.narrow()?)),
        Code::AssignmentCount => InvalidAssignment::Count { added: facts.narrow()?, assigned: facts.narrow()? },
        Code::AssignmentFenced => InvalidAssignment::Fenced,
        _ => return Ok(None),
    }))
}

pub(super) fn config_facts(error: &ConfigError) -> pb::Refusal {
    match error {
        ConfigError::Invalid(InvalidValue { key, value, allowed }) => {
            with_texts(Code::ConfigInvalid, [key, value, allowed])
        }
        ConfigError::Unknown(UnknownKey { key, nearest: None }) => with_texts(Code::ConfigUnknown, [key]),
        ConfigError::Unknown(UnknownKey { key, nearest: Some(nearest) }) => {
            with_texts(Code::ConfigUnknown, [key, nearest])
        }
        ConfigError::Conflict(Conflict { key, value, rule, other, other_value }) => {
            with_texts(Code::ConfigConflict, [key, value, rule, other, other_value])
        }
        ConfigError::ReadOnly(key) => with_texts(Code::ConfigReadOnly, [key]),
        ConfigError::PerBroker(key) => with_texts(Code::ConfigPerBroker, [key]),
        ConfigError::NotAList(key) => with_texts(Code::ConfigNotAList, [key]),
        ConfigError::NoValue(key) => with_texts(Code::ConfigNoValue, [key]),
        ConfigError::InternalDurability(key) => with_texts(Code::ConfigInternalDurability, [key]),
    }
}

pub(super) fn config_known(code: Code, facts: &mut Facts<'_>) -> Result<Option<ConfigError>, DecodeError> {
    let keyed: fn(&'static str) -> ConfigError = match code {
        Code::ConfigReadOnly => ConfigError::ReadOnly,
        Code::ConfigPerBroker => ConfigError::PerBroker,
        Code::ConfigNotAList => ConfigError::NotAList,
        Code::ConfigInternalDurability => ConfigError::InternalDurability,
        Code::ConfigConflict => return conflict(facts).map(Some),
        Code::ConfigInvalid => {
            let (key, value, allowed) = (facts.text()?, facts.text()?, facts.text()?);
            return Ok(Some(invalid(key, value, allowed)));
        }
        Code::ConfigUnknown => {
            let key = facts.text()?.to_owned();
            let nearest = if facts.texts.len() > 0 { key_named(facts.text()?) } else { None };
            return Ok(Some(UnknownKey { key, nearest }.into()));
        }
        Code::ConfigNoValue => return Ok(Some(ConfigError::NoValue(facts.text()?.to_owned()))),
        _ => return Ok(None),
    };
    let key = facts.text()?;
    Ok(Some(key_named(key).map_or_else(|| invalid(key, "", facts.sentence), keyed)))
}

fn conflict(facts: &mut Facts<'_>) -> Result<ConfigError, DecodeError> {
    let (key, value, rule) = (facts.text()?, facts.text()?, facts.text()?);
    let (other, other_value) = (facts.text()?, facts.text()?);
    let (Some(known), Some(rule), Some(other)) = (key_named(key), text(rule), key_named(other)) else {
        return Ok(invalid(key, value, facts.sentence));
    };
    let (value, other_value) = (value.to_owned(), other_value.to_owned());
    Ok(Conflict { key: known, value, rule, other, other_value }.into())
}

fn invalid(key: &str, value: &str, allowed: &str) -> ConfigError {
    InvalidValue { key: key.to_owned(), value: value.to_owned(), allowed: allowed.to_owned() }.into()
}

fn key_named(name: &str) -> Option<&'static str> {
    topic::find(name).map(|known| known.key.name).or_else(|| broker::find(name).map(|known| known.name))
}

fn text(given: &str) -> Option<&'static str> {
    TEXTS.into_iter().find(|known| *known == given)
}

pub(super) fn request_facts(error: &InvalidRequest) -> pb::Refusal {
    match error {
        InvalidRequest::Duplicate(what) => with_texts(Code::RequestDuplicate, [what]),
        InvalidRequest::CountAndAssignment(which) => with_texts(Code::RequestCountAndAssignment, [which]),
        InvalidRequest::Internal { operation, topic } => with_texts(Code::RequestInternalTopic, [operation, topic]),
        InvalidRequest::UnknownBroker(broker) => with_numbers(Code::RequestUnknownBroker, [broker.get().into()]),
    }
}

pub(super) fn request_known(code: Code, facts: &mut Facts<'_>) -> Result<Option<InvalidRequest>, DecodeError> {
    Ok(Some(match code {
        Code::RequestDuplicate => InvalidRequest::Duplicate(facts.text()?.to_owned()),
        Code::RequestCountAndAssignment => InvalidRequest::CountAndAssignment(text(facts.text()?).unwrap_or("a count")),
        Code::RequestInternalTopic => InvalidRequest::Internal {
            operation: text(facts.text()?).unwrap_or("change"),
            topic: facts.text()?.to_owned(),
        },
        Code::RequestUnknownBroker => InvalidRequest::UnknownBroker(facts.broker()?),
        _ => return Ok(None),
    }))
}
