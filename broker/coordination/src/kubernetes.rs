//! Coordination through the API of Kubernetes: Lease objects, and documents as `MetadataShard` objects.
//!
//! Owns the mapping between the trait and the two kinds of object, and what each answer of the API server means for it.
//! A revision is the object's resource version: etcd never gives one out twice. Must never repeat a request (the client
//! library's own retries are off), never read a document from a cache, and never delete one.
//!
//! Names: Lease `<cluster>-<lease>`, document `<cluster>.<document>`; a cluster's name has no dot, so that no two
//! clusters of a namespace meet.

mod answer;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use ottla_crds::metadata_shard::{CLUSTER_LABEL, FINALIZER, MetadataShard, MetadataShardSpec};
use serde_json::json;
use tokio::runtime::Handle;

use crate::{
    Coordination, Document, Expected, Holder, Lease, LeaseError, Put, PutError, Revision, Unavailable, Watch, is_name,
};
use answer::{is_absent, lease_error, put_error, unavailable};

/// Who writes, as `managedFields` shows it.
const MANAGER: &str = "ottla-broker";
/// Tells one write from the next.
const WRITE_ANNOTATION: &str = "ottla.dev/write";
/// The longest name of a cluster: what its Pods and Services are called must fit as well.
const CLUSTER_NAME_MAX: usize = 40;

/// Where in Kubernetes a cluster's metadata lies, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Name of the cluster.
    pub cluster: String,
    /// Its namespace; `None`: the one of the kubeconfig's context, or the pod's own.
    pub namespace: Option<String>,
    /// A kubeconfig; `None`: what `KUBECONFIG` names, or `~/.kube/config`, or what a pod is given.
    pub kubeconfig: Option<PathBuf>,
}

impl Access {
    async fn config(&self) -> Result<Config, Unavailable> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let unusable = |error: kube::config::KubeconfigError| {
                    Unavailable(format!("kubeconfig {} cannot be used: {error}", path.display()))
                };
                let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(unusable)?
            }
            None => Config::infer().await.map_err(|error| Unavailable(error.to_string()))?,
        };
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Ok(config)
    }
}

/// The API server as it is asked.
#[derive(Clone)]
pub struct Kubernetes {
    runtime: Handle,
    leases: Api<LeaseObject>,
    documents: Api<MetadataShard>,
    cluster: String,
    deadline: Duration,
    writes: Arc<Writes>,
}

/// Numbers writes: an update that changes nothing would keep its object's version.
struct Writes {
    began: i128,
    count: AtomicU64,
}

impl Writes {
    fn next(&self) -> String {
        format!("{}-{}", self.began, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

impl Kubernetes {
    /// Coordination of `cluster` in the namespace of `config`. Requests run on `runtime` and are given up after
    /// `deadline`; the caller must not be one of its workers.
    ///
    /// # Errors
    /// [`Unavailable`] when `config` makes no client, or `cluster` is no name of one. The API server is not asked.
    pub fn new(mut config: Config, runtime: Handle, cluster: &str, deadline: Duration) -> Result<Self, Unavailable> {
        if !is_name(cluster) || cluster.contains('.') || cluster.len() > CLUSTER_NAME_MAX {
            return Err(Unavailable(format!("{cluster:?} is no name of a cluster")));
        }
        let namespace = config.default_namespace.clone();
        config.default_retry = false;
        let client = {
            let _on = runtime.enter();
            Client::try_from(config).map_err(unavailable)?
        };
        let leases = Api::namespaced(client.clone(), &namespace);
        let documents = Api::namespaced(client, &namespace);
        let writes = Arc::new(Writes { began: Timestamp::now().as_nanosecond(), count: AtomicU64::new(0) });
        Ok(Self { runtime, leases, documents, cluster: cluster.to_owned(), deadline, writes })
    }

    /// The same, as `access` says.
    ///
    /// # Errors
    /// As [`Self::new`], and when there is no usable configuration.
    pub async fn connect(access: &Access, deadline: Duration) -> Result<Self, Unavailable> {
        Self::new(access.config().await?, Handle::current(), &access.cluster, deadline)
    }

    /// Name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Runs one request to its end or its deadline; `late` says what the deadline means.
    fn ask<T, E>(&self, request: impl Future<Output = Result<T, E>>, late: impl FnOnce(String) -> E) -> Result<T, E> {
        let bounded = async { tokio::time::timeout(self.deadline, request).await };
        let within = self.deadline;
        self.runtime.block_on(bounded).unwrap_or_else(|_| Err(late(format!("no answer within {within:?}"))))
    }

    fn lease_name(&self, name: &str) -> String {
        format!("{}-{name}", self.cluster)
    }

    fn object_name(&self, name: &str) -> String {
        format!("{}.{name}", self.cluster)
    }

    fn selector(&self) -> String {
        format!("{CLUSTER_LABEL}={}", self.cluster)
    }

    fn object(&self, put: &Put) -> MetadataShard {
        let resource_version = match &put.expected {
            Expected::Absent => None,
            Expected::At(Revision(version)) => Some(version.clone()),
        };
        MetadataShard {
            metadata: ObjectMeta {
                name: Some(self.object_name(&put.name)),
                labels: Some([(CLUSTER_LABEL.to_owned(), self.cluster.clone())].into()),
                annotations: Some([(WRITE_ANNOTATION.to_owned(), self.writes.next())].into()),
                finalizers: Some(vec![FINALIZER.to_owned()]),
                resource_version,
                ..ObjectMeta::default()
            },
            spec: MetadataShardSpec {
                cluster: self.cluster.clone(),
                document: put.name.clone(),
                content: ByteString(put.content.to_vec()),
            },
        }
    }

    async fn write(&self, put: &Put) -> Result<Revision, PutError> {
        put.check()?;
        let (object, how) = (self.object(put), PostParams { field_manager: Some(MANAGER.to_owned()), dry_run: false });
        let request = async {
            match &put.expected {
                Expected::Absent => self.documents.create(&how, &object).await,
                Expected::At(_) => self.documents.replace(&self.object_name(&put.name), &how, &object).await,
            }
        };
        match tokio::time::timeout(self.deadline, request).await {
            Ok(Ok(written)) => {
                revision_of(&written).ok_or_else(|| PutError::Unknown("an answer without a version".into()))
            }
            Ok(Err(error)) => Err(put_error(error)),
            Err(_) => Err(PutError::Unknown(format!("no answer within {:?}", self.deadline))),
        }
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseObject>, Unavailable> {
        match self.leases.get(&self.lease_name(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn take(
        &self,
        name: &str,
        holder: &Holder,
        duration: Duration,
        seen: Option<&Revision>,
    ) -> Result<Lease, LeaseError> {
        let found = self.lease(name).await?;
        let held = found.as_ref().and_then(held);
        if held.as_ref().map(|lease| &lease.revision) != seen {
            return Err(LeaseError::Taken);
        }
        let transitions = found.as_ref().and_then(|object| object.spec.as_ref()?.lease_transitions);
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(holder.0.clone()),
            lease_duration_seconds: Some(seconds(duration)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            // For people who look: who holds the lease, epochs say.
            lease_transitions: Some(transitions.map_or(0, |count| count.saturating_add(1))),
            ..LeaseSpec::default()
        };
        let Some(version) = found.and_then(|object| object.metadata.resource_version) else {
            let metadata = ObjectMeta {
                name: Some(self.lease_name(name)),
                labels: Some([(CLUSTER_LABEL.to_owned(), self.cluster.clone())].into()),
                ..ObjectMeta::default()
            };
            let object = LeaseObject { metadata, spec: Some(spec) };
            let how = PostParams { field_manager: Some(MANAGER.to_owned()), dry_run: false };
            return given(self.leases.create(&how, &object).await);
        };
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        given(self.patch(name, &patch).await)
    }

    async fn patch(&self, name: &str, patch: &serde_json::Value) -> kube::Result<LeaseObject> {
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.leases.patch(&self.lease_name(name), &how, &Patch::Merge(patch)).await
    }

    /// Changes the lease if it still is as `holder` held it. The holder is part of what is sent: an object that somebody
    /// has taken meanwhile has another version.
    async fn change(
        &self,
        name: &str,
        holder: &Holder,
        held: &Revision,
        spec: serde_json::Value,
    ) -> Result<LeaseObject, LeaseError> {
        let found = self.lease(name).await?.as_ref().and_then(self::held);
        if found.is_none_or(|lease| lease.revision != *held || lease.holder != *holder) {
            return Err(LeaseError::Taken);
        }
        let patch = json!({"metadata": {"resourceVersion": held.0}, "spec": spec});
        self.patch(name, &patch).await.map_err(lease_error)
    }
}

/// Whole seconds, rounded up: an object cannot say it finer, and a lease may hold longer than asked, not shorter.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX).max(1)
}

fn revision_of(object: &impl ResourceExt) -> Option<Revision> {
    object.resource_version().map(Revision)
}

/// The lease in an object; `None` if nobody holds it.
fn held(object: &LeaseObject) -> Option<Lease> {
    let spec = object.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    Some(Lease { holder: Holder(holder), duration: Duration::from_secs(seconds), revision: revision_of(object)? })
}

fn given(answer: kube::Result<LeaseObject>) -> Result<Lease, LeaseError> {
    let object = answer.map_err(lease_error)?;
    held(&object).ok_or_else(|| Unavailable("the API server answered with a lease that nobody holds".into()).into())
}

/// The document in an object.
fn document(cluster: &str, object: MetadataShard) -> Result<Document, Unavailable> {
    let name = object.name_any();
    let revision = revision_of(&object).ok_or_else(|| Unavailable(format!("MetadataShard {name} has no version")))?;
    let MetadataShardSpec { cluster: owner, document, content } = object.spec;
    if owner != cluster || name != format!("{cluster}.{document}") {
        return Err(Unavailable(format!(
            "MetadataShard {name} says that it is document {document} of cluster {owner}: somebody has copied or edited it"
        )));
    }
    Ok(Document { name: document, content: Bytes::from(content.0), revision })
}

impl Coordination for Kubernetes {
    fn observe(&self, name: &str) -> Result<Option<Lease>, Unavailable> {
        let object = self.ask(self.lease(name), Unavailable)?;
        Ok(object.as_ref().and_then(held))
    }

    fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        duration: Duration,
        seen: Option<&Revision>,
    ) -> Result<Lease, LeaseError> {
        self.ask(self.take(name, holder, duration, seen), |late| Unavailable(late).into())
    }

    fn renew(&self, name: &str, holder: &Holder, duration: Duration, held: &Revision) -> Result<Lease, LeaseError> {
        let spec = json!({"renewTime": MicroTime(Timestamp::now()), "leaseDurationSeconds": seconds(duration)});
        let object = self.ask(self.change(name, holder, held, spec), |late| Unavailable(late).into())?;
        given(Ok(object))
    }

    fn release(&self, name: &str, holder: &Holder, held: &Revision) -> Result<(), LeaseError> {
        let spec = json!({"holderIdentity": "", "renewTime": MicroTime(Timestamp::now())});
        self.ask(self.change(name, holder, held, spec), |late| Unavailable(late).into()).map(|_| ())
    }

    fn get(&self, name: &str) -> Result<Option<Document>, Unavailable> {
        let read = async {
            // Without a resource version the API server asks a majority of etcd.
            match self.documents.get(&self.object_name(name)).await {
                Ok(object) => document(&self.cluster, object).map(Some),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(unavailable(error)),
            }
        };
        self.ask(read, Unavailable)
    }

    fn put(&self, puts: Vec<Put>) -> Vec<Result<Revision, PutError>> {
        self.runtime.block_on(join_all(puts.iter().map(|put| self.write(put))))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Document>, Unavailable> {
        let read = async {
            let how = ListParams::default().labels(&self.selector());
            let objects = self.documents.list(&how).await.map_err(unavailable)?;
            objects.items.into_iter().map(|object| document(&self.cluster, object)).collect::<Result<Vec<_>, _>>()
        };
        let mut documents = self.ask(read, Unavailable)?;
        documents.retain(|document| document.name.starts_with(prefix));
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(documents)
    }

    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, Unavailable> {
        Ok(Box::new(watch::Follower::begin(self, prefix)))
    }
}
