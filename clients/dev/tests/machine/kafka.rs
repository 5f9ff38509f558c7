//! What a Kafka client sees.

use std::collections::BTreeMap;

use ottla_client::types::TopicId;
use ottla_client::{Client, ClientConfig, Result};

/// A topic as a client sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: usize,
}

fn ask<T>(bootstrap: &str, question: impl AsyncFnOnce(Client) -> Result<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bootstrap = bootstrap.split(',').map(str::to_owned).collect();
    let client = Client::new(ClientConfig { bootstrap, ..ClientConfig::default() });
    runtime.block_on(question(client)).expect("an answer")
}

/// Every topic by name.
pub(crate) fn topics(bootstrap: &str) -> BTreeMap<String, Topic> {
    let topics = ask(bootstrap, async |client| client.list_topics().await);
    let seen = |topic: ottla_client::TopicDescription| {
        (topic.name, Topic { id: topic.id, partitions: topic.partitions.len() })
    };
    topics.into_iter().map(seen).collect()
}

/// Asks for a topic as producers do: it is created on demand.
pub(crate) fn ask_for(bootstrap: &str, topic: &str) {
    ask(bootstrap, async |client| client.partitions(topic).await);
}

/// Deletes a topic.
pub(crate) fn delete(bootstrap: &str, topic: &str) {
    let settled = ask(bootstrap, async |client| client.delete_topics(&[topic.to_owned()]).await);
    assert!(settled.iter().all(std::result::Result::is_ok), "{settled:?}");
}
