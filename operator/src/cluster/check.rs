//! What the operator alone can see to be wrong with a Cluster: the schema has let it through.
//!
//! Owns every refusal that needs nothing but `spec`. Pure. Must never refuse without naming the field and the way out.

use std::collections::BTreeMap;

use ottla_core::config::{BrokerConfig, broker};
use ottla_crds::cluster::{Listener, ListenerType, Pool, UpdatePolicy};
use ottla_crds::{Cluster, ClusterSpec};

use super::names;
use super::outside;
use super::reason::{Reason, Refusal};
use super::windows;

/// Keys that follow from the rest of `spec`, or from where a broker runs.
const OURS: &[&str] = &[
    "node.id",
    "broker.id",
    "broker.rack",
    "cluster.id",
    "process.roles",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "log.dir",
    "log.dirs",
];
/// The same, by how they begin.
const OURS_BEGIN: &[&str] =
    &["ottla.http.", "ottla.grpc.", "ottla.advertised.", "ottla.dynamic.", "ottla.kubernetes.", "ottla.log.format"];

/// What nodes say of where they are, and what Kubernetes copies onto the Pods that are bound to them.
const RACKS: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// How the Services of every Cluster end.
const OUR_SERVICES: &[&str] = &["bootstrap", "brokers"];

/// The longest name of a host, and of most objects.
const LABEL_LENGTH_MAX: usize = 63;

/// The first thing that is wrong.
///
/// # Errors
/// A [`Refusal`] that names it.
pub fn check(cluster: &Cluster) -> Result<(), Refusal> {
    let spec = &cluster.spec;
    config(spec)?;
    brokers(spec)?;
    spec.listeners.iter().try_for_each(listener)?;
    outside::listeners(&spec.listeners).try_for_each(|one| outside(spec, one))?;
    spec.pools.iter().try_for_each(rack)?;
    updates(spec)?;
    if spec.authorization.enabled {
        let message = "spec.authorization.enabled: authorization does not work yet; leave it out";
        return Err(Refusal::new(Reason::AuthorizationUnsupported, message));
    }
    lengths(cluster)
}

fn config(spec: &ClusterSpec) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(Reason::InvalidConfig, message));
    for key in spec.config.keys() {
        if OURS.contains(&key.as_str()) || OURS_BEGIN.iter().any(|begin| key.starts_with(begin)) {
            return refuse(format!("spec.config: {key} is set by the operator; leave it out"));
        }
    }
    let values: BTreeMap<String, String> =
        spec.config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
    match BrokerConfig::from_file(values) {
        Err(invalid) => {
            let sentences: Vec<String> = invalid.iter().map(ToString::to_string).collect();
            refuse(format!("spec.config: {}", sentences.join("; ")))
        }
        Ok((_, unknown)) => unknown.first().map_or(Ok(()), |key| refuse(format!("spec.config: {key}"))),
    }
}

/// How many brokers `spec` declares.
pub fn declared_brokers(spec: &ClusterSpec) -> i64 {
    spec.pools.iter().map(|pool| i64::from(pool.replicas)).sum()
}

fn brokers(spec: &ClusterSpec) -> Result<(), Refusal> {
    let count = declared_brokers(spec);
    for key in [&broker::MIN_INSYNC_REPLICAS, &broker::DEFAULT_REPLICATION_FACTOR] {
        let Some(value) = spec.config.get(key.name) else { continue };
        let wanted = value.to_string().trim().parse::<i64>().unwrap_or(0);
        if count > 0 && wanted > count {
            let message = format!(
                "spec.config: {} is {wanted}, and spec.pools declares {count} broker(s); lower it, or raise replicas",
                key.name
            );
            return Err(Refusal::new(Reason::TooFewBrokers, message));
        }
    }
    Ok(())
}

fn listener(listener: &Listener) -> Result<(), Refusal> {
    let name = &listener.name;
    let internal = listener.kind == ListenerType::Internal;
    if !internal && !listener.insecure && (listener.tls.is_none() || listener.authentication.is_empty()) {
        let message = format!(
            "spec.listeners[{name}]: a listener that is not Internal needs tls and authentication, or insecure: true"
        );
        return Err(Refusal::new(Reason::ListenerInsecure, message));
    }
    let unsupported = |what: &str| {
        Err(Refusal::new(
            Reason::ListenerUnsupported,
            format!("spec.listeners[{name}]: {what} does not work yet; leave it out"),
        ))
    };
    if listener.tls.is_some() {
        return unsupported("tls");
    }
    if !listener.authentication.is_empty() {
        return unsupported("authentication");
    }
    let port = listener.port;
    if [i32::from(names::GRPC_PORT), i32::from(names::HTTP_PORT)].contains(&port) {
        let message = format!("spec.listeners[{name}]: port {port} is the brokers' own; choose another one");
        return Err(Refusal::new(Reason::ListenerUnsupported, message));
    }
    Ok(())
}

/// What only listeners have that clients outside connect to.
fn outside(spec: &ClusterSpec, listener: &Listener) -> Result<(), Refusal> {
    let refuse = |what: String| {
        let message = format!("spec.listeners[{}]: {what}", listener.name);
        Err(Refusal::new(Reason::ListenerUnsupported, message))
    };
    let name = listener.name.as_str();
    if OUR_SERVICES.contains(&name) {
        return refuse("its Service would have the name of one that every Cluster has; choose another name".to_owned());
    }
    let of_broker = |other: &&Listener| {
        let id = name.strip_prefix(&other.name).and_then(|rest| rest.strip_prefix('-'));
        id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some(other) = outside::listeners(&spec.listeners).find(of_broker) {
        let what =
            format!("its Service would have the name of a broker's on listener {}; choose another name", other.name);
        return refuse(what);
    }
    let Some(template) = &listener.broker_template else { return Ok(()) };
    let same_host = template.host.as_ref().is_some_and(|host| !host.contains("{id}"));
    let same_port = template.port.is_some() || listener.kind == ListenerType::LoadBalancer;
    if same_host && same_port && declared_brokers(spec) > 1 {
        return refuse("brokerTemplate gives every broker the same address; put {id} into host".to_owned());
    }
    Ok(())
}

fn rack(pool: &Pool) -> Result<(), Refusal> {
    match &pool.rack {
        Some(label) if !RACKS.contains(&label.as_str()) => Err(Refusal::new(
            Reason::RackUnsupported,
            format!("spec.pools[{}]: rack {label} is not visible to Pods; it may be {}", pool.name, RACKS.join(" or ")),
        )),
        Some(_) | None => Ok(()),
    }
}

fn updates(spec: &ClusterSpec) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(Reason::InvalidWindow, message));
    let updates = &spec.updates;
    if updates.policy == UpdatePolicy::InWindow && updates.windows.is_empty() {
        return refuse("spec.updates.policy is InWindow and there is no window; declare one in spec.updates.windows, or another policy".to_owned());
    }
    for (index, window) in updates.windows.iter().enumerate() {
        if let Some(problem) = windows::problem(window) {
            return refuse(format!("spec.updates.windows[{index}]: {problem}"));
        }
    }
    Ok(())
}

/// A Pod's name is its host name. Ids grow, so that three digits are kept free.
fn lengths(cluster: &Cluster) -> Result<(), Refusal> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    for pool in &cluster.spec.pools {
        let length = names::pod(name, &pool.name, 999).len();
        if length > LABEL_LENGTH_MAX {
            let message = format!(
                "spec.pools[{}]: Pods would be called {name}-{}-ID, longer than the {LABEL_LENGTH_MAX} characters of a host \
                 name; the names of Cluster and pool may have {} characters together",
                pool.name,
                pool.name,
                LABEL_LENGTH_MAX - (length - name.len() - pool.name.len())
            );
            return Err(Refusal::new(Reason::NameTooLong, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, pool: &str, spec: &str) -> Option<(Reason, String)> {
        let pools = format!("[{{name: {pool}, replicas: 3, storage: {{volumes: [{{name: data, size: 1Gi}}]}}}}]");
        let text = format!(
            "{{apiVersion: ottla.dev/v1alpha1, kind: Cluster, metadata: {{name: {name}}}, spec: {{pools: {pools}{spec}}}}}"
        );
        let cluster: Cluster = serde_yaml::from_str(&text).unwrap();
        check(&cluster).err().map(|refusal| (refusal.reason, refusal.message))
    }

    fn refused(spec: &str, reason: Reason, words: &str) {
        let (found, message) = verdict("c", "a", &format!(", {spec}")).unwrap_or_else(|| panic!("{spec} is taken"));
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(words), "{message}");
    }

    #[test]
    fn what_works_is_taken() {
        assert_eq!(verdict("c", "a", ""), None);
        let spec = ", config: {min.insync.replicas: 3, num.partitions: 6}, listeners: [{name: internal, port: 9092}]";
        assert_eq!(verdict("c", "a", spec), None);
        let spec = ", listeners: [{name: x, port: 9094, type: NodePort, insecure: true, brokerTemplate: {host: b.example.org}}, \
                    {name: x-y, port: 9095, type: LoadBalancer, insecure: true, brokerTemplate: {host: \"b{id}\", port: 1}}]";
        assert_eq!(verdict("c", "a", spec), None);
    }

    #[test]
    fn what_does_not_work_is_named_with_the_way_out() {
        refused("config: {num.partitons: 3}", Reason::InvalidConfig, "did you mean num.partitions?");
        refused("config: {num.partitions: many}", Reason::InvalidConfig, "\"many\"");
        refused("config: {node.id: 3}", Reason::InvalidConfig, "node.id is set by the operator");
        refused("config: {ottla.grpc.listener: \":1\"}", Reason::InvalidConfig, "leave it out");
        refused("config: {ottla.dynamic.config.file: x}", Reason::InvalidConfig, "leave it out");
        refused("config: {min.insync.replicas: 4}", Reason::TooFewBrokers, "declares 3 broker");
        refused("config: {default.replication.factor: 5}", Reason::TooFewBrokers, "raise replicas");
        refused("listeners: [{name: x, port: 9094, type: NodePort}]", Reason::ListenerInsecure, "insecure: true");
        let tls = "listeners: [{name: x, port: 9094, type: NodePort, tls: {}, authentication: [TLS]}]";
        refused(tls, Reason::ListenerUnsupported, "spec.listeners[x]: tls");
        let named = |name: &str, more: &str| {
            format!(
                "listeners: [{{name: x, port: 9094, type: NodePort, insecure: true}}, {{name: {name}, port: 9095, type: LoadBalancer, insecure: true{more}}}]"
            )
        };
        refused(&named("brokers", ""), Reason::ListenerUnsupported, "choose another name");
        refused(&named("x-12", ""), Reason::ListenerUnsupported, "broker's on listener x");
        let same = ", brokerTemplate: {host: b.example.org}";
        refused(&named("y", same), Reason::ListenerUnsupported, "put {id} into host");
        refused("listeners: [{name: x, port: 9094, tls: {}}]", Reason::ListenerUnsupported, "tls");
        refused("listeners: [{name: x, port: 9644}]", Reason::ListenerUnsupported, "9644");
        refused("updates: {policy: InWindow}", Reason::InvalidWindow, "declare one in spec.updates.windows");
        let window = "updates: {windows: [{schedule: \"0 2 * *\", duration: 1h}]}";
        refused(window, Reason::InvalidWindow, "spec.updates.windows[0]");
        refused("authorization: {enabled: true}", Reason::AuthorizationUnsupported, "leave it out");
    }

    #[test]
    fn a_host_name_has_to_fit() {
        let (cluster, pool) = ("c".repeat(40), "p".repeat(20));
        let (reason, message) = verdict(&cluster, &pool, "").unwrap();
        assert_eq!(reason, Reason::NameTooLong);
        assert!(message.contains("58 characters together"), "{message}");
        assert_eq!(verdict(&cluster, &pool[..18], ""), None);
    }
}
