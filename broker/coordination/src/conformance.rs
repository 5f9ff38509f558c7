//! What every `Coordination` has to do, as functions that panic when one does not.
//!
//! `all` takes a maker of fresh, empty stores and runs every check on one of its own. Times out rather than hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{Change, Coordination, Document, Expected, Holder, LeaseError, Put, PutError, Revision};

/// How long a change may take to reach a watch.
const PATIENCE: Duration = Duration::from_secs(10);
const TERM: Duration = Duration::from_secs(30);

/// Every check; `fresh` makes an empty store for each.
///
/// # Panics
/// When a store does not do what the trait says.
pub fn all<C: Coordination>(mut fresh: impl FnMut() -> C) {
    documents_are_created_once(&fresh());
    a_put_needs_the_revision_that_is_there(&fresh());
    puts_of_one_call_stand_each_on_its_own(&fresh());
    reads_follow_writes(&fresh());
    of_many_writers_one_wins_each_revision(&fresh());
    lists_are_ordered_and_filtered(&fresh());
    bad_names_and_huge_contents_are_refused(&fresh());
    a_lease_is_taken_only_as_it_was_seen(&fresh());
    a_lease_is_renewed_and_released_only_by_its_holder(&fresh());
    of_many_who_want_a_lease_one_gets_it(&fresh());
    a_watch_tells_of_what_is_and_what_comes(&fresh());
}

fn put(name: &str, content: &str, expected: Expected) -> Put {
    Put { name: name.to_owned(), content: Bytes::copy_from_slice(content.as_bytes()), expected }
}

fn one(store: &dyn Coordination, put: Put) -> Result<Revision, PutError> {
    let mut results = store.put(vec![put]);
    assert_eq!(results.len(), 1, "one answer for each put");
    results.remove(0)
}

fn get(store: &dyn Coordination, name: &str) -> Option<Document> {
    store.get(name).expect("get")
}

fn documents_are_created_once(store: &dyn Coordination) {
    assert_eq!(get(store, "a"), None);
    let revision = one(store, put("a", "1", Expected::Absent)).expect("created");
    let expected = Document { name: "a".into(), content: Bytes::from_static(b"1"), revision };
    assert_eq!(get(store, "a"), Some(expected.clone()));
    assert_eq!(one(store, put("a", "2", Expected::Absent)), Err(PutError::Conflict));
    assert_eq!(get(store, "a"), Some(expected));
}

fn a_put_needs_the_revision_that_is_there(store: &dyn Coordination) {
    let nowhere = Expected::At(Revision("1".into()));
    assert_eq!(one(store, put("b", "1", nowhere)), Err(PutError::Conflict), "a put does not create");
    let first = one(store, put("a", "1", Expected::Absent)).expect("created");
    let second = one(store, put("a", "2", Expected::At(first.clone()))).expect("written");
    assert_ne!(first, second);
    assert_eq!(one(store, put("a", "3", Expected::At(first.clone()))), Err(PutError::Conflict));
    // The same content once more is another revision: revisions are never used twice.
    let third = one(store, put("a", "2", Expected::At(second.clone()))).expect("written");
    assert!(third != second && third != first);
    assert_eq!(get(store, "a").expect("there").content, "2");
}

fn puts_of_one_call_stand_each_on_its_own(store: &dyn Coordination) {
    let existing = one(store, put("b", "1", Expected::Absent)).expect("created");
    let results = store.put(vec![
        put("a", "1", Expected::Absent),
        put("b", "2", Expected::Absent),
        put("c", "1", Expected::Absent),
        put("b", "3", Expected::At(existing)),
    ]);
    let written: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(written, [true, false, true, true]);
    for (name, content) in [("a", "1"), ("b", "3"), ("c", "1")] {
        assert_eq!(get(store, name).expect("there").content, content);
    }
    // The same document twice in one call: only one of them can have been right.
    let results = store.put(vec![put("d", "1", Expected::Absent), put("d", "2", Expected::Absent)]);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(store.put(Vec::new()).is_empty());
}

fn reads_follow_writes(store: &dyn Coordination) {
    let mut revision = one(store, put("a", "0", Expected::Absent)).expect("created");
    for round in 1..50 {
        revision = one(store, put("a", &round.to_string(), Expected::At(revision))).expect("written");
        let read = get(store, "a").expect("there");
        assert_eq!((read.content, read.revision), (Bytes::from(round.to_string()), revision.clone()));
    }
}

fn of_many_writers_one_wins_each_revision(store: &dyn Coordination) {
    one(store, put("count", "0", Expected::Absent)).expect("created");
    let (writers, rounds) = (4, 25);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                for _ in 0..rounds {
                    loop {
                        let read = get(store, "count").expect("there");
                        let count: u32 = std::str::from_utf8(&read.content).expect("text").parse().expect("number");
                        match one(store, put("count", &(count + 1).to_string(), Expected::At(read.revision))) {
                            Ok(_) => break,
                            Err(PutError::Conflict) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(get(store, "count").expect("there").content, (writers * rounds).to_string());
}

fn lists_are_ordered_and_filtered(store: &dyn Coordination) {
    for name in ["topics-0002", "root", "topics-0001", "topicsx"] {
        one(store, put(name, name, Expected::Absent)).expect("created");
    }
    let names = |prefix: &str| store.list(prefix).expect("list").into_iter().map(|d| d.name).collect::<Vec<_>>();
    assert_eq!(names("topics-"), ["topics-0001", "topics-0002"]);
    assert_eq!(names("").len(), 4);
    assert!(names("z").is_empty());
}

fn bad_names_and_huge_contents_are_refused(store: &dyn Coordination) {
    for name in ["", "a/b", "ä", "a b", "a\0", "A", "-a", "a."] {
        let result = one(store, put(name, "1", Expected::Absent));
        assert!(matches!(result, Err(PutError::NotDone(_))), "{name:?}: {result:?}");
    }
    let huge = Put { name: "a".into(), content: vec![0; 2 * 1024 * 1024].into(), expected: Expected::Absent };
    assert!(matches!(one(store, huge), Err(PutError::NotDone(_))));
    assert_eq!(get(store, "a"), None);
}

fn holder(name: &str) -> Holder {
    Holder(name.to_owned())
}

fn a_lease_is_taken_only_as_it_was_seen(store: &dyn Coordination) {
    assert_eq!(store.observe("l").expect("observe"), None);
    let first = store.acquire("l", &holder("one"), TERM, None).expect("free");
    assert_eq!((first.holder.clone(), first.duration), (holder("one"), TERM));
    assert_eq!(store.observe("l").expect("observe"), Some(first.clone()));
    assert_eq!(store.acquire("l", &holder("two"), TERM, None), Err(LeaseError::Taken));
    let renewed = store.renew("l", &holder("one"), TERM, &first.revision).expect("held");
    assert_ne!(renewed.revision, first.revision);
    // It moved since it was seen: its holder lives.
    assert_eq!(store.acquire("l", &holder("two"), TERM, Some(&first.revision)), Err(LeaseError::Taken));
    let second = store.acquire("l", &holder("two"), TERM, Some(&renewed.revision)).expect("as it was seen");
    assert_eq!(store.observe("l").expect("observe"), Some(second));
    assert_eq!(store.observe("other").expect("observe"), None);
}

fn a_lease_is_renewed_and_released_only_by_its_holder(store: &dyn Coordination) {
    let first = store.acquire("l", &holder("one"), TERM, None).expect("free");
    assert_eq!(store.renew("l", &holder("two"), TERM, &first.revision), Err(LeaseError::Taken));
    assert_eq!(store.release("l", &holder("two"), &first.revision), Err(LeaseError::Taken));
    let second = store.acquire("l", &holder("two"), TERM, Some(&first.revision)).expect("as it was seen");
    assert_eq!(store.renew("l", &holder("one"), TERM, &first.revision), Err(LeaseError::Taken));
    assert_eq!(store.release("l", &holder("one"), &first.revision), Err(LeaseError::Taken));
    store.release("l", &holder("two"), &second.revision).expect("held");
    assert_eq!(store.observe("l").expect("observe"), None);
    assert_eq!(store.renew("l", &holder("two"), TERM, &second.revision), Err(LeaseError::Taken));
    let third = store.acquire("l", &holder("one"), TERM, None).expect("free again");
    assert!(third.revision != first.revision && third.revision != second.revision);
}

fn of_many_who_want_a_lease_one_gets_it(store: &dyn Coordination) {
    let winners: usize = std::thread::scope(|scope| {
        let want = |n: usize| store.acquire("l", &holder(&n.to_string()), TERM, None).is_ok();
        let wanters: Vec<_> = (0..8).map(|n| scope.spawn(move || want(n))).collect();
        wanters.into_iter().map(|wanter| usize::from(wanter.join().expect("no panic"))).sum()
    });
    assert_eq!(winners, 1);
}

fn a_watch_tells_of_what_is_and_what_comes(store: &dyn Coordination) {
    let mut revision = one(store, put("t-1", "0", Expected::Absent)).expect("created");
    one(store, put("other", "0", Expected::Absent)).expect("created");
    let mut watch = store.watch("t-").expect("watch");
    let mut next = |patience| watch.next(patience).expect("unbroken");
    let told = |change: Option<Change>| match change {
        Some(Change::Put(document)) => Some((document.name, document.content)),
        Some(Change::Gone(name)) => panic!("{name} is not gone"),
        None => None,
    };
    assert_eq!(told(next(PATIENCE)), Some(("t-1".into(), "0".into())));
    assert_eq!(told(next(Duration::from_millis(1))), None);
    for round in 1..=20 {
        revision = one(store, put("t-1", &round.to_string(), Expected::At(revision))).expect("written");
        if round == 10 {
            one(store, put("t-2", "only", Expected::Absent)).expect("created");
        }
    }
    // Some may be left out; they come in order, and the last one comes.
    let mut last: BTreeMap<String, u32> = BTreeMap::new();
    let mut other = false;
    while last.get("t-1") != Some(&20) || !other {
        let (name, content) = told(next(PATIENCE)).expect("the last change comes");
        if name == "t-2" {
            other = true;
            continue;
        }
        let round: u32 = std::str::from_utf8(&content).expect("text").parse().expect("number");
        assert!(last.insert(name, round).is_none_or(|before| before < round), "out of order");
    }
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || watch.next(PATIENCE).expect("unbroken"));
        one(store, put("t-3", "late", Expected::Absent)).expect("created");
        assert_eq!(told(waiter.join().expect("no panic")), Some(("t-3".into(), "late".into())));
    });
}
