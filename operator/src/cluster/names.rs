//! Names, labels, annotations and ports of a cluster's objects: scripts, dashboards and people rely on them.
//!
//! Owns every such word once. None of them may change between versions.

use ottla_crds::cluster::Listener;
pub use ottla_crds::names::{
    BROKER_LABEL, CLUSTER_LABEL, DECLARED, DEFAULT_PORT, HIBERNATE, HTTP_PORT, PAUSE, POOL_LABEL, RESTART, RESTARTED,
};

/// Who writes, as `managedFields` shows it.
pub const MANAGER: &str = "ottla-operator";
/// On every child: the checksum of what was applied, by which a field that is not wanted any more is noticed.
pub const APPLIED: &str = "ottla.dev/applied";
/// On Pods: the checksum of everything that the Pod was made from.
pub const REVISION: &str = "ottla.dev/revision";
/// On Pods: the checksum of what a person has declared and only a restart brings into force. A Pod without it was made when
/// that was everything, [`DECLARED`].
pub const DECLARED_AT_START: &str = "ottla.dev/declared-at-start";
/// On Pods: the part of `spec.config` that changes while a broker runs. A file in the Pod follows it.
pub const CONFIG: &str = "ottla.dev/config";
/// On volumes: the image of the brokers that run on them, for the time when none does.
pub const IMAGE: &str = "ottla.dev/image";
/// On volumes: the broker that runs on it has had its share of replicas once; what moves later is others' affair.
pub const FILLED: &str = "ottla.dev/filled";
/// On Pods: what their broker tells clients of its outside listeners. A file in the Pod follows it.
pub const ADVERTISED: &str = "ottla.dev/advertised-listeners";
/// On a Cluster, by people: every new value has its certificate authority replaced once.
pub const ROTATE: &str = "ottla.dev/rotate-ca";
/// On the authority's Secret: the value of [`ROTATE`] that it answers.
pub const ROTATED: &str = "ottla.dev/rotated-ca";
/// Keeps a Cluster whose volumes go with it until its metadata is gone as well.
pub const FINALIZER: &str = "ottla.dev/cluster";

/// Where brokers talk to each other.
pub const GRPC_PORT: u16 = 9090;

/// The Pod of a broker.
pub fn pod(cluster: &str, pool: &str, id: i32) -> String {
    format!("{cluster}-{pool}-{id}")
}

/// The claim of a broker's volume.
pub fn claim(volume: &str, pod: &str) -> String {
    format!("{volume}-{pod}")
}

/// The Service that every client may begin with.
pub fn bootstrap(cluster: &str) -> String {
    format!("{cluster}-bootstrap")
}

/// The headless Service that gives every broker a name.
pub fn brokers(cluster: &str) -> String {
    format!("{cluster}-brokers")
}

/// The Service by which clients outside begin on a listener.
pub fn listener(cluster: &str, listener: &str) -> String {
    format!("{cluster}-{listener}")
}

/// The Service by which clients outside reach one broker on a listener.
pub fn listener_broker(cluster: &str, listener: &str, id: i32) -> String {
    format!("{cluster}-{listener}-{id}")
}

/// How a listener is called in a broker's properties.
pub fn in_properties(listener: &Listener) -> String {
    listener.name.to_ascii_uppercase()
}

/// The ConfigMap that clients mount.
pub fn client(cluster: &str) -> String {
    format!("{cluster}-client")
}

/// The Secret of the certificate authority, with its key.
pub fn authority(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// The Secret of all authorities that are believed, without a key.
pub fn authorities(cluster: &str) -> String {
    format!("{cluster}-ca-cert")
}

/// The Secret of what a broker shows.
pub fn certificate(pod: &str) -> String {
    format!("{pod}-cert")
}

/// The Secret of what the operator shows to a cluster's brokers.
pub fn operator_certificate(cluster: &str) -> String {
    format!("{cluster}-operator-cert")
}

/// The Lease of the controller.
pub fn lease(cluster: &str) -> String {
    format!("{cluster}-controller")
}

/// The object of a document of the cluster's metadata.
pub fn document(cluster: &str, document: &str) -> String {
    format!("{cluster}.{document}")
}
