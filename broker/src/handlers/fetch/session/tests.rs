//! What clients may rely on in fetch sessions.

use std::time::{Duration, Instant};

use super::*;

fn wanted(topic: &str, partition: i32, offset: i64) -> Wanted {
    Wanted {
        topic: TopicRef::Name(topic.to_owned()),
        partition,
        offset: Offset::new(offset),
        bytes_max: 1024,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        told_high_watermark: -1,
        told_log_start: -1,
    }
}

#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning for a test's time")]
fn beginning() -> Instant {
    Instant::now()
}

#[test]
fn a_session_remembers_its_partitions() {
    let sessions = Sessions::new(10, 7);
    let now = beginning();
    let plan = sessions.plan(now, (0, INITIAL_EPOCH), false, vec![wanted("a", 0, 0), wanted("b", 0, 5)], &[]);
    let Ok(Plan::Full(id, _)) = plan else { panic!("{plan:?}") };
    let forgotten = [(TopicRef::Name("b".to_owned()), 0)];
    let plan = sessions.plan(now, (id, 1), false, vec![wanted("a", 0, 9), wanted("c", 1, 2)], &forgotten);
    let Ok(Plan::Incremental(_, session)) = plan else { panic!("{plan:?}") };
    assert_eq!(session.lock().partitions, [wanted("a", 0, 9), wanted("c", 1, 2)]);
}

#[test]
fn an_epoch_out_of_turn_is_refused_and_changes_nothing() {
    let sessions = Sessions::new(10, 7);
    let now = beginning();
    let plan = sessions.plan(now, (0, INITIAL_EPOCH), false, vec![wanted("a", 0, 0)], &[]);
    let Ok(Plan::Full(id, _)) = plan else { panic!("{plan:?}") };
    let refused = |epoch, by_id| sessions.plan(now, (id, epoch), by_id, vec![wanted("a", 0, 3)], &[]).err();
    assert_eq!(refused(2, false), Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
    assert_eq!(refused(1, true), Some(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
    let unknown = sessions.plan(now, (id + 1, 1), false, vec![], &[]).err();
    assert_eq!(unknown, Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    let plan = sessions.plan(now, (id, 1), false, vec![], &[]);
    let Ok(Plan::Incremental(_, session)) = plan else { panic!("{plan:?}") };
    assert_eq!(session.lock().partitions[0].offset, Offset::new(0));
}

#[test]
fn a_full_cache_serves_without_a_session_until_one_is_old() {
    let sessions = Sessions::new(1, 0);
    let now = beginning();
    let first = sessions.plan(now, (0, INITIAL_EPOCH), false, vec![wanted("a", 0, 0)], &[]);
    assert!(matches!(first, Ok(Plan::Full(_, _))));
    let second = sessions.plan(now, (0, INITIAL_EPOCH), false, vec![wanted("a", 0, 0)], &[]);
    assert!(matches!(second, Ok(Plan::Sessionless(_))));
    let later = now + EVICTABLE_AFTER + Duration::from_secs(1);
    let third = sessions.plan(later, (0, INITIAL_EPOCH), false, vec![wanted("a", 0, 0)], &[]);
    assert!(matches!(third, Ok(Plan::Full(_, _))));
    assert_eq!((sessions.len(), sessions.evictions()), (1, 1));
}

#[test]
fn many_changes_at_once_find_their_partitions() {
    let mut session = Session { partitions: (0..20).map(|p| wanted("a", p, 0)).collect(), next_epoch: 1, by_id: false };
    session.update((5..25).map(|p| wanted("a", p, 7)).collect(), &[(TopicRef::Name("a".to_owned()), 0)]);
    let offsets: Vec<(i32, i64)> = session.partitions.iter().map(|w| (w.partition, w.offset.get())).collect();
    let expected: Vec<(i32, i64)> = (1..25).map(|p| (p, if p < 5 { 0 } else { 7 })).collect();
    assert_eq!(offsets, expected);
}

#[test]
fn served_partitions_stand_behind_the_others() {
    let mut session = Session { partitions: (0..4).map(|p| wanted("a", p, 0)).collect(), next_epoch: 1, by_id: false };
    session.rotate(&[0, 2]);
    let order: Vec<i32> = session.partitions.iter().map(|wanted| wanted.partition).collect();
    assert_eq!(order, [1, 3, 0, 2]);
}
