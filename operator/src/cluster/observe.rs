//! Looking: everything of one cluster that the API server has.
//!
//! Owns the reads of a reconcile, nothing is cached. Must never write, and never take what could not be read for absent.

use std::collections::BTreeMap;

use futures::future::{try_join, try_join_all};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use ottla_crds::MetadataShard;
use serde_json::Value;

use super::child::Owner;
use super::documents::{self, Documents};
use super::kind::Kind;
use super::names;
use super::observed::Observed;

/// Objects of a kind in the owner's namespace.
pub(super) fn api(client: &Client, owner: &Owner, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &owner.namespace, &kind.resource())
}

/// Everything that carries the cluster's label, and its metadata.
///
/// # Errors
/// When one of the lists cannot be had.
pub async fn look(client: &Client, owner: &Owner) -> kube::Result<Observed> {
    let selector = ListParams::default().labels(&format!("{}={}", names::CLUSTER_LABEL, owner.name));
    let lists = try_join_all(Kind::listed().map(|kind| list(client, owner, kind, &selector)));
    let (lists, documents) = try_join(lists, metadata(client, owner, &selector)).await?;
    let objects: BTreeMap<_, _> = lists.into_iter().flatten().collect();
    Ok(Observed { objects, documents, ..Observed::default() })
}

/// Looks for objects by name that were not found by label: somebody may have taken the label off, or the name may be
/// somebody else's.
///
/// # Errors
/// When one of them cannot be read.
pub async fn look_by_name(
    client: &Client,
    owner: &Owner,
    wanted: impl Iterator<Item = (Kind, &str)>,
    observed: &mut Observed,
) -> kube::Result<()> {
    let unseen = wanted.filter(|(kind, name)| observed.get(*kind, name).is_none());
    let read = unseen.map(|(kind, name)| async move {
        let found = api(client, owner, kind).get_opt(name).await?;
        Ok::<_, kube::Error>(found.map(|object| ((kind, name.to_owned()), value(kind, object))))
    });
    let found = try_join_all(read.collect::<Vec<_>>()).await?;
    observed.objects.extend(found.into_iter().flatten());
    Ok(())
}

async fn list(
    client: &Client,
    owner: &Owner,
    kind: Kind,
    selector: &ListParams,
) -> kube::Result<Vec<((Kind, String), Value)>> {
    let found = api(client, owner, kind).list(selector).await?;
    Ok(found.items.into_iter().map(|object| ((kind, object.name_any()), value(kind, object))).collect())
}

/// The object as JSON, as if it had been asked for alone, without what nobody here reads.
fn value(kind: Kind, mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    object.types =
        Some(kube::core::TypeMeta { api_version: kind.resource().api_version, kind: kind.name().to_owned() });
    serde_json::to_value(object).expect("an object that was JSON")
}

async fn metadata(client: &Client, owner: &Owner, selector: &ListParams) -> kube::Result<Documents> {
    let shards: Api<MetadataShard> = Api::namespaced(client.clone(), &owner.namespace);
    let found = shards.list(selector).await?;
    let read = |shard: MetadataShard| (shard.spec.document, ottla_rpc::decode(&shard.spec.content.0).ok());
    Ok(documents::read(found.items.into_iter().map(read).collect()))
}
