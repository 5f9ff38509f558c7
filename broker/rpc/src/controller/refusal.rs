//! Between the reasons of a refusal and the generated type: a code and its facts, and a sentence for whoever does not know
//! the code.
//!
//! Invariant: a refusal stays one. Whatever code comes, decoding gives an error of the enum or a [`DecodeError`]; a code
//! that is not known gives an error after which the asker asks again, never one that makes it give up.

#![expect(clippy::wildcard_enum_match_arm, reason = "a code that is not of one enum is of another, or of none")]

use std::fmt::Display;
use std::time::Duration;

use ottla_core::controller::FeatureRange;
use ottla_core::controller::error::{
    AlterPartitionError, BrokerRequestError, Ineligible, InvalidIsr, LeadershipError, NotController, RegisterError,
    StaleLeader,
};
use ottla_core::types::{BrokerId, ClusterId, DirectoryId, Incarnation, LeaderEpoch, PartitionEpoch};

use super::DecodeError;
use super::convert::{microseconds, sixteen};
use super::pb::{self, Code};

mod admin;
mod topic;

/// Who may not join when it is not known who: no broker has this id.
const SOMEBODY: BrokerId = BrokerId::new(-1);
/// When to ask again after a refusal that is not understood.
const LATER: Duration = Duration::from_secs(1);

/// An error of the core that crosses the network.
pub(super) trait Refusal: Display + Sized {
    /// Its code and what belongs to it.
    fn facts(&self) -> pb::Refusal;

    /// The error of that code; `None` if it is not one of this enum.
    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError>;

    /// What a code that is not known is taken for.
    fn ask_again() -> Self;

    fn to_pb(&self) -> pb::Refusal {
        pb::Refusal { sentence: self.to_string(), ..self.facts() }
    }

    fn from_pb(refusal: &pb::Refusal) -> Result<Self, DecodeError> {
        let Ok(code) = Code::try_from(refusal.code) else { return Ok(Self::ask_again()) };
        Ok(Self::known(code, &mut Facts::of(refusal))?.unwrap_or_else(Self::ask_again))
    }
}

fn plain(code: Code) -> pb::Refusal {
    pb::Refusal { code: code.into(), ..Default::default() }
}

fn with_numbers(code: Code, numbers: impl IntoIterator<Item = i64>) -> pb::Refusal {
    pb::Refusal { numbers: numbers.into_iter().collect(), ..plain(code) }
}

fn with_texts<const N: usize>(code: Code, texts: [&str; N]) -> pb::Refusal {
    pb::Refusal { texts: texts.into_iter().map(str::to_owned).collect(), ..plain(code) }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What belongs to a code, read in its order.
pub(super) struct Facts<'a> {
    sentence: &'a str,
    numbers: std::slice::Iter<'a, i64>,
    texts: std::slice::Iter<'a, String>,
    ids: std::slice::Iter<'a, Vec<u8>>,
}

impl<'a> Facts<'a> {
    fn of(refusal: &'a pb::Refusal) -> Self {
        Self {
            sentence: &refusal.sentence,
            numbers: refusal.numbers.iter(),
            texts: refusal.texts.iter(),
            ids: refusal.ids.iter(),
        }
    }

    fn number(&mut self) -> Result<i64, DecodeError> {
        self.numbers.next().copied().ok_or(DecodeError::Missing("number that belongs to its code"))
    }

    fn narrow<T: TryFrom<i64>>(&mut self) -> Result<T, DecodeError> {
        let got = self.number()?;
        T::try_from(got).map_err(|_| DecodeError::Range { what: "a number that belongs to a code", got })
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        self.texts.next().map(String::as_str).ok_or(DecodeError::Missing("text that belongs to its code"))
    }

    fn id(&mut self) -> Result<[u8; 16], DecodeError> {
        sixteen(self.ids.next().ok_or(DecodeError::Missing("id that belongs to its code"))?, "an id of a refusal")
    }

    fn broker(&mut self) -> Result<BrokerId, DecodeError> {
        self.narrow().map(BrokerId::new)
    }

    fn run(&mut self) -> Result<Incarnation, DecodeError> {
        self.number().map(Incarnation::new)
    }

    fn leader_epoch(&mut self) -> Result<LeaderEpoch, DecodeError> {
        self.narrow().map(LeaderEpoch::new)
    }

    fn partition_epoch(&mut self) -> Result<PartitionEpoch, DecodeError> {
        self.narrow().map(PartitionEpoch::new)
    }
}

impl Refusal for NotController {
    fn facts(&self) -> pb::Refusal {
        plain(Code::NotController)
    }

    fn known(code: Code, _: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok((code == Code::NotController).then_some(Self))
    }

    fn ask_again() -> Self {
        Self
    }
}

impl Refusal for RegisterError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::OtherCluster { got, expected } => pb::Refusal {
                ids: vec![got.to_bytes().to_vec(), expected.to_bytes().to_vec()],
                ..plain(Code::OtherCluster)
            },
            Self::StaleRun { broker, got, registered } => {
                with_numbers(Code::StaleRun, [broker.get().into(), got.get(), registered.get()])
            }
            Self::Unknown(broker) => with_numbers(Code::UnknownBroker, [broker.get().into()]),
            Self::Alive { broker, incarnation } => with_numbers(Code::Alive, [broker.get().into(), incarnation.get()]),
            Self::DirectoryOfAnother { broker, directory, holder } => pb::Refusal {
                ids: vec![directory.to_bytes().to_vec()],
                ..with_numbers(Code::DirectoryOfAnother, [broker.get().into(), holder.get().into()])
            },
            Self::Features { broker, can, level } => {
                with_numbers(Code::Features, [broker.get().into(), can.min.into(), can.max.into(), (*level).into()])
            }
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match code {
            Code::OtherCluster => Self::OtherCluster {
                got: ClusterId::from_bytes(facts.id()?),
                expected: ClusterId::from_bytes(facts.id()?),
            },
            Code::StaleRun => Self::StaleRun { broker: facts.broker()?, got: facts.run()?, registered: facts.run()? },
            Code::UnknownBroker => Self::Unknown(facts.broker()?),
            Code::Alive => Self::Alive { broker: facts.broker()?, incarnation: facts.run()? },
            Code::DirectoryOfAnother => Self::DirectoryOfAnother {
                broker: facts.broker()?,
                holder: facts.broker()?,
                directory: DirectoryId::from_bytes(facts.id()?),
            },
            Code::Features => Self::Features {
                broker: facts.broker()?,
                can: FeatureRange { min: facts.narrow()?, max: facts.narrow()? },
                level: facts.narrow()?,
            },
            other => return Ok(NotController::known(other, facts)?.map(Self::from)),
        }))
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

impl Refusal for BrokerRequestError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Run(error) => error.facts(),
            Self::Fenced(broker) => with_numbers(Code::BrokerFenced, [broker.get().into()]),
            Self::NotController(not) => not.facts(),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(match code {
            Code::BrokerFenced => Some(Self::Fenced(facts.broker()?)),
            Code::NotController => Some(NotController.into()),
            other => RegisterError::known(other, facts)?.map(Self::Run),
        })
    }

    fn ask_again() -> Self {
        NotController.into()
    }
}

fn stale_facts(stale: &StaleLeader) -> pb::Refusal {
    match stale {
        StaleLeader::Unknown => plain(Code::UnknownPartition),
        StaleLeader::NotLeader { broker, leader, epoch } => {
            let leader = leader.map(|leader| leader.get().into());
            with_numbers(Code::NotLeader, [broker.get().into(), epoch.get().into()].into_iter().chain(leader))
        }
        StaleLeader::LeaderEpoch { got, current } => {
            with_numbers(Code::LeaderEpoch, [got.get().into(), current.get().into()])
        }
        StaleLeader::PartitionEpoch { got, current } => {
            with_numbers(Code::PartitionEpoch, [got.get().into(), current.get().into()])
        }
    }
}

fn stale_known(code: Code, facts: &mut Facts<'_>) -> Result<Option<StaleLeader>, DecodeError> {
    Ok(Some(match code {
        Code::UnknownPartition => StaleLeader::Unknown,
        Code::NotLeader => StaleLeader::NotLeader {
            broker: facts.broker()?,
            epoch: facts.leader_epoch()?,
            leader: if facts.numbers.len() > 0 { Some(facts.broker()?) } else { None },
        },
        Code::LeaderEpoch => StaleLeader::LeaderEpoch { got: facts.leader_epoch()?, current: facts.leader_epoch()? },
        Code::PartitionEpoch => {
            StaleLeader::PartitionEpoch { got: facts.partition_epoch()?, current: facts.partition_epoch()? }
        }
        _ => return Ok(None),
    }))
}

impl Refusal for AlterPartitionError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Stale(stale) => stale_facts(stale),
            Self::Ineligible { broker, why } => {
                let broker = broker.get().into();
                match why {
                    Ineligible::Fenced => with_numbers(Code::JoinerFenced, [broker]),
                    Ineligible::StaleRun { got, registered } => {
                        with_numbers(Code::JoinerStaleRun, [broker, got.get(), registered.get()])
                    }
                    Ineligible::Draining => with_numbers(Code::JoinerDraining, [broker]),
                    Ineligible::TooSoon(wait) => {
                        let wait = i64::try_from(microseconds(*wait)).unwrap_or(i64::MAX);
                        with_numbers(Code::JoinerTooSoon, [broker, wait])
                    }
                }
            }
            Self::Isr(InvalidIsr::NoLeader) => plain(Code::IsrNoLeader),
            Self::Isr(InvalidIsr::Twice(broker)) => with_numbers(Code::IsrTwice, [broker.get().into()]),
            Self::Isr(InvalidIsr::NoReplica(broker)) => with_numbers(Code::IsrNoReplica, [broker.get().into()]),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        let ineligible = |broker, why| Self::Ineligible { broker, why };
        Ok(Some(match code {
            Code::JoinerFenced => ineligible(facts.broker()?, Ineligible::Fenced),
            Code::JoinerStaleRun => {
                ineligible(facts.broker()?, Ineligible::StaleRun { got: facts.run()?, registered: facts.run()? })
            }
            Code::JoinerDraining => ineligible(facts.broker()?, Ineligible::Draining),
            Code::JoinerTooSoon => {
                ineligible(facts.broker()?, Ineligible::TooSoon(Duration::from_micros(facts.narrow()?)))
            }
            Code::IsrNoLeader => InvalidIsr::NoLeader.into(),
            Code::IsrTwice => InvalidIsr::Twice(facts.broker()?).into(),
            Code::IsrNoReplica => InvalidIsr::NoReplica(facts.broker()?).into(),
            other => return Ok(stale_known(other, facts)?.map(Self::Stale)),
        }))
    }

    /// Nothing has changed, as after every refusal: the leader settles that and tries again.
    fn ask_again() -> Self {
        Self::Ineligible { broker: SOMEBODY, why: Ineligible::TooSoon(LATER) }
    }
}

impl Refusal for LeadershipError {
    fn facts(&self) -> pb::Refusal {
        match self {
            Self::Stale(stale) => stale_facts(stale),
            Self::NobodyElse => plain(Code::NobodyElse),
        }
    }

    fn known(code: Code, facts: &mut Facts<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(match code {
            Code::NobodyElse => Some(Self::NobodyElse),
            other => stale_known(other, facts)?.map(Self::Stale),
        })
    }

    fn ask_again() -> Self {
        Self::NobodyElse
    }
}
