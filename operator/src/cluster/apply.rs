//! Doing: one step of a plan at the API server.
//!
//! Owns the writes, and what a refusal of the API server means to a person. Every write is server-side apply by one field
//! manager, or names the very object that it deletes. Must never decide what is written.

use std::time::Duration;

use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective};
use kube::core::Status;
use kube::{Client, Config};
use ottla_coordination::Kubernetes;
use ottla_coordination::birth::{self, BirthError};
use ottla_core::controller::document::Shard;
use ottla_core::controller::{Document, document};
use ottla_core::types::ClusterId;
use serde_json::json;

use super::certificates::issue;
use super::child::{Child, Owner};
use super::documents::Documents;
use super::kind::Kind;
use super::names::MANAGER;
use super::observe::api;
use super::plan::Step;
use super::reason::{Reason, Refusal};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::schema::Schemas;

/// How long one request for a document may take.
const DOCUMENT_DEADLINE: Duration = Duration::from_secs(5);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A person has to do something about it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Trying again may help.
    #[error("{what}: {why}")]
    Failed {
        /// The step.
        what: String,
        /// What was answered.
        why: String,
    },
}

/// What steps are done with.
#[derive(Clone)]
pub struct Hands {
    /// The API server.
    pub client: Client,
    /// How it is reached, for the metadata.
    pub config: Config,
    /// Where writes are counted.
    pub metrics: Metrics,
    /// Where Events are published.
    pub events: Events,
    /// What is known of the definitions in Kubernetes.
    pub schemas: Schemas,
}

impl Hands {
    /// Does `step`. `documents` are those that it was planned on.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn perform(&self, owner: &Owner, step: &Step, documents: &Documents) -> Result<(), Failure> {
        let failed = |error| failure(step, error);
        match step {
            Step::CreateMetadata => self.create_metadata(owner, None).await,
            Step::CreateShards => self.create_metadata(owner, documents.summary().map(|known| known.shard_count)).await,
            Step::Apply { child, .. } => self.apply(owner, child, None).await.map_err(failed),
            Step::Certify { secret, order, now } => match issue(secret, order, *now) {
                Ok(secret) => self.apply(owner, &secret, order.version()).await.map_err(failed),
                Err(error) => Err(Failure::Failed { what: step.to_string(), why: error.to_string() }),
            },
            Step::Mend { pod, metadata } => {
                self.metrics.wrote(Kind::Pod.name(), "patch");
                let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                let patch = Patch::Merge(json!({"metadata": metadata}));
                api(&self.client, owner, Kind::Pod).patch(pod, &how, &patch).await.map(drop).map_err(failed)
            }
            Step::Delete { kind, name, uid, .. } => {
                self.metrics.wrote(kind.name(), "delete");
                let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
                let how = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
                match api(&self.client, owner, *kind).delete(name, &how).await {
                    // It is gone, or another one of that name: the next look will tell.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                    answer => answer.map(drop).map_err(failed),
                }
            }
            // Done where brokers are asked.
            Step::Move { .. } | Step::Pace { .. } | Step::Release { .. } | Step::Unregister { .. } => Ok(()),
        }
    }

    /// Applies a child; with a version, only if it still is of that one.
    async fn apply(&self, owner: &Owner, child: &Child, version: Option<&str>) -> kube::Result<()> {
        self.metrics.wrote(child.kind.name(), "apply");
        let mut manifest = if child.kind == Kind::Pod { child.manifest.clone() } else { child.stamped() };
        if let Some(version) = version {
            manifest["metadata"]["resourceVersion"] = json!(version);
        }
        let how =
            PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply(MANAGER).force() };
        api(&self.client, owner, child.kind).patch(&child.name, &how, &Patch::Apply(manifest)).await.map(drop)
    }

    /// Creates the documents of a new cluster; with a count, only the shards beyond it.
    async fn create_metadata(&self, owner: &Owner, beyond: Option<u32>) -> Result<(), Failure> {
        self.metrics.wrote("MetadataShard", "create");
        let mut config = self.config.clone();
        config.default_namespace.clone_from(&owner.namespace);
        let (runtime, name) = (tokio::runtime::Handle::current(), owner.name.clone());
        let work = move || {
            let store = Kubernetes::new(config, runtime, &name, DOCUMENT_DEADLINE).map_err(BirthError::Unavailable)?;
            match beyond {
                None => birth::create(&store, None, fresh_id()).map(drop),
                Some(count) => {
                    let cluster = birth::cluster_of(&store)?.ok_or(BirthError::LostPart("root".to_owned()))?;
                    birth::create_documents(&store, &shards(cluster, count)).map_err(BirthError::NotWritten)
                }
            }
        };
        let done = tokio::task::spawn_blocking(work).await;
        let why = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(BirthError::LostPart(document))) => {
                let message = format!(
                    "the cluster has a document {document} and no root: it has lost a part; restore it, or run `ottla cluster \
                     recover-metadata {}`",
                    owner.name
                );
                return Err(Failure::Refused(Refusal::new(Reason::MetadataLost, message)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        Err(Failure::Failed { what: "create the cluster's metadata".to_owned(), why })
    }
}

fn fresh_id() -> ClusterId {
    ClusterId::from_bytes(uuid::Uuid::new_v4().into_bytes())
}

/// As many shards again.
fn shards(cluster: ClusterId, count: u32) -> Vec<Document> {
    let header = document::Header { cluster, ..document::Header::default() };
    let shard =
        |index| Document::Shard(std::sync::Arc::new(Shard { header: header.clone(), index, ..Shard::default() }));
    (count..count.saturating_mul(2)).map(shard).collect()
}

/// What an answer means for who asked.
fn failure(step: &Step, error: kube::Error) -> Failure {
    let kube::Error::Api(status) = &error else {
        return Failure::Failed { what: step.to_string(), why: error.to_string() };
    };
    match reason(step, status) {
        Some((reason, way_out)) => {
            Failure::Refused(Refusal::new(reason, format!("{step}: {}{way_out}", status.message)))
        }
        None => Failure::Failed { what: step.to_string(), why: format!("{} {}", status.code, status.message) },
    }
}

/// What a person has to do something about, and what.
fn reason(step: &Step, status: &Status) -> Option<(Reason, &'static str)> {
    let is_claim = matches!(step, Step::Apply { child, .. } if child.kind == Kind::PersistentVolumeClaim);
    match status.code {
        403 if status.message.contains("exceeded quota") => {
            Some((Reason::QuotaExceeded, "; raise the quota, or declare less"))
        }
        403 | 422 if is_claim && status.message.contains("resize") => {
            let way_out = "; use a StorageClass with allowVolumeExpansion, or declare the size as it was";
            Some((Reason::VolumeImmutable, way_out))
        }
        // Its Cluster goes with the namespace; nobody has to do anything.
        403 if status.message.contains("because it is being terminated") => None,
        // Somebody has deleted the account since it was looked at; it is made again.
        403 if status.message.contains("error looking up service account") => None,
        403 => Some((Reason::Forbidden, "; give the operator's account this permission")),
        400 | 422 => Some((Reason::ChildRefused, "")),
        _ => None,
    }
}

/// Writes the finalizers of a Cluster, if it still is as it was read.
///
/// # Errors
/// What the API server answered.
pub async fn set_finalizers(
    clusters: &Api<ottla_crds::Cluster>,
    cluster: &ottla_crds::Cluster,
    finalizers: &[String],
) -> kube::Result<()> {
    let metadata = &cluster.metadata;
    let patch = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": finalizers}});
    let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    clusters.patch(metadata.name.as_deref().unwrap_or_default(), &how, &Patch::Merge(patch)).await.map(drop)
}
