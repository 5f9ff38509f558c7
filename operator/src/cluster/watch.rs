//! Which Clusters have something new: their own changes, those of their children, those of their metadata.
//!
//! Owns the watches of one scope. Of children and metadata only names and labels are received, and nothing is kept; of
//! Clusters no `managedFields`. Metadata changes often: its news of one Cluster come at most every ten seconds.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::{DynamicObject, NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use ottla_crds::{Cluster, MetadataShard};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::kind::Kind;
use super::names::CLUSTER_LABEL;

/// How often the metadata of one Cluster is looked at for its own sake.
const METADATA_PERIOD: Duration = Duration::from_secs(10);

/// Where Clusters are looked for: one namespace, or all of them.
pub type Scope = Option<String>;

type News = BoxStream<'static, ObjectRef<Cluster>>;

/// The Clusters of `scope` as they are known, and which of them to look at.
pub fn news(client: &Client, scope: &Scope) -> (Store<Cluster>, News) {
    let (reader, clusters) = mirrored::<Cluster>(client, scope);
    let own = good(clusters.touched_objects(), "Cluster").map(|cluster| ObjectRef::from_obj(&cluster));
    let mut all: Vec<News> = vec![own.boxed()];
    for kind in Kind::listed() {
        let resource = kind.resource();
        let api = match scope {
            Some(namespace) => {
                Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(client.clone(), namespace, &resource)
            }
            None => Api::all_with(client.clone(), &resource),
        };
        all.push(labelled(api, kind.name()));
    }
    let shards = api::<PartialObjectMeta<MetadataShard>>(client, scope);
    all.push(gathered(labelled(shards, "MetadataShard"), METADATA_PERIOD).boxed());
    (reader, select_all(all).boxed())
}

/// The objects of a kind in `scope`.
fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What `kubectl apply` keeps of what it has applied: all of the object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes off what nobody here reads, and the room it took: there may be thousands of them.
pub(crate) fn strip(object: &mut impl Resource) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// Objects of a kind as they are known, without what nobody reads, and the events of the watch that keeps them so.
pub(crate) fn mirrored<K>(
    client: &Client,
    scope: &Scope,
) -> (Store<K>, impl Stream<Item = watcher::Result<watcher::Event<K>>> + use<K>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (reader, writer) = store();
    let events =
        watcher(api::<K>(client, scope), watcher::Config::default()).modify(strip).default_backoff().reflect(writer);
    (reader, events)
}

/// The Clusters that objects belong to by their label, at every change of such an object.
fn labelled<K>(api: Api<K>, what: &'static str) -> News
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = watcher(api, watcher::Config::default().labels(CLUSTER_LABEL));
    let touched = watch.default_backoff().touched_objects();
    let cluster = |object: K| {
        let name = object.labels().get(CLUSTER_LABEL)?;
        Some(ObjectRef::new(name).within(object.meta().namespace.as_deref()?))
    };
    good(touched, what).filter_map(move |object| std::future::ready(cluster(object))).boxed()
}

/// The items of a watch. What broke it is told to the log; the watch begins again by itself.
pub(crate) fn good<T>(
    watch: impl Stream<Item = Result<T, watcher::Error>>,
    what: &'static str,
) -> impl Stream<Item = T> {
    watch.filter_map(move |item| {
        let good = item.inspect_err(|error| tracing::warn!(%error, kind = what, "watch")).ok();
        std::future::ready(good)
    })
}

/// The same items, each at most once in a period, at its end.
fn gathered<T>(items: BoxStream<'static, T>, period: Duration) -> impl Stream<Item = T>
where
    T: std::hash::Hash + Eq + Send + 'static,
{
    enum Next<T> {
        Item(T),
        Tick,
    }
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticks = futures::stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Next::Tick, ticks))
    });
    let next = futures::stream::select(items.map(Next::Item), ticks);
    next.scan(HashSet::new(), |gathered, next| {
        let out: Vec<T> = match next {
            Next::Item(item) => {
                gathered.insert(item);
                Vec::new()
            }
            Next::Tick => gathered.drain().collect(),
        };
        std::future::ready(Some(futures::stream::iter(out)))
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_not_kept() {
        let text = "{apiVersion: ottla.dev/v1alpha1, kind: Topic, metadata: {name: t, annotations: {mine: a, \
                    kubectl.kubernetes.io/last-applied-configuration: '{}'}, managedFields: [{manager: kubectl}]}, \
                    spec: {clusterRef: {name: c}}}";
        let mut topic: ottla_crds::Topic = serde_yaml::from_str(text).unwrap();
        strip(&mut topic);
        assert_eq!(topic.metadata.managed_fields, None, "an empty list would keep its room");
        assert_eq!(topic.annotations().keys().collect::<Vec<_>>(), ["mine"]);
    }

    #[tokio::test]
    async fn what_comes_often_is_told_once_in_a_period() {
        let period = Duration::from_millis(200);
        let items = futures::stream::iter([1, 1, 2, 1]).chain(futures::stream::pending()).boxed();
        let mut gathered = std::pin::pin!(gathered(items, period));
        let began = Instant::now();
        let mut first = [gathered.next().await.unwrap(), gathered.next().await.unwrap()];
        first.sort_unstable();
        assert_eq!(first, [1, 2]);
        assert!(began.elapsed() >= period / 2, "not as they come");
    }
}
