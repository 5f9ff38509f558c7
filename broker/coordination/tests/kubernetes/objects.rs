//! What people see with kubectl, and what they may do with it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use ottla_coordination::{Change, Coordination, Expected, Holder};
use ottla_crds::MetadataShard;
use ottla_crds::metadata_shard::{CLUSTER_LABEL, FINALIZER};

use super::{config, content, fresh_cluster, one, runtime, store, told};

fn client() -> Client {
    let config = config();
    runtime().block_on(async { Client::try_from(config).expect("a client") })
}

fn documents() -> Api<MetadataShard> {
    Api::default_namespaced(client())
}

#[test]
fn a_document_carries_what_protects_and_finds_it() {
    let cluster = fresh_cluster();
    let store = store(config(), &cluster);
    let first = one(&store, "topics-0001", "1", Expected::Absent).expect("created");
    let look = || runtime().block_on(documents().get(&format!("{cluster}.topics-0001"))).expect("there");
    let check = |object: MetadataShard, text: &[u8]| {
        assert_eq!(object.spec.content.0, text);
        assert_eq!((&object.spec.cluster[..], &object.spec.document[..]), (&cluster[..], "topics-0001"));
        assert_eq!(object.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
        assert_eq!(object.metadata.labels.unwrap_or_default().get(CLUSTER_LABEL), Some(&cluster));
        assert_eq!(object.metadata.owner_references, None, "it outlives whoever made it");
    };
    check(look(), b"1");
    one(&store, "topics-0001", "2", Expected::At(first)).expect("written");
    check(look(), b"2");
}

#[test]
fn a_document_that_somebody_deletes_stays() {
    let cluster = fresh_cluster();
    let store = store(config(), &cluster);
    let first = one(&store, "root", "1", Expected::Absent).expect("created");
    let mut watch = store.watch("").expect("a watch");
    told(&mut *watch, |change| matches!(change, Change::Put(document) if document.content == "1"));
    let name = format!("{cluster}.root");
    runtime().block_on(documents().delete(&name, &DeleteParams::default())).expect("accepted");
    let read = store.get("root").expect("readable").expect("the finalizer holds it");
    assert_eq!(read.content, "1");
    assert!(one(&store, "root", "2", Expected::At(first)).is_err(), "it has changed: it is marked");
    let second = one(&store, "root", "2", Expected::At(read.revision)).expect("brokers go on");
    assert_eq!(content(&store, "root").as_deref(), Some("2"));
    // Only who takes the finalizer off ends it, and those who watch hear of it.
    let free = serde_json::json!({"metadata": {"finalizers": null}});
    runtime().block_on(documents().patch(&name, &PatchParams::default(), &Patch::Merge(free))).expect("accepted");
    told(&mut *watch, |change| *change == Change::Gone("root".to_owned()));
    assert_eq!(store.get("root"), Ok(None));
    assert!(one(&store, "root", "3", Expected::At(second)).is_err(), "what is gone is not made again by a write");
}

#[test]
fn a_document_under_another_s_name_is_refused_by_name() {
    let cluster = fresh_cluster();
    let store = store(config(), &cluster);
    one(&store, "root", "1", Expected::Absent).expect("created");
    let mut copy = runtime().block_on(documents().get(&format!("{cluster}.root"))).expect("there");
    copy.metadata = kube::core::ObjectMeta {
        name: Some(format!("{cluster}.topics-0000")),
        labels: copy.metadata.labels,
        ..kube::core::ObjectMeta::default()
    };
    runtime().block_on(documents().create(&PostParams::default(), &copy)).expect("created");
    let error = store.get("topics-0000").expect_err("a copy").0;
    assert!(error.contains(&format!("{cluster}.topics-0000")) && error.contains("copied or edited"), "{error}");
    assert!(store.list("").is_err(), "a list with it says so too");
    assert_eq!(content(&store, "root").as_deref(), Some("1"), "the others are read all the same");
}

#[test]
fn two_clusters_of_a_namespace_do_not_meet() {
    let (first, second) = (fresh_cluster(), fresh_cluster());
    let (first, second) = (store(config(), &first), store(config(), &second));
    one(&first, "root", "1", Expected::Absent).expect("created");
    one(&second, "root", "2", Expected::Absent).expect("created");
    assert_eq!(first.list("").expect("list").len(), 1);
    assert_eq!(content(&first, "root").as_deref(), Some("1"));
    assert_eq!(content(&second, "root").as_deref(), Some("2"));
}

#[test]
fn a_lease_is_the_one_that_people_know() {
    let cluster = fresh_cluster();
    let store = store(config(), &cluster);
    let leases: Api<Lease> = Api::default_namespaced(client());
    let look =
        || runtime().block_on(leases.get(&format!("{cluster}-controller"))).expect("there").spec.expect("a spec");
    let (one, two) = (Holder("broker-0".into()), Holder("broker-1".into()));
    let term = Duration::from_millis(3_200);
    let first = store.acquire("controller", &one, term, None).expect("free");
    assert_eq!(first.duration, Duration::from_secs(4), "an object says whole seconds, never fewer than asked");
    let spec = look();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("broker-0"), Some(0)));
    let renewed = store.renew("controller", &one, term, &first.revision).expect("held");
    assert_eq!(look().acquire_time, spec.acquire_time);
    assert!(look().renew_time > spec.renew_time);
    let second = store.acquire("controller", &two, term, Some(&renewed.revision)).expect("as it was seen");
    let spec = look();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("broker-1"), Some(1)));
    store.release("controller", &two, &second.revision).expect("held");
    assert_eq!(store.observe("controller"), Ok(None));
    let third = store.acquire("controller", &one, term, None).expect("free again");
    assert!(third.revision != first.revision && third.revision != second.revision);
    // Somebody deletes it: nobody holds it, and a renewal does not bring it back.
    let name = format!("{cluster}-controller");
    runtime().block_on(leases.delete(&name, &DeleteParams::default())).expect("deleted");
    assert_eq!(store.observe("controller"), Ok(None));
    assert!(store.renew("controller", &one, term, &third.revision).is_err());
    assert_eq!(store.observe("controller"), Ok(None));
}
