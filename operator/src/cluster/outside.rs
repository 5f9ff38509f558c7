//! Where a cluster is reached from outside Kubernetes, as far as it is known.
//!
//! Owns what Services and nodes say of addresses, and what follows from it for brokers, clients and conditions. Pure: what
//! was seen is an argument. Must never make an address up: what is not known yet is left out, and said to be waited for.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ottla_crds::cluster::{Listener, ListenerType};
use serde_json::Value;

use super::child::{Owner, Seen};
use super::kind::Kind;
use super::names;
use super::observed::Observed;

/// For how long a Service may have no address before a person has to look.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// How many brokers' nodes a client is told to begin with; it learns of the others from any of them.
const BEGINNINGS: usize = 3;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outside {
    services: BTreeMap<String, Front>,
    /// The node that each broker runs on.
    hosts: BTreeMap<i32, String>,
}

/// What stands in front of brokers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Front {
    node_port: Option<i32>,
    balancer: Option<String>,
    made: Option<Timestamp>,
}

/// A host and a port, as clients are told.
fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What of a Node clients outside connect to: the first of the kinds of address that it has.
pub fn node_address(node: &Value) -> Option<String> {
    let all = node["status"]["addresses"].as_array()?;
    let of = |kind: &str| all.iter().find(|one| one["type"] == kind).and_then(|one| one["address"].as_str());
    ["ExternalIP", "InternalIP", "Hostname"].into_iter().find_map(of).map(str::to_owned)
}

/// The listeners that have addresses outside.
pub fn listeners(all: &[Listener]) -> impl Iterator<Item = &Listener> {
    all.iter().filter(|listener| listener.kind != ListenerType::Internal)
}

/// Whether clients of that listener connect to the very node that a broker runs on.
pub fn by_node(listener: &Listener) -> bool {
    let named = listener.broker_template.as_ref().is_some_and(|template| template.host.is_some());
    listener.kind == ListenerType::NodePort && !named
}

/// `{id}` stands for a broker's id.
pub fn with_id(template: &str, id: i32) -> String {
    template.replace("{id}", &id.to_string())
}

impl Outside {
    /// What `observed` shows of it.
    pub fn of(observed: &Observed) -> Self {
        let services = observed.of(Kind::Service).map(|(name, service)| (name.to_owned(), Front::of(service)));
        let host = |pod: &Value| {
            // The node itself knows more of its addresses than the Pod says, where it may be read.
            let node = pod["spec"]["nodeName"].as_str().and_then(|node| observed.nodes.get(node));
            node.cloned().or_else(|| pod["status"]["hostIP"].as_str().map(str::to_owned))
        };
        let pods = observed.of(Kind::Pod).filter(|(_, pod)| !pod.is_going());
        let hosts = pods.filter_map(|(_, pod)| Some((pod.broker()?, host(pod)?)));
        Self { services: services.collect(), hosts: hosts.collect() }
    }

    /// Where clients of `listener` reach a broker.
    fn broker(&self, owner: &Owner, listener: &Listener, id: i32) -> Option<String> {
        let front = self.services.get(&names::listener_broker(&owner.name, &listener.name, id));
        let template = listener.broker_template.as_ref();
        let host = template.and_then(|template| template.host.as_deref()).map(|host| with_id(host, id));
        let port = template.and_then(|template| template.port);
        let (own_host, own_port) = match listener.kind {
            ListenerType::Internal => return None,
            ListenerType::NodePort => (self.hosts.get(&id), front.and_then(|front| front.node_port)),
            ListenerType::LoadBalancer => (front.and_then(|front| front.balancer.as_ref()), Some(listener.port)),
        };
        Some(address(&host.or_else(|| own_host.cloned())?, port.or(own_port)?))
    }

    /// What a broker tells clients of its outside listeners, in the notation of `advertised.listeners`; `None` if nothing
    /// is known yet.
    pub fn advertised(&self, owner: &Owner, all: &[Listener], id: i32) -> Option<String> {
        let one =
            |listener| Some(format!("{}://{}", names::in_properties(listener), self.broker(owner, listener, id)?));
        let known: Vec<String> = listeners(all).filter_map(one).collect();
        (!known.is_empty()).then(|| known.join(","))
    }

    /// Where clients of `listener` begin, once that is known.
    pub fn bootstrap_servers(&self, owner: &Owner, listener: &Listener) -> Option<String> {
        let front = self.services.get(&names::listener(&owner.name, &listener.name))?;
        let named = listener.bootstrap.as_ref().map(|bootstrap| &bootstrap.host);
        match (listener.kind, named) {
            (ListenerType::Internal, _) => None,
            (ListenerType::NodePort, Some(host)) => Some(address(host, front.node_port?)),
            (ListenerType::NodePort, None) => {
                let port = front.node_port?;
                let mut hosts: Vec<&String> = Vec::new();
                for host in self.hosts.values() {
                    if !hosts.contains(&host) && hosts.len() < BEGINNINGS {
                        hosts.push(host);
                    }
                }
                let all: Vec<String> = hosts.into_iter().map(|host| address(host, port)).collect();
                (!all.is_empty()).then(|| all.join(","))
            }
            (ListenerType::LoadBalancer, host) => Some(address(host.or(front.balancer.as_ref())?, listener.port)),
        }
    }

    /// Which Services have no address yet that they need, in a sentence, and whether one of them has waited too long.
    pub fn waits(&self, owner: &Owner, all: &[Listener], brokers: &[i32], now: Timestamp) -> Option<(String, bool)> {
        let mut waiting: Vec<(String, bool)> = Vec::new();
        for listener in listeners(all) {
            let named = listener.broker_template.as_ref().is_some_and(|template| template.host.is_some());
            let of_brokers = brokers.iter().map(|id| (names::listener_broker(&owner.name, &listener.name, *id), named));
            let whole = (names::listener(&owner.name, &listener.name), listener.bootstrap.is_some());
            for (name, named) in std::iter::once(whole).chain(of_brokers) {
                // One that is not there is about to be made.
                let Some(front) = self.services.get(&name) else { continue };
                let known = match listener.kind {
                    ListenerType::Internal => true,
                    ListenerType::NodePort => front.node_port.is_some(),
                    ListenerType::LoadBalancer => named || front.balancer.is_some(),
                };
                if !known {
                    waiting.push((name, front.made.is_some_and(|made| now.duration_since(made) > PATIENCE)));
                }
            }
        }
        let (first, _) = waiting.first()?;
        let names: Vec<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!(
            "no address yet for Service {}: something in Kubernetes has to give it one (kubectl describe service {first})",
            names.join(", ")
        );
        Some((message, waiting.iter().any(|(_, long)| *long)))
    }
}

impl Front {
    fn of(service: &Value) -> Self {
        let port = &service["spec"]["ports"][0]["nodePort"];
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().and_then(|all| all.first());
        let balancer = ingress.and_then(|one| one["hostname"].as_str().or(one["ip"].as_str()));
        let made = service["metadata"]["creationTimestamp"].as_str();
        Self {
            node_port: port.as_i64().and_then(|port| i32::try_from(port).ok()).filter(|port| *port > 0),
            balancer: balancer.map(str::to_owned),
            made: made.and_then(|text| text.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests;
