//! Waiting until what was asked for is so.
//!
//! Owns when each wish is fulfilled, judged from what Kubernetes shows, and how progress is told: a line on stderr whenever it
//! changes. Must never call a wish fulfilled because of a status from before it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use ottla_crds::shared::Condition;
use ottla_crds::{Cluster, Topic, names};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::args::Patience;
use crate::brokers::{self, Broker};
use crate::conditions::{find, is};
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::rights;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Every broker's Pod was made since this restart, and serves.
    Restarted { value: String },
    /// This broker's Pod is another one, and serves.
    BrokerRestarted { id: i32, uid: String },
    /// No broker runs.
    Asleep,
    /// Every broker serves.
    Awake,
    /// The operator goes on and has nothing left to do.
    Resumed,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Going(String),
}

/// What the operator does, in the words of the status.
fn at_work(cluster: &Cluster) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let pending = find(&status.conditions, "UpdatePending").filter(|one| one.status == "True");
    let halted = pending.map(|one| format!("{}: {}", one.reason, one.message));
    let operation = status.operation.map(|one| {
        let parts = [one.kind, one.step, one.reason.map(|why| format!("({why})"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    let paused = brokers::is_asked(&cluster.clone(), names::PAUSE);
    let paused = paused.then(|| format!("the Cluster is annotated {}=true", names::PAUSE));
    let ready = find(&status.conditions, "Ready").map(|one| one.message.clone());
    let words: Vec<String> = [paused, operation, halted].into_iter().flatten().collect();
    if words.is_empty() { ready.unwrap_or_else(|| "no operator has looked at it".to_owned()) } else { words.join("; ") }
}

fn is_settled(conditions: &[Condition]) -> bool {
    is(conditions, "Ready", "True") && is(conditions, "Reconciling", "False")
}

/// How far `wish` is with a Cluster.
pub(crate) fn progress(wish: &Wish, cluster: &Cluster, brokers: &[Broker]) -> Progress {
    let status = cluster.status.clone().unwrap_or_default();
    let conditions = &status.conditions;
    let declared = brokers::declared(cluster);
    let going = |count: usize, what: &str| {
        Progress::Going(format!("{count} of {declared} brokers {what}; {}", at_work(cluster)))
    };
    match wish {
        Wish::Restarted { value } => {
            let renewed = brokers.iter().filter(|one| one.serves && one.restarted() == Some(value)).count();
            let done = renewed == brokers.len() && renewed >= declared && is_settled(conditions);
            if done { Progress::Done } else { going(renewed, "are restarted and serve") }
        }
        Wish::BrokerRestarted { id, uid } => {
            let renewed = brokers.iter().find(|one| one.id == *id && one.uid() != uid);
            match renewed {
                Some(broker) if broker.serves => Progress::Done,
                Some(broker) => Progress::Going(format!("{} is {}", broker.pod, broker.state)),
                None => Progress::Going(format!("broker {id} has the Pod that it had; {}", at_work(cluster))),
            }
        }
        Wish::Asleep => {
            let told = find(conditions, "Ready").is_some_and(|one| one.reason == "Hibernated");
            let done = brokers.is_empty() && told && is(conditions, "Reconciling", "False");
            if done { Progress::Done } else { going(brokers.len(), "have a Pod") }
        }
        Wish::Awake => {
            let serving = brokers.iter().filter(|one| one.serves).count();
            if serving >= declared && is_settled(conditions) { Progress::Done } else { going(serving, "serve") }
        }
        Wish::Resumed => settled(conditions, || at_work(cluster)),
    }
}

/// Whether a resource that was paused is what it should be.
fn settled(conditions: &[Condition], words: impl FnOnce() -> String) -> Progress {
    let goes_on = find(conditions, "Reconciling").is_some_and(|one| one.status == "False" && one.reason != "Paused");
    if goes_on && is(conditions, "Ready", "True") { Progress::Done } else { Progress::Going(words()) }
}

/// Waits until `wish` is fulfilled, if that was asked for.
pub(crate) async fn wait(place: &Place, patience: &Patience, name: &str, wish: &Wish) -> Result<()> {
    let look = async || {
        let cluster = place.cluster(name).await?;
        let pods: Vec<Pod> = place.pods(name).await?;
        Ok(progress(wish, &cluster, &brokers::all(&pods)))
    };
    until(patience, &format!("Cluster {name}"), look).await
}

/// As [`wait`], for a Topic that goes on.
pub(crate) async fn wait_for_topic(place: &Place, patience: &Patience, name: &str) -> Result<()> {
    let look = async || {
        let topic = place.ask(rights::GET_TOPICS, place.api::<Topic>().get(name)).await?;
        let conditions = topic.status.unwrap_or_default().conditions;
        let words = || find(&conditions, "Ready").map_or_else(String::new, |one| one.message.clone());
        Ok(settled(&conditions, words))
    };
    until(patience, &format!("Topic {name}"), look).await
}

async fn until(patience: &Patience, subject: &str, look: impl AsyncFn() -> Result<Progress>) -> Result<()> {
    if !patience.wait {
        return Ok(());
    }
    let deadline = Instant::now() + patience.timeout;
    let mut told = String::new();
    let mut beat = interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match timeout_at(deadline, async {
            beat.tick().await;
            look().await
        })
        .await
        {
            Ok(Ok(Progress::Done)) => return Ok(()),
            Ok(Ok(Progress::Going(words))) => {
                if words != told {
                    eprintln!("{words}");
                    told = words;
                }
            }
            // An API server that restarts, as on the brokers' own nodes, is waited for as well.
            Ok(Err(failure)) if failure.exit() == Exit::Late => {
                let words = failure.words();
                if words != told {
                    eprintln!("{words}");
                    told = words;
                }
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {
                let what = format!("{subject}: not within {} s, and it goes on: {told}", patience.timeout.as_secs());
                return Err(
                    Failure::new(Exit::Late, what).way_out("Give it longer with --timeout, for example --timeout 30m.")
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::brokers::tests::{cluster, pod};

    fn status(ready: &str, reason: &str, reconciling: &str, why: &str) -> Value {
        let one = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-02-01T11:58:00Z"});
        json!({"conditions": [one("Ready", ready, reason), one("Reconciling", reconciling, why)],
               "operation": {"kind": "Roll", "step": "1/3", "reason": "asked"}})
    }

    fn pods(changes: [&Value; 3]) -> Vec<Broker> {
        let pods: Vec<Pod> = changes.iter().zip(0..).map(|(changes, id)| pod(id, "x", changes)).collect();
        brokers::all(&pods)
    }

    fn is_done(wish: &Wish, status: &Value, brokers: &[Broker]) -> bool {
        progress(wish, &cluster(&json!({}), status), brokers) == Progress::Done
    }

    #[test]
    fn a_restart_is_done_when_every_broker_has_had_it() {
        let wish = Wish::Restarted { value: "now".to_owned() };
        let settled = status("True", "BrokersReady", "False", "AsDeclared");
        let had = json!({"metadata": {"annotations": {"ottla.dev/restarted": "now"}}});
        let before = json!({"metadata": {"annotations": {"ottla.dev/restarted": "then"}}});
        let starts = json!({"metadata": {"annotations": {"ottla.dev/restarted": "now"}}, "status": {"conditions": []}});
        assert!(is_done(&wish, &settled, &pods([&had; 3])));
        assert!(!is_done(&wish, &settled, &pods([&had, &had, &before])), "the status is from before");
        assert!(!is_done(&wish, &settled, &pods([&had, &had, &starts])));
        assert!(!is_done(&wish, &settled, &pods([&had; 3])[..2]), "one Pod is away");
        assert!(!is_done(&wish, &status("True", "Rolling", "True", "Rolling"), &pods([&had; 3])));
        let words = progress(&wish, &cluster(&json!({}), &settled), &pods([&had, &before, &before]));
        assert_eq!(words, Progress::Going("1 of 3 brokers are restarted and serve; Roll 1/3 (asked)".to_owned()));
    }

    #[test]
    fn one_brokers_restart_is_another_pod_that_serves() {
        let wish = Wish::BrokerRestarted { id: 1, uid: "u-1".to_owned() };
        let none = json!({});
        let another = json!({"metadata": {"uid": "u-9"}});
        let starts = json!({"metadata": {"uid": "u-9"}, "status": {"conditions": []}});
        let any = status("True", "BrokersReady", "False", "AsDeclared");
        assert!(!is_done(&wish, &any, &pods([&none; 3])));
        assert!(!is_done(&wish, &any, &pods([&none, &starts, &none])));
        assert!(is_done(&wish, &any, &pods([&none, &another, &none])));
    }

    #[test]
    fn sleep_and_waking_are_judged_by_pods_and_words() {
        let none = json!({});
        let asleep = status("False", "Hibernated", "False", "Hibernated");
        assert!(is_done(&Wish::Asleep, &asleep, &[]));
        assert!(!is_done(&Wish::Asleep, &asleep, &pods([&none; 3])), "brokers have Pods");
        assert!(!is_done(&Wish::Asleep, &status("False", "BrokersNotReady", "True", "Applying"), &[]));
        let settled = status("True", "BrokersReady", "False", "AsDeclared");
        assert!(is_done(&Wish::Awake, &settled, &pods([&none; 3])));
        assert!(!is_done(&Wish::Awake, &settled, &pods([&none; 3])[..2]), "the status is from before");
        assert!(!is_done(&Wish::Awake, &asleep, &pods([&none; 3])));
    }

    #[test]
    fn who_was_paused_goes_on() {
        assert!(!is_done(&Wish::Resumed, &status("True", "BrokersReady", "False", "Paused"), &[]));
        assert!(!is_done(&Wish::Resumed, &status("True", "BrokersReady", "True", "Rolling"), &[]));
        assert!(is_done(&Wish::Resumed, &status("True", "BrokersReady", "False", "AsDeclared"), &[]));
    }
}
