//! What of a turn is worth an Event on a Topic.
//!
//! Owns the choice: what was done at the brokers, that a topic was taken over, and conditions whose reason changed. Pure. What
//! is the same as before is never told again.

use ottla_crds::{Topic, TopicStatus};

use super::declared::{Declared, Record};
use super::plan::Step;
use super::reason::Reason;
use crate::cluster::layout::THROTTLES;
use crate::events::News;
use crate::verdict::changed;

/// What to tell of a step that was done for `topic`, as it was before.
pub(super) fn news_of_step(topic: &Topic, step: &Step) -> Option<News> {
    let applied = Record::of(topic);
    let unchanged = applied.is_some_and(|applied| applied == Declared::of(topic).record(applied.id.as_deref()));
    let reason = match step {
        // The operator's own throttle, which goes when replicas have arrived.
        Step::Configure(changes) if changes.keys().all(|key| THROTTLES.contains(&key.as_str())) => return None,
        Step::Note { .. } => return None,
        Step::Create(_) => "TopicCreated",
        Step::Delete(_) => "TopicDeleted",
        Step::AddPartitions { .. } | Step::Configure(_) | Step::Move(_) if unchanged => "DriftCorrected",
        Step::AddPartitions { .. } => "PartitionsAdded",
        Step::Configure(_) => "TopicConfigured",
        Step::Move(_) => "ReplicasMoving",
    };
    Some(News::good(reason, format!("topic {}: {step}", topic.topic_name())))
}

/// What to tell when the record on a Topic has been written: `before` it had none, and the topic was there.
pub(super) fn news_of_note(before: &Topic, after: &Topic) -> Option<News> {
    let id = Record::of(after)?.id?;
    Record::of(before).is_none().then(|| {
        let message = format!("topic {} ({id}) existed before and is taken over", after.topic_name());
        News::good("TopicAdopted", message)
    })
}

/// What to tell of a status that follows another one.
pub(super) fn news_of_status(before: Option<&TopicStatus>, after: Option<&TopicStatus>) -> Vec<News> {
    let [before, after] = [before, after].map(|status| status.map_or(&[][..], |status| &status.conditions));
    let refused = changed(before, after, "Stalled").filter(|one| one.status == "True");
    let drifted = changed(before, after, "Ready").filter(|one| one.reason == Reason::Drifted.to_string());
    refused.into_iter().chain(drifted).map(|one| News::warning(&one.reason, &one.message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(record: &str, spec: &str) -> Topic {
        let metadata = format!("{{name: t, namespace: n, annotations: {{ottla.dev/topic: '{record}'}}}}");
        let text = format!(
            "{{apiVersion: ottla.dev/v1alpha1, kind: Topic, metadata: {metadata}, spec: {{clusterRef: {{name: c}}, {spec}}}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn configure(key: &str) -> Step {
        Step::Configure([(key.to_owned(), None)].into())
    }

    #[test]
    fn a_change_of_others_is_told_from_ones_own() {
        let reason = |topic: &Topic, step: &Step| news_of_step(topic, step).map(|news| news.reason);
        let applied = topic("{\"id\":\"x\",\"partitions\":3}", "partitions: 3");
        let grow = Step::AddPartitions { from: 1, to: 3 };
        assert_eq!(reason(&applied, &grow).as_deref(), Some("DriftCorrected"));
        assert_eq!(reason(&applied, &configure("retention.ms")).as_deref(), Some("DriftCorrected"));
        assert_eq!(reason(&applied, &configure(THROTTLES[0])), None, "the operator's own throttle");
        let changed = topic("{\"id\":\"x\",\"partitions\":1}", "partitions: 3");
        assert_eq!(reason(&changed, &grow).as_deref(), Some("PartitionsAdded"));
        let news = news_of_step(&changed, &grow).unwrap();
        assert_eq!(news.note, "topic t: add partitions, 1 become 3");
        let note = Step::Note { finalizer: false, record: None };
        assert_eq!(reason(&changed, &note), None);
    }

    #[test]
    fn only_a_topic_that_nobody_had_noted_was_taken_over() {
        let (none, id) = (topic("none", "partitions: 3"), topic("{\"id\":\"x\",\"partitions\":3}", "partitions: 3"));
        let begun = topic("{\"partitions\":3}", "partitions: 3");
        assert_eq!(news_of_note(&none, &id).unwrap().reason, "TopicAdopted");
        assert_eq!(news_of_note(&begun, &id), None, "it was being created");
        assert_eq!(news_of_note(&none, &begun), None, "it is being created");
    }

    #[test]
    fn a_refusal_is_told_once() {
        let status = |reason: &str, ready: &str| -> TopicStatus {
            let condition = |kind: &str, status: &str, reason: &str| {
                format!(
                    "{{type: {kind}, status: \"{status}\", reason: {reason}, message: m, lastTransitionTime: \"2026-01-01T00:00:00Z\"}}"
                )
            };
            let stalled = if reason.is_empty() {
                condition("Stalled", "False", "AsDeclared")
            } else {
                condition("Stalled", "True", reason)
            };
            serde_yaml::from_str(&format!("{{conditions: [{stalled}, {}]}}", condition("Ready", "True", ready)))
                .unwrap()
        };
        let told = |before: Option<&TopicStatus>, after: &TopicStatus| -> Vec<String> {
            news_of_status(before, Some(after)).into_iter().map(|news| news.reason).collect()
        };
        let (good, bad) = (status("", "AsDeclared"), status("InvalidConfig", "AsDeclared"));
        assert_eq!(told(None, &good), [""; 0]);
        assert_eq!(told(None, &bad), ["InvalidConfig"]);
        assert_eq!(told(Some(&bad), &bad), [""; 0]);
        assert_eq!(told(Some(&bad), &status("TopicLost", "AsDeclared")), ["TopicLost"]);
        assert_eq!(told(Some(&good), &status("", "Drifted")), ["Drifted"]);
    }
}
