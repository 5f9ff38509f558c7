//! Where the brokers of a Cluster are asked.
//!
//! Owns the choice of the listener. Must never choose one that strangers reach.

use ottla_crds::Cluster;
use ottla_crds::cluster::ListenerType;

use crate::cluster::desired::{bootstrap_servers, listeners, owner};

/// Who knows where brokers listen.
pub trait Addresses: Send + Sync {
    /// `host:port` of every address to begin with; none if there is no listener for the operator.
    fn bootstrap(&self, cluster: &Cluster) -> Vec<String>;
}

/// Through the Service in front of the first Internal listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByService;

impl Addresses for ByService {
    fn bootstrap(&self, cluster: &Cluster) -> Vec<String> {
        let internal = listeners(cluster).into_iter().find(|listener| listener.kind == ListenerType::Internal);
        internal.map(|listener| bootstrap_servers(&owner(cluster), &listener)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::three;

    #[test]
    fn the_first_internal_listener_is_asked() {
        assert_eq!(ByService.bootstrap(&three("")), ["c-bootstrap.n.svc:9092"]);
        let two = ", listeners: [{name: x, port: 9094, type: NodePort, insecure: true}, {name: i, port: 9093}]";
        assert_eq!(ByService.bootstrap(&three(two)), ["c-bootstrap.n.svc:9093"]);
        let none = ", listeners: [{name: x, port: 9094, type: NodePort, insecure: true}]";
        assert!(ByService.bootstrap(&three(none)).is_empty());
    }
}
