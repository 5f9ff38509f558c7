//! Reasons: the closed list of words by which conditions say why.
//!
//! Owns the words. People write alerts on them: a word is added, never renamed.

use std::fmt;

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Everything is as `spec` says.
    AsDeclared,
    /// Every broker serves.
    BrokersReady,
    /// A broker is not serving yet.
    BrokersNotReady,
    /// One broker at a time is restarted; the others serve.
    Rolling,
    /// Objects are being created or changed.
    Applying,
    /// Brokers have been started and do not serve yet.
    BrokersStarting,
    /// A broker's Pod has no node.
    PodUnschedulable,
    /// A broker's image cannot be had.
    ImageUnavailable,
    /// A broker's process ends again and again.
    BrokerCrashes,
    /// A broker's Pod is being deleted and does not go.
    PodGoing,
    /// A person has asked that nothing be changed.
    Paused,
    /// A person has asked that no broker run.
    Hibernated,
    /// `spec.pools` declares no broker.
    NoBrokers,
    /// A key or value of `spec.config` cannot be used.
    InvalidConfig,
    /// More replicas or in-sync replicas are asked for than there are brokers.
    TooFewBrokers,
    /// Names that are built from the Cluster's would be too long.
    NameTooLong,
    /// A listener asks for something that does not work yet.
    ListenerUnsupported,
    /// A listener that strangers reach has no TLS or no authentication, and does not say that it wants none.
    ListenerInsecure,
    /// A Service of a listener has no address yet.
    ListenerPending,
    /// A label of nodes that Pods cannot see.
    RackUnsupported,
    /// Authorization is asked for and does not work yet.
    AuthorizationUnsupported,
    /// A volume cannot become what `spec` says.
    VolumeImmutable,
    /// A volume of a broker that there is is being deleted.
    VolumeGoing,
    /// An object of a child's name belongs to somebody else.
    NameTaken,
    /// A quota of the namespace is used up.
    QuotaExceeded,
    /// The operator lacks a permission.
    Forbidden,
    /// The API server refuses a child.
    ChildRefused,
    /// The cluster's metadata is gone or damaged.
    MetadataLost,
    /// A broker that is to leave still holds replicas.
    BrokerNotEmpty,
    /// A broker that has left is still registered.
    BrokerRegistered,
    /// Nobody can say yet whether a broker may be stopped.
    StopUnconfirmed,
    /// A broker says that it must not be stopped now.
    StopRefused,
    /// The policy wants a person to ask.
    WaitsForPerson,
    /// The policy wants a window, and none is open.
    WaitsForWindow,
    /// A broker that was restarted does not serve; nothing else is restarted until it does.
    RollHalted,
    /// A window of `spec.updates` never opens, or names a time zone that there is not.
    InvalidWindow,
    /// The definitions in Kubernetes are older than the operator: they lack fields that it writes.
    CRDTooOld,
    /// Only the operator's own idea of a Pod is new.
    OperatorChanged,
    /// Every partition has a leader and all of its in-sync replicas.
    AllInSync,
    /// Some partition has fewer in-sync replicas than replicas.
    UnderReplicated,
    /// Some partition has no leader.
    PartitionsOffline,
    /// Replicas move to other brokers.
    Rebalancing,
    /// Every broker holds its share of replicas.
    EvenlySpread,
    /// A broker holds less than its share, and nothing is done about it.
    Uneven,
    /// A broker is lost, and nobody else has all that was acknowledged of some partition.
    DataAtRisk,
    /// A broker may be lost, and the operator may not see why.
    LostUnconfirmed,
    /// Every broker has a valid certificate, and those who show none are refused.
    CertificatesCurrent,
    /// A broker, or the operator, has no valid certificate.
    CertificatesMissing,
    /// The certificate authority is being replaced.
    AuthorityRotating,
    /// Brokers that were started without certificates run, and plaintext is let in.
    PlaintextAllowed,
    /// It cannot be known yet.
    Unknown,
}

impl Reason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsDeclared => "AsDeclared",
            Self::BrokersReady => "BrokersReady",
            Self::BrokersNotReady => "BrokersNotReady",
            Self::Rolling => "Rolling",
            Self::Applying => "Applying",
            Self::BrokersStarting => "BrokersStarting",
            Self::PodUnschedulable => "PodUnschedulable",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::BrokerCrashes => "BrokerCrashes",
            Self::PodGoing => "PodGoing",
            Self::Paused => "Paused",
            Self::Hibernated => "Hibernated",
            Self::NoBrokers => "NoBrokers",
            Self::InvalidConfig => "InvalidConfig",
            Self::TooFewBrokers => "TooFewBrokers",
            Self::NameTooLong => "NameTooLong",
            Self::ListenerUnsupported => "ListenerUnsupported",
            Self::ListenerInsecure => "ListenerInsecure",
            Self::ListenerPending => "ListenerPending",
            Self::RackUnsupported => "RackUnsupported",
            Self::AuthorizationUnsupported => "AuthorizationUnsupported",
            Self::VolumeImmutable => "VolumeImmutable",
            Self::VolumeGoing => "VolumeGoing",
            Self::NameTaken => "NameTaken",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::Forbidden => "Forbidden",
            Self::ChildRefused => "ChildRefused",
            Self::MetadataLost => "MetadataLost",
            Self::BrokerNotEmpty => "BrokerNotEmpty",
            Self::BrokerRegistered => "BrokerRegistered",
            Self::StopUnconfirmed => "StopUnconfirmed",
            Self::StopRefused => "StopRefused",
            Self::WaitsForPerson => "WaitsForPerson",
            Self::WaitsForWindow => "WaitsForWindow",
            Self::RollHalted => "RollHalted",
            Self::InvalidWindow => "InvalidWindow",
            Self::CRDTooOld => "CRDTooOld",
            Self::OperatorChanged => "OperatorChanged",
            Self::AllInSync => "AllInSync",
            Self::UnderReplicated => "UnderReplicated",
            Self::PartitionsOffline => "PartitionsOffline",
            Self::Rebalancing => "Rebalancing",
            Self::EvenlySpread => "EvenlySpread",
            Self::Uneven => "Uneven",
            Self::DataAtRisk => "DataAtRisk",
            Self::LostUnconfirmed => "LostUnconfirmed",
            Self::CertificatesCurrent => "CertificatesCurrent",
            Self::CertificatesMissing => "CertificatesMissing",
            Self::AuthorityRotating => "AuthorityRotating",
            Self::PlaintextAllowed => "PlaintextAllowed",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What keeps a Cluster from becoming what `spec` says.
pub type Refusal = crate::verdict::Refusal<Reason>;
