//! Certificates of a cluster of three brokers while they begin, are renewed, replaced, lost, and left half done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use ottla_crds::Cluster;
use ottla_rpc::trust::{Files, Material, Mode};
use serde_json::json;

use super::super::child::Seen;
use super::super::fixture::{certify_at, edit, perform, planned, settled, three};
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Observed;
use super::super::plan::Plan;
use super::*;

const BROKERS: [i32; 3] = [0, 1, 2];

/// A cluster, the kubelets, and what brokers have loaded.
struct World {
    cluster: Cluster,
    observed: Observed,
    /// By broker.
    loaded: BTreeMap<i32, Files>,
}

impl World {
    fn new() -> Self {
        let cluster = three("");
        let mut observed = settled(&cluster);
        certify_at(&cluster, &mut observed, "2026-11-27T10:00:00Z");
        let mut world = Self { cluster, observed, loaded: BTreeMap::new() };
        world.load(&BROKERS);
        assert_eq!(world.turn(), [""; 0], "it has come to rest");
        world
    }

    fn ask_for(&mut self, value: &str) {
        let annotations = self.cluster.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE.to_owned(), value.to_owned());
    }

    fn pass(&mut self, days: i64) {
        self.observed.now += SignedDuration::from_hours(24 * days);
    }

    fn plan(&self) -> Plan {
        planned(&self.cluster, &self.observed)
    }

    fn course(&self) -> Course {
        self.plan().certificates.unwrap()
    }

    /// Does all that is planned; what that was.
    fn turn(&mut self) -> Vec<String> {
        let plan = self.plan();
        perform(&mut self.observed, &plan);
        plan.steps.iter().map(ToString::to_string).collect()
    }

    /// Does the first of what is planned, and is killed. Whether there was anything.
    fn die_after_one(&mut self) -> bool {
        let mut plan = self.plan();
        plan.steps.truncate(1);
        perform(&mut self.observed, &plan);
        !plan.steps.is_empty()
    }

    fn secret(&self, id: i32) -> Files {
        let holders = BTreeMap::from([(Holder::Broker(id), names::certificate(&format!("c-a-{id}")))]);
        let state = State::read(&self.observed, "c", self.observed.cluster_id().unwrap(), &holders, self.observed.now);
        state.held[&Holder::Broker(id)].files.clone()
    }

    /// These brokers see what is in their Secrets, and say so.
    fn load(&mut self, ids: &[i32]) {
        for id in ids {
            let files = self.secret(*id);
            let material = self.read(*id, &files).unwrap();
            let said = ottla_rpc::operations::certificates(&material);
            self.observed.reported.insert(*id, Reported::of(Some(said)));
            self.loaded.insert(*id, files);
        }
    }

    fn read(&self, id: i32, files: &Files) -> Option<Material> {
        let (name, cluster) = (Holder::Broker(id).name(), self.observed.cluster_id().unwrap());
        Material::read(files, name, cluster, self.observed.now.as_second()).ok()
    }

    /// Every broker believes every other one, with what each of them has loaded.
    fn check(&self) {
        for (one, shown) in &self.loaded {
            for (other, believes) in &self.loaded {
                let joined = Files { cas: believes.cas.clone(), ..shown.clone() };
                assert!(self.read(*one, &joined).is_some(), "broker {other} does not believe broker {one}");
            }
        }
    }

    fn waits_for(&self) -> Stage {
        self.course().stage
    }
}

fn ids<const N: usize>(ids: [i32; N]) -> BTreeSet<i32> {
    ids.into()
}

#[test]
fn a_cluster_that_begins_has_certificates_before_it_has_brokers() {
    let observed = settled(&three(""));
    let pod = observed.get(Kind::Pod, "c-a-1").unwrap();
    assert_eq!(observed.processes()[&1], Process::Newer);
    assert!(pod["spec"]["volumes"].to_string().contains("c-a-1-cert"), "{pod}");
    let secrets: Vec<&str> = observed.of(Kind::Secret).map(|(name, _)| name).collect();
    assert_eq!(secrets, ["c-a-0-cert", "c-a-1-cert", "c-a-2-cert", "c-ca", "c-ca-cert", "c-operator-cert"]);
    let keys = |name: &str| {
        let data = observed.get(Kind::Secret, name).unwrap()["data"].as_object().unwrap();
        data.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("c-a-0-cert"), ["ca.crt", "mode", "tls.crt", "tls.key"]);
    assert_eq!(
        (keys("c-ca"), keys("c-ca-cert")),
        (vec!["ca.crt".to_owned(), "ca.key".to_owned()], vec!["ca.crt".to_owned()])
    );
    let course = planned(&three(""), &observed).certificates.unwrap();
    assert_eq!((course.mode, course.missing, course.old), (Mode::Required, 0, 0));
}

#[test]
fn a_rotation_goes_on_only_when_brokers_say_so() {
    let mut world = World::new();
    world.ask_for("one");
    assert_eq!(world.turn(), ["certify Secret c-ca: Authority(c 2026-11-27T10:00:00Z)"]);
    let published = [
        "apply Secret c-ca-cert: Changed",
        "apply Secret c-a-0-cert: Changed",
        "apply Secret c-a-1-cert: Changed",
        "apply Secret c-a-2-cert: Changed",
        "apply Secret c-operator-cert: Changed",
    ];
    assert_eq!(world.turn(), published);
    assert_eq!(world.turn(), [""; 0]);
    assert_eq!(world.waits_for(), Stage::Believed(ids([0, 1, 2])));
    world.load(&[0, 1]);
    assert_eq!(world.turn(), [""; 0]);
    assert_eq!(world.waits_for(), Stage::Believed(ids([2])));
    world.load(&[2]);
    let signed = world.turn();
    assert_eq!(signed.len(), 4, "{signed:?}");
    assert!(signed.iter().all(|step| step.starts_with("certify Secret c-") && step.contains("-cert: Leaf(")));
    assert_eq!(world.waits_for(), Stage::Shown(ids([0, 1, 2])));
    world.load(&[1]);
    assert_eq!(world.turn(), [""; 0]);
    assert_eq!(world.waits_for(), Stage::Shown(ids([0, 2])));
    world.load(&BROKERS);
    assert_eq!(world.course().old, 1);
    assert_eq!(world.turn(), published);
    assert_eq!((world.turn(), world.course().old, world.waits_for()), (Vec::new(), 0, Stage::Settled));
    world.ask_for("one");
    assert_eq!(world.turn(), [""; 0], "the same value asks for nothing");
}

#[test]
fn an_operator_that_is_killed_after_any_write_leaves_brokers_that_believe_each_other() {
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut world = World::new();
        world.ask_for("two");
        let mut turns = 0;
        let first = world.secret(0).cas;
        loop {
            let did = world.die_after_one();
            // One kubelet brings what is there, whatever the operator was at.
            world.load(&[order[turns % 3]]);
            world.check();
            turns += 1;
            assert!(turns < 100, "{:?}", world.course());
            if !did && world.course().old == 0 && world.waits_for() == Stage::Settled {
                break;
            }
        }
        world.load(&BROKERS);
        world.check();
        assert!(turns > 10 && world.secret(0).cas != first, "{turns}");
    }
}

#[test]
fn certificates_are_renewed_before_they_expire_and_the_authority_stays() {
    let mut world = World::new();
    let before = world.secret(1);
    world.pass(19);
    assert_eq!(world.turn(), [""; 0]);
    world.pass(2);
    assert_eq!(world.turn().len(), 4);
    let after = world.secret(1);
    assert!(after.leaf != before.leaf && after.cas == before.cas);
    assert_eq!(world.turn(), [""; 0]);
    world.load(&BROKERS);
    world.check();
}

#[test]
fn an_authority_is_replaced_before_it_expires() {
    let mut world = World::new();
    let mut replaced = false;
    for _ in 0..37 {
        world.pass(10);
        for _ in 0..8 {
            world.turn();
            world.load(&BROKERS);
            world.check();
            replaced |= world.course().old > 0;
        }
        assert_eq!((world.course().old, world.course().missing), (0, 0));
    }
    assert!(replaced);
}

#[test]
fn an_expired_authority_is_replaced_although_nobody_can_say_anything() {
    let mut world = World::new();
    world.pass(400);
    world.observed.reported.clear();
    let mut done = Vec::new();
    for _ in 0..6 {
        done.extend(world.turn());
    }
    assert!(!done.is_empty() && world.turn().is_empty(), "{done:?}");
    let course = world.course();
    assert_eq!((course.missing, course.old, course.stage), (0, 0, Stage::Settled));
    world.load(&BROKERS);
    world.check();
}

#[test]
fn who_does_not_answer_is_waited_for_until_the_old_authority_is_about_to_expire() {
    let mut world = World::new();
    world.ask_for("three");
    world.turn();
    world.turn();
    world.load(&[0, 1]);
    world.observed.reported.remove(&2);
    assert_eq!(world.turn(), [""; 0]);
    assert_eq!(world.waits_for(), Stage::Believed(ids([2])));
    world.observed.now = "2027-11-21T00:00:00Z".parse().unwrap();
    assert!(world.turn().iter().any(|step| step.starts_with("certify Secret c-a-2-cert")));
    // Whose Pod is gone reads what is newest when it starts.
    let mut world = World::new();
    world.ask_for("four");
    world.turn();
    world.turn();
    world.load(&[0, 1]);
    let gone = |observed: &mut Observed| edit(observed, Kind::Pod, "c-a-2", json!({"status": {"phase": "Failed"}}));
    gone(&mut world.observed);
    world.observed.reported.remove(&2);
    assert!(world.turn().iter().any(|step| step.starts_with("certify Secret c-a-2-cert")));
}

#[test]
fn a_cluster_of_before_lets_plaintext_in_until_every_broker_says_that_it_has_its_certificate() {
    let mut world = World::new();
    let volumes = world.observed.get(Kind::Pod, "c-a-0").unwrap()["spec"]["volumes"].clone();
    let older =
        json!({"spec": {"volumes": [{"name": "data"}]}, "metadata": {"annotations": {names::REVISION: "older"}}});
    world.observed.objects.retain(|(kind, _), _| *kind != Kind::Secret);
    for id in BROKERS {
        edit(&mut world.observed, Kind::Pod, &format!("c-a-{id}"), older.clone());
        world.observed.reported.insert(id, Reported::Plaintext);
    }
    world.turn();
    world.turn();
    assert_eq!((world.course().mode, world.course().plaintext), (Mode::Preferred, ids([0, 1, 2])));
    assert_eq!(world.secret(2).mode, b"preferred");
    for id in BROKERS {
        assert_eq!(world.course().mode, Mode::Preferred);
        edit(&mut world.observed, Kind::Pod, &format!("c-a-{id}"), json!({"spec": {"volumes": volumes}}));
        // Whoever mounts it, and runs a version that knows nothing of it, is no better.
        assert_eq!(world.course().mode, Mode::Preferred);
        let name = names::certificate(&format!("c-a-{id}"));
        edit(
            &mut world.observed,
            Kind::Pod,
            &format!("c-a-{id}"),
            json!({"spec": {"volumes": [{"secret": {"secretName": name}}]}}),
        );
        assert_eq!(world.course().mode, Mode::Preferred);
        world.load(&[id]);
    }
    assert_eq!(world.course().mode, Mode::Required);
    world.turn();
    assert_eq!(world.secret(2).mode, b"required");
    world.observed.reported.clear();
    assert_eq!(world.course().mode, Mode::Required, "nobody goes back by silence");
}

#[test]
fn what_is_lost_is_made_again() {
    let mut world = World::new();
    world.observed.objects.remove(&(Kind::Secret, "c-a-1-cert".to_owned()));
    assert_eq!(world.turn().len(), 1);
    edit(&mut world.observed, Kind::Secret, "c-a-0-cert", json!({"data": {"tls.key": "bm90aGluZw=="}}));
    assert_eq!(world.turn().len(), 1);
    world.load(&BROKERS);
    // With the authority's key nothing can be signed any more: another authority takes over.
    world.observed.objects.remove(&(Kind::Secret, "c-ca".to_owned()));
    for _ in 0..8 {
        world.turn();
        world.load(&BROKERS);
        world.check();
    }
    assert_eq!((world.turn(), world.course().old), (Vec::new(), 0));
}

#[test]
fn somebody_elses_secret_is_left_alone() {
    let mut world = World::new();
    let foreign = json!({"metadata": {"name": "c-ca", "uid": "x"}, "data": {"ca.key": "eA=="}});
    world.observed.objects.insert((Kind::Secret, "c-ca".to_owned()), foreign);
    let plan = world.plan();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert!(plan.refusals[0].message.starts_with("Secret c-ca is not this Cluster's"), "{:?}", plan.refusals);
}

#[test]
fn a_broker_that_leaves_keeps_its_certificate_until_it_has_gone() {
    let mut world = World::new();
    world.cluster.spec.pools[0].replicas = 2;
    if let super::super::documents::Documents::Whole(summary) = &mut world.observed.documents {
        summary.held.remove(&2);
    }
    assert_eq!(world.observed.get(Kind::Secret, "c-a-2-cert").unwrap().broker(), Some(2));
    let steps = world.turn();
    assert!(steps.iter().any(|step| step.starts_with("delete Pod c-a-2")), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("Secret")), "{steps:?}");
    assert!(world.turn().contains(&"delete Secret c-a-2-cert: Orphaned".to_owned()));
}

#[test]
fn no_key_is_shown() {
    let world = World::new();
    let plan = Plan { steps: vec![], ..world.plan() };
    assert!(!format!("{plan:?}").contains("PRIVATE"));
    let order = Order::Leaf {
        dns: "x".to_owned(),
        authority: ("c".to_owned(), "k".to_owned()),
        authority_until: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(format!("{order:?}"), "Leaf(x)");
}
