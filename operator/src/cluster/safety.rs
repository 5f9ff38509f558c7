//! Who says whether a broker may be stopped: the cluster's own controller, over gRPC.
//!
//! Owns the question. Must never answer on behalf of a controller that was not reached: who is not in the answer must not be
//! stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ottla_core::types::BrokerId;
use ottla_rpc::operations::{Client, MayStopRequest};
use ottla_rpc::trust::{Credentials, Name, connect};

use super::desired::Desired;
use super::kind::Kind;
use super::names;
use super::observed::{CanStop, Observed};
use super::plan::{candidates, is_current, is_ready};

/// How long all questions of one turn may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one may take.
const QUESTION: Duration = Duration::from_secs(2);

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Whether one broker alone may be stopped.
    pub(super) each: BTreeMap<i32, CanStop>,
    /// Several that may all be stopped at once.
    pub(super) together: BTreeSet<i32>,
}

/// What is asked.
struct Questions {
    each: Vec<i32>,
    /// Those that would go together, the last first if not all may.
    together: Vec<i32>,
}

/// Asks about every broker that runs something older than what is wanted; nobody is asked when there is none.
pub(super) async fn ask(desired: &Desired, observed: &Observed, credentials: &Credentials) -> Answers {
    let mut answers = Answers::default();
    let outdated = outdated(desired, observed);
    if !outdated.is_empty() && !desired.hibernates {
        let questions = Questions { each: outdated, together: candidates(desired, observed) };
        // What was answered until then counts.
        let asked =
            tokio::time::timeout(DEADLINE, ask_all((desired, observed), credentials, &questions, &mut answers)).await;
        if asked.is_err() {
            let (namespace, cluster) = (&desired.owner.namespace, &desired.owner.name);
            tracing::warn!(namespace, cluster, "no answer within {DEADLINE:?} whether brokers may be stopped");
        }
    }
    answers
}

fn outdated(desired: &Desired, observed: &Observed) -> Vec<i32> {
    let is_outdated = |id: &i32| {
        let seat = desired.brokers.get(id)?;
        let pod = observed.get(Kind::Pod, &seat.pod)?;
        Some(!is_current(pod, &desired.pod(seat)?.manifest))
    };
    desired.brokers.keys().filter(|id| is_outdated(id) == Some(true)).copied().collect()
}

/// Where brokers that serve listen for questions: the controller first, as far as the metadata knows it.
pub(super) fn addresses(desired: &Desired, observed: &Observed) -> Vec<(i32, IpAddr)> {
    let controller = observed.documents.summary().and_then(|summary| summary.controller).map(|(id, _)| id);
    let mut serving: Vec<(i32, IpAddr)> = desired
        .brokers
        .values()
        .filter_map(|seat| Some((seat.id, observed.get(Kind::Pod, &seat.pod).filter(|pod| is_ready(pod))?)))
        .filter_map(|(id, pod)| Some((id, pod["status"]["podIP"].as_str()?.parse().ok()?)))
        .collect();
    serving.sort_by_key(|(id, _)| controller != Some(*id));
    serving
}

async fn ask_all(
    (desired, observed): (&Desired, &Observed),
    credentials: &Credentials,
    questions: &Questions,
    answers: &mut Answers,
) {
    for (id, address) in addresses(desired, observed) {
        let (name, host) = (Name::Broker(BrokerId::new(id)), address.to_string());
        let connected = connect(credentials, name, (&host, names::GRPC_PORT), |endpoint| endpoint.timeout(QUESTION));
        let channel = match connected.await {
            Ok(channel) => channel,
            Err(error) => {
                tracing::debug!(%error, "ask whether a broker may be stopped");
                continue;
            }
        };
        let mut client = Client::new(channel);
        for id in &questions.each {
            match client.may_stop(MayStopRequest { brokers: vec![*id] }).await {
                Ok(answer) if answer.get_ref().may => drop(answers.each.insert(*id, CanStop::Yes)),
                Ok(_) => drop(answers.each.insert(*id, CanStop::No)),
                // Not the controller, most likely: the next one may be.
                Err(status) => {
                    tracing::debug!(%address, message = status.message(), "ask whether a broker may be stopped");
                    break;
                }
            }
        }
        if answers.each.is_empty() {
            continue;
        }
        // The controller counts them as gone together: every partition keeps what acks=all needs without all of them.
        for some in (2..=questions.together.len()).rev().filter_map(|count| questions.together.get(..count)) {
            let answer = client.may_stop(MayStopRequest { brokers: some.to_vec() }).await;
            if answer.is_ok_and(|answer| answer.get_ref().may) {
                answers.together = some.iter().copied().collect();
                break;
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{edit, settled, three, wanted};
    use super::*;

    #[test]
    fn only_the_outdated_are_asked_about_and_the_controller_is_asked_first() {
        let mut observed = settled(&three(""));
        assert_eq!(outdated(&wanted(&three(""), &observed).unwrap(), &observed), [0; 0]);
        let changed = wanted(&three(", config: {num.partitions: 6}"), &observed).unwrap();
        assert_eq!(outdated(&changed, &observed), [0, 1, 2]);
        if let super::super::documents::Documents::Whole(summary) = &mut observed.documents {
            summary.controller = Some((2, 4));
        }
        for (pod, ip) in [("c-a-0", "10.0.0.1"), ("c-a-1", "no address"), ("c-a-2", "fd00::3")] {
            edit(&mut observed, Kind::Pod, pod, json!({"status": {"podIP": ip}}));
        }
        let expected: Vec<(i32, IpAddr)> = vec![(2, "fd00::3".parse().unwrap()), (0, "10.0.0.1".parse().unwrap())];
        assert_eq!(addresses(&changed, &observed), expected);
    }

    #[tokio::test]
    async fn who_is_not_reached_says_nothing() {
        let observed = settled(&three(""));
        let changed = wanted(&three(", config: {num.partitions: 6}"), &observed).unwrap();
        assert!(ask(&changed, &observed, &Credentials::plaintext()).await.each.is_empty(), "no Pod has an address");
    }
}
