//! The kinds of object that a cluster is made of.
//!
//! Owns their names in the API and the order in which they come into being. Must never name a kind that holds records or
//! metadata as one that may be swept away without a proof.

use kube::core::ApiResource;

/// A kind of child, in the order in which children are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who the brokers are to the API server.
    ServiceAccount,
    /// What they may do there.
    Role,
    /// The two together.
    RoleBinding,
    /// Who may try to be the controller. Brokers write what it says.
    Lease,
    /// Configuration of brokers, and of clients.
    ConfigMap,
    /// Keys and certificates.
    Secret,
    /// Names and addresses.
    Service,
    /// Who reaches which port.
    NetworkPolicy,
    /// How many brokers a drain may take.
    PodDisruptionBudget,
    /// A broker's disk.
    PersistentVolumeClaim,
    /// A broker.
    Pod,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Lease,
        Self::ConfigMap,
        Self::Secret,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::PersistentVolumeClaim,
        Self::Pod,
    ];

    /// Those that are listed and watched by label. Leases are read by name: their renewals are of no interest.
    pub fn listed() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| *kind != Self::Lease)
    }

    /// Those without which a Pod is refused, or starts and cannot work. A Lease is of use whoever it goes with: brokers know
    /// it by its name, and a while without one they bear.
    pub fn serves_pods(self) -> bool {
        matches!(self, Self::ServiceAccount | Self::Role | Self::RoleBinding | Self::ConfigMap | Self::Secret)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.words().2
    }

    /// How the API server is asked for it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.words();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
            Self::Lease => ("coordination.k8s.io", "v1", "Lease", "leases"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::PersistentVolumeClaim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::Pod => ("", "v1", "Pod", "pods"),
        }
    }
}
