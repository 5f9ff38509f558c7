//! Scripted faults between the client and the API server: what each means, and that nothing is asked twice.

use std::time::Duration;

use hyper::Method;
use ottla_coordination::{Change, Coordination, Expected, Holder, Kubernetes, LeaseError, PutError, Revision};

use super::proxy::{Fault, Proxy};
use super::{DEADLINE, PATIENCE, config, content, fresh_cluster, one, runtime, store, told, until};

/// A store behind a proxy, another one past it, and a document that both see.
struct Pair {
    proxy: Proxy,
    behind: Kubernetes,
    past: Kubernetes,
    revision: Revision,
}

impl Pair {
    fn new() -> Self {
        let cluster = fresh_cluster();
        let proxy = Proxy::start();
        let (behind, past) = (store(proxy.config(), &cluster), store(config(), &cluster));
        let revision = one(&behind, "root", "1", Expected::Absent).expect("created through the proxy");
        proxy.seen();
        Self { proxy, behind, past, revision }
    }

    /// Tries to write `2` while the next PUT meets `fault`, and says how it went and how often the API was asked.
    fn try_write(&self, fault: Fault) -> (Result<Revision, PutError>, usize) {
        self.proxy.once(Method::PUT, fault);
        let outcome = one(&self.behind, "root", "2", Expected::At(self.revision.clone()));
        (outcome, self.proxy.seen().len())
    }
}

#[test]
fn what_is_refused_before_it_is_tried_was_not_done() {
    for code in [400, 401, 403, 413, 422, 429] {
        let pair = Pair::new();
        let (outcome, requests) = pair.try_write(Fault::Refused(code));
        assert!(matches!(outcome, Err(PutError::NotDone(_))), "{code}: {outcome:?}");
        assert_eq!(requests, 1, "{code}: nothing is retried inside");
        assert_eq!(content(&pair.past, "root").as_deref(), Some("1"), "{code}");
    }
}

#[test]
fn a_conflict_is_a_conflict() {
    let pair = Pair::new();
    let (outcome, requests) = pair.try_write(Fault::Refused(409));
    assert_eq!((outcome, requests), (Err(PutError::Conflict), 1));
    assert_eq!(content(&pair.past, "root").as_deref(), Some("1"));
}

#[test]
fn an_error_of_the_server_leaves_the_outcome_unknown() {
    for code in [500, 502, 503, 504] {
        let pair = Pair::new();
        let (outcome, requests) = pair.try_write(Fault::Refused(code));
        assert!(matches!(outcome, Err(PutError::Unknown(_))), "{code}: {outcome:?}");
        assert_eq!(requests, 1, "{code}: nothing is retried inside");
        // Reading settles it: this one was not done.
        assert_eq!(content(&pair.behind, "root").as_deref(), Some("1"), "{code}");
        one(&pair.behind, "root", "2", Expected::At(pair.revision.clone())).expect("may be tried again");
    }
}

#[test]
fn a_lost_answer_is_unknown_and_reading_settles_it() {
    for (fault, done) in [(Fault::LostRequest, false), (Fault::LostAnswer, true), (Fault::CutAnswer, true)] {
        let pair = Pair::new();
        let (outcome, requests) = pair.try_write(fault.clone());
        assert!(matches!(outcome, Err(PutError::Unknown(_))), "{fault:?}: {outcome:?}");
        assert_eq!(requests, 1, "{fault:?}: nothing is retried inside");
        let expected = if done { "2" } else { "1" };
        assert_eq!(content(&pair.behind, "root").as_deref(), Some(expected), "{fault:?}");
    }
}

#[test]
fn a_created_document_whose_answer_was_lost_is_there() {
    let pair = Pair::new();
    pair.proxy.once(Method::POST, Fault::LostAnswer);
    let outcome = one(&pair.behind, "topics-0000", "1", Expected::Absent);
    assert!(matches!(outcome, Err(PutError::Unknown(_))), "{outcome:?}");
    assert_eq!(one(&pair.behind, "topics-0000", "1", Expected::Absent), Err(PutError::Conflict));
    assert_eq!(content(&pair.behind, "topics-0000").as_deref(), Some("1"));
}

/// The client gives up, the server does it later: that is what "unknown" warns of.
#[test]
fn a_slow_write_may_still_be_done_after_the_deadline() {
    let pair = Pair::new();
    let hasty = Kubernetes::new(pair.proxy.config(), runtime(), pair.past.cluster(), Duration::from_millis(300))
        .expect("a client");
    pair.proxy.once(Method::PUT, Fault::Slow(Duration::from_secs(2)));
    let outcome = one(&hasty, "root", "2", Expected::At(pair.revision.clone()));
    assert!(matches!(outcome, Err(PutError::Unknown(_))), "{outcome:?}");
    let past = pair.past.clone();
    let late = async move || {
        let past = past.clone();
        let read = tokio::task::spawn_blocking(move || content(&past, "root"));
        read.await.expect("no panic").as_deref() == Some("2")
    };
    runtime().block_on(until("the late write is done", late));
    assert_eq!(one(&pair.past, "root", "3", Expected::At(pair.revision.clone())), Err(PutError::Conflict));
}

#[test]
fn reads_that_fail_say_so_and_are_no_absence() {
    let pair = Pair::new();
    for fault in [
        Fault::Refused(404),
        Fault::Refused(429),
        Fault::Refused(500),
        Fault::Refused(503),
        Fault::LostAnswer,
        Fault::CutAnswer,
    ] {
        pair.proxy.once(Method::GET, fault.clone());
        assert!(pair.behind.get("root").is_err(), "{fault:?}");
        pair.proxy.once(Method::GET, fault.clone());
        assert!(pair.behind.list("").is_err(), "{fault:?}");
        pair.proxy.once(Method::GET, fault.clone());
        assert!(pair.behind.observe("controller").is_err(), "{fault:?}");
        assert_eq!(pair.proxy.seen().len(), 3, "{fault:?}: nothing is retried inside");
    }
    assert_eq!(content(&pair.behind, "root").as_deref(), Some("1"));
    assert_eq!(pair.behind.get("absent"), Ok(None));
}

#[test]
fn a_lease_whose_answer_was_lost_is_found_by_looking() {
    let pair = Pair::new();
    let holder = Holder("broker-0".into());
    for method in [Method::POST, Method::PATCH] {
        let seen = pair.behind.observe("controller").expect("readable");
        pair.proxy.once(method.clone(), Fault::LostAnswer);
        let revision = seen.as_ref().map(|lease| &lease.revision);
        let outcome = pair.behind.acquire("controller", &holder, DEADLINE, revision);
        assert!(matches!(outcome, Err(LeaseError::Unavailable(_))), "{method}: {outcome:?}");
        let found = pair.behind.observe("controller").expect("readable").expect("it was taken");
        assert_eq!(found.holder, holder);
        assert_ne!(Some(found.revision), seen.map(|lease| lease.revision), "{method}");
    }
    let held = pair.behind.observe("controller").expect("readable").expect("held");
    pair.proxy.once(Method::PATCH, Fault::Refused(409));
    assert_eq!(pair.behind.renew("controller", &holder, DEADLINE, &held.revision), Err(LeaseError::Taken));
    pair.proxy.once(Method::PATCH, Fault::Refused(500));
    assert!(matches!(
        pair.behind.renew("controller", &holder, DEADLINE, &held.revision),
        Err(LeaseError::Unavailable(_))
    ));
    pair.behind.renew("controller", &holder, DEADLINE, &held.revision).expect("still held");
}

#[test]
fn nobody_there_is_not_done() {
    let Pair { proxy, behind, past, revision } = Pair::new();
    drop(proxy);
    runtime().block_on(until("the port is closed", async || behind_is_refused(&behind, &revision)));
    assert!(behind.get("root").is_err() && behind.observe("controller").is_err() && behind.list("").is_err());
    assert_eq!(content(&past, "root").as_deref(), Some("1"));
}

/// A connection from before may break once; after that there is none.
fn behind_is_refused(behind: &Kubernetes, revision: &Revision) -> bool {
    let (behind, revision) = (behind.clone(), revision.clone());
    let asked = std::thread::spawn(move || one(&behind, "root", "2", Expected::At(revision)));
    matches!(asked.join().expect("no panic"), Err(PutError::NotDone(_)))
}

#[test]
fn a_watch_breaks_rather_than_miss_something() {
    let watches = |path: &str| path.contains("watch=true");
    for fault in [Fault::Refused(410), Fault::Refused(500), Fault::Expired, Fault::LostRequest] {
        let pair = Pair::new();
        let mut left = Some(fault.clone());
        pair.proxy.script(move |_, path| if watches(path) { left.take() } else { None });
        let mut watch = pair.behind.watch("").expect("begins");
        let first = watch.next(PATIENCE).expect("listed").expect("one document");
        assert!(matches!(first, Change::Put(document) if document.content == "1"), "{fault:?}");
        assert!(watch.next(PATIENCE).is_err(), "{fault:?}: it is told");
        assert!(watch.next(Duration::ZERO).is_err(), "{fault:?}: and stays so");
        // Another one goes on, with what came meanwhile.
        one(&pair.past, "root", "2", Expected::At(pair.revision.clone())).expect("written");
        let mut watch = pair.behind.watch("").expect("begins");
        told(&mut *watch, |change| matches!(change, Change::Put(document) if document.content == "2"));
    }
}
