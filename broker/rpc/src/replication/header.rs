//! Between items and the protobuf header of a frame.

use ottla_core::replica::{Ack, Answer, Lane, Message, Open, Push, SessionNumber, Stamp, Verdict};
use ottla_core::types::{
    BrokerId, ClusterId, Incarnation, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition,
};

use super::{FrameError, Item};
use crate::proto::ottla::replication::v1::{self as pb, answer::Verdict as PbVerdict, header::Item as Kind};

/// A longer sentence is cut: the receiver would refuse the header for its length.
const REASON_BYTES_MAX: usize = 4096;

impl From<&Item> for pb::Header {
    fn from(item: &Item) -> Self {
        match item {
            Item::Hello { version, cluster, from, to, incarnation, lane } => alone(Kind::Hello(pb::Hello {
                version: *version,
                cluster_id: cluster.to_bytes().to_vec(),
                from: from.get(),
                to: to.get(),
                incarnation: incarnation.get(),
                lane: match lane {
                    Lane::Live => pb::Lane::Live.into(),
                    Lane::CatchUp => pb::Lane::CatchUp.into(),
                },
            })),
            Item::Welcome { version, from, incarnation, credit_bytes } => alone(Kind::Welcome(pb::Welcome {
                version: *version,
                from: from.get(),
                incarnation: incarnation.get(),
                credit_bytes: *credit_bytes,
            })),
            Item::Refused { reason } => {
                let end = reason.floor_char_boundary(REASON_BYTES_MAX);
                alone(Kind::Refused(reason.get(..end).unwrap_or_default().to_owned()))
            }
            Item::Message { partition, message } => {
                let [high, low] = halves(partition.topic);
                let item = Some(message.into());
                Self { topic_high: high, topic_low: low, partition: partition.partition.get(), item }
            }
            Item::Returned { bytes } => alone(Kind::ReturnedBytes(*bytes)),
        }
    }
}

fn alone(item: Kind) -> pb::Header {
    pb::Header { item: Some(item), ..Default::default() }
}

fn halves(topic: TopicId) -> [u64; 2] {
    let both = u128::from_be_bytes(topic.to_bytes());
    [both >> 64, both & u128::from(u64::MAX)].map(|half| u64::try_from(half).expect("64 bits are left"))
}

impl From<&Message> for Kind {
    fn from(message: &Message) -> Self {
        match message {
            Message::Open(open) => Self::Open(pb::Open {
                epoch: open.epoch.get(),
                incarnation: open.incarnation.get(),
                session: open.session.0,
                last_epoch: open.last_epoch.map(LeaderEpoch::get),
                end: open.end.get(),
                start: open.start.get(),
            }),
            Message::Answer(answer) => Self::Answer(pb::Answer {
                epoch: answer.epoch.get(),
                session: answer.session.0,
                verdict: Some(match answer.verdict {
                    Verdict::PushFrom(offset) => PbVerdict::PushFrom(offset.get()),
                    Verdict::TruncateTo { epoch, end } => {
                        PbVerdict::TruncateTo(pb::TruncateTo { epoch: epoch.get(), end: end.get() })
                    }
                    Verdict::StartOver(offset) => PbVerdict::StartOver(offset.get()),
                    Verdict::Refused => PbVerdict::Refused(true),
                }),
                high_watermark: answer.high_watermark.get(),
                log_start: answer.log_start.get(),
                stamp: answer.stamp.0,
                incarnation: answer.incarnation.get(),
            }),
            Message::Push(push) => Self::Push(pb::Push {
                epoch: push.epoch.get(),
                session: push.session.0,
                base: push.base.get(),
                end: push.end.get(),
                high_watermark: push.high_watermark.get(),
                log_start: push.log_start.get(),
                stamp: push.stamp.0,
                incarnation: push.incarnation.get(),
            }),
            Message::Ack(ack) => Self::Ack(pb::Ack {
                epoch: ack.epoch.get(),
                incarnation: ack.incarnation.get(),
                session: ack.session.0,
                end: ack.end.get(),
                log_start: ack.log_start.get(),
                stamp: ack.stamp.0,
            }),
        }
    }
}

impl TryFrom<pb::Header> for Item {
    type Error = FrameError;

    fn try_from(header: pb::Header) -> Result<Self, FrameError> {
        let topic = (u128::from(header.topic_high) << 64) | u128::from(header.topic_low);
        let topic = TopicId::from_bytes(topic.to_be_bytes());
        let partition = TopicPartition::new(topic, PartitionIndex::new(header.partition));
        let message = |message| Self::Message { partition, message };
        Ok(match header.item.ok_or(FrameError::UnknownKind("frame"))? {
            Kind::Push(push) => message(Message::Push(push.into())),
            Kind::Ack(ack) => message(Message::Ack(ack.into())),
            Kind::ReturnedBytes(bytes) => Self::Returned { bytes },
            Kind::Open(open) => message(Message::Open(open.into())),
            Kind::Answer(answer) => message(Message::Answer(answer.try_into()?)),
            Kind::Hello(hello) => hello.try_into()?,
            Kind::Welcome(welcome) => Self::Welcome {
                version: welcome.version,
                from: BrokerId::new(welcome.from),
                incarnation: Incarnation::new(welcome.incarnation),
                credit_bytes: welcome.credit_bytes,
            },
            Kind::Refused(reason) => Self::Refused { reason },
        })
    }
}

impl TryFrom<pb::Hello> for Item {
    type Error = FrameError;

    fn try_from(hello: pb::Hello) -> Result<Self, FrameError> {
        let cluster = hello.cluster_id.as_slice().try_into();
        let lane = match hello.lane() {
            pb::Lane::Live => Lane::Live,
            pb::Lane::CatchUp => Lane::CatchUp,
            pb::Lane::Unspecified => return Err(FrameError::UnknownKind("lane")),
        };
        Ok(Self::Hello {
            version: hello.version,
            cluster: cluster.map(ClusterId::from_bytes).map_err(|_| FrameError::ClusterId(hello.cluster_id.len()))?,
            from: BrokerId::new(hello.from),
            to: BrokerId::new(hello.to),
            incarnation: Incarnation::new(hello.incarnation),
            lane,
        })
    }
}

impl From<pb::Open> for Open {
    fn from(open: pb::Open) -> Self {
        Self {
            epoch: LeaderEpoch::new(open.epoch),
            incarnation: Incarnation::new(open.incarnation),
            session: SessionNumber(open.session),
            start: Offset::new(open.start),
            last_epoch: open.last_epoch.map(LeaderEpoch::new),
            end: Offset::new(open.end),
        }
    }
}

impl TryFrom<pb::Answer> for Answer {
    type Error = FrameError;

    fn try_from(answer: pb::Answer) -> Result<Self, FrameError> {
        let verdict = match answer.verdict.ok_or(FrameError::UnknownKind("verdict"))? {
            PbVerdict::PushFrom(offset) => Verdict::PushFrom(Offset::new(offset)),
            PbVerdict::TruncateTo(to) => {
                Verdict::TruncateTo { epoch: LeaderEpoch::new(to.epoch), end: Offset::new(to.end) }
            }
            PbVerdict::StartOver(offset) => Verdict::StartOver(Offset::new(offset)),
            PbVerdict::Refused(_) => Verdict::Refused,
        };
        Ok(Self {
            epoch: LeaderEpoch::new(answer.epoch),
            session: SessionNumber(answer.session),
            verdict,
            high_watermark: Offset::new(answer.high_watermark),
            log_start: Offset::new(answer.log_start),
            stamp: Stamp(answer.stamp),
            incarnation: Incarnation::new(answer.incarnation),
        })
    }
}

impl From<pb::Push> for Push {
    fn from(push: pb::Push) -> Self {
        Self {
            epoch: LeaderEpoch::new(push.epoch),
            session: SessionNumber(push.session),
            base: Offset::new(push.base),
            end: Offset::new(push.end),
            high_watermark: Offset::new(push.high_watermark),
            log_start: Offset::new(push.log_start),
            stamp: Stamp(push.stamp),
            incarnation: Incarnation::new(push.incarnation),
        }
    }
}

impl From<pb::Ack> for Ack {
    fn from(ack: pb::Ack) -> Self {
        Self {
            epoch: LeaderEpoch::new(ack.epoch),
            incarnation: Incarnation::new(ack.incarnation),
            session: SessionNumber(ack.session),
            end: Offset::new(ack.end),
            log_start: Offset::new(ack.log_start),
            stamp: Stamp(ack.stamp),
        }
    }
}
