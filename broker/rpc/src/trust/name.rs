//! The names that certificates hold: `broker-3.CLUSTER.ottla` and `operator.CLUSTER.ottla`, with the cluster's id in hex.
//!
//! Owns their notation. Ids in hex, since DNS knows no upper case. Must never read a name of one cluster as another's.

use std::fmt::Write as _;

use ottla_core::types::{BrokerId, ClusterId};
use x509_parser::extensions::GeneralName;

/// Under this everything ends; no name server knows it.
const SUFFIX: &str = "ottla";

/// Who a certificate says that somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A broker.
    Broker(BrokerId),
    /// Whoever runs the cluster.
    Operator,
}

impl Name {
    /// As a certificate of that cluster holds it.
    pub fn dns(self, cluster: ClusterId) -> String {
        let cluster = hex(&cluster.to_bytes());
        match self {
            Self::Broker(id) => format!("broker-{id}.{cluster}.{SUFFIX}"),
            Self::Operator => format!("operator.{cluster}.{SUFFIX}"),
        }
    }

    /// Reads one, if it is of that cluster.
    fn read(text: &str, cluster: ClusterId) -> Option<Self> {
        let who = match text.split_once('.')?.0 {
            "operator" => Self::Operator,
            broker => Self::Broker(BrokerId::new(broker.strip_prefix("broker-")?.parse().ok()?)),
        };
        // What reads in two ways is none.
        (who.dns(cluster) == text).then_some(who)
    }

    /// The one name of that cluster among those of a certificate.
    ///
    /// # Errors
    /// A sentence, when there is none or more than one.
    pub(super) fn only(names: &[String], cluster: ClusterId) -> Result<Self, String> {
        let mut own = names.iter().filter_map(|name| Self::read(name, cluster));
        match (own.next(), own.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(format!("its certificate has several names of cluster {cluster}: {names:?}")),
            (None, _) => Err(format!("its certificate has no name of cluster {cluster}, but {names:?}")),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Operator => f.write_str("the operator"),
        }
    }
}

/// Every DNS name in a certificate; none where it cannot be read.
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names
        .value
        .general_names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None });
    dns.collect()
}

/// Two small letters for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _never = write!(text, "{byte:02x}");
        text
    })
}
