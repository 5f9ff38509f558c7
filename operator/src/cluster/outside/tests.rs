//! What is known of addresses, and what is not yet.

use ottla_crds::Cluster;
use serde_json::json;

use super::*;
use crate::cluster::child::merge;
use crate::cluster::desired;
use crate::cluster::fixture::{cluster, pool};

const NODE_PORT: &str = "{name: out, port: 9094, type: NodePort, insecure: true}";
const BALANCED: &str = "{name: out, port: 9094, type: LoadBalancer, insecure: true}";

fn of(listener: &str) -> Cluster {
    cluster(&format!("{{pools: [{}], listeners: [{listener}]}}", pool("a", 2)))
}

/// A look at Services with these names and more of them, and at brokers 0 and 1 on nodes `one` and `two`.
fn look(services: &[(&str, Value)]) -> Observed {
    let mut observed = Observed::default();
    for (name, more) in services {
        let mut service = json!({"metadata": {"name": name, "creationTimestamp": "2026-02-01T10:00:00Z"}});
        merge(&mut service, more.clone());
        observed.objects.insert((Kind::Service, (*name).to_owned()), service);
    }
    for (id, node) in [(0, "one"), (1, "two")] {
        let labels = json!({names::BROKER_LABEL: id.to_string()});
        let pod = json!({"metadata": {"labels": labels}, "spec": {"nodeName": node}, "status": {"hostIP": format!("10.0.0.{id}")}});
        observed.objects.insert((Kind::Pod, format!("c-a-{id}")), pod);
    }
    observed
}

fn node_port(port: i32) -> Value {
    json!({"spec": {"ports": [{"nodePort": port}]}})
}

fn balancer(ingress: Value) -> Value {
    json!({"status": {"loadBalancer": {"ingress": [ingress]}}})
}

fn by_nodes() -> Observed {
    look(&[("c-out", node_port(30_000)), ("c-out-0", node_port(30_001)), ("c-out-1", node_port(30_002))])
}

fn by_balancers() -> Observed {
    let name = json!({"hostname": "lb.example.org", "ip": "192.0.2.9"});
    look(&[
        ("c-out", balancer(name)),
        ("c-out-0", balancer(json!({"ip": "192.0.2.1"}))),
        ("c-out-1", balancer(json!({"ip": "2001:db8::1"}))),
    ])
}

/// What both brokers advertise, and where clients begin.
fn told(listener: &str, observed: &Observed) -> [String; 3] {
    let cluster = of(listener);
    let (owner, all, outside) = (desired::owner(&cluster), desired::listeners(&cluster), Outside::of(observed));
    let servers = outside.bootstrap_servers(&owner, &all[0]);
    let [zero, one] = [0, 1].map(|id| outside.advertised(&owner, &all, id));
    [zero, one, servers].map(Option::unwrap_or_default)
}

#[test]
fn a_node_port_is_told_with_the_node_that_the_broker_runs_on() {
    let mut observed = by_nodes();
    let expected = ["OUT://10.0.0.0:30001", "OUT://10.0.0.1:30002", "10.0.0.0:30000,10.0.0.1:30000"];
    assert_eq!(told(NODE_PORT, &observed), expected);
    observed.nodes.insert("two".to_owned(), "198.51.100.2".to_owned());
    let expected = ["OUT://10.0.0.0:30001", "OUT://198.51.100.2:30002", "10.0.0.0:30000,198.51.100.2:30000"];
    assert_eq!(told(NODE_PORT, &observed), expected);
    let named = NODE_PORT.replace("insecure", "bootstrap: {host: k}, brokerTemplate: {host: \"b{id}.k\"}, insecure");
    assert_eq!(told(&named, &observed), ["OUT://b0.k:30001", "OUT://b1.k:30002", "k:30000"]);
    let forwarded = NODE_PORT.replace("insecure", "brokerTemplate: {host: \"b{id}.k\", port: 443}, insecure");
    assert_eq!(told(&forwarded, &observed)[..2], ["OUT://b0.k:443", "OUT://b1.k:443"]);
}

#[test]
fn a_load_balancer_is_told_by_its_name_or_its_address() {
    let observed = by_balancers();
    let expected = ["OUT://192.0.2.1:9094", "OUT://[2001:db8::1]:9094", "lb.example.org:9094"];
    assert_eq!(told(BALANCED, &observed), expected);
    let named = BALANCED.replace("insecure", "bootstrap: {host: k}, brokerTemplate: {host: \"b{id}.k\"}, insecure");
    assert_eq!(told(&named, &observed), ["OUT://b0.k:9094", "OUT://b1.k:9094", "k:9094"]);
}

#[test]
fn nothing_is_made_up() {
    assert_eq!(told(NODE_PORT, &Observed::default()), ["", "", ""]);
    assert_eq!(told(BALANCED, &look(&[("c-out", json!({})), ("c-out-0", json!({}))])), ["", "", ""]);
    let mut unbound = by_nodes();
    unbound.objects.remove(&(Kind::Pod, "c-a-1".to_owned()));
    assert_eq!(told(NODE_PORT, &unbound), ["OUT://10.0.0.0:30001", "", "10.0.0.0:30000"]);
}

#[test]
fn what_has_no_address_is_named_and_becomes_urgent() {
    let waits = |listener: &str, observed: &Observed, now: &str| {
        let cluster = of(listener);
        let all = desired::listeners(&cluster);
        Outside::of(observed).waits(&desired::owner(&cluster), &all, &[0, 1], now.parse().unwrap())
    };
    let (soon, late) = ("2026-02-01T10:01:00Z", "2026-02-01T10:06:00Z");
    assert_eq!(waits(NODE_PORT, &by_nodes(), late), None);
    assert_eq!(waits(BALANCED, &by_balancers(), late), None);
    let half = look(&[("c-out", balancer(json!({"ip": "192.0.2.9"}))), ("c-out-0", json!({})), ("c-out-1", json!({}))]);
    let (message, overdue) = waits(BALANCED, &half, soon).unwrap();
    assert!(message.contains("Service c-out-0, c-out-1:") && !overdue, "{message}");
    assert!(waits(BALANCED, &half, late).unwrap().1);
    let named = BALANCED.replace("insecure", "brokerTemplate: {host: \"b{id}.k\"}, insecure");
    assert_eq!(waits(&named, &half, late), None, "clients are told a name that somebody else looks after");
}

#[test]
fn of_a_nodes_addresses_the_one_that_strangers_reach_is_taken() {
    let node = |addresses: Value| node_address(&json!({"status": {"addresses": addresses}}));
    let (inner, outer) = (json!({"type": "InternalIP", "address": "i"}), json!({"type": "ExternalIP", "address": "e"}));
    let host = json!({"type": "Hostname", "address": "h"});
    assert_eq!(node(json!([host, inner, outer])).as_deref(), Some("e"));
    assert_eq!(node(json!([host, inner])).as_deref(), Some("i"));
    assert_eq!(node(json!([host])).as_deref(), Some("h"));
    assert_eq!(node(json!([])), None);
}
