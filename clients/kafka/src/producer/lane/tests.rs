//! When a batch leaves, and what happens to one that comes back.

use std::sync::Arc;

use ottla_wire::record::{BatchView, RecordIter};
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::config::NamedPartition;
use crate::error::Result;
use crate::producer::Receipt;

const LINGER: Duration = Duration::from_millis(5);

fn config() -> ProducerConfig {
    ProducerConfig { linger: LINGER, batch_bytes: 300, request_bytes_max: 2000, ..ProducerConfig::default() }
}

fn push(lane: &mut Lane, value: &str, now: Instant) -> oneshot::Receiver<Result<Receipt>> {
    let (done, fate) = oneshot::channel();
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let record = Pending {
        partition: NamedPartition::new("t", 0.into()),
        timestamp: 7.into(),
        key: None,
        value: Some(value.to_owned().into()),
        headers: Vec::new(),
        room,
        done,
    };
    lane.push(record, value.len() + 20, &config(), now);
    fate
}

fn values(batch: &mut Batch) -> Vec<String> {
    let bytes = batch.build(None).unwrap();
    let view = BatchView::split_from(&mut bytes.clone()).unwrap();
    let text = |record: ottla_wire::record::Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    RecordIter::new(&view, 1 << 20).unwrap().map(|record| text(record.unwrap())).collect()
}

#[tokio::test]
async fn a_batch_leaves_when_it_is_old_full_or_wanted() {
    let now = Instant::now();
    let mut lane = Lane::default();
    let _fate = push(&mut lane, "a", now);
    assert!(!lane.is_ready(&config(), false, now), "it waits for company");
    assert!(lane.is_ready(&config(), true, now), "unless somebody is in a hurry");
    assert!(lane.is_ready(&config(), false, now + LINGER), "or it has waited long enough");
    assert_eq!(lane.wake(&config(), now), Some(now + LINGER));
    let _fate = push(&mut lane, &"b".repeat(300), now);
    assert!(lane.is_ready(&config(), false, now), "or another batch stands behind it");
}

#[tokio::test]
async fn one_batch_is_away_and_the_next_grows() {
    let now = Instant::now();
    let mut lane = Lane::default();
    let _fates: Vec<_> = ["a", "b"].map(|value| push(&mut lane, value, now)).into();
    let mut first = lane.take().unwrap();
    assert_eq!(values(&mut first), ["a", "b"]);
    let large = "c".repeat(250);
    let _more: Vec<_> = (0..4).map(|_| push(&mut lane, &large, now)).collect();
    assert!(!lane.is_ready(&config(), true, now), "nothing leaves before the first is settled");
    lane.settled();
    assert_eq!(values(&mut lane.take().unwrap()).len(), 4, "four records make one batch meanwhile");
    assert!(!lane.is_idle());
    lane.settled();
    assert!(lane.is_idle());
}

#[tokio::test]
async fn what_comes_back_goes_first_after_a_rest_and_is_the_same() {
    let now = Instant::now();
    let mut lane = Lane::default();
    let _fate = push(&mut lane, "a", now);
    let mut batch = lane.take().unwrap();
    let bytes = batch.build(None).unwrap();
    batch.attempts = 1;
    let _late = push(&mut lane, "b", now);
    let rests = Some((Duration::from_millis(50), Duration::from_millis(80)));
    lane.put_back(batch, rests, now);
    assert!(lane.is_uncertain());
    assert!(!lane.is_ready(&config(), true, now + Duration::from_millis(49)));
    assert!(lane.is_ready(&config(), false, now + Duration::from_millis(50)));
    let mut again = lane.take().unwrap();
    assert_eq!(again.build(None).unwrap(), bytes, "a broker recognises a repeated batch by its bytes");
    lane.put_back(again, rests, now);
    assert!(
        !lane.is_ready(&config(), true, now + Duration::from_millis(79)),
        "the second rest is longer, up to a bound"
    );
    assert!(lane.is_ready(&config(), true, now + Duration::from_millis(80)));
}

#[tokio::test]
async fn what_is_past_its_time_is_given_up_and_told() {
    let now = Instant::now();
    let mut lane = Lane::default();
    let fate = push(&mut lane, "a", now);
    let late = now + config().delivery_timeout;
    assert!(lane.expired(&config(), late - Duration::from_millis(1)).is_empty());
    for batch in lane.expired(&config(), late) {
        batch.fail(&crate::error::Terminal::Closed("producer").into());
    }
    assert!(fate.await.unwrap().is_err());
    assert!(lane.is_idle());
}

#[tokio::test]
async fn a_batch_that_is_too_large_becomes_two_with_everyone_who_waits() {
    let now = Instant::now();
    let mut lane = Lane::default();
    let fates: Vec<_> = ["a", "b", "c"].map(|value| push(&mut lane, value, now)).into();
    let mut batch = lane.take().unwrap();
    assert!(batch.split().unwrap().is_none(), "only what was built and refused is split");
    batch.build(None).unwrap();
    let (mut first, mut second) = batch.split().unwrap().unwrap();
    assert_eq!((values(&mut first), values(&mut second)), (vec!["a".into()], vec!["b".into(), "c".into()]));
    let partition = NamedPartition::new("t", 0.into());
    first.acknowledge(&partition, Some(10.into()), None);
    second.acknowledge(&partition, Some(20.into()), None);
    let mut offsets = Vec::new();
    for fate in fates {
        offsets.push(fate.await.unwrap().unwrap().offset.unwrap().get());
    }
    assert_eq!(offsets, [10, 20, 21]);
}
