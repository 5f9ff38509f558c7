//! How far each group is behind: the partition's high watermark minus what the group has committed.

use ottla_core::group::{Applied, Birth, GroupId, TopicName, View};
use ottla_core::types::{LeaderEpoch, Offset, PartitionIndex, TopicPartition};

use super::place::Places;
use super::views::Views;

/// One group's position in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The group.
    pub group: GroupId,
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
    /// What the group has committed.
    pub committed: Offset,
    /// Records that it has not committed yet; `None` if the partition is not on this broker.
    pub records: Option<i64>,
}

/// Positions of the groups that this broker coordinates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// By group, topic and partition.
    pub entries: Vec<Lag>,
    /// There are more.
    pub truncated: bool,
}

/// At most `max` positions, from the view. A view that is being built anew shows what it has.
pub(super) fn lags(places: &Places, views: &Views, max: usize) -> Lags {
    let (_, table) = views.current();
    let image = places.image();
    let mut lags = Lags::default();
    for home in places.homes() {
        let applied = Applied { topic: home.topic, epoch: LeaderEpoch::NONE, next: Offset::new(0) };
        let view = View::new(&*table, home.index, Birth(0), applied);
        let scanned = view.each_offset(|group, at, value| {
            if lags.entries.len() >= max {
                lags.truncated = true;
                return false;
            }
            let topic = image.topic(at.topic.as_str());
            let replica = topic.and_then(|topic| places.partitions().get(TopicPartition::new(topic.id, at.partition)));
            let behind = |end: Offset| end.get().saturating_sub(value.offset.get()).max(0);
            lags.entries.push(Lag {
                group,
                topic: at.topic,
                partition: at.partition,
                committed: value.offset,
                records: replica.map(|replica| behind(replica.high_watermark())),
            });
            true
        });
        if let Err(error) = scanned {
            tracing::debug!(%error, "read committed offsets for metrics");
        }
    }
    lags
}
