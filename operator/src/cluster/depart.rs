//! The end of a Cluster that was kept by its finalizer: its brokers, then its metadata, then the Cluster itself. And the end
//! of metadata whose Cluster and volumes are gone.
//!
//! Owns the order, and that a volume stays if `spec` says so at the last moment. Whatever has an owner Kubernetes removes.
//! Must never hold a Cluster back that keeps its volumes, nor let metadata go that belongs to a volume.

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use ottla_crds::cluster::OnDelete;
use ottla_crds::metadata_shard::FINALIZER as DOCUMENT_FINALIZER;
use ottla_crds::{Cluster, MetadataShard};
use serde_json::json;

use super::apply::{Hands, set_finalizers};
use super::child::{Owner, Seen};
use super::kind::Kind;
use super::names::{CLUSTER_LABEL, FINALIZER, MANAGER};
use super::observe::{api, look};
use super::observed::Observed;
use super::plan::{Step, Why};
use super::reconcile::Error;

/// One turn of a Cluster that is going. Whether nothing is left to do.
pub(super) async fn turn(
    hands: &Hands,
    clusters: &Api<Cluster>,
    cluster: &Cluster,
    owner: &Owner,
) -> Result<bool, Error> {
    if !cluster.finalizers().iter().any(|one| one == FINALIZER) {
        return Ok(true);
    }
    let observed = look(&hands.client, owner).await?;
    match cluster.spec.volumes.on_delete {
        OnDelete::Retain => release_volumes(hands, owner, &observed).await?,
        OnDelete::Delete => {
            if stop_brokers(hands, owner, &observed).await? {
                return Ok(false);
            }
            delete_metadata(hands, owner).await?;
        }
    }
    let finalizers: Vec<String> = cluster.finalizers().iter().filter(|one| *one != FINALIZER).cloned().collect();
    hands.metrics.wrote("Cluster", "finalize");
    set_finalizers(clusters, cluster, &finalizers).await?;
    tracing::info!(namespace = owner.namespace, cluster = owner.name, "the Cluster is gone");
    Ok(true)
}

fn is_ours(owner: &Owner, object: &serde_json::Value) -> bool {
    object.owner().is_some_and(|(uid, _)| uid == owner.uid)
}

/// Whether a broker was still there.
async fn stop_brokers(hands: &Hands, owner: &Owner, observed: &Observed) -> Result<bool, Error> {
    let mut any = false;
    for (name, pod) in observed.of(Kind::Pod).filter(|(_, pod)| is_ours(owner, pod)) {
        any = true;
        if !pod.is_going() {
            let (kind, name, uid) = (Kind::Pod, name.to_owned(), pod.uid().to_owned());
            let step = Step::Delete { kind, name, uid, why: Why::Orphaned };
            hands.perform(owner, &step, &observed.documents).await?;
        }
    }
    Ok(any)
}

/// Takes the owner off volumes that are to stay.
async fn release_volumes(hands: &Hands, owner: &Owner, observed: &Observed) -> Result<(), Error> {
    let claims = api(&hands.client, owner, Kind::PersistentVolumeClaim);
    for (name, claim) in observed.of(Kind::PersistentVolumeClaim).filter(|(_, claim)| is_ours(owner, claim)) {
        let patch = json!({"metadata": {"uid": claim.uid(), "ownerReferences": null}});
        hands.metrics.wrote(Kind::PersistentVolumeClaim.name(), "patch");
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        claims.patch(name, &how, &Patch::Merge(patch)).await?;
    }
    Ok(())
}

/// Lets documents go whose deletion somebody has asked for, of a Cluster that is gone with its Pods and volumes: nobody else
/// would, and a namespace that is deleted would never end. With a volume left they are still the cluster's metadata.
pub(super) async fn release_documents(hands: &Hands, owner: &Owner) -> Result<(), Error> {
    let clusters: Api<Cluster> = Api::namespaced(hands.client.clone(), &owner.namespace);
    // A Cluster that no watch has told of may be there.
    if clusters.get_opt(&owner.name).await?.is_some() {
        return Ok(());
    }
    let mut going = documents(hands, owner).await?;
    going.retain(|document| document.meta().deletion_timestamp.is_some());
    if going.is_empty() {
        return Ok(());
    }
    let observed = look(&hands.client, owner).await?;
    if [Kind::Pod, Kind::PersistentVolumeClaim].into_iter().any(|kind| observed.of(kind).next().is_some()) {
        return Ok(());
    }
    for document in &going {
        release(hands, owner, document).await?;
    }
    tracing::info!(
        namespace = owner.namespace,
        cluster = owner.name,
        "the metadata of a Cluster without volumes is gone"
    );
    Ok(())
}

/// Brokers are gone, and so are their records: nobody needs the documents any more.
async fn delete_metadata(hands: &Hands, owner: &Owner) -> Result<(), Error> {
    let api: Api<MetadataShard> = Api::namespaced(hands.client.clone(), &owner.namespace);
    for document in documents(hands, owner).await? {
        release(hands, owner, &document).await?;
        match api.delete(&document.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

async fn documents(hands: &Hands, owner: &Owner) -> kube::Result<Vec<MetadataShard>> {
    let api: Api<MetadataShard> = Api::namespaced(hands.client.clone(), &owner.namespace);
    let selector = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", owner.name));
    Ok(api.list(&selector).await?.items)
}

/// Takes our finalizer off a document, if it still is as it was read.
async fn release(hands: &Hands, owner: &Owner, document: &MetadataShard) -> kube::Result<()> {
    let api: Api<MetadataShard> = Api::namespaced(hands.client.clone(), &owner.namespace);
    let kept: Vec<&String> = document.finalizers().iter().filter(|one| *one != DOCUMENT_FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": document.meta().resource_version, "finalizers": kept}});
    hands.metrics.wrote("MetadataShard", "delete");
    let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&document.name_any(), &how, &Patch::Merge(patch)).await.map(drop)
}
