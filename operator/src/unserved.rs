//! Users and Connectors: what a person is told of resources that nothing acts on yet.
//!
//! Owns their status. It says so in words instead of leaving them without any; a status that says it is not written again.
//! Must never call one Ready, nor touch anything of it but its status.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use ottla_crds::shared::Condition;
use ottla_crds::{Connector, User};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cluster::apply::Hands;
use crate::cluster::names::MANAGER;
use crate::cluster::watch::Scope;
use crate::verdict::Conditions;

/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reasons: the closed list of words by which the conditions of a User or a Connector say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// This version of the operator does nothing with it.
    Unsupported,
    /// Nothing is being done.
    Idle,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A kind that has a definition and nobody who acts on it.
struct Kind {
    resource: ApiResource,
    /// What does not happen, and the way out.
    message: &'static str,
}

fn kinds() -> [Kind; 2] {
    let user = "Users are not served by this version of Ottla: brokers know neither authentication nor authorization yet. \
                Nothing was created; keep it for a later version, or delete it";
    let connector = "Connectors do not run in this version of Ottla. Nothing was started; keep it for a later version, or delete it";
    [
        Kind { resource: ApiResource::erase::<User>(&()), message: user },
        Kind { resource: ApiResource::erase::<Connector>(&()), message: connector },
    ]
}

struct Context {
    hands: Hands,
    kind: Kind,
    backoff: Mutex<Backoff<(String, String)>>,
}

/// Tells every User and Connector of `scope` how it stands, until `stop`.
pub async fn run(scope: Scope, hands: Hands, stop: CancellationToken) {
    let runs = kinds().map(|kind| {
        let api = match &scope {
            Some(namespace) => Api::namespaced_with(hands.client.clone(), namespace, &kind.resource),
            None => Api::all_with(hands.client.clone(), &kind.resource),
        };
        let resource = kind.resource.clone();
        let context = Arc::new(Context { hands: hands.clone(), kind, backoff: Mutex::default() });
        Controller::new_with(api, watcher::Config::default(), resource)
            .graceful_shutdown_on(stop.clone().cancelled_owned())
            .run(turn, on_error, context)
            .for_each(|_| std::future::ready(()))
    });
    futures::future::join_all(runs).await;
}

fn key(object: &DynamicObject) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

async fn turn(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let Kind { resource, message } = &context.kind;
    let before = conditions_of(&object);
    let after = conditions(&object, &before, message, Timestamp::now());
    if before != after {
        let (namespace, name) = key(&object);
        let api: Api<DynamicObject> = Api::namespaced_with(context.hands.client.clone(), &namespace, resource);
        let patch = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "uid": object.uid()},
            "status": {"observedGeneration": object.metadata.generation, "conditions": after},
        });
        context.hands.metrics.wrote(&resource.kind, "status");
        let (how, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(patch));
        let write = api.patch_status(&name, &how, &patch);
        match tokio::time::timeout(DEADLINE, write).await {
            Ok(Ok(_)) => {}
            // Gone, or another one of its name: its own news follow.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            Ok(Err(error)) => return Err(error),
            Err(late) => return Err(kube::Error::Service(late.into())),
        }
    }
    context.backoff.lock().forget(&key(&object));
    Ok(Action::await_change())
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn on_error(object: Arc<DynamicObject>, error: &kube::Error, context: Arc<Context>) -> Action {
    let (namespace, name) = key(&object);
    tracing::warn!(namespace, name, kind = context.kind.resource.kind, %error, "write the status");
    Action::requeue(context.backoff.lock().failed((namespace, name), rand::random()))
}

/// Those that its status has.
fn conditions_of(object: &DynamicObject) -> Vec<Condition> {
    serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default()
}

fn conditions(object: &DynamicObject, before: &[Condition], message: &str, now: Timestamp) -> Vec<Condition> {
    let made = Conditions { before, generation: object.metadata.generation, now };
    vec![
        made.of("Ready", ("False", Reason::Unsupported, message.to_owned())),
        made.of("Reconciling", ("False", Reason::Idle, String::new())),
        made.of("Stalled", ("True", Reason::Unsupported, message.to_owned())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_said_once_of_each_generation() {
        let text =
            "{apiVersion: ottla.dev/v1alpha1, kind: User, metadata: {name: u, namespace: n, generation: 2}, spec: {}}";
        let mut user: DynamicObject = serde_yaml::from_str(text).unwrap();
        let now: Timestamp = "2026-02-01T10:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-02-01T11:00:00Z".parse().unwrap();
        let first = conditions(&user, &conditions_of(&user), "why", now);
        let told: Vec<String> =
            first.iter().map(|one| format!("{}={} {}", one.type_, one.status, one.reason)).collect();
        assert_eq!(told, ["Ready=False Unsupported", "Reconciling=False Idle", "Stalled=True Unsupported"]);
        user.data["status"] = json!({"observedGeneration": 2, "conditions": first});
        assert_eq!(conditions(&user, &conditions_of(&user), "why", later), first);
        user.metadata.generation = Some(3);
        let next = conditions(&user, &conditions_of(&user), "why", later);
        assert_ne!(next, first);
        assert_eq!(next[0].last_transition_time, first[0].last_transition_time);
    }
}
