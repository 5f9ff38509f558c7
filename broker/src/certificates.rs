//! The certificate that this broker shows to other brokers and to the operator, from the folder where it is renewed.
//!
//! Owns reading `ottla.grpc.tls.directory`, and reading it again when it changes. Kubernetes replaces such a folder as a
//! whole, by moving one link; the files are read behind that link. Must never take files in of which something is wrong:
//! what was good stays in force, and is said to be old.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_core::types::ClusterId;
use ottla_rpc::trust::{CA_FILE, Credentials, Files, KEY_FILE, LEAF_FILE, MODE_FILE, Material, MaterialError, Name};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What Kubernetes calls the link to the folder that is in force.
const LINK: &str = "..data";
/// A certificate, a key or all authorities of a cluster have a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a broker cannot show who it is.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file cannot be read.
    #[error("ottla.grpc.tls.directory: read {path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What it holds is of no use.
    #[error("ottla.grpc.tls.directory {directory}: {source}", directory = .directory.display())]
    Material {
        /// Which folder.
        directory: PathBuf,
        /// What is wrong.
        source: MaterialError,
    },
}

/// The folder, and who is told of what is new in it.
struct Certificates {
    directory: PathBuf,
    name: Name,
    cluster: ClusterId,
    known: Files,
    news: watch::Sender<Option<Arc<Material>>>,
}

/// Reads the folder that the configuration names, and again when it changes, until the broker stops. Without a folder there
/// is plaintext.
///
/// # Errors
/// [`CertificatesError`], with the file and what is wrong.
pub async fn start(
    config: &Config,
    cluster: ClusterId,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Credentials, CertificatesError> {
    let Some(directory) = config.grpc_tls_directory().map(Path::to_owned) else { return Ok(Credentials::plaintext()) };
    let name = Name::Broker(config.id());
    let known = read(directory.clone()).await?;
    let material = understand(&directory, &known, name, cluster)?;
    let (news, newest) = watch::channel(Some(Arc::new(material)));
    let certificates = Certificates { directory, name, cluster, known, news };
    tasks.spawn(certificates.follow(shutdown.clone()));
    Ok(Credentials::new(newest))
}

impl Certificates {
    /// Takes in what changes, until the broker stops.
    async fn follow(mut self, shutdown: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = None;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            match self.look().await {
                Ok(false) => {}
                Ok(true) => complained = None,
                Err(error) => {
                    let error = error.to_string();
                    if complained.as_ref() != Some(&error) {
                        tracing::error!(error, "what is new is not used; what was there before stays in force");
                        complained = Some(error);
                    }
                }
            }
        }
    }

    /// Whether there was something new.
    async fn look(&mut self) -> Result<bool, CertificatesError> {
        let found = read(self.directory.clone()).await?;
        if found == self.known {
            return Ok(false);
        }
        let material = understand(&self.directory, &found, self.name, self.cluster)?;
        tracing::info!(certificate = %material.leaf, authorities = ?material.cas, "a new certificate is in force");
        self.known = found;
        self.news.send_replace(Some(Arc::new(material)));
        Ok(true)
    }
}

fn understand(directory: &Path, files: &Files, name: Name, cluster: ClusterId) -> Result<Material, CertificatesError> {
    let material = Material::read(files, name, cluster, Clock.wall().get() / 1000);
    material.map_err(|source| CertificatesError::Material { directory: directory.to_owned(), source })
}

/// All files of one state of the folder.
async fn read(directory: PathBuf) -> Result<Files, CertificatesError> {
    let read = tokio::task::spawn_blocking(move || {
        let link = directory.join(LINK);
        let folder = std::fs::canonicalize(link).unwrap_or(directory);
        Ok(Files {
            leaf: read_file(&folder.join(LEAF_FILE))?,
            key: read_file(&folder.join(KEY_FILE))?,
            cas: read_file(&folder.join(CA_FILE))?,
            mode: match read_file(&folder.join(MODE_FILE)) {
                Err(CertificatesError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    Vec::new()
                }
                mode => mode?,
            },
        })
    });
    read.await.expect("reading files does not panic")
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    let failed = |source| CertificatesError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, FILE_BYTES_MAX), &mut bytes).map_err(failed)?;
    Ok(bytes)
}
