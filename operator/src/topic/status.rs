//! What to say about a Topic: its status, from its plan.
//!
//! Owns the conditions. Pure: the time is an argument, and no condition gets a new one while its status stays.

use jiff::Timestamp;
use ottla_crds::shared::Condition;
use ottla_crds::{Topic, TopicStatus};

use super::declared::words;
use super::plan::{Plan, State, Step};
use super::reason::{Reason, Refusal};
use super::world::{Found, Sight};
use crate::cluster::names::PAUSE;
use crate::verdict::Conditions;

/// Why the steps of a plan have not all been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A person has to do something about it.
    Refused(Refusal),
    /// Trying again may help.
    Later(String),
}

type Verdict = crate::verdict::Verdict<Reason>;

/// The status that follows at `now`.
pub fn status(topic: &Topic, plan: &Plan, failure: Option<&Failure>, sight: &Sight, now: Timestamp) -> TopicStatus {
    let before = topic.status.clone().unwrap_or_default();
    let conditions = conditions(topic, plan, failure, now);
    let status = TopicStatus { observed_generation: topic.metadata.generation, conditions, ..TopicStatus::default() };
    match sight {
        // What was last seen is still the best that is known.
        Sight::Silent(_) | Sight::Asleep | Sight::Going => TopicStatus {
            topic_id: before.topic_id,
            partitions: before.partitions,
            replicas: before.replicas,
            drift: before.drift,
            ..status
        },
        Sight::Missing => status,
        Sight::Seen(world) => {
            let claimed = !matches!(&plan.state, State::Refused(refusal) if refusal.reason == Reason::TopicClaimed);
            let found = world.topics.get(topic.topic_name()).filter(|_| claimed);
            TopicStatus {
                topic_id: found.map(|found| found.id.clone()),
                partitions: found.map(Found::count),
                replicas: found.and_then(Found::factor),
                drift: plan.drift.clone(),
                ..status
            }
        }
    }
}

/// Whether `topic` has said how its present declaration stands.
pub fn is_told(topic: &Topic) -> bool {
    let ready = |status: &TopicStatus| status.conditions.iter().any(|one| one.type_ == "Ready");
    topic.status.as_ref().is_some_and(|status| status.observed_generation == topic.metadata.generation && ready(status))
}

fn conditions(topic: &Topic, plan: &Plan, failure: Option<&Failure>, now: Timestamp) -> Vec<Condition> {
    let before = topic.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let made = Conditions { before, generation: topic.metadata.generation, now };
    let refusal = match (failure, &plan.state) {
        (Some(Failure::Refused(refusal)), _) | (_, State::Refused(refusal)) => Some(refusal),
        (Some(Failure::Later(_)) | None, State::Settled | State::Waiting(..) | State::Moving(_)) => None,
    };
    let progress = progress(plan, failure);
    vec![
        made.of("Ready", ready(plan, refusal, progress.as_ref())),
        made.of(
            "Reconciling",
            match (refusal, progress) {
                // Nobody works on it, and nobody is to.
                (None, Some((Reason::Hibernated, message))) => ("False", Reason::Hibernated, message),
                (None, Some((reason, message))) => ("True", reason, message),
                (Some(_), _) | (None, None) => ("False", Reason::AsDeclared, String::new()),
            },
        ),
        made.of(
            "Stalled",
            match refusal {
                Some(refusal) => ("True", refusal.reason, refusal.message.clone()),
                None => ("False", Reason::AsDeclared, String::new()),
            },
        ),
    ]
}

/// What is still to come, if anything.
fn progress(plan: &Plan, failure: Option<&Failure>) -> Option<(Reason, String)> {
    if plan.paused && !plan.steps.is_empty() {
        let message = format!("{} change(s) wait: the Topic is annotated {PAUSE}=true", plan.steps.len());
        return Some((Reason::Paused, message));
    }
    if let Some(Failure::Later(why)) = failure {
        return Some((Reason::Applying, why.clone()));
    }
    match &plan.state {
        State::Waiting(reason, message) => return Some((*reason, message.clone())),
        State::Moving(message) => return Some((Reason::MovingReplicas, message.clone())),
        State::Settled | State::Refused(_) => {}
    }
    // What the operator notes for itself changes nothing for anybody else.
    let step = plan.steps.iter().find(|step| !matches!(step, Step::Note { .. }))?;
    Some((Reason::Applying, step.to_string()))
}

fn ready(plan: &Plan, refusal: Option<&Refusal>, progress: Option<&(Reason, String)>) -> Verdict {
    if let Some(refusal) = refusal {
        return ("False", refusal.reason, refusal.message.clone());
    }
    match progress {
        // Who reads and writes notices nothing of a move.
        Some((reason @ Reason::MovingReplicas, message)) => ("True", *reason, message.clone()),
        Some((reason, message)) => ("False", *reason, message.clone()),
        None if plan.drift.is_empty() => ("True", Reason::AsDeclared, String::new()),
        None => ("True", Reason::Drifted, plan.drift.iter().map(words).collect::<Vec<_>>().join("; ")),
    }
}

#[cfg(test)]
mod tests;
