//! Each policy against each state of a topic and its Cluster.

use super::super::world::Broker;
use super::*;

const SAME: &str = r#"{"id":"one","partitions":2,"config":{"retention.ms":"1"}}"#;

/// A Topic `orders` with two partitions and one config, and more of its metadata and spec.
fn topic(metadata: &str, spec: &str) -> Topic {
    let text = format!(
        "{{apiVersion: ottla.dev/v1alpha1, kind: Topic, metadata: {{name: orders, namespace: n, uid: u{metadata}}}, \
         spec: {{clusterRef: {{name: c}}, partitions: 2, config: {{retention.ms: 1}}{spec}}}}}"
    );
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The metadata of a Topic that carries `record`.
fn recorded(record: &str) -> String {
    format!(", annotations: {{ottla.dev/topic: '{record}'}}")
}

fn going(record: &str) -> String {
    format!("{}, finalizers: [ottla.dev/topic], deletionTimestamp: '2026-01-01T00:00:00Z'", recorded(record))
}

/// Three brokers, and the topic `orders` as it is declared unless changed.
fn world(change: impl FnOnce(&mut Found)) -> Sight {
    let mut found = Found {
        id: "one".to_owned(),
        partitions: [(0, vec![0]), (1, vec![1])].into(),
        config: Some([("retention.ms".to_owned(), "1".to_owned())].into()),
        ..Found::default()
    };
    change(&mut found);
    Sight::Seen(World { topics: [("orders".to_owned(), found)].into(), brokers: brokers(), moving: 0, declared: 3 })
}

fn brokers() -> BTreeMap<i32, Broker> {
    (0..3).map(|id| (id, Broker { live: true, ..Broker::default() })).collect()
}

fn empty() -> Sight {
    Sight::Seen(World { brokers: brokers(), ..World::default() })
}

fn set(key: &str, value: &str) -> impl FnOnce(&mut Found) {
    move |found| drop(found.config.as_mut().unwrap().insert(key.to_owned(), value.to_owned()))
}

fn alone(topic: &Topic) -> Claim<'_> {
    Claim { topic, older: None, heir: None, made: false }
}

fn told(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    lines.push(match &plan.state {
        State::Settled => "settled".to_owned(),
        State::Waiting(reason, message) => format!("waits, {reason}: {message}"),
        State::Moving(message) => format!("moves: {message}"),
        State::Refused(refusal) => format!("refused, {}: {}", refusal.reason, refusal.message),
    });
    lines.extend(plan.drift.iter().map(|drift| format!("drift: {}", words(drift))));
    if plan.paused {
        lines.push("paused".to_owned());
    }
    lines.join("\n")
}

/// What is planned for each case, as one text.
fn story(cases: &[(&str, Topic, Sight)]) -> String {
    let case = |(name, topic, sight): &(&str, Topic, Sight)| format!("# {name}\n{}", told(&plan(alone(topic), sight)));
    cases.iter().map(case).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn what_is_not_there_is_created() {
    insta::assert_snapshot!(story(&[
        ("new", topic("", ""), empty()),
        ("with replicas", topic("", ", replicas: 3"), empty()),
        ("more replicas than brokers", topic("", ", replicas: 4"), empty()),
        (
            "more replicas than have joined",
            topic("", ", replicas: 4"),
            Sight::Seen(World { brokers: brokers(), declared: 4, ..World::default() })
        ),
        (
            "more than will join",
            topic("", ", replicas: 5"),
            Sight::Seen(World { brokers: brokers(), declared: 4, ..World::default() })
        ),
        ("somebody has deleted it", topic(&recorded(SAME), ""), empty()),
        ("somebody has deleted it, which is reported", topic(&recorded(SAME), ", driftPolicy: Report"), empty()),
        (
            "what the declaration itself changes is applied",
            topic(&recorded(&SAME.replace(":2,", ":1,")), ", driftPolicy: Report"),
            empty()
        ),
        ("whoever may not adopt says first that it creates", topic("", ", adoptionPolicy: Never"), empty()),
        ("whoever has to delete is held first", topic("", ", deletionPolicy: Delete"), empty()),
        (
            "and then it creates",
            topic(&recorded(&SAME.replace(r#""id":"one","#, "")), ", adoptionPolicy: Never"),
            empty()
        ),
    ]));
}

#[test]
fn what_was_created_a_moment_ago_is_not_missed_yet() {
    for policy in ["Correct", "Report"] {
        let topic = topic(&recorded(SAME), &format!(", driftPolicy: {policy}"));
        let made = plan(Claim { made: true, ..alone(&topic) }, &empty());
        assert_eq!(told(&made), "waits, Applying: the topic is being created");
    }
}

#[test]
fn what_is_as_declared_is_left_alone() {
    assert_eq!(plan(alone(&topic(&recorded(SAME), "")), &world(|_| {})), Plan::default());
    let held = format!("{}, finalizers: [other, ottla.dev/topic]", recorded(SAME));
    assert_eq!(plan(alone(&topic(&held, ", deletionPolicy: Delete")), &world(|_| {})), Plan::default());
}

#[test]
fn a_topic_of_others_is_taken_over_only_as_the_policy_says() {
    let with = |policy: &str| topic("", &format!(", adoptionPolicy: {policy}"));
    let differs = || world(set("segment.bytes", "7"));
    insta::assert_snapshot!(story(&[
        ("never", with("Never"), world(|_| {})),
        ("if identical, and it is", with("IfIdentical"), world(|_| {})),
        ("if identical, and it is not", with("IfIdentical"), differs()),
        ("always, corrected first", with("Always"), differs()),
        ("always, reported", topic("", ", adoptionPolicy: Always, driftPolicy: Report"), differs()),
        ("another one under the same name", topic(&recorded(&SAME.replace("one", "old")), ""), differs()),
        (
            "what was about to be created was",
            topic(&recorded(&SAME.replace(r#""id":"one","#, "")), ", adoptionPolicy: Never"),
            world(|_| {}),
        ),
    ]));
}

#[test]
fn changes_by_others_are_corrected_or_reported() {
    let changed = |found: &mut Found| {
        found.partitions.insert(2, vec![2]);
        set("retention.ms", "5")(found);
        set("segment.bytes", "7")(found);
    };
    insta::assert_snapshot!(story(&[
        ("corrected, but for partitions", topic(&recorded(SAME), ""), world(changed)),
        ("reported", topic(&recorded(SAME), ", driftPolicy: Report"), world(changed)),
    ]));
}

#[test]
fn a_changed_declaration_is_applied_whatever_the_drift_policy() {
    let before = r#"{"id":"one","partitions":1,"replicas":2,"config":{"retention.ms":"9","segment.bytes":"7"}}"#;
    let there = || {
        world(|found| {
            found.partitions = [(0, vec![0, 1])].into();
            set("retention.ms", "9")(found);
            set("segment.bytes", "7")(found);
            set("max.message.bytes", "8")(found);
        })
    };
    let with = |policy: &str| topic(&recorded(before), &format!(", replicas: 3, driftPolicy: {policy}"));
    insta::assert_snapshot!(story(&[("correct", with("Correct"), there()), ("report", with("Report"), there())]));
    // The record follows once it is applied.
    let plan = plan(alone(&topic(&recorded(&SAME.replace(":2,", ":1,")), "")), &world(|_| {}));
    assert_eq!(told(&plan), format!("note {SAME}\nsettled"));
}

#[test]
fn replicas_change_by_moves_and_the_throttle_goes_when_they_have_arrived() {
    let record = SAME.replace(":2,", r#":2,"replicas":2,"#);
    let declared = || topic(&recorded(&record), ", replicas: 2");
    let throttled = |found: &mut Found| {
        found.partitions = [(0, vec![0, 2]), (1, vec![1, 0])].into();
        set(THROTTLES[0], THROTTLED)(found);
        set(THROTTLES[1], THROTTLED)(found);
    };
    insta::assert_snapshot!(story(&[
        ("too few", declared(), world(|_| {})),
        (
            "on the way",
            declared(),
            world(|found| {
                throttled(found);
                found.moving = 2;
            })
        ),
        ("arrived", declared(), world(throttled)),
        (
            "somebody else's throttle",
            declared(),
            world(|found| {
                found.partitions = [(0, vec![0, 2]), (1, vec![1, 0])].into();
                set(THROTTLES[0], "0:1")(found);
            })
        ),
        ("more than brokers", topic(&recorded(SAME), ", replicas: 5"), world(|_| {})),
    ]));
}

#[test]
fn a_cluster_that_cannot_be_asked_is_waited_for() {
    let held = format!("{}, finalizers: [ottla.dev/topic]", recorded(SAME));
    let delete = || topic(&held, ", deletionPolicy: Delete");
    insta::assert_snapshot!(story(&[
        ("missing", topic("", ""), Sight::Missing),
        ("missing: nobody is held", delete(), Sight::Missing),
        ("going: nobody is held", delete(), Sight::Going),
        ("silent", delete(), Sight::Silent("Cluster c is not Ready".to_owned())),
        ("asleep", delete(), Sight::Asleep),
        ("unreadable", topic("", ""), world(|found| found.config = None)),
    ]));
}

#[test]
fn a_mistake_is_named_with_the_way_out() {
    let with = |key: &str, value: &str| {
        let mut topic = topic("", "");
        topic.spec.config.insert(key.to_owned(), ottla_crds::value::ConfigValue::Text(value.to_owned()));
        topic
    };
    insta::assert_snapshot!(story(&[
        ("unknown key", with("retention.msec", "1"), empty()),
        ("invalid value", with("retention.ms", "soon"), empty()),
        ("the brokers' own", topic("", ", topicName: __consumer_offsets"), empty()),
    ]));
}

#[test]
fn the_older_of_two_has_the_topic() {
    let second = topic(", finalizers: [ottla.dev/topic]", ", deletionPolicy: Delete");
    let plan = plan(Claim { older: Some("first"), ..alone(&second) }, &world(|_| {}));
    insta::assert_snapshot!(told(&plan));
}

#[test]
fn deletion_follows_the_policy_and_holds_nobody() {
    let delete = ", deletionPolicy: Delete";
    insta::assert_snapshot!(story(&[
        ("deleted", topic(&going(SAME), delete), world(|_| {})),
        ("it is gone", topic(&going(SAME), delete), empty()),
        (
            "another one under the same name stays",
            topic(&going(SAME), delete),
            world(|found| found.id = "two".to_owned())
        ),
        ("kept at the last moment", topic(&going(SAME), ""), world(|_| {})),
        ("the brokers do not answer", topic(&going(SAME), delete), Sight::Silent("no".to_owned())),
        ("the Cluster sleeps", topic(&going(SAME), delete), Sight::Asleep),
        ("the Cluster is gone", topic(&going(SAME), delete), Sight::Missing),
        ("the Cluster is going", topic(&going(SAME), delete), Sight::Going),
        (
            "one that was never created",
            topic(", finalizers: [ottla.dev/topic], deletionTimestamp: '2026-01-01T00:00:00Z'", delete),
            world(|_| {}),
        ),
    ]));
    let leaver = topic(&going(SAME), delete);
    let inherited = plan(Claim { heir: Some("next"), ..alone(&leaver) }, &world(|_| {}));
    assert!(
        !inherited.steps.iter().any(|step| matches!(step, Step::Delete(_))),
        "another Topic declares it: {:?}",
        inherited.steps
    );
}

#[test]
fn nothing_is_done_for_who_is_paused_but_letting_go() {
    let paused = |more: &str| format!(", annotations: {{ottla.dev/pause: \"true\", ottla.dev/topic: '{SAME}'}}{more}");
    let waits = plan(alone(&topic(&paused(""), "")), &world(set("retention.ms", "5")));
    assert!(waits.paused && waits.allowed().is_empty() && !waits.steps.is_empty());
    let held = ", finalizers: [ottla.dev/topic], deletionTimestamp: '2026-01-01T00:00:00Z'";
    let gone = plan(alone(&topic(&paused(held), ", deletionPolicy: Delete")), &Sight::Missing);
    assert_eq!(gone.allowed().len(), 1);
}
