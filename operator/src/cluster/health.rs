//! How a cluster's brokers are, by their Pods.
//!
//! Owns what keeps a Pod from serving, in a word and a sentence with the way out. Pure: the time is an argument. Must
//! never call a cluster broken because brokers are being restarted as `spec.updates` lets them be.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::child::Seen;
use super::desired::{Desired, Seat};
use super::kind::Kind;
use super::observed::Observed;
use super::plan::is_ready;
use super::reason::{Reason, Refusal};

/// For how long a Pod may be new.
const YOUNG: SignedDuration = SignedDuration::from_mins(5);
/// What holds a Pod for longer than this after its time to stop has passed does not come by itself.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
/// A container that ends sooner does not get past its start.
const SHORT_RUN: SignedDuration = SignedDuration::from_mins(1);

/// How the brokers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How many there should be.
    pub total: usize,
    /// How many serve.
    pub serving: usize,
    /// How many do not because they are being restarted; none if another one does not either, or if they are more than `spec`
    /// lets be restarted together.
    pub restarting: usize,
    /// What keeps one of them from serving.
    pub worst: Option<(Reason, String)>,
    /// What a person has to do something about.
    pub refusals: Vec<Refusal>,
}

/// Looks at every broker that should be.
pub fn judge(desired: Option<&Desired>, observed: &Observed, now: Timestamp) -> Health {
    let Some(desired) = desired else { return Health::default() };
    let mut health = Health { total: desired.brokers.len(), ..Health::default() };
    let mut down: Vec<&Seat> = Vec::new();
    for seat in desired.brokers.values() {
        let pod = observed.get(Kind::Pod, &seat.pod);
        if pod.is_some_and(is_ready) {
            health.serving += 1;
            continue;
        }
        down.push(seat);
        let found = pod.and_then(|pod| stuck(&seat.pod, pod, now).or_else(|| trouble(&seat.pod, pod)));
        let Some((reason, message)) = found else { continue };
        if matches!(reason, Reason::ImageUnavailable | Reason::BrokerCrashes | Reason::PodGoing) {
            health.refusals.push(Refusal::new(reason, message.clone()));
        }
        health.worst.get_or_insert((reason, message));
    }
    let new = |seat: &&Seat| {
        let pod = observed.get(Kind::Pod, &seat.pod);
        pod.is_none_or(|pod| pod.is_going() || is_young(pod, now))
    };
    let few = down.len() < health.total && down.len() <= together(desired, observed, &down);
    if few && health.refusals.is_empty() && down.iter().all(|seat| is_registered(observed, seat.id) && new(seat)) {
        health.restarting = down.len();
    }
    health
}

fn is_registered(observed: &Observed, id: i32) -> bool {
    observed.documents.summary().is_some_and(|summary| summary.registered.contains(&id))
}

/// How many of these may be restarted at once: several only of one zone. Brokers of which no zone is known are in one.
fn together(desired: &Desired, observed: &Observed, down: &[&Seat]) -> usize {
    let rack = |seat: &&Seat| observed.documents.summary()?.layout.brokers.get(&seat.id)?.rack.as_deref();
    let zones: BTreeSet<Option<&str>> = down.iter().map(rack).collect();
    let most = usize::try_from(desired.updates.max_unavailable_per_zone).unwrap_or(1);
    if zones.len() == 1 { most.max(1) } else { 1 }
}

fn is_young(pod: &Value, now: Timestamp) -> bool {
    let born = pod["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    born.is_some_and(|born| now.duration_since(born) < YOUNG)
}

/// Why a broker does not serve, if that is more than a start that takes its time.
pub(super) fn failure(name: &str, pod: &Value, now: Timestamp) -> Option<String> {
    if is_ready(pod) || pod.is_going() {
        return None;
    }
    if let Some((_, message)) = trouble(name, pod) {
        return Some(message);
    }
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ended: i64 = containers.filter_map(|one| one["restartCount"].as_i64()).sum();
    if ended > 0 {
        return Some(format!(
            "Pod {name} has ended {ended} time(s) and does not serve: see `kubectl logs {name} --previous`"
        ));
    }
    (!is_young(pod, now)).then(|| format!("Pod {name} does not serve: see `kubectl logs {name}`"))
}

/// What holds a Pod that should have been gone long ago. Its node may only be away: then it is a lost broker's.
fn stuck(name: &str, pod: &Value, now: Timestamp) -> Option<(Reason, String)> {
    // The end of the time that it was given to stop in.
    let due: Timestamp = pod["metadata"]["deletionTimestamp"].as_str()?.parse().ok()?;
    let holders: Vec<&str> = pod["metadata"]["finalizers"].as_array()?.iter().filter_map(Value::as_str).collect();
    if holders.is_empty() || now.duration_since(due) < PATIENCE {
        return None;
    }
    let message = format!(
        "Pod {name} is being deleted and is held by {}: whoever set that must let go of it, or take it out of \
         metadata.finalizers with `kubectl edit pod {name}`",
        holders.join(", ")
    );
    Some((Reason::PodGoing, message))
}

/// What is wrong with a Pod that does not serve, as far as its status says.
fn trouble(name: &str, pod: &Value) -> Option<(Reason, String)> {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions.into_iter().find(|one| one["type"] == "PodScheduled" && one["status"] == "False");
    if let Some(condition) = unscheduled {
        let why = condition["message"].as_str().unwrap_or("no node takes it").trim_end_matches('.');
        let message = format!(
            "Pod {name} has no node: {why}; bring or add a node that takes it, or correct resources and template of its pool"
        );
        return Some((Reason::PodUnschedulable, message));
    }
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find_map(|status| {
        if crashes(status) {
            let code = status["lastState"]["terminated"]["exitCode"].as_i64();
            let code = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
            let message = format!("Pod {name} ends again and again{code}: see `kubectl logs {name} --previous`");
            return Some((Reason::BrokerCrashes, message));
        }
        let waiting = &status["state"]["waiting"];
        let image = status["image"].as_str().or_else(|| pod["spec"]["containers"][0]["image"].as_str()).unwrap_or_default();
        match waiting["reason"].as_str()? {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
                let message = format!(
                    "Pod {name} cannot have image {image}: declare a spec.version that exists, or start the operator with \
                     another --broker-image"
                );
                Some((Reason::ImageUnavailable, message))
            }
            _ => None,
        }
    })
}

/// Whether a container ends again and again. Between two pauses of the kubelet it runs for a moment: who looks then is told by
/// how short the last run was, so that a verdict does not come and go.
fn crashes(status: &Value) -> bool {
    let last = &status["lastState"]["terminated"];
    let at = |field: &str| last[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let short =
        at("startedAt").zip(at("finishedAt")).is_some_and(|(began, ended)| ended.duration_since(began) < SHORT_RUN);
    let again = status["restartCount"].as_i64().is_some_and(|count| count > 1);
    status["state"]["waiting"]["reason"] == "CrashLoopBackOff" || again && short && last["exitCode"] != 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(state: &Value, restarts: u32, ended: &str) -> Value {
        let last = json!({"exitCode": 1, "startedAt": "2026-02-01T10:00:00Z", "finishedAt": ended});
        json!({"state": state, "restartCount": restarts, "lastState": {"terminated": last}})
    }

    #[test]
    fn who_ends_again_and_again_is_told_also_while_it_runs() {
        let (runs, waits) = (json!({"running": {}}), json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let (soon, late) = ("2026-02-01T10:00:03Z", "2026-02-01T12:00:00Z");
        assert!(crashes(&status(&waits, 1, late)));
        assert!(crashes(&status(&runs, 2, soon)));
        assert!(!crashes(&status(&runs, 1, soon)), "it has ended once");
        assert!(!crashes(&status(&runs, 2, late)), "it ran for long before that");
        assert!(!crashes(&json!({"state": runs, "restartCount": 0})));
    }

    #[test]
    fn what_holds_a_pod_that_should_be_gone_is_named() {
        let pod = |finalizers: &Value| json!({"metadata": {"deletionTimestamp": "2026-02-01T10:00:30Z", "finalizers": finalizers}});
        let told = |pod: &Value, now: &str| stuck("c-a-0", pod, now.parse().unwrap());
        let held = pod(&json!(["example.org/backup"]));
        let (reason, message) = told(&held, "2026-02-01T10:01:30Z").expect("its minute is over");
        assert_eq!(reason, Reason::PodGoing);
        assert!(message.contains("held by example.org/backup"), "{message}");
        assert_eq!(told(&held, "2026-02-01T10:01:29Z"), None, "it may take its time");
        assert_eq!(told(&pod(&Value::Null), "2026-02-01T11:00:00Z"), None, "its node does not answer");
        assert_eq!(told(&json!({"metadata": {"finalizers": ["example.org/backup"]}}), "2026-02-01T11:00:00Z"), None);
    }
}
