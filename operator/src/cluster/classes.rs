//! Which StorageClasses give a volume to one Pod alone (ReadWriteOncePod).
//!
//! Owns the look at classes and drivers; only CSI drivers can do it. It looks only when a volume is to be made: one that is
//! there keeps its mode. Classes belong to the whole Kubernetes cluster: an operator that may not read them, or a driver that
//! nobody knows, gives ReadWriteOnce. Must never write.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use ottla_crds::Cluster;

use super::check::declared_brokers;
use super::kind::Kind;
use super::observed::Observed;

/// What marks the class that is taken where none is named.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The classes of `cluster`, by the name that its pools give them, whose volumes can be one Pod's alone. None if no volume is
/// missing.
pub(super) async fn exclusive(client: &Client, cluster: &Cluster, observed: &Observed) -> BTreeSet<Option<String>> {
    let there = observed.of(Kind::PersistentVolumeClaim).count();
    if usize::try_from(declared_brokers(&cluster.spec)).is_ok_and(|wanted| wanted <= there) {
        return BTreeSet::new();
    }
    let volumes = cluster.spec.pools.iter().flat_map(|pool| &pool.storage.volumes);
    let named: BTreeSet<Option<String>> = volumes.map(|volume| volume.class.clone()).collect();
    let mut exclusive = BTreeSet::new();
    for name in named {
        match is_csi(client, name.as_deref()).await {
            Ok(true) => drop(exclusive.insert(name)),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(class = name, %error, "look at a StorageClass; its volumes are ReadWriteOnce")
            }
        }
    }
    exclusive
}

/// Whether a class, or the default one, makes its volumes by a CSI driver.
async fn is_csi(client: &Client, name: Option<&str>) -> kube::Result<bool> {
    let classes: Api<StorageClass> = Api::all(client.clone());
    let class = match name {
        Some(name) => classes.get_opt(name).await?,
        None => default(classes.list(&ListParams::default()).await?.items),
    };
    let Some(class) = class else { return Ok(false) };
    let drivers: Api<CSIDriver> = Api::all(client.clone());
    Ok(drivers.get_opt(&class.provisioner).await?.is_some())
}

/// The class that Kubernetes gives to who names none: of several the newest.
fn default(classes: Vec<StorageClass>) -> Option<StorageClass> {
    let marked = |class: &StorageClass| class.annotations().get(DEFAULT).is_some_and(|value| value == "true");
    classes.into_iter().filter(marked).max_by_key(ResourceExt::creation_timestamp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_of_the_default_classes_is_taken() {
        let class = |name: &str, marked: &str, day: u8| -> StorageClass {
            let metadata = json!({"name": name, "annotations": {DEFAULT: marked},
                "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")});
            serde_json::from_value(json!({"metadata": metadata, "provisioner": "p"})).unwrap()
        };
        let all = vec![class("old", "true", 1), class("new", "true", 2), class("other", "false", 3)];
        assert_eq!(default(all).map(|class| class.name_any()).as_deref(), Some("new"));
        assert!(default(vec![class("other", "false", 3)]).is_none());
    }
}
