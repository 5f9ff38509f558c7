//! Metadata that lies in Kubernetes: reaching it, and creating it once.
//!
//! Owns the difference between a cluster that was never created, which somebody has to create by hand, and one whose
//! metadata is gone, which nobody may make up again. Must never create a document while a broker starts.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::{Access, Coordination, Kubernetes, Unavailable};
use ottla_core::controller::{Document, DocumentId, document};
use ottla_core::types::ClusterId;

use super::{StartError, blocking, shell};

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
    let unreadable = |why: String| StartError::Coordination(Unavailable(format!("the root document of {name}: {why}")));
    match ottla_rpc::decode(root).map_err(|error| unreadable(error.to_string()))? {
        Document::Root(root) => Ok(root.header.cluster),
        Document::Shard(_) => Err(unreadable("it holds a shard of topics".to_owned())),
    }
}

/// What [`initialize`] has found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialized {
    /// The cluster is new.
    Created(ClusterId),
    /// It was there already, and stays as it is.
    Existed(ClusterId),
}

/// Creates the documents of a new cluster, `wanted` its id (a random one if it is `None`). One that exists is left alone; one
/// that was interrupted half-way is finished.
///
/// # Errors
/// [`StartError`]; asking again goes on where it stopped.
pub async fn initialize(access: &Access, wanted: Option<ClusterId>) -> Result<Initialized, StartError> {
    let remote = Remote::look(access).await?;
    if let Some(found) = remote.cluster {
        return match wanted {
            Some(wanted) if wanted != found => Err(StartError::OtherCluster { name: remote.name, found, wanted }),
            Some(_) | None => Ok(Initialized::Existed(found)),
        };
    }
    let (name, coordination) = (remote.name, remote.coordination);
    let cluster = blocking(move || create(&*coordination, &name, wanted)).await?;
    // Somebody else may have been faster.
    match Remote::look(access).await?.cluster {
        Some(found) if found == cluster => Ok(Initialized::Created(found)),
        Some(found) => Ok(Initialized::Existed(found)),
        None => Err(StartError::Init("the root document is not there after it was created".to_owned())),
    }
}

/// Creates whatever is missing; the id of the cluster that it belongs to.
fn create(coordination: &dyn Coordination, name: &str, wanted: Option<ClusterId>) -> Result<ClusterId, StartError> {
    let cluster = match (begun(coordination, name)?, wanted) {
        (Some(found), Some(wanted)) if found != wanted => {
            return Err(StartError::OtherCluster { name: name.to_owned(), found, wanted });
        }
        (Some(known), _) | (None, Some(known)) => known,
        (None, None) => ClusterId::from_bytes(uuid::Uuid::new_v4().into_bytes()),
    };
    // The root last: while it is missing, nobody takes the rest for a cluster.
    let (root, shards): (Vec<_>, Vec<_>) =
        document::initial(cluster).into_iter().partition(|document| document.id() == DocumentId::Root);
    for documents in [shards, root] {
        shell::create_documents(coordination, &documents).map_err(StartError::Init)?;
    }
    Ok(cluster)
}

/// The cluster of an attempt that did not come to its root. Documents that a controller has written are of a cluster that
/// has lost its root: nothing is put in their place.
fn begun(coordination: &dyn Coordination, name: &str) -> Result<Option<ClusterId>, StartError> {
    let mut cluster = None;
    for found in coordination.list("")? {
        match ottla_rpc::decode(&found.content) {
            Ok(document) if document.header().version == 0 => cluster = Some(document.header().cluster),
            Ok(_) | Err(_) => {
                return Err(StartError::Init(format!(
                    "cluster {name} has a document {}, written to or unreadable, and no root: it has lost a part; restore \
                     it, or give the new cluster another name",
                    found.name
                )));
            }
        }
    }
    Ok(cluster)
}
