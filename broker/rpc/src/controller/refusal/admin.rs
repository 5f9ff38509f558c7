//! Why something that people ask for was refused, beside the creation of topics.

#![expect(clippy::wildcard_enum_match_arm, reason = "a code that is not of one enum is of another, or of none")]

use ottla_core::controller::error::{
    AlterConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, ElectLeaderError, NotController,
    ReassignError, UnregisterError,
};
use ottla_core::types::TopicId;

use super::topic::{assignment_facts, assignment_known, config_facts, config_known, request_facts, request_known};
use super::{Facts, Refusal, plain, wide, with_numbers, with_texts};
use crate::controller::DecodeError;
use crate::controller::pb::{self, Code};

impl Refusal for DeleteTopicError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::UnknownName(name) => with_texts(Code::UnknownTopic, [name]),
            Self::UnknownId(id) => pb::Refusal { ids: vec![id.to_bytes().to_vec()], ..plain(Code::UnknownTopicId) },
            Self::Disabled => plain(Code::DeletionDisabled),
            Self::Request(error) => request_facts(error),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        if let Some(request) = request_known(code, facts)? {
            return Ok(Some(request.into()));
        }
        Ok(Some(match code {
            Code::UnknownTopic => Self::UnknownName(facts.text()?.to_owned()),
            Code::UnknownTopicId => Self::UnknownId(TopicId::from_bytes(facts.id()?)),
            Code::DeletionDisabled => Self::Disabled,
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

/// What both ways to make partitions have in common is said as the creation of a topic says it.
impl Refusal for CreatePartitionsError {
    fn facts(&self) -> pb::Refusal {
        match self.clone() {
            Self::UnknownName(name) => with_texts(Code::UnknownTopic, [&name]),
            Self::Partitions(error) => CreateTopicError::from(error).facts(),
            Self::Assignment(error) => CreateTopicError::from(error).facts(),
            Self::ReplicationFactor(error) => CreateTopicError::from(error).facts(),
            Self::Request(error) => CreateTopicError::from(error).facts(),
            Self::TooMany(error) => CreateTopicError::from(error).facts(),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        if code == Code::UnknownTopic {
            return Ok(Some(Self::UnknownName(facts.text()?.to_owned())));
        }
        Ok(match CreateTopicError::known(code, facts)? {
            Some(CreateTopicError::Partitions(error)) => Some(error.into()),
            Some(CreateTopicError::Assignment(error)) => Some(error.into()),
            Some(CreateTopicError::ReplicationFactor(error)) => Some(error.into()),
            Some(CreateTopicError::Request(error)) => Some(error.into()),
            Some(CreateTopicError::TooMany(error)) => Some(error.into()),
            Some(CreateTopicError::NotController(not)) => Some(not.into()),
            Some(CreateTopicError::Name(_) | CreateTopicError::Exists(_) | CreateTopicError::Config(_)) | None => None,
        })
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

impl Refusal for AlterConfigError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::UnknownName(name) => with_texts(Code::UnknownTopic, [name]),
            Self::Config(error) => config_facts(error),
            Self::Request(error) => request_facts(error),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        if let Some(config) = config_known(code, facts)? {
            return Ok(Some(config.into()));
        }
        if let Some(request) = request_known(code, facts)? {
            return Ok(Some(request.into()));
        }
        Ok(match code {
            Code::UnknownTopic => Some(Self::UnknownName(facts.text()?.to_owned())),
            other => NotController::known(other, facts)?.map(Self::from),
        })
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

impl Refusal for ElectLeaderError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Unknown => plain(Code::UnknownPartition),
            Self::NotNeeded => plain(Code::ElectionNotNeeded),
            Self::PreferredNotAvailable(broker) => with_numbers(Code::PreferredNotAvailable, [broker.get().into()]),
            Self::NobodyAvailable => plain(Code::NobodyAvailable),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match code {
            Code::UnknownPartition => Self::Unknown,
            Code::ElectionNotNeeded => Self::NotNeeded,
            Code::PreferredNotAvailable => Self::PreferredNotAvailable(facts.broker()?),
            Code::NobodyAvailable => Self::NobodyAvailable,
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

impl Refusal for ReassignError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Unknown => plain(Code::UnknownPartition),
            Self::NoneInProgress => plain(Code::NoReassignment),
            Self::Assignment(error) => assignment_facts(error),
            Self::ReplicationFactor { current, wanted } => {
                with_numbers(Code::FactorChanges, [wide(*current), wide(*wanted)])
            }
            Self::NobodyInSync => plain(Code::NobodyInSync),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        if let Some(assignment) = assignment_known(code, facts)? {
            return Ok(Some(assignment.into()));
        }
        Ok(Some(match code {
            Code::UnknownPartition => Self::Unknown,
            Code::NoReassignment => Self::NoneInProgress,
            Code::FactorChanges => Self::ReplicationFactor { current: facts.narrow()?, wanted: facts.narrow()? },
            Code::NobodyInSync => Self::NobodyInSync,
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

impl Refusal for UnregisterError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Unknown(broker) => with_numbers(Code::UnknownBroker, [broker.get().into()]),
            Self::Alive(broker) => with_numbers(Code::BrokerAlive, [broker.get().into()]),
            Self::HoldsReplicas { broker, replicas } => {
                with_numbers(Code::HoldsReplicas, [broker.get().into(), wide(*replicas)])
            }
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match code {
            Code::UnknownBroker => Self::Unknown(facts.broker()?),
            Code::BrokerAlive => Self::Alive(facts.broker()?),
            Code::HoldsReplicas => Self::HoldsReplicas { broker: facts.broker()?, replicas: facts.narrow()? },
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}
