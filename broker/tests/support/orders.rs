//! One topic that three brokers hold, and writing to it.
//!
//! Owns its name. It has one partition with a replica on each of them. Every wait has a deadline.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::CreatableTopic;

use crate::peer::{DEADLINE, with};
use crate::trio::{Trio, produce};

pub(crate) const TOPIC: &str = "orders";

impl Trio {
    pub(crate) async fn create(&self) {
        let topic = with(|topic: &mut CreatableTopic| {
            (topic.name, topic.num_partitions, topic.replication_factor) = (TOPIC.to_owned(), 1, 3);
        });
        let request = with(|request: &mut CreateTopicsRequest| {
            (request.topics, request.timeout_ms) = (vec![topic], 60_000);
        });
        let answer = self.ask(0, &request, 7).await;
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        self.until(TOPIC, "created", |partition| partition.isr.len() == 3).await;
    }

    /// Produces until it is acknowledged, by whoever leads.
    pub(crate) async fn produced(&self, batch: &Bytes) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let code = match self.leader(TOPIC) {
                Some(leader) => {
                    let answer = self.ask(leader, &produce(TOPIC, batch), 9).await;
                    answer.responses[0].partition_responses[0].error_code
                }
                None => -1,
            };
            if code == 0 {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{code}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
