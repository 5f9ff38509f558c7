//! Offsets that nobody has used for `offsets.retention.minutes` go, and groups that are empty of everything with them.
//!
//! G3: while a group has members, an offset goes only if they are known not to read its topic. A topic that is deleted
//! takes its offsets along.

use std::time::Duration;

use super::record::Record;
use super::state::Group;
use super::timers::{Alarm, Key};
use super::view::View;
use super::words::{CommittedOffset, CommittedPartition, GroupId, Now, State, TopicName};
use super::{Effects, Shard};
use crate::types::Timestamp;

impl Shard {
    pub(super) fn on_expiry(&mut self, now: Now, view: &View<'_>, out: &mut Effects) {
        self.timers.set(Key::Expiry, now.monotonic + self.config.expiry_interval, Alarm::Expire);
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.expire_group(now, &id, view, out);
        }
    }

    fn expire_group(&mut self, now: Now, id: &GroupId, view: &View<'_>, out: &mut Effects) {
        let Ok(offsets) = self.read_view(out, || self.appends.offsets(id, view)) else { return };
        let Some(group) = self.groups.get(id) else { return };
        let retention = self.config.offsets_retention;
        let expired = |partition: &CommittedPartition, value: &CommittedOffset| {
            !group.is_subscribed(&partition.topic) && is_expired(group, value, now.wall, retention)
        };
        let count = offsets.len();
        let gone = offsets.into_iter().filter(|(partition, value)| expired(partition, value));
        let tombstone = |(partition, _)| Record::Offset { group: id.clone(), partition, value: None };
        let records: Vec<_> = gone.map(tombstone).collect();
        if records.len() == count && group.state == State::Empty && group.pending_join.is_empty() {
            self.remove_group(id, records, Vec::new(), out);
        } else {
            self.append_in_parts(records, out);
        }
    }

    pub(super) fn on_topics_deleted(&mut self, topics: &[TopicName], view: &View<'_>, out: &mut Effects) {
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let Ok(offsets) = self.read_view(out, || self.appends.offsets(&id, view)) else { return };
            let gone = offsets.into_keys().filter(|partition| topics.contains(&partition.topic));
            let tombstone = |partition| Record::Offset { group: id.clone(), partition, value: None };
            let records = gone.map(tombstone).collect();
            self.append_in_parts(records, out);
        }
    }
}

/// Kafka's conditions: an empty group's offsets age from the moment it became empty; those of a stable consumer group,
/// and of a group that never had members, from their commit; all others never.
fn is_expired(group: &Group, offset: &CommittedOffset, now: Timestamp, retention: Duration) -> bool {
    let base = match (&group.protocol_type, group.state) {
        (None, _) => offset.committed_at,
        (Some(_), State::Empty) => group.since.unwrap_or(offset.committed_at),
        (Some(_), State::Stable) if group.is_consumer() && group.subscribed.is_some() => offset.committed_at,
        (Some(_), _) => return false,
    };
    if offset.expires_at != Timestamp::NONE {
        return now >= offset.expires_at;
    }
    let age = now.get().saturating_sub(base.get());
    i128::from(age) >= i128::try_from(retention.as_millis()).unwrap_or(i128::MAX)
}
