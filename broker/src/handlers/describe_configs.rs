//! DescribeConfigs, versions 1 to 4.
//!
//! Versions: 1 sources and synonyms, 3 types and documentation. Topics and brokers are described; groups, client metrics
//! and loggers have no configs of their own here, and are refused as Kafka refuses a kind that it does not know.

use ottla_core::config::{self, BrokerConfig, Key, Layered, Scope, Source, TopicKey};
use ottla_core::metadata::{ExplicitConfig, Image};
use ottla_core::topic_name;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::config_resource::{BrokerTarget, Kind};
use crate::server::dispatch::Cx;

/// One key of one resource, with every value that it could have.
pub struct Entry {
    /// The key.
    pub key: &'static Key,
    /// Every value, strongest first; none is Kafka's null.
    chain: Vec<Layered>,
}

impl Entry {
    /// The value that counts, as clients may see it.
    pub fn shown(&self) -> Option<String> {
        self.chain.first().filter(|_| !self.key.sensitive()).map(|layer| layer.effective.clone())
    }

    /// Where it comes from, as the wire numbers it.
    pub fn source(&self) -> i8 {
        self.chain.first().map_or(Source::Default, |layer| layer.source) as i8
    }
}

/// What a topic's configs come to; all of them, or those that are asked for.
pub fn topic_entries<'a>(
    explicit: &'a ExplicitConfig,
    broker: &'a BrokerConfig,
    keys: Option<&'a [String]>,
) -> impl Iterator<Item = Entry> + 'a {
    let known = config::topic::ALL.iter().filter(move |known| asked_for(keys, &known.key));
    known.map(move |known: &&'static TopicKey| Entry { key: &known.key, chain: known.chain(explicit, broker) })
}

fn asked_for(keys: Option<&[String]>, key: &Key) -> bool {
    keys.is_none_or(|keys| keys.iter().any(|wanted| wanted == key.name))
}

/// Answers each resource on its own.
pub async fn handle(cx: &Cx, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = cx.node.metadata.image();
    let broker = cx.node.metadata.config();
    let describe = |resource: DescribeConfigsResource| {
        let keys = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
        let entries = match Kind::read(resource.resource_type) {
            Some(Kind::Topic) => of_topic(&image, &broker, &resource.resource_name, keys),
            Some(Kind::Broker) => of_broker(cx, &image, &broker, &resource.resource_name, keys),
            None => Err((
                ErrorCode::INVALID_REQUEST,
                format!("configs of resource type {} cannot be described", resource.resource_type),
            )),
        };
        let (error, message, entries) = match entries {
            Ok(entries) => (ErrorCode::NONE, None, entries),
            Err((error, message)) => (error, Some(message), Vec::new()),
        };
        let shown = |entry: Entry| shown(entry, &request, resource.resource_type);
        DescribeConfigsResult {
            error_code: error.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: entries.into_iter().map(shown).collect(),
        }
    };
    let results = request.resources.iter().cloned().map(describe).collect();
    DescribeConfigsResponse { results, ..Default::default() }
}

type Entries = Result<Vec<Entry>, (ErrorCode, String)>;

fn of_topic(image: &Image, broker: &BrokerConfig, name: &str, keys: Option<&[String]>) -> Entries {
    if let Err(error) = topic_name::check(name) {
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()));
    }
    match image.topic(name) {
        Some(topic) => Ok(topic_entries(&topic.config, broker, keys).collect()),
        None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("topic '{name}' does not exist"))),
    }
}

fn of_broker(cx: &Cx, image: &Image, broker: &BrokerConfig, name: &str, keys: Option<&[String]>) -> Entries {
    let known = config::broker::ALL.iter().copied().filter(|key| asked_for(keys, key));
    match BrokerTarget::read(name) {
        Some(BrokerTarget::One(id)) if id == cx.node.id() => {
            Ok(known.map(|key| Entry { key, chain: broker.chain(key) }).collect())
        }
        // The default of all brokers holds what was set there, and nothing else.
        Some(BrokerTarget::All) => {
            let set = image.broker_defaults();
            let layer = |key: &'static Key| {
                let value = set.get(key.name)?.clone();
                let layer = Layered { name: key.name, effective: value.clone(), value, source: Source::AllBrokers };
                Some(Entry { key, chain: vec![layer] })
            };
            Ok(known.filter_map(layer).collect())
        }
        Some(BrokerTarget::One(_)) | None => Err((
            ErrorCode::INVALID_REQUEST,
            format!("unexpected broker id {name:?}: this is broker {}, and an empty name is all brokers", cx.node.id()),
        )),
    }
}

fn shown(entry: Entry, request: &DescribeConfigsRequest, resource_type: i8) -> DescribeConfigsResourceResult {
    let sensitive = entry.key.sensitive();
    let read_only = Kind::read(resource_type) == Some(Kind::Broker) && entry.key.scope == Scope::ReadOnly;
    let synonym = |layer: &Layered| DescribeConfigsSynonym {
        name: layer.name.to_owned(),
        value: (!sensitive).then(|| layer.value.clone()),
        source: layer.source as i8,
    };
    DescribeConfigsResourceResult {
        name: entry.key.name.to_owned(),
        value: entry.shown(),
        read_only,
        config_source: entry.source(),
        is_sensitive: sensitive,
        synonyms: if request.include_synonyms { entry.chain.iter().map(synonym).collect() } else { Vec::new() },
        config_type: entry.key.kind.wire_type() as i8,
        documentation: request.include_documentation.then(|| entry.key.doc.to_owned()),
    }
}
