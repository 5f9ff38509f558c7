//! What the Secrets of a cluster say.
//!
//! Owns their names and keys, and reading them. Pure. What cannot be read counts as absent: it is made anew. Must never
//! show a key to a log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use ottla_core::types::{BrokerId, ClusterId};
use ottla_rpc::operations::Certificates;
use ottla_rpc::trust::{CA_FILE, Files, Fingerprint, KEY_FILE, LEAF_FILE, MODE_FILE, Material, Mode, Name, describe};
use serde_json::Value;

use super::super::child::Seen;
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Observed;

/// The key of the authority, beside [`CA_FILE`].
pub(in crate::cluster) const CA_KEY: &str = "ca.key";
/// How a certificate ends in PEM.
const END: &str = "-----END CERTIFICATE-----";

/// Somebody who shows a certificate. The operator comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A broker.
    Broker(i32),
    /// The operator.
    Operator,
}

impl Holder {
    /// As certificates say it.
    pub fn name(self) -> Name {
        match self {
            Self::Broker(id) => Name::Broker(BrokerId::new(id)),
            Self::Operator => Name::Operator,
        }
    }
}

/// An authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In PEM.
    pub certificate: String,
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// When it expires.
    pub until: Timestamp,
}

/// What somebody shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// When it expires.
    pub until: Timestamp,
    /// The newest authority has signed it.
    pub newest: bool,
}

/// One holder's Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// All of its files.
    pub files: Files,
    /// What is in it, if that is of use now.
    pub leaf: Option<Leaf>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.leaf)
    }
}

/// What a broker has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It shows nothing, and believes everybody.
    Plaintext,
    /// What it shows, and whom it believes.
    Loaded {
        /// Its certificate.
        leaf: Vec<u8>,
        /// The authorities.
        authorities: BTreeSet<Vec<u8>>,
        /// It takes those who show nothing.
        plaintext: bool,
    },
}

impl Reported {
    /// As it was answered.
    pub fn of(certificates: Option<Certificates>) -> Self {
        match certificates {
            None => Self::Plaintext,
            Some(Certificates { leaf, authorities, plaintext, .. }) => {
                Self::Loaded { leaf, authorities: authorities.into_iter().collect(), plaintext }
            }
        }
    }
}

/// Everything that the Secrets say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The authority that signs: its certificate and key.
    pub newest: Option<(Authority, String)>,
    /// The value of the wish that it answers.
    pub asked: Option<String>,
    /// Every authority that anybody is told to believe, the newest first.
    pub known: Vec<Authority>,
    /// What is published, as it is.
    pub bundle: Option<String>,
    /// Who has a Secret.
    pub held: BTreeMap<Holder, Held>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.newest.as_ref().map(|(newest, _)| newest);
        f.debug_struct("State").field("newest", &newest).field("known", &self.known).field("held", &self.held).finish()
    }
}

impl State {
    /// Reads the Secrets of `holders`, each with the name of its Secret.
    pub fn read(
        observed: &Observed,
        cluster: &str,
        id: ClusterId,
        holders: &BTreeMap<Holder, String>,
        now: Timestamp,
    ) -> Self {
        let authority = observed.get(Kind::Secret, &names::authority(cluster));
        let newest = authority.and_then(|secret| {
            let (certificate, key) = (text(secret, CA_FILE)?, text(secret, CA_KEY)?);
            Some((authorities(&certificate).into_iter().next()?, key))
        });
        let asked = authority.and_then(|secret| secret.annotation(names::ROTATED)).map(str::to_owned);
        let bundle = observed.get(Kind::Secret, &names::authorities(cluster)).and_then(|one| text(one, CA_FILE));
        let mut state = Self { newest, asked, bundle, ..Self::default() };
        let files: BTreeMap<Holder, Files> = holders
            .iter()
            .filter_map(|(holder, name)| Some((*holder, files(observed.get(Kind::Secret, name)?))))
            .collect();
        let told = files.values().map(|files| String::from_utf8_lossy(&files.cas).into_owned());
        let mut known: Vec<Authority> = state.newest.iter().map(|(newest, _)| newest.clone()).collect();
        for one in state.bundle.iter().cloned().chain(told).flat_map(|pem| authorities(&pem)) {
            if !known.iter().any(|other| other.fingerprint == one.fingerprint) {
                known.push(one);
            }
        }
        state.known = known;
        for (holder, files) in files {
            let leaf = state.leaf(&files, holder, id, now);
            state.held.insert(holder, Held { files, leaf });
        }
        state
    }

    fn leaf(&self, files: &Files, holder: Holder, id: ClusterId, now: Timestamp) -> Option<Leaf> {
        let read = |cas: String| {
            let files = Files { cas: cas.into_bytes(), mode: Vec::new(), ..files.clone() };
            Material::read(&files, holder.name(), id, now.as_second()).ok()
        };
        let newest = self.newest.as_ref().and_then(|(newest, _)| read(newest.certificate.clone()));
        let signed_by_newest = newest.is_some();
        let material = newest.or_else(|| read(joined(&self.known)))?;
        let until = Timestamp::from_second(material.leaf_expires).ok()?;
        Some(Leaf { fingerprint: material.leaf, until, newest: signed_by_newest })
    }

    /// Whether anybody is told to let plaintext in.
    pub fn is_preferred(&self) -> bool {
        self.held.values().any(|held| held.files.mode.trim_ascii() == b"preferred")
    }
}

/// As `mode` says it.
pub(in crate::cluster) fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Required => "required",
        Mode::Preferred => "preferred",
    }
}

/// All of them in PEM, one behind the other.
pub(super) fn joined(authorities: &[Authority]) -> String {
    authorities.iter().map(|one| one.certificate.as_str()).collect()
}

/// Every authority in a text; what cannot be read is none.
fn authorities(pem: &str) -> Vec<Authority> {
    let blocks = pem.split_inclusive(END).filter(|block| block.contains(END));
    let read = |block: &str| {
        let certificate = format!("{}\n", block.trim_start());
        let (fingerprint, until) = describe(certificate.as_bytes()).ok()?;
        Some(Authority { certificate, fingerprint, until: Timestamp::from_second(until).ok()? })
    };
    blocks.filter_map(read).collect()
}

/// A value of a Secret.
fn bytes(secret: &Value, key: &str) -> Option<Vec<u8>> {
    let value = secret["data"].get(key)?.clone();
    serde_json::from_value::<ByteString>(value).ok().map(|bytes| bytes.0)
}

fn text(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(bytes(secret, key)?).ok()
}

fn files(secret: &Value) -> Files {
    let read = |key| bytes(secret, key).unwrap_or_default();
    Files { leaf: read(LEAF_FILE), key: read(KEY_FILE), cas: read(CA_FILE), mode: read(MODE_FILE) }
}
