//! Names, labels, annotations and ports of a cluster's objects: scripts, dashboards and people rely on them.
//!
//! Owns every such word once. None of them may change between versions.

pub use ottla_crds::metadata_shard::CLUSTER_LABEL;

/// Who writes, as `managedFields` shows it.
pub const MANAGER: &str = "ottla-operator";
/// The label that names a broker's pool.
pub const POOL_LABEL: &str = "ottla.dev/pool";
/// The label that names a broker.
pub const BROKER_LABEL: &str = "ottla.dev/broker-id";
/// On every child: the checksum of what was applied, by which a field that is not wanted any more is noticed.
pub const APPLIED: &str = "ottla.dev/applied";
/// On Pods: the checksum of everything that the Pod was made from.
pub const REVISION: &str = "ottla.dev/revision";
/// On Pods: the checksum of the part of it that the Cluster's owner declared.
pub const DECLARED: &str = "ottla.dev/declared";
/// By people. On a Cluster: every new value has its brokers restarted once. On a Pod: any value has that one restarted; the
/// Pod that follows it does not have it.
pub const RESTART: &str = "ottla.dev/restart";
/// On Pods: the value of [`RESTART`] that their Cluster had when they were made.
pub const RESTARTED: &str = "ottla.dev/restarted";
/// On volumes: the image of the brokers that run on them, for the time when none does.
pub const IMAGE: &str = "ottla.dev/image";
/// On a Cluster, by people: while it is `true` nothing is changed.
pub const PAUSE: &str = "ottla.dev/pause";
/// On a Cluster, by people: while it is `true` no broker runs; everything else stays.
pub const HIBERNATE: &str = "ottla.dev/hibernate";
/// Keeps a Cluster whose volumes go with it until its metadata is gone as well.
pub const FINALIZER: &str = "ottla.dev/cluster";

/// Where brokers talk to each other.
pub const GRPC_PORT: u16 = 9090;
/// Where probes and scrapers ask.
pub const HTTP_PORT: u16 = 9644;
/// The listener of a cluster that declares none.
pub const DEFAULT_PORT: i32 = 9092;

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

/// The ConfigMap that clients mount.
pub fn client(cluster: &str) -> String {
    format!("{cluster}-client")
}

/// The Lease of the controller.
pub fn lease(cluster: &str) -> String {
    format!("{cluster}-controller")
}

/// The object of a document of the cluster's metadata.
pub fn document(cluster: &str, document: &str) -> String {
    format!("{cluster}.{document}")
}
