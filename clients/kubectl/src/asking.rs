//! `restart`, `hibernate`, `wake`, `pause`, `resume`: what is asked of the operator.
//!
//! Owns the annotations that these write, and what is said about a Cluster in which they would do nothing. Must never write
//! anything but annotations.

use std::fmt::Debug;
use std::io::Write as _;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Patch, PatchParams};
use ottla_crds::{Cluster, Topic, names};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::{Restart, Resume, Subject, Waiting};
use crate::brokers;
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::rights::{self, Right};
use crate::waiting::{self, Wish};

/// Who writes, as `managedFields` shows it.
const MANAGER: &str = "kubectl-ottla";

/// Sets an annotation, or takes it off.
async fn annotate<K>(place: &Place, right: Right, name: &str, annotation: &str, value: Value) -> Result<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    place.ask(right, place.api::<K>().patch(name, &params, &Patch::Merge(&patch))).await
}

fn say(words: &str) -> Result<i32> {
    writeln!(std::io::stdout().lock(), "{words}")?;
    Ok(Exit::Done as i32)
}

/// What a value of a Cluster's annotation is now.
fn annotation<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a String> {
    cluster.metadata.annotations.as_ref()?.get(name)
}

/// Whether a paused Cluster may be asked this: it does nothing until it goes on, which nobody should wait for.
fn check_not_paused(cluster: &Cluster, waiting: &Waiting) -> Result<()> {
    if !brokers::is_asked(cluster, names::PAUSE) {
        return Ok(());
    }
    let name = &waiting.name;
    if waiting.patience.wait {
        let what = format!("Cluster {name} is annotated {}=true: nothing would happen to wait for", names::PAUSE);
        return Err(Failure::new(Exit::Refused, what)
            .way_out(format!("`kubectl ottla resume {name}` lets the operator go on.")));
    }
    eprintln!("Cluster {name} is annotated {}=true: this waits until `kubectl ottla resume {name}`", names::PAUSE);
    Ok(())
}

/// A value that the Cluster does not have yet: the time, and more of it if somebody has just asked.
fn restart_value(before: Option<&String>, now: Timestamp) -> String {
    let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if before == Some(&seconds) { now.to_string() } else { seconds }
}

pub(crate) async fn restart(place: &Place, args: Restart) -> Result<i32> {
    let name = &args.waiting.name;
    let cluster = place.cluster(name).await?;
    if brokers::is_asked(&cluster, names::HIBERNATE) {
        return Err(Failure::new(
            Exit::Refused,
            format!("Cluster {name} hibernates: no broker runs that could be restarted"),
        )
        .way_out(format!("`kubectl ottla wake {name}` starts them.")));
    }
    check_not_paused(&cluster, &args.waiting)?;
    let value = restart_value(annotation(&cluster, names::RESTART), Timestamp::now());
    let (wish, asked) = match args.broker {
        None => {
            let value_of = Value::from(value.clone());
            annotate::<Cluster>(place, rights::PATCH_CLUSTERS, name, names::RESTART, value_of).await?;
            (Wish::Restarted { value }, format!("every broker of Cluster {name}"))
        }
        Some(id) => {
            let brokers = brokers::all(&place.pods(name).await?);
            let broker = brokers::choose(&brokers, Some(id), &cluster, &place.words())?;
            annotate::<Pod>(place, rights::PATCH_PODS, &broker.pod, names::RESTART, Value::from(value)).await?;
            let wish = Wish::BrokerRestarted { id, uid: broker.uid().to_owned() };
            (wish, format!("broker {id} of Cluster {name}"))
        }
    };
    waiting::wait(place, &args.waiting.patience, name, &wish).await?;
    if args.waiting.patience.wait {
        return say(&format!("{asked} was restarted and serves"));
    }
    say(&format!("{asked} will be restarted; `kubectl ottla status {name}` says how far it is"))
}

pub(crate) async fn hibernate(place: &Place, args: Waiting) -> Result<i32> {
    let name = &args.name;
    let cluster = place.cluster(name).await?;
    check_not_paused(&cluster, &args)?;
    let before = brokers::is_asked(&cluster, names::HIBERNATE);
    annotate::<Cluster>(place, rights::PATCH_CLUSTERS, name, names::HIBERNATE, Value::from("true")).await?;
    waiting::wait(place, &args.patience, name, &Wish::Asleep).await?;
    if args.patience.wait {
        return say(&format!("Cluster {name} hibernates: no broker runs"));
    }
    let already = if before { " already" } else { "" };
    say(&format!("Cluster {name} is to hibernate{already}; its volumes, metadata and Services stay"))
}

pub(crate) async fn wake(place: &Place, args: Waiting) -> Result<i32> {
    let name = &args.name;
    let cluster = place.cluster(name).await?;
    check_not_paused(&cluster, &args)?;
    let before = brokers::is_asked(&cluster, names::HIBERNATE);
    if before {
        annotate::<Cluster>(place, rights::PATCH_CLUSTERS, name, names::HIBERNATE, Value::Null).await?;
    }
    waiting::wait(place, &args.patience, name, &Wish::Awake).await?;
    if args.patience.wait {
        return say(&format!("Cluster {name} is awake: every broker serves"));
    }
    say(&if before { format!("Cluster {name} wakes") } else { format!("Cluster {name} does not hibernate") })
}

/// What can be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cluster,
    Topic,
}

/// `topic/orders`, `cluster/events`, `events`, and the other names that kubectl knows the kinds by.
fn subject(text: &str) -> Result<(Kind, &str)> {
    let (kind, name) = text.split_once('/').unwrap_or(("cluster", text));
    let wrong = |what: String| Failure::new(Exit::Usage, what).way_out("Write cluster/NAME or topic/NAME.");
    let kind = match kind.to_ascii_lowercase().as_str() {
        "cluster" | "clusters" | "clusters.ottla.dev" | "cluster.ottla.dev" | "ocl" => Kind::Cluster,
        "topic" | "topics" | "topics.ottla.dev" | "topic.ottla.dev" | "otp" => Kind::Topic,
        other => return Err(wrong(format!("{other:?} cannot be paused: Clusters and Topics can"))),
    };
    if name.is_empty() { Err(wrong(format!("{text:?} names nothing"))) } else { Ok((kind, name)) }
}

/// Sets or removes `ottla.dev/pause`.
async fn set_pause(place: &Place, kind: Kind, name: &str, value: Value) -> Result<String> {
    match kind {
        Kind::Cluster => {
            place.cluster(name).await?;
            annotate::<Cluster>(place, rights::PATCH_CLUSTERS, name, names::PAUSE, value).await?;
            Ok(format!("Cluster {name}"))
        }
        Kind::Topic => {
            annotate::<Topic>(place, rights::PATCH_TOPICS, name, names::PAUSE, value).await?;
            Ok(format!("Topic {name}"))
        }
    }
}

pub(crate) async fn pause(place: &Place, args: Subject) -> Result<i32> {
    let (kind, name) = subject(&args.subject)?;
    let subject = set_pause(place, kind, name, Value::from("true")).await?;
    say(&format!("{subject} is paused: the operator changes nothing until `kubectl ottla resume {}`", args.subject))
}

pub(crate) async fn resume(place: &Place, args: Resume) -> Result<i32> {
    let (kind, name) = subject(&args.subject.subject)?;
    let subject = set_pause(place, kind, name, Value::Null).await?;
    match kind {
        Kind::Cluster => waiting::wait(place, &args.patience, name, &Wish::Resumed).await?,
        Kind::Topic => waiting::wait_for_topic(place, &args.patience, name).await?,
    }
    say(&if args.patience.wait { format!("{subject} is what it should be") } else { format!("{subject} goes on") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_that_kubectl_knows() {
        let found = |text| subject(text).map_err(|why| why.words());
        assert_eq!(found("events"), Ok((Kind::Cluster, "events")));
        assert_eq!(found("ocl/events"), Ok((Kind::Cluster, "events")));
        assert_eq!(found("topics.ottla.dev/orders"), Ok((Kind::Topic, "orders")));
        assert!(found("user/me").unwrap_err().contains("\"user\" cannot be paused"));
        assert!(found("topic/").unwrap_err().contains("names nothing"));
    }

    #[test]
    fn every_restart_has_a_value_of_its_own() {
        let now: Timestamp = "2026-02-01T10:00:00.123456Z".parse().unwrap();
        let first = restart_value(None, now);
        assert_eq!(first, "2026-02-01T10:00:00Z");
        assert_ne!(restart_value(Some(&first), now), first, "somebody asked within the same second");
    }
}
