//! A watch: lists what is there, follows what changes, and breaks rather than miss something.
//!
//! Owns the changes that were not told yet, at most one for each document. What broke a stream (a connection, 410 for a
//! version that etcd has forgotten) is told once; whoever wants to go on begins another one, which lists again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use ottla_crds::MetadataShard;
use tokio::task::AbortHandle;

use super::answer::unavailable;
use super::{Kubernetes, document};
use crate::{Change, Unavailable, Watch};

#[derive(Default)]
struct State {
    /// In the order in which they are to be told.
    changes: Vec<(String, Change)>,
    broken: Option<Unavailable>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newer change takes the place of an older one that was not told yet.
    fn tell(&self, name: &str, change: Change) {
        let mut state = self.state();
        state.changes.retain(|(known, _)| known != name);
        state.changes.push((name.to_owned(), change));
        drop(state);
        self.changed.notify_all();
    }
}

/// One watch; its task ends with it.
pub(super) struct Follower {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Follower {
    pub(super) fn begin(api: &Kubernetes, prefix: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let (to, api, prefix) = (Arc::clone(&shared), api.clone(), prefix.to_owned());
        let runtime = api.runtime.clone();
        let task = runtime.spawn(async move {
            let Err(broken) = follow(&api, &prefix, &to).await;
            to.state().broken = Some(broken);
            to.changed.notify_all();
        });
        Self { shared, task: task.abort_handle() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch for Follower {
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, Unavailable> {
        let nothing = |state: &mut State| state.changes.is_empty() && state.broken.is_none();
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, timeout, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.changes.is_empty() {
            return Ok(Some(state.changes.remove(0).1));
        }
        state.broken.clone().map_or(Ok(None), Err)
    }
}

/// Lists and follows until something breaks.
async fn follow(api: &Kubernetes, prefix: &str, to: &Shared) -> Result<std::convert::Infallible, Unavailable> {
    let selector = api.selector();
    let late = |_| Unavailable(format!("no answer within {:?}", api.deadline));
    let how = ListParams::default().labels(&selector);
    let listed = tokio::time::timeout(api.deadline, api.documents.list(&how)).await.map_err(late)?;
    let listed = listed.map_err(unavailable)?;
    let mut version = listed.metadata.resource_version.clone().unwrap_or_default();
    for object in listed.items {
        tell(api, prefix, to, object, false)?;
    }
    let how = WatchParams::default().labels(&selector);
    loop {
        // The server ends a watch after a while; it goes on where it was.
        let began = tokio::time::timeout(api.deadline, api.documents.watch(&how, &version)).await.map_err(late)?;
        let mut events = began.map_err(unavailable)?.boxed();
        while let Some(event) = events.try_next().await.map_err(unavailable)? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or_default();
                    tell(api, prefix, to, object, false)?;
                }
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or_default();
                    tell(api, prefix, to, object, true)?;
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(unavailable(kube::Error::Api(status))),
            }
        }
    }
}

fn tell(api: &Kubernetes, prefix: &str, to: &Shared, object: MetadataShard, gone: bool) -> Result<(), Unavailable> {
    let document = document(&api.cluster, object)?;
    if document.name.starts_with(prefix) {
        let name = document.name.clone();
        to.tell(&name, if gone { Change::Gone(document.name) } else { Change::Put(document) });
    }
    Ok(())
}
