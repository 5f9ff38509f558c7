//! The series of replication: what this broker leads, what is not whole, and what replicas have met.
//!
//! Owns their names. Everything is counted from the image in force, once per scrape, and never per partition: an alert
//! needs a number, and `ottla topic describe` names the partitions.

use std::sync::atomic::Ordering;

use ottla_core::config::ReplicaConfig;
use ottla_core::metadata::{Image, Partition};
use ottla_core::types::BrokerId;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use super::collector::gauge;
use crate::node::Node;

/// Of the partitions that this broker leads or should lead.
#[derive(Debug, Default, PartialEq, Eq)]
struct Led {
    leads: usize,
    under_replicated: usize,
    under_min_isr: usize,
    at_min_isr: usize,
    not_preferred: usize,
    reassigning: usize,
    leaderless: usize,
    replicas: usize,
}

impl Led {
    fn count(&mut self, me: BrokerId, partition: &Partition, min_insync: i32) {
        self.replicas += usize::from(partition.replicas.contains(&me));
        self.leaderless += usize::from(partition.leader.is_none());
        self.not_preferred += usize::from(partition.replicas.first() == Some(&me) && partition.leader != Some(me));
        if partition.leader != Some(me) {
            return;
        }
        let needed = partition.needed_in_sync(min_insync);
        self.leads += 1;
        self.under_replicated += usize::from(partition.isr.len() < partition.replicas.len());
        self.under_min_isr += usize::from(partition.isr.len() < needed);
        self.at_min_isr += usize::from(partition.isr.len() == needed);
        self.reassigning += usize::from(partition.reassignment.is_some());
    }

    fn of(node: &Node, image: &Image) -> Self {
        let config = node.metadata.config_under(image);
        let mut led = Self::default();
        for topic in image.topics().values() {
            let minimum = ReplicaConfig::resolve(&topic.config, &config).min_insync_replicas;
            topic.partitions.iter().for_each(|partition| led.count(node.id(), partition, minimum));
        }
        led
    }
}

/// Writes everything about replication.
pub(super) fn encode(out: &mut DescriptorEncoder<'_>, node: &Node) -> Result<(), std::fmt::Error> {
    let image = node.metadata.image();
    let led = Led::of(node, &image);
    let fenced = image.brokers().values().filter(|broker| broker.fenced).count();
    let gauges = [
        ("controller_active", "1 on the broker that is the controller", usize::from(node.controller.is_controller())),
        ("controller_epoch", "Epoch of the controller that this broker follows", epoch(&image)),
        ("brokers_registered", "Brokers that are registered", image.brokers().len()),
        ("brokers_fenced", "Registered brokers that are dead or not admitted", fenced),
        ("partitions_leaderless", "Partitions of the whole cluster that nobody leads", led.leaderless),
        ("replicas", "Replicas that this broker holds", led.replicas),
        ("leaders", "Partitions that this broker leads", led.leads),
        ("under_replicated_partitions", "Led partitions of which a replica is not in sync", led.under_replicated),
        (
            "under_min_isr_partitions",
            "Led partitions with fewer in-sync replicas than acks=all needs",
            led.under_min_isr,
        ),
        (
            "at_min_isr_partitions",
            "Led partitions with just as many in-sync replicas as acks=all needs",
            led.at_min_isr,
        ),
        ("reassigning_partitions", "Led partitions that are moving", led.reassigning),
        ("preferred_elsewhere", "Partitions that this broker should lead and does not", led.not_preferred),
    ];
    for (name, help, value) in gauges {
        gauge(out, name, help, value)?;
    }
    let counted = &node.partitions.hub().counters;
    let counters = [
        ("replication_stale_messages", "Messages of other epochs, runs or sessions that were ignored", &counted.stale),
        ("replication_gaps", "Pushes that did not follow the end of the log", &counted.gaps),
        ("replication_unconfirmed", "Answers that waited until somebody confirmed the leader", &counted.unconfirmed),
        ("replication_handed_over", "Leaderships handed over because of a slow disk", &counted.handed_over),
        ("replication_cuts_refused", "Cuts below the high watermark that were refused", &counted.cuts_refused),
        ("replication_truncations", "Logs that were cut", &counted.truncations),
        ("replication_throttled", "Pushes to replicas out of sync that a throttle held back", &counted.throttled),
    ];
    for (name, help, count) in counters {
        let counter = ConstCounter::new(count.load(Ordering::Relaxed));
        let encoder = out.encode_descriptor(name, help, None, counter.metric_type())?;
        EncodeMetric::encode(&counter, encoder)?;
    }
    Ok(())
}

fn epoch(image: &Image) -> usize {
    usize::try_from(image.epoch().get()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    #[test]
    fn partitions_count_where_they_are_led() {
        let one = |leader: Option<i32>, isr: &[i32]| Partition {
            leader: leader.map(BrokerId::new),
            replicas: ids(&[1, 2, 3]),
            isr: ids(isr),
            ..Partition::default()
        };
        let mut led = Led::default();
        let partitions =
            [one(Some(1), &[1, 2, 3]), one(Some(1), &[1, 2]), one(Some(1), &[1]), one(Some(2), &[2]), one(None, &[])];
        partitions.iter().for_each(|partition| led.count(BrokerId::new(1), partition, 2));
        let wanted = Led {
            leads: 3,
            under_replicated: 2,
            under_min_isr: 1,
            at_min_isr: 1,
            not_preferred: 2,
            leaderless: 1,
            replicas: 5,
            reassigning: 0,
        };
        assert_eq!(led, wanted);
    }
}
