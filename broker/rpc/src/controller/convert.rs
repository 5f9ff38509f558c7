//! Between messages and the generated types: all but requests and answers, which have files of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::controller::error::Standing;
use ottla_core::controller::{DocumentId, Presentation, Seen, SessionId, ShardId};
use ottla_core::types::{BrokerId, ClusterId, ControllerEpoch, DirectoryId, Incarnation, Lsn};

use super::pb;
use super::{DecodeError, Down, Silent, Up};

pub(super) fn sixteen(bytes: &[u8], what: &'static str) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Id { what, got: bytes.len() })
}

/// A number of `u64` that is an index or a count here.
pub(super) fn count(number: u64, what: &'static str) -> Result<usize, DecodeError> {
    let range = |_| DecodeError::Range { what, got: i64::try_from(number).unwrap_or(i64::MAX) };
    usize::try_from(number).map_err(range)
}

/// Saturates after half a million years.
pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn ages_to(ages: &BTreeMap<BrokerId, Duration>) -> BTreeMap<i32, u64> {
    ages.iter().map(|(broker, age)| (broker.get(), microseconds(*age))).collect()
}

fn ages_from(ages: BTreeMap<i32, u64>) -> BTreeMap<BrokerId, Duration> {
    ages.into_iter().map(|(broker, age)| (BrokerId::new(broker), Duration::from_micros(age))).collect()
}

pub(super) fn standing_to(standing: &Standing) -> pb::Standing {
    pb::Standing {
        directory_id: standing.directory.to_bytes().to_vec(),
        incarnation: standing.incarnation.get(),
        synced: standing.synced.get(),
    }
}

pub(super) fn standing_from(standing: Option<pb::Standing>) -> Result<Standing, DecodeError> {
    let standing = standing.ok_or(DecodeError::Missing("standing"))?;
    Ok(Standing {
        directory: DirectoryId::from_bytes(sixteen(&standing.directory_id, "a directory id")?),
        incarnation: Incarnation::new(standing.incarnation),
        synced: Lsn::new(standing.synced),
    })
}

impl From<&Presentation> for pb::Presentation {
    fn from(presentation: &Presentation) -> Self {
        let seen = presentation.vector.iter().map(|(document, seen)| pb::Seen {
            shard: match document {
                DocumentId::Root => None,
                DocumentId::Shard(ShardId(shard)) => Some(*shard),
            },
            epoch: seen.epoch.get(),
            version: seen.version,
            session: seen.session.0.to_vec(),
        });
        Self {
            broker: presentation.broker.get(),
            cluster_id: presentation.cluster.to_bytes().to_vec(),
            standing: Some(standing_to(&presentation.standing)),
            seen: seen.collect(),
        }
    }
}

impl TryFrom<pb::Presentation> for Presentation {
    type Error = DecodeError;

    fn try_from(presentation: pb::Presentation) -> Result<Self, DecodeError> {
        let seen = |seen: pb::Seen| -> Result<_, DecodeError> {
            let document = seen.shard.map_or(DocumentId::Root, |shard| DocumentId::Shard(ShardId(shard)));
            let session = SessionId(sixteen(&seen.session, "the session of a document")?);
            Ok((document, Seen { epoch: ControllerEpoch::new(seen.epoch), version: seen.version, session }))
        };
        Ok(Self {
            broker: BrokerId::new(presentation.broker),
            cluster: ClusterId::from_bytes(sixteen(&presentation.cluster_id, "a cluster id")?),
            standing: standing_from(presentation.standing)?,
            vector: presentation.seen.into_iter().map(seen).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Up> for pb::Up {
    fn from(up: &Up) -> Self {
        let kind = match up {
            Up::Hello { version, presentation, run } => pb::up::Kind::Hello(pb::Hello {
                version: *version,
                presentation: Some(presentation.into()),
                run: run.map(Incarnation::get),
            }),
            Up::Beat { sequence, run, view, draining, synced } => pb::up::Kind::Beat(pb::UpBeat {
                sequence: *sequence,
                run: run.get(),
                view: *view,
                draining: *draining,
                synced: synced.get(),
            }),
            Up::Echo { sequence } => pb::up::Kind::Echo(pb::Echo { sequence: *sequence }),
            Up::Ask { id, request } => pb::up::Kind::Ask(pb::Ask { id: *id, request: Some(request.into()) }),
            Up::Leaving { run } => pb::up::Kind::Leaving(pb::Leaving { run: run.get() }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Up> for Up {
    type Error = DecodeError;

    fn try_from(up: pb::Up) -> Result<Self, DecodeError> {
        Ok(match up.kind.ok_or(DecodeError::UnknownKind("a message"))? {
            pb::up::Kind::Hello(hello) => Self::Hello {
                version: hello.version,
                presentation: hello.presentation.ok_or(DecodeError::Missing("presentation"))?.try_into()?,
                run: hello.run.map(Incarnation::new),
            },
            pb::up::Kind::Beat(beat) => Self::Beat {
                sequence: beat.sequence,
                run: Incarnation::new(beat.run),
                view: beat.view,
                draining: beat.draining,
                synced: Lsn::new(beat.synced),
            },
            pb::up::Kind::Echo(echo) => Self::Echo { sequence: echo.sequence },
            pb::up::Kind::Ask(ask) => {
                Self::Ask { id: ask.id, request: ask.request.ok_or(DecodeError::UnknownKind("a request"))?.try_into()? }
            }
            pb::up::Kind::Leaving(leaving) => Self::Leaving { run: Incarnation::new(leaving.run) },
        })
    }
}

impl From<&Down> for pb::Down {
    fn from(down: &Down) -> Self {
        let kind = match down {
            Down::NotController { leader } => {
                pb::down::Kind::NotController(pb::NotController { leader: leader.map(BrokerId::get) })
            }
            Down::Documents { epoch, view, complete, documents } => pb::down::Kind::Documents(pb::Documents {
                epoch: epoch.get(),
                view: *view,
                complete: *complete,
                documents: documents.clone(),
            }),
            Down::Beat { sequence, epoch, view, ages, most_heard } => pb::down::Kind::Beat(pb::DownBeat {
                sequence: *sequence,
                epoch: epoch.get(),
                view: *view,
                ages_us: ages_to(ages),
                most_heard_us: most_heard.map(microseconds),
            }),
            Down::Answer { id, answer } => pb::down::Kind::Answer(pb::Answer { id: *id, answer: Some(answer.into()) }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Down> for Down {
    type Error = DecodeError;

    fn try_from(down: pb::Down) -> Result<Self, DecodeError> {
        Ok(match down.kind.ok_or(DecodeError::UnknownKind("a message"))? {
            pb::down::Kind::NotController(not) => Self::NotController { leader: not.leader.map(BrokerId::new) },
            pb::down::Kind::Documents(documents) => Self::Documents {
                epoch: ControllerEpoch::new(documents.epoch),
                view: documents.view,
                complete: documents.complete,
                documents: documents.documents,
            },
            pb::down::Kind::Beat(beat) => Self::Beat {
                sequence: beat.sequence,
                epoch: ControllerEpoch::new(beat.epoch),
                view: beat.view,
                ages: ages_from(beat.ages_us),
                most_heard: beat.most_heard_us.map(Duration::from_micros),
            },
            pb::down::Kind::Answer(answer) => Self::Answer {
                id: answer.id,
                answer: answer.answer.ok_or(DecodeError::UnknownKind("an answer"))?.try_into()?,
            },
        })
    }
}

impl From<&Silent> for pb::SilentRequest {
    fn from(silent: &Silent) -> Self {
        Self {
            broker: silent.broker.get(),
            epoch: silent.epoch.get(),
            ages_us: ages_to(&silent.ages),
            heard_again: silent.heard_again,
        }
    }
}

impl From<pb::SilentRequest> for Silent {
    fn from(silent: pb::SilentRequest) -> Self {
        Self {
            broker: BrokerId::new(silent.broker),
            epoch: ControllerEpoch::new(silent.epoch),
            ages: ages_from(silent.ages_us),
            heard_again: silent.heard_again,
        }
    }
}
