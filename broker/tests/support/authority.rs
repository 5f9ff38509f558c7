//! A certificate authority, and the folders in which brokers find what it has signed.
//!
//! Owns keys that are real, and written as Kubernetes writes a volume: a new folder, then one link that is moved.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use ottla_broker::clock::Clock;
use ottla_core::types::ClusterId;
use ottla_rpc::trust::{Files, Name};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// For as long as any test runs.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

fn params(names: Vec<String>, validity: Duration) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(Clock.wall().get()).unwrap());
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + validity).into();
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(Vec::new(), LONG);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn sign(&self, names: Vec<String>, validity: Duration) -> Leaf {
        let mut params = params(names, validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn leaf(&self, name: Name, cluster: ClusterId) -> Leaf {
        self.sign(vec![name.dns(cluster)], LONG)
    }
}

impl Leaf {
    /// With those who are believed.
    pub(crate) fn files(&self, believed: &[&Authority]) -> Files {
        Files {
            leaf: self.certificate.clone().into_bytes(),
            key: self.key.clone().into_bytes(),
            cas: believed.iter().map(|one| one.pem.as_str()).collect::<String>().into_bytes(),
            mode: Vec::new(),
        }
    }
}

/// Puts files into a folder as Kubernetes does.
pub(crate) fn mount(folder: &Path, files: &Files) {
    std::fs::create_dir_all(folder).unwrap();
    let state = tempfile::Builder::new().prefix("..state").tempdir_in(folder).unwrap().keep();
    for (name, bytes) in
        [("tls.crt", &files.leaf), ("tls.key", &files.key), ("ca.crt", &files.cas), ("mode", &files.mode)]
    {
        std::fs::write(state.join(name), bytes).unwrap();
        let link = folder.join(name);
        if !link.is_symlink() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    let next = folder.join("..data_tmp");
    std::os::unix::fs::symlink(state.file_name().unwrap(), &next).unwrap();
    std::fs::rename(next, folder.join("..data")).unwrap();
}
