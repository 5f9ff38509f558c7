//! What people ask of a Cluster by annotation: that it sleeps, that it or one broker is restarted.

use super::*;
use crate::cluster::fixture::wanted;
use ottla_crds::Cluster;

fn annotated(mut cluster: Cluster, key: &str, value: &str) -> Cluster {
    cluster.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
    cluster
}

/// What is planned again and again until nothing is, one paragraph each.
fn story(cluster: &Cluster, observed: &mut Observed) -> String {
    let mut story = Vec::new();
    loop {
        let plan = planned(cluster, observed);
        story.push(told(&plan));
        if plan.steps.is_empty() {
            return story.join("\n--\n");
        }
        perform(observed, &plan);
        assert!(story.len() < 20, "it never comes to rest: {story:?}");
    }
}

#[test]
fn a_cluster_that_sleeps_keeps_everything_but_its_pods_and_the_controller_goes_last() {
    let awake = three("");
    let asleep = annotated(three(""), names::HIBERNATE, "true");
    let mut observed = settled(&awake);
    let before: Vec<_> = observed.objects.keys().filter(|(kind, _)| *kind != Kind::Pod).cloned().collect();
    insta::assert_snapshot!("hibernate", story(&asleep, &mut observed));
    assert_eq!(observed.objects.keys().cloned().collect::<Vec<_>>(), before);
    let budget = observed.get(Kind::PodDisruptionBudget, "c-brokers").unwrap();
    assert_eq!(budget["spec"]["minAvailable"], 0, "nobody has to stay");
    insta::assert_snapshot!("wake", story(&awake, &mut observed));
}

#[test]
fn nothing_is_asked_of_a_cluster_that_sleeps_but_that_it_sleeps() {
    let asleep = annotated(three(", config: {num.partitions: 6}"), names::HIBERNATE, "true");
    let mut observed = settled(&three(""));
    for pod in ["c-a-0", "c-a-1"] {
        edit(&mut observed, Kind::Pod, pod, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    }
    let plan = planned(&asleep, &observed);
    assert!(plan.waits && !steps(&plan).iter().any(|step| step.starts_with("delete Pod")), "others are still going");
    assert_eq!(plan.pending, None);
    // A broker that is declared meanwhile begins when the others do, and one that is not any more leaves then.
    let mut observed = settled(&three(""));
    settle(&asleep, &mut observed);
    let four = annotated(cluster(&format!("{{pools: [{}]}}", pool("a", 4))), names::HIBERNATE, "true");
    let two = annotated(cluster(&format!("{{pools: [{}]}}", pool("a", 2))), names::HIBERNATE, "true");
    for sleeping in [four, two] {
        let plan = planned(&sleeping, &observed);
        assert!(!steps(&plan).iter().any(|step| step.contains("PersistentVolumeClaim")), "{:?}", steps(&plan));
        assert!(plan.refusals.is_empty() && plan.operation.is_none(), "{}", told(&plan));
    }
    assert!(observed.get(Kind::Pod, "c-a-0").is_none());
}

#[test]
fn a_cluster_wakes_with_the_version_that_it_went_to_sleep_with() {
    let asleep = annotated(three(""), names::HIBERNATE, "true");
    let mut observed = settled(&three(", version: 0.0.9"));
    settle(&asleep, &mut observed);
    let woken = wanted(&three(""), &observed).unwrap();
    assert_eq!(woken.image, "example.org/ottla-broker:0.0.9");
}

#[test]
fn every_broker_is_restarted_once_for_a_new_value() {
    for policy in ["Automatic", "Manual", "InWindow, windows: [{schedule: \"0 2 * * *\", duration: 1h}]"] {
        let spec = format!(", updates: {{policy: {policy}}}");
        let mut observed = settled(&three(&spec));
        allow(&mut observed, &[0, 1, 2]);
        let asked = annotated(three(&spec), names::RESTART, "2026-02-01T10:00:00Z");
        let told = story(&asked, &mut observed);
        assert_eq!(told.matches(": Outdated").count(), 3, "{told}");
        assert_eq!(steps(&planned(&asked, &observed)), [""; 0], "once");
        assert_eq!(steps(&planned(&three(&spec), &observed)), [""; 0], "that nobody asks any more is no wish");
        let again = annotated(three(&spec), names::RESTART, "once more");
        assert_eq!(steps(&planned(&again, &observed)), ["delete Pod c-a-1: Outdated"]);
    }
}

#[test]
fn one_broker_can_be_restarted_alone() {
    let spec = ", updates: {policy: Manual}";
    let cluster = three(&format!("{spec}, config: {{num.partitions: 6}}"));
    let mut observed = settled(&three(spec));
    let wish = json!({"metadata": {"annotations": {names::RESTART: "now"}}});
    edit(&mut observed, Kind::Pod, "c-a-2", wish);
    let refused = planned(&cluster, &observed);
    assert_eq!(refused.pending.map(|one| one.reason), Some(Reason::StopUnconfirmed), "it is asked about like any");
    allow(&mut observed, &[0, 1, 2]);
    let told = story(&cluster, &mut observed);
    assert_eq!(told.matches(": Outdated").count(), 1, "{told}");
    assert!(told.contains("delete Pod c-a-2: Outdated"), "{told}");
    assert!(told.contains("pending WaitsForPerson: c-a-0, c-a-1"), "the others wait as before: {told}");
}

#[test]
fn a_pod_is_never_born_with_a_wish_to_be_restarted() {
    let template =
        pool("a", 1).replace("storage:", "template: {annotations: {ottla.dev/restart: x, mine: y}}, storage:");
    let observed = settled(&cluster(&format!("{{pools: [{template}]}}")));
    let annotations = &observed.get(Kind::Pod, "c-a-0").unwrap()["metadata"]["annotations"];
    assert_eq!((annotations[names::RESTART].as_str(), annotations["mine"].as_str()), (None, Some("y")));
}
