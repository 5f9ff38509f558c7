//! Names and addresses of a cluster, and who reaches which port.
//!
//! Owns the Services and the NetworkPolicy. Must never open a port of the brokers' own to everyone.

use ottla_crds::Cluster;
use ottla_crds::cluster::Listener;
use serde_json::{Value, json};

use super::super::child::{Child, Owner};
use super::super::kind::Kind;
use super::super::names;

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
