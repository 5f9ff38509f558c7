//! Making keys and certificates.
//!
//! Owns what is in them: ECDSA on P-256, an authority for a year, everything else for thirty days and never for longer than
//! its authority. The time is an argument; keys are drawn here, and nowhere else. Must never show one to a log.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use ottla_rpc::trust::{CA_FILE, KEY_FILE, LEAF_FILE};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Map, Value, json};

use super::super::child::{Child, merge};
use super::state::{CA_KEY, Holder};

/// For how long an authority signs.
const AUTHORITY_VALID: SignedDuration = SignedDuration::from_hours(365 * 24);
/// For how long a certificate is shown.
const LEAF_VALID: SignedDuration = SignedDuration::from_hours(30 * 24);
/// So much may clocks be apart.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What has to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issue {
    /// A new authority, in answer to that wish.
    Authority {
        /// Its value, if there is one.
        wish: Option<String>,
    },
    /// A certificate that the newest authority signs.
    Leaf {
        /// Whose.
        holder: Holder,
    },
}

/// What to draw a key for.
#[derive(Clone, PartialEq, Eq)]
pub enum Order {
    /// An authority.
    Authority {
        /// What people read in it.
        title: String,
        /// The version of the Secret that it replaces. Whoever has written it meanwhile is not overwritten.
        version: Option<String>,
    },
    /// A certificate.
    Leaf {
        /// The name in it.
        dns: String,
        /// Who signs: certificate and key.
        authority: (String, String),
        /// When that one expires.
        authority_until: Timestamp,
    },
}

impl Order {
    /// The version that a Secret has to have for this to be written.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Authority { version, .. } => version.as_deref(),
            Self::Leaf { .. } => None,
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority { title, .. } => write!(f, "Authority({title})"),
            Self::Leaf { dns, .. } => write!(f, "Leaf({dns})"),
        }
    }
}

/// A Secret, filled with what was ordered.
///
/// # Errors
/// The key of the authority cannot be used.
pub fn issue(secret: &Child, order: &Order, now: Timestamp) -> Result<Child, rcgen::Error> {
    let key = KeyPair::generate()?;
    let made = match order {
        Order::Authority { title, .. } => {
            let mut params = params(Vec::new(), now, now + AUTHORITY_VALID)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.distinguished_name.push(DnType::CommonName, title.clone());
            [(CA_FILE, params.self_signed(&key)?.pem()), (CA_KEY, key.serialize_pem())]
        }
        Order::Leaf { dns, authority, authority_until } => {
            let until = (now + LEAF_VALID).min(*authority_until);
            let mut params = params(vec![dns.clone()], now, until)?;
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let issuer = Issuer::from_ca_cert_pem(&authority.0, KeyPair::from_pem(&authority.1)?)?;
            [(LEAF_FILE, params.signed_by(&key, &issuer)?.pem()), (KEY_FILE, key.serialize_pem())]
        }
    };
    let mut filled = secret.clone();
    merge(&mut filled.manifest, json!({"data": data(&made)}));
    Ok(filled)
}

/// What a Secret holds, as it is written.
pub(in crate::cluster) fn data(values: &[(&str, String)]) -> Value {
    let encoded = |text: &String| json!(ByteString(text.clone().into_bytes()));
    Value::Object(values.iter().map(|(key, text)| ((*key).to_owned(), encoded(text))).collect::<Map<_, _>>())
}

fn params(names: Vec<String>, now: Timestamp, until: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let at = |time: Timestamp| UNIX_EPOCH + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0));
    params.not_before = at(now - SKEW).into();
    params.not_after = at(until).into();
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}
