//! Names and addresses of a cluster, and who reaches which port.
//!
//! Owns the Services and the NetworkPolicy. Must never open a port of the brokers' own to everyone.

use ottla_crds::Cluster;
use ottla_crds::cluster::{Listener, ListenerType};
use serde_json::{Map, Value, json};

use super::super::child::{Child, Owner, merge};
use super::super::kind::Kind;
use super::super::names;
use super::super::outside;

pub(super) fn children(owner: &Owner, cluster: &Cluster, listeners: &[Listener]) -> Vec<Child> {
    let mut children = vec![bootstrap(owner, listeners), brokers(owner, listeners)];
    if cluster.spec.network_policy.enabled {
        children.push(policy(owner, listeners));
    }
    children
}

fn port(name: &str, number: i64) -> Value {
    json!({"name": name, "port": number, "targetPort": number, "protocol": "TCP"})
}

fn client_ports(listeners: &[Listener]) -> Vec<Value> {
    listeners.iter().map(|listener| port(&listener.name, i64::from(listener.port))).collect()
}

/// Any broker that serves, for a client's first connection.
fn bootstrap(owner: &Owner, listeners: &[Listener]) -> Child {
    let spec = json!({"type": "ClusterIP", "selector": owner.selector(), "ports": client_ports(listeners)});
    owner.child(Kind::Service, names::bootstrap(&owner.name), json!({"spec": spec}))
}

/// A name for each broker, also before it serves: brokers find each other while they start.
fn brokers(owner: &Owner, listeners: &[Listener]) -> Child {
    let mut ports = client_ports(listeners);
    ports.push(port("ottla-grpc", i64::from(names::GRPC_PORT)));
    ports.push(port("ottla-http", i64::from(names::HTTP_PORT)));
    let spec = json!({
        "clusterIP": "None",
        "publishNotReadyAddresses": true,
        "selector": owner.selector(),
        "ports": ports,
    });
    owner.child(Kind::Service, names::brokers(&owner.name), json!({"spec": spec}))
}

/// What clients outside connect to: on each of their listeners any broker that serves, and each broker, whether it is ready
/// or not: one that leads is connected to as soon as it leads.
pub(super) fn outside(owner: &Owner, listeners: &[Listener], brokers: &[i32]) -> Vec<Child> {
    let mut children = Vec::new();
    for listener in outside::listeners(listeners) {
        let service = |selector: Value, more: Value| {
            // By the port's name: while a new number rolls through the Pods, each is reached by its own.
            let ports = [merged(port(&listener.name, i64::from(listener.port)), json!({"targetPort": listener.name}))];
            let spec = json!({"type": kind(listener.kind), "selector": selector, "ports": ports});
            merged(json!({"spec": spec}), json!({"spec": more}))
        };
        let name = names::listener(&owner.name, &listener.name);
        children.push(owner.child(
            Kind::Service,
            name,
            service(owner.selector(), json!({"externalTrafficPolicy": "Cluster"})),
        ));
        // Clients that are told the very node of a broker need no other one in between; then the broker sees who they are.
        let policy = if outside::by_node(listener) { "Local" } else { "Cluster" };
        for id in brokers {
            let selector = merged(owner.selector(), json!({names::BROKER_LABEL: id.to_string()}));
            let more = json!({"externalTrafficPolicy": policy, "publishNotReadyAddresses": true});
            let mut body = service(selector, more);
            let template = listener.broker_template.as_ref().map(|template| &template.annotations);
            for (key, value) in template.into_iter().flatten() {
                body["metadata"]["annotations"][key] = json!(outside::with_id(value, *id));
            }
            let name = names::listener_broker(&owner.name, &listener.name, *id);
            let labels = Map::from_iter([(names::BROKER_LABEL.to_owned(), json!(id.to_string()))]);
            children.push(owner.labelled(Kind::Service, name, labels, body));
        }
    }
    children
}

fn kind(kind: ListenerType) -> &'static str {
    match kind {
        ListenerType::Internal => "ClusterIP",
        ListenerType::NodePort => "NodePort",
        ListenerType::LoadBalancer => "LoadBalancer",
    }
}

fn merged(mut under: Value, over: Value) -> Value {
    merge(&mut under, over);
    under
}

/// Clients reach listeners. Brokers and operators reach the rest, and whoever scrapes reaches the metrics.
fn policy(owner: &Owner, listeners: &[Listener]) -> Child {
    let open: Vec<Value> = listeners.iter().map(|one| json!({"port": one.port, "protocol": "TCP"})).collect();
    let own = [names::GRPC_PORT, names::HTTP_PORT].map(|port| json!({"port": port, "protocol": "TCP"}));
    let anywhere = |labels: Value| json!({"namespaceSelector": {}, "podSelector": {"matchLabels": labels}});
    let brothers = json!({"podSelector": {"matchLabels": owner.selector()}});
    let operators = anywhere(json!({"app.kubernetes.io/name": names::MANAGER}));
    let scrapers = anywhere(json!({"app.kubernetes.io/name": "prometheus"}));
    let spec = json!({
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": open},
            {"ports": own, "from": [brothers, operators]},
            {"ports": [{"port": names::HTTP_PORT, "protocol": "TCP"}], "from": [scrapers]},
        ],
    });
    owner.child(Kind::NetworkPolicy, format!("{}-brokers", owner.name), json!({"spec": spec}))
}
