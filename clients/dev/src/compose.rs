//! What a set of manifests means on one machine.
//!
//! Pure: from the manifest to the broker's configuration, the topics that should be there, and what is left out because
//! it makes no sense here. Nothing that is left out is left out silently, and nothing is said twice.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ottla_core::config::{self, BrokerConfig, ConfigError};
use ottla_core::metadata::ExplicitConfig;
use ottla_crds::cluster::{ListenerType, Pool};
use ottla_crds::manifest::{Declared, Fact, FieldPath, Manifest, Problem, Problems};
use ottla_crds::{Cluster, ClusterSpec, Topic};

use crate::plan::DeclaredTopic;

/// What a set of manifests means on one machine.
#[derive(Clone, Debug)]
pub struct Composition {
    /// What every broker is configured with.
    pub config: ExplicitConfig,
    /// How many brokers there should be.
    pub brokers: usize,
    /// The topics that should be there.
    pub topics: Vec<DeclaredTopic>,
    /// Sentences for the person who wrote the files, each once.
    pub notes: Vec<String>,
}

/// Keys that `ottla dev` sets itself, and the flag that does so.
const OWN_KEYS: &[(&str, &str)] = &[
    ("listeners", "--bind and --kafka-port"),
    ("advertised.listeners", "--advertise"),
    ("log.dirs", "--data-dir"),
    ("ottla.http.listener", "--bind and --http-port"),
    ("log.dir", "--data-dir"),
    ("node.id", "nothing: brokers are numbered from 0"),
    ("broker.id", "nothing: brokers are numbered from 0"),
    ("cluster.id", "nothing: the data directory has one"),
    ("ottla.grpc.listener", "nothing: brokers find each other"),
    ("ottla.grpc.advertised", "nothing: brokers find each other"),
    ("ottla.kubernetes.cluster", "nothing: there is no Kubernetes"),
];

/// The most brokers of one process: enough to try everything.
const BROKERS_MAX: i64 = 9;

/// Keys that count replicas. There are never more of them than brokers.
const REPLICA_KEYS: &[&str] = &[
    "default.replication.factor",
    "min.insync.replicas",
    "offsets.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
];

/// Reads what the manifests and the flags (`-c`) ask for.
///
/// # Errors
/// Everything in the manifests that one machine cannot make sense of.
pub fn compose(manifest: &Manifest, flags: &[(String, String)]) -> Result<Composition, Problems> {
    let mut composer = Composer::default();
    composer.clusters(&manifest.clusters);
    composer.flags(flags);
    composer.no_more_replicas_than_brokers();
    let broker = BrokerConfig::from_file(composer.config.clone()).map(|(config, _)| config).unwrap_or_default();
    for topic in &manifest.topics {
        composer.topic(topic, manifest, &broker);
    }
    composer.later(manifest);
    composer.finish()
}

#[derive(Default)]
struct Composer {
    config: ExplicitConfig,
    /// More brokers than one; 0 means one.
    more_brokers: usize,
    topics: Vec<DeclaredTopic>,
    ignored: BTreeSet<String>,
    notes: Vec<String>,
    problems: Vec<Problem>,
    replicas_asked: bool,
}

impl Composer {
    fn clusters(&mut self, clusters: &[Declared<Cluster>]) {
        let spec = FieldPath::root().field("spec");
        for (index, cluster) in clusters.iter().enumerate() {
            if index > 0 {
                let path = FieldPath::root().field("metadata").field("name");
                let first = &clusters[0];
                let fact = format!(
                    "ottla dev runs one Cluster, and {}:{} declares one",
                    first.source.file,
                    first.source.line(&path)
                );
                self.problems.push(cluster.source.problem(path, Fact::Rule(fact)));
                continue;
            }
            for (key, value) in &cluster.resource.spec.config {
                let path = spec.field("config").field(key);
                let value = value.to_string();
                match check_key(key, &value, "spec.config") {
                    Ok(()) => drop(self.config.insert(key.clone(), value)),
                    Err(rule) => self.problems.push(cluster.source.problem(path, Fact::Rule(rule))),
                }
            }
            self.ignore_cluster(&cluster.resource.spec);
        }
    }

    fn ignore_cluster(&mut self, spec: &ClusterSpec) {
        let mut ignore = |present: bool, field: &str| {
            if present {
                self.ignored.insert(field.to_owned());
            }
        };
        ignore(spec.version.is_some(), "version (this build runs)");
        ignore(spec.authorization != Default::default(), "authorization (everyone may do everything)");
        ignore(spec.updates != Default::default(), "updates");
        ignore(spec.rebalance != Default::default(), "rebalance");
        ignore(spec.repair != Default::default(), "repair");
        ignore(spec.volumes != Default::default(), "volumes");
        ignore(spec.network_policy != Default::default(), "networkPolicy");
        for listener in &spec.listeners {
            if listener.kind == ListenerType::Internal {
                let secured = listener.tls.is_some() || !listener.authentication.is_empty();
                ignore(
                    secured,
                    "listeners[].tls and authentication (clients connect in plain text, without a password)",
                );
                ignore(listener.port != 9092, "listeners[].port (the port is --kafka-port)");
            } else {
                ignore(true, "listeners of type NodePort and LoadBalancer");
            }
        }
        for Pool { rack, storage, resources, template, .. } in &spec.pools {
            ignore(!storage.volumes.is_empty(), "pools[].storage (records are in --data-dir)");
            ignore(rack.is_some(), "pools[].rack");
            ignore(resources.as_ref().is_some_and(|resources| *resources != Default::default()), "pools[].resources");
            ignore(template.as_ref().is_some_and(|template| *template != Default::default()), "pools[].template");
        }
        let brokers: i64 = spec.pools.iter().map(|pool| i64::from(pool.replicas)).sum();
        let runs = brokers.clamp(1, BROKERS_MAX);
        self.more_brokers = usize::try_from(runs - 1).unwrap_or(0);
        if brokers != runs {
            self.notes.push(format!("{brokers} brokers are declared; ottla dev runs {runs}"));
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            match check_key(key, value, "-c") {
                Ok(()) => drop(self.config.insert(key.clone(), value.clone())),
                Err(rule) => self.problems.push(Problem {
                    file: format!("-c {key}={value}"),
                    line: None,
                    path: FieldPath::root(),
                    fact: Fact::Rule(rule),
                }),
            }
        }
    }

    fn brokers(&self) -> i64 {
        i64::try_from(self.more_brokers).unwrap_or(0) + 1
    }

    /// What cannot be had is not asked for; what is not set is what Kafka's defaults come to here.
    fn no_more_replicas_than_brokers(&mut self) {
        let brokers = self.brokers();
        let defaults = BrokerConfig::default();
        for key in REPLICA_KEYS {
            let asked = self.config.get(*key).and_then(|value| value.trim().parse::<i64>().ok());
            let default =
                config::broker::ALL.iter().find(|known| known.name == *key).and_then(|key| defaults.long(key));
            let wanted = asked.or(default).unwrap_or(1);
            self.replicas_asked |= asked.is_some_and(|asked| asked > brokers);
            self.config.insert((*key).to_owned(), wanted.min(brokers).to_string());
        }
    }

    fn topic(&mut self, topic: &Declared<Topic>, manifest: &Manifest, broker: &BrokerConfig) {
        let spec = FieldPath::root().field("spec");
        let resource = &topic.resource;
        if let Some(fact) = unknown_cluster(resource, manifest) {
            self.problems.push(topic.source.problem(spec.field("clusterRef").field("name"), fact));
        }
        let mut explicit: ExplicitConfig =
            resource.spec.config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        if let Err(error) = config::check_topic(&explicit, broker, false) {
            let path = key_of(&error).map_or_else(|| spec.field("config"), |key| spec.field("config").field(key));
            self.problems.push(topic.source.problem(path, Fact::Rule(error.to_string())));
        }
        let brokers = self.brokers();
        if let Some(value) = explicit.get_mut("min.insync.replicas")
            && value.trim().parse::<i64>().is_ok_and(|asked| asked > brokers)
        {
            *value = brokers.to_string();
            self.replicas_asked = true;
        }
        let replicas = resource.spec.replicas.map(i64::from);
        self.replicas_asked |= replicas.is_some_and(|replicas| replicas > brokers);
        let replicas = replicas.and_then(|replicas| i16::try_from(replicas.min(brokers)).ok());
        self.topics.push(DeclaredTopic {
            name: resource.topic_name().to_owned(),
            partitions: resource.spec.partitions,
            replicas,
            config: explicit,
            adoption: resource.spec.adoption_policy,
            drift: resource.spec.drift_policy,
            deletion: resource.spec.deletion_policy,
            file: PathBuf::from(&*topic.source.file),
        });
    }

    fn later(&mut self, manifest: &Manifest) {
        let users = manifest.users.iter().map(|user| ("User", &user.resource.metadata.name));
        let connectors = manifest.connectors.iter().map(|connector| ("Connector", &connector.resource.metadata.name));
        let names: Vec<_> = users
            .chain(connectors)
            .map(|(kind, name)| format!("{kind} {}", name.as_deref().unwrap_or_default()))
            .collect();
        if !names.is_empty() {
            self.notes.push(format!("not supported yet, and left out: {}", names.join(", ")));
        }
        for skipped in &manifest.skipped {
            let kind = format!("{} of {}", skipped.kind, skipped.api_version);
            self.notes.push(format!("{}:{}: skipped, {kind} is not a resource of Ottla", skipped.file, skipped.line));
        }
    }

    fn finish(mut self) -> Result<Composition, Problems> {
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        if self.replicas_asked {
            let brokers = self.brokers();
            let can = match brokers {
                1 => "one broker can keep one replica".to_owned(),
                more => format!("{more} brokers can keep {more} replicas"),
            };
            self.notes.push(format!("{can}: replication factors and min.insync.replicas are at most {brokers}"));
        }
        if !self.ignored.is_empty() {
            let fields = self.ignored.into_iter().collect::<Vec<_>>().join("; ");
            self.notes.push(format!("ignored on one machine: {fields}"));
        }
        let brokers = self.more_brokers + 1;
        Ok(Composition { config: self.config, brokers, topics: self.topics, notes: self.notes })
    }
}

/// Whether a broker config may be set, and to this value.
fn check_key(key: &str, value: &str, place: &str) -> Result<(), String> {
    if let Some((_, flag)) = OWN_KEYS.iter().find(|(own, _)| *own == key) {
        return Err(format!("{key} cannot be set by {place}; it is set by {flag}"));
    }
    let (_, unknown) = BrokerConfig::from_file([(key.to_owned(), value.to_owned())].into())
        .map_err(|invalid| invalid.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    unknown.first().map_or(Ok(()), |unknown| Err(unknown.to_string()))
}

/// The key that a refusal is about.
fn key_of(error: &ConfigError) -> Option<&str> {
    match error {
        ConfigError::Invalid(invalid) => Some(&invalid.key),
        ConfigError::Unknown(unknown) => Some(&unknown.key),
        ConfigError::Conflict(conflict) => Some(conflict.key),
        ConfigError::ReadOnly(key)
        | ConfigError::PerBroker(key)
        | ConfigError::NotAList(key)
        | ConfigError::InternalDurability(key) => Some(key),
        ConfigError::NoValue(key) => Some(key),
    }
}

/// A topic belongs to the Cluster that is declared, or to the one that the first Topic names.
fn unknown_cluster(topic: &Topic, manifest: &Manifest) -> Option<Fact> {
    let name = &topic.spec.cluster_ref.name;
    let namespace = topic.metadata.namespace.as_deref();
    let (known, its_namespace) = match (manifest.clusters.first(), manifest.topics.first()) {
        (Some(cluster), _) => {
            let metadata = &cluster.resource.metadata;
            (metadata.name.as_deref()?, metadata.namespace.as_deref())
        }
        (None, Some(first)) => (first.resource.spec.cluster_ref.name.as_str(), None),
        (None, None) => return None,
    };
    if name != known {
        return Some(Fact::Rule(format!("no Cluster {name:?} is declared; did you mean {known:?}?")));
    }
    match (namespace, its_namespace) {
        (Some(here), Some(there)) if here != there => {
            Some(Fact::Rule(format!("Cluster {known:?} is in namespace {there:?}, this Topic in {here:?}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
