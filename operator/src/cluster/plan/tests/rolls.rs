//! Rolls: canaries, zones, windows, and what halts them.

use super::*;
use crate::cluster::fixture::{certify_at, wanted};
use crate::cluster::plan::candidates;
use ottla_crds::Cluster;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Six brokers in three zones: 0 and 3 in a, 1 and 4 in b, 2 and 5 in c.
fn six(more: &str) -> Cluster {
    let pool = pool("a", 6).replace("storage:", &format!("rack: {ZONE}, storage:"));
    cluster(&format!("{{pools: [{pool}]{more}}}"))
}

/// What Kubernetes does to Pods that it has bound.
fn place(observed: &mut Observed) {
    for id in 0..6 {
        let name = format!("c-a-{id}");
        if observed.get(Kind::Pod, &name).is_some() {
            let zone = ["a", "b", "c"][id % 3];
            edit(observed, Kind::Pod, &name, json!({"metadata": {"labels": {ZONE: zone}}}));
        }
    }
}

/// The Pods that go together, until none does. `agrees` is what the controller says of several.
fn rounds(cluster: &Cluster, agrees: impl Fn(&[i32]) -> bool) -> Vec<Vec<String>> {
    let mut observed = settled(&six(""));
    observed.documents = documents(&[(0, 12), (1, 12), (2, 12), (3, 12), (4, 12), (5, 12)]);
    allow(&mut observed, &[0, 1, 2, 3, 4, 5]);
    let mut rounds = Vec::new();
    for _ in 0..20 {
        place(&mut observed);
        let asked = candidates(&wanted(cluster, &observed).unwrap(), &observed);
        let agreed = (2..=asked.len()).rev().map(|count| &asked[..count]).find(|some| agrees(some));
        observed.together = agreed.into_iter().flatten().copied().collect();
        let plan = planned(cluster, &observed);
        let stopped = steps(&plan).into_iter().filter_map(|step| {
            step.strip_prefix("delete Pod ").and_then(|step| step.strip_suffix(": Outdated")).map(str::to_owned)
        });
        let stopped: Vec<String> = stopped.collect();
        if !stopped.is_empty() {
            rounds.push(stopped);
        }
        perform(&mut observed, &plan);
    }
    rounds
}

fn changed(updates: &str) -> Cluster {
    six(&format!(", updates: {{{updates}}}, config: {{num.partitions: 6}}"))
}

#[test]
fn one_at_a_time_is_what_nobody_has_to_ask_for() {
    let alone = |_: &[i32]| panic!("nobody asks about several");
    assert_eq!(rounds(&changed(""), alone).concat(), ["c-a-1", "c-a-2", "c-a-3", "c-a-4", "c-a-5", "c-a-0"]);
}

#[test]
fn after_the_canaries_a_zone_goes_together_and_the_controller_goes_alone() {
    let all = rounds(&changed("maxUnavailablePerZone: 2"), |_| true);
    assert_eq!(all, [vec!["c-a-1"], vec!["c-a-2", "c-a-5"], vec!["c-a-3"], vec!["c-a-4"], vec!["c-a-0"]]);
    let bold = rounds(&changed("maxUnavailablePerZone: 2, canary: 0"), |_| true);
    assert_eq!(bold, [vec!["c-a-1", "c-a-4"], vec!["c-a-2", "c-a-5"], vec!["c-a-3"], vec!["c-a-0"]]);
    let careful = rounds(&changed("maxUnavailablePerZone: 2, canary: 6"), |_| true);
    assert!(careful.iter().all(|some| some.len() == 1) && careful.len() == 6, "{careful:?}");
}

#[test]
fn only_as_many_go_together_as_the_controller_agrees_to() {
    let none = rounds(&changed("maxUnavailablePerZone: 2, canary: 0"), |_| false);
    assert!(none.iter().all(|some| some.len() == 1) && none.len() == 6, "{none:?}");
    let one_zone = pool("a", 6);
    let pool = format!(
        "{{pools: [{one_zone}], updates: {{maxUnavailablePerZone: 4, canary: 0}}, config: {{num.partitions: 6}}}}"
    );
    let two = rounds(&cluster(&pool), |some| some.len() <= 2);
    assert_eq!(two.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1, 1], "without racks all are in one place");
}

#[test]
fn no_set_is_asked_about_while_one_does_not_serve() {
    let cluster = changed("maxUnavailablePerZone: 2, canary: 0");
    let mut observed = settled(&six(""));
    place(&mut observed);
    let asked = |observed: &Observed| candidates(&wanted(&cluster, observed).unwrap(), observed);
    assert_eq!(asked(&observed), [1, 4]);
    edit(&mut observed, Kind::Pod, "c-a-4", json!({"status": {"conditions": []}}));
    assert_eq!(asked(&observed), [4], "whoever does not serve goes first, alone");
    observed.objects.remove(&(Kind::Pod, "c-a-3".to_owned()));
    assert_eq!(asked(&observed), [0; 0]);
}

#[test]
fn a_restarted_broker_that_fails_halts_the_roll_until_it_serves_or_spec_changes() {
    let mut observed = settled(&three(""));
    let change = three(", config: {num.partitions: 6}");
    allow(&mut observed, &[0, 1, 2]);
    // It is stopped, and made again.
    for _ in 0..2 {
        let plan = planned(&change, &observed);
        perform(&mut observed, &plan);
    }
    let with = |status: Value| {
        let mut observed = observed.clone();
        edit(&mut observed, Kind::Pod, "c-a-1", json!({"status": status}));
        observed
    };
    let not_ready = json!([{"type": "Ready", "status": "False"}]);
    let container = |more: Value| json!({"conditions": not_ready, "containerStatuses": [more]});
    let starting = with(json!({"conditions": not_ready}));
    assert_eq!(planned(&change, &starting).pending, None, "it may take its time");
    let failing = with(container(json!({"image": "x:y", "state": {"waiting": {"reason": "ErrImagePull"}}})));
    insta::assert_snapshot!("halted_by_image", told(&planned(&change, &failing)));
    let crashing = with(container(json!({"state": {"running": {}}, "restartCount": 3})));
    insta::assert_snapshot!("halted_by_crash", told(&planned(&change, &crashing)));
    let mut late = starting.clone();
    late.now = "2026-01-01T00:05:01Z".parse().unwrap();
    assert_eq!(planned(&change, &late).pending.map(|one| one.reason), Some(Reason::RollHalted));
    let other = three(", config: {num.partitions: 7}");
    assert!(steps(&planned(&other, &failing)).contains(&"delete Pod c-a-1: Idle".to_owned()), "spec has changed again");
    assert_eq!(steps(&planned(&change, &observed)), ["delete Pod c-a-2: Outdated"], "it serves after all");
}

#[test]
fn a_roll_acts_only_inside_a_window_and_stops_between_brokers_at_its_end() {
    let windows =
        ", updates: {policy: InWindow, windows: [{schedule: \"0 2 * * *\", duration: 1h, timeZone: Europe/Prague}]}";
    let change = three(&format!("{windows}, config: {{num.partitions: 6}}"));
    let mut observed = settled(&three(windows));
    certify_at(&three(windows), &mut observed, "2026-02-01T00:00:00Z");
    allow(&mut observed, &[0, 1, 2]);
    let at = |time: &str, observed: &mut Observed| {
        observed.now = time.parse().unwrap();
        let plan = planned(&change, observed);
        perform(observed, &plan);
        format!("{time}\n{}", told(&plan))
    };
    let story = [
        at("2026-02-01T00:59:59Z", &mut observed),
        at("2026-02-01T01:00:00Z", &mut observed),
        at("2026-02-01T02:00:00Z", &mut observed),
        at("2026-02-01T02:00:01Z", &mut observed),
        at("2026-02-02T01:30:00Z", &mut observed),
    ];
    insta::assert_snapshot!("windows", story.join("\n--\n"));
}
