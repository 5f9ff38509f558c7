//! Metadata that lies in Kubernetes: reaching it, and creating it once.
//!
//! Owns the difference between a cluster that was never created, which somebody has to create by hand, and one whose
//! metadata is gone, which nobody may make up again. Must never create a document while a broker starts.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::birth::{self, BirthError};
use ottla_coordination::{Access, Coordination, Kubernetes, Unavailable};
use ottla_core::controller::DocumentId;
use ottla_core::types::ClusterId;

use super::{StartError, blocking};

pub use ottla_coordination::birth::Birth as Initialized;

/// How long one request to the API server may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// The metadata of a cluster in Kubernetes.
pub struct Remote {
    /// Where it is asked for.
    pub coordination: Arc<dyn Coordination>,
    /// The cluster's name there.
    pub name: String,
    /// The cluster's id; `None` if it has no metadata.
    pub cluster: Option<ClusterId>,
}

impl Remote {
    /// Looks at what is there.
    ///
    /// # Errors
    /// [`StartError`] when the API server cannot be asked, or answers what cannot be read.
    pub async fn look(access: &Access) -> Result<Self, StartError> {
        let coordination: Arc<dyn Coordination> = Arc::new(Kubernetes::connect(access, DEADLINE).await?);
        let asked = Arc::clone(&coordination);
        let root = blocking(move || asked.get(&DocumentId::Root.to_string())).await?;
        let cluster = root.map(|root| id_of(&access.cluster, &root.content)).transpose()?;
        Ok(Self { coordination, name: access.cluster.clone(), cluster })
    }
}

fn id_of(name: &str, root: &[u8]) -> Result<ClusterId, StartError> {
    birth::cluster_in(root)
        .map_err(|why| StartError::Coordination(Unavailable(format!("the root document of {name}: {why}"))))
}

/// Creates the documents of a new cluster, `wanted` its id (a random one if it is `None`). One that exists is left alone; one
/// that was interrupted half-way is finished.
///
/// # Errors
/// [`StartError`]; asking again goes on where it stopped.
pub async fn initialize(access: &Access, wanted: Option<ClusterId>) -> Result<Initialized, StartError> {
    let Remote { coordination, name, .. } = Remote::look(access).await?;
    let fresh = ClusterId::from_bytes(uuid::Uuid::new_v4().into_bytes());
    blocking(move || birth::create(&*coordination, wanted, fresh)).await.map_err(|error| match error {
        BirthError::Unavailable(error) => StartError::Coordination(error),
        BirthError::Other { found, wanted } => StartError::OtherCluster { name, found, wanted },
        BirthError::LostPart(_) => {
            StartError::Init(format!("{name}: {error}; restore it, or give the new cluster another name"))
        }
        BirthError::NotWritten(reason) => StartError::Init(reason),
    })
}
