//! Configuration of brokers, and of clients.
//!
//! Owns the properties that every broker of a cluster shares; what differs from broker to broker its Pod says. A ConfigMap
//! of brokers is named after its content and never changes: a Pod that starts again runs what it was made for, whatever
//! was declared meanwhile. What changes under a broker that runs stands there as well, for brokers that do not know the
//! other place, an annotation of each Pod.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ottla_core::config::{Key, broker};
use ottla_crds::Cluster;
use ottla_crds::cluster::{Listener, ListenerType};
use serde_json::{Map, Value, json};

use super::super::child::{Child, Owner, checksum};
use super::super::kind::Kind;
use super::super::names::{self, in_properties};
use super::super::outside::{self, Outside};

/// Where a Pod finds its properties.
pub(super) const FILE: &str = "broker.properties";
/// Where it finds what it tells clients outside, which changes while it runs.
pub(super) const ADVERTISED: &str = "/etc/ottla-advertised";
/// The file there.
pub(super) const FILE_OF_ADVERTISED: &str = "listeners";
/// Where it finds what of its properties changes while it runs.
pub(super) const DYNAMIC: &str = "/etc/ottla-dynamic";
/// Where its volume is mounted. Records lie in a folder below, beside what the file system keeps there for itself.
pub(super) const VOLUME: &str = "/var/lib/ottla";
/// Where its certificate lies. As a whole folder: a file that is mounted alone is never renewed.
pub(super) const CERTIFICATES: &str = "/etc/ottla-certificates";

/// What brokers share.
pub(super) struct Properties {
    /// All of it.
    pub(super) config: Child,
    /// What they read at their start only, in a checksum.
    pub(super) fixed: String,
    /// What changes while they run, as a file. Never empty: an empty one says nothing yet.
    pub(super) dynamic: String,
}

/// Whether a broker that runs takes another value of that key of `spec.config`.
pub(super) fn changes_while_running(key: &str) -> bool {
    broker::find(key).is_some_and(Key::follows_file)
}

/// The shared properties of `cluster`'s brokers.
pub(super) fn brokers(owner: &Owner, cluster: &Cluster, listeners: &[Listener]) -> Properties {
    let joined = |one: &dyn Fn(&Listener) -> String| listeners.iter().map(one).collect::<Vec<_>>().join(",");
    let mut keys: BTreeMap<String, String> =
        cluster.spec.config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
    let ours = [
        ("listeners", joined(&|one| format!("{}://:{}", in_properties(one), one.port))),
        ("listener.security.protocol.map", joined(&|one| format!("{}:PLAINTEXT", in_properties(one)))),
        ("log.dirs", format!("{VOLUME}/data")),
        ("ottla.dynamic.config.file", format!("{DYNAMIC}/{FILE}")),
        ("ottla.grpc.listener", format!(":{}", names::GRPC_PORT)),
        ("ottla.grpc.tls.directory", CERTIFICATES.to_owned()),
        ("ottla.http.listener", format!(":{}", names::HTTP_PORT)),
        ("ottla.kubernetes.cluster", owner.name.clone()),
        ("ottla.kubernetes.namespace", owner.namespace.clone()),
        ("ottla.log.format", "json".to_owned()),
    ];
    keys.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    if outside::listeners(listeners).next().is_some() {
        keys.insert("ottla.advertised.listeners.file".to_owned(), format!("{ADVERTISED}/{FILE_OF_ADVERTISED}"));
    }
    let text = |wanted: &dyn Fn(&str) -> bool| {
        let mut text = String::new();
        for (key, value) in keys.iter().filter(|(key, _)| wanted(key)) {
            let _ = writeln!(text, "{key}={}", escaped(value));
        }
        text
    };
    let all = text(&|_| true);
    let name = format!("{}-broker-{}", owner.name, checksum(&json!(all)));
    Properties {
        config: owner.child(Kind::ConfigMap, name, json!({"data": {FILE: all}})),
        fixed: checksum(&json!(text(&|key| !changes_while_running(key)))),
        dynamic: format!("# What changes without a restart of spec.config\n{}", text(&changes_while_running)),
    }
}

/// A value as a properties file takes it.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for symbol in value.chars() {
        match symbol {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            ' ' if text.is_empty() => text.push_str("\\u0020"),
            other => text.push(other),
        }
    }
    if text.ends_with(' ') {
        text.pop();
        text.push_str("\\u0020");
    }
    text
}

/// Where clients within Kubernetes begin on a listener.
pub fn bootstrap_servers(owner: &Owner, listener: &Listener) -> String {
    format!("{}.{}.svc:{}", names::bootstrap(&owner.name), owner.namespace, listener.port)
}

/// Where the clients that a listener is for begin, once that is known.
pub fn servers(owner: &Owner, listener: &Listener, outside: &Outside) -> Option<String> {
    match listener.kind {
        ListenerType::Internal => Some(bootstrap_servers(owner, listener)),
        ListenerType::NodePort | ListenerType::LoadBalancer => outside.bootstrap_servers(owner, listener),
    }
}

/// What clients mount: per listener its bootstrap servers and a properties file; those of the first one within Kubernetes, or
/// of the first one if none is, also without its name.
pub(super) fn clients(owner: &Owner, listeners: &[Listener], outside: &Outside) -> Child {
    let mut data = Map::new();
    let mut known: Vec<(&Listener, String)> =
        listeners.iter().filter_map(|listener| Some((listener, servers(owner, listener, outside)?))).collect();
    known.sort_by_key(|(listener, _)| listener.kind != ListenerType::Internal);
    for (listener, servers) in known {
        let properties = format!("bootstrap.servers={servers}\nsecurity.protocol=PLAINTEXT\n");
        for prefix in [format!("{}.", listener.name), String::new()] {
            let mut offer = |key: &str, value: &str| {
                data.entry(format!("{prefix}{key}")).or_insert_with(|| Value::from(value));
            };
            offer("bootstrap.servers", &servers);
            offer("client.properties", &properties);
        }
    }
    owner.child(Kind::ConfigMap, names::client(&owner.name), json!({"data": data}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_properties_file() {
        assert_eq!(escaped("a=b:c"), "a=b:c");
        assert_eq!(escaped(" a\\b\n "), "\\u0020a\\\\b\\n\\u0020");
    }
}
