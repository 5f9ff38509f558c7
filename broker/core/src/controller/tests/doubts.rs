//! Disks and logs that may hold less than they did: who is a member then, and who leads (R12, A9).

use super::cluster::{Cluster, id, ids};
use super::*;
use crate::types::TopicPartition;

/// What broker 2 says when it starts again on its disk, whose journal is so far on disk.
fn again(synced: u64) -> Registration {
    let Request::Register(mut again) = registration(2, 1, 2) else { unreachable!("just made") };
    again.standing.synced = Lsn::new(synced);
    again
}

impl Cluster {
    /// Broker 2 says how far its journal is on disk, and its stream closes.
    fn second_stops_at(&mut self, synced: u64) {
        let (broker, incarnation) = (id(2), Incarnation::new(1));
        let synced = Lsn::new(synced);
        self.bench.feed(Event::Heartbeat { broker, incarnation, draining: false, synced });
        self.bench.feed(Event::StreamClosed { broker, incarnation, refused: false });
    }

    fn registers(&mut self, registration: Registration) -> Registered {
        let Answer::Register(Ok(registered)) = self.bench.ask(Request::Register(registration)) else {
            panic!("refused")
        };
        registered
    }

    fn opted_out_on(&mut self, name: &str, replicas: &[i32]) -> TopicPartition {
        let mut topic = named(name);
        topic.assignments = vec![(PartitionIndex::new(0), ids(replicas))];
        topic.config = [("flush.messages".to_owned(), "100".to_owned())].into();
        TopicPartition::new(self.bench.create_one(topic).expect("created").id, PartitionIndex::new(0))
    }

    fn admits(&mut self, broker: i32, incarnation: Incarnation) {
        let admit = Request::Admit { broker: id(broker), incarnation, endpoints: None };
        assert_eq!(self.bench.ask(admit), Answer::Admit(Ok(())));
    }
}

#[test]
fn a_directory_that_ends_before_what_was_heard_of_it_is_suspect_as_a_whole() {
    for (synced, trusted) in [(900, true), (901, true), (899, false)] {
        let mut cluster = Cluster::of(3);
        cluster.topic_on("a", &[2, 1], "1");
        cluster.topic_on("sole", &[2], "1");
        cluster.second_stops_at(900);
        let registered = cluster.registers(again(synced));
        assert_eq!(registered.trusted, trusted, "{synced}");
        let isr = if trusted { ids(&[2, 1]) } else { ids(&[1]) };
        assert_eq!(cluster.partition("a").isr, isr, "{synced}");
        cluster.admits(2, registered.incarnation);
        // Nobody has more of a single replica than its broker.
        let sole = cluster.partition("sole");
        assert_eq!((sole.leader, sole.isr), (Some(id(2)), ids(&[2])));
        assert!(sole.leader_epoch.get() > 0, "it leads in another term");
    }
}

#[test]
fn a_later_controller_knows_how_far_a_journal_was() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 1], "1");
    cluster.second_stops_at(900);
    // Its death is written, and with it what was heard last.
    cluster.alive.remove(&2);
    cluster.pass(1700);
    assert_eq!(cluster.bench.store.root().members[&id(2)].synced, Lsn::new(900));
    let mut next = Bench::on(cluster.bench.store, config(1, 9));
    // What vouches for the metadata has to be the disk as it was, too.
    let mut older = super::cluster::presentation(2, 1);
    older.standing.synced = Lsn::new(10);
    next.feed(Event::Presented(older));
    assert_eq!(next.machine.phase(), &Phase::GatheringVectors);
    next.feed(Event::Presented(super::cluster::presentation(3, 1)));
    let Answer::Register(Ok(registered)) = next.ask(Request::Register(again(10))) else { panic!("refused") };
    assert!(!registered.trusted);
    // Whoever dies half-way and tries again is found older once more.
    let Answer::Register(Ok(registered)) = next.ask(Request::Register(again(10))) else { panic!("refused") };
    assert!(!registered.trusted);
    let admit = Request::Admit { broker: id(2), incarnation: registered.incarnation, endpoints: None };
    assert_eq!(next.ask(admit), Answer::Admit(Ok(())));
    assert_eq!(next.store.root().members[&id(2)].synced, Lsn::new(10), "from here on it counts as it is");
}

#[test]
fn a_suspect_log_that_nobody_else_has_is_led_on_and_others_are_not() {
    let mut cluster = Cluster::of(3);
    let sole = cluster.topic_on("sole", &[2], "1");
    let shrunk = cluster.topic_on("shrunk", &[2, 3], "1");
    cluster.wants_isr("shrunk", &[2]).expect("3 is slow");
    cluster.second_stops_at(0);
    let registered = cluster.registers(Registration { suspect: vec![sole, shrunk], ..again(0) });
    cluster.admits(2, registered.incarnation);
    assert_eq!(cluster.partition("sole").leader, Some(id(2)));
    let shrunk = cluster.partition("shrunk");
    assert_eq!((shrunk.leader, shrunk.isr, shrunk.last_known_elr), (None, ids(&[]), ids(&[2])));
}

#[test]
fn a_log_found_short_while_its_broker_runs_ends_the_term_whoever_leads() {
    let mut cluster = Cluster::of(3);
    let followed = cluster.topic_on("followed", &[1, 2], "1");
    let outside = cluster.topic_on("outside", &[1, 2], "1");
    let sole = cluster.topic_on("sole", &[2], "1");
    cluster.wants_isr("outside", &[1]).expect("2 is slow");
    let partitions = vec![followed, outside, sole];
    let request = Request::ReplicasLost { broker: id(2), incarnation: Incarnation::new(1), partitions };
    assert_eq!(cluster.bench.ask(request), Answer::ReplicasLost(Ok(())));
    for (name, leader, isr) in [("followed", 1, &[1][..]), ("outside", 1, &[1]), ("sole", 2, &[2])] {
        let partition = cluster.partition(name);
        let expected = (Some(id(leader)), ids(isr), 1);
        assert_eq!((partition.leader, partition.isr, partition.leader_epoch.get()), expected, "{name}");
    }
}

#[test]
fn after_a_power_cut_the_last_member_of_an_opted_out_topic_leads_on() {
    let mut cluster = Cluster::of(4);
    cluster.opted_out_on("opted-out", &[2, 3]);
    cluster.opted_out_on("alone", &[2]);
    // It was opted out when its records were written, and is not any more.
    let flipped = cluster.topic_on("flipped", &[2, 3], "1");
    cluster.second_stops_at(0);
    let lost = Registration { unclean_stop: true, unflushed: vec![flipped], ..again(0) };
    let registered = cluster.registers(lost);
    assert!(registered.trusted);
    for name in ["opted-out", "flipped"] {
        assert_eq!(cluster.partition(name).isr, ids(&[3]), "{name}");
    }
    assert_eq!(cluster.partition("alone").isr, ids(&[2]));
    cluster.admits(2, registered.incarnation);
    cluster.bench.feed(Event::StreamClosed { broker: id(3), incarnation: Incarnation::new(1), refused: false });
    let Request::Register(mut third) = registration(3, 1, 3) else { unreachable!("just made") };
    third.unclean_stop = true;
    let registered = cluster.registers(third);
    cluster.admits(3, registered.incarnation);
    let led = cluster.partition("opted-out");
    assert_eq!((led.leader, led.isr), (Some(id(3)), ids(&[3])), "it stopped last: nobody has more");
    assert_eq!(cluster.partition("alone").leader, Some(id(2)));
}

// R3
#[test]
fn the_default_minimum_is_fixed_by_the_first_controller_whatever_other_files_say() {
    let with_minimum = |me: i32, session: u8, minimum: &str| {
        let file = [("min.insync.replicas".to_owned(), minimum.to_owned())].into();
        let (broker, _) = BrokerConfig::from_file(file).expect("valid");
        Config { broker, ..config(me, session) }
    };
    let mut bench = Bench::on(Store::initialised(), with_minimum(1, 1, "2"));
    for broker in [1, 2, 3] {
        bench.join(broker, 0);
    }
    let mut topic = named("a");
    topic.assignments = vec![(PartitionIndex::new(0), ids(&[1, 2, 3]))];
    bench.create_one(topic).expect("created");
    // The next controller's file says 1: nobody would be eligible by it.
    let mut next = Bench::on(bench.store, with_minimum(2, 2, "1"));
    next.feed(Event::Presented(super::cluster::presentation(1, 1)));
    next.feed(Event::Presented(super::cluster::presentation(3, 1)));
    assert_eq!(next.machine.phase(), &Phase::Acting);
    assert_eq!(next.machine.image().min_insync_replicas(), Some(2));
    let a = next.topic("a");
    let change = IsrChange {
        partition: TopicPartition::new(a.id, PartitionIndex::new(0)),
        leader_epoch: a.partitions[0].leader_epoch,
        partition_epoch: a.partitions[0].partition_epoch,
        isr: vec![(id(1), Incarnation::new(1))],
    };
    let request = Request::AlterPartitions { broker: id(1), incarnation: Incarnation::new(1), changes: vec![change] };
    let Answer::AlterPartitions(Ok(results)) = next.ask(request) else { panic!("refused") };
    assert_eq!(results[0].as_ref().expect("changed").elr, ids(&[2, 3]));
    // Leaders read the same out of the image.
    let (file, _) = BrokerConfig::from_file(BTreeMap::new()).expect("valid");
    let leads_with = file.at_run_time(next.machine.image(), BrokerId::new(3));
    assert_eq!(leads_with.int(&crate::config::broker::MIN_INSYNC_REPLICAS), 2);
    // A broker that is alone counts as its file says.
    let mut alone = Bench::on(Store::initialised(), with_minimum(1, 1, "2"));
    alone.join(1, 0);
    let alone = Bench::on(alone.store, with_minimum(1, 2, "1"));
    assert_eq!(alone.machine.image().min_insync_replicas(), Some(1));
}

#[test]
fn a_new_minimum_clears_eligible_replicas_only_where_the_in_sync_set_reaches_it() {
    for (minimum, elr) in [("1", ids(&[])), ("2", ids(&[])), ("3", ids(&[3])), ("4", ids(&[3]))] {
        let mut cluster = Cluster::of(4);
        cluster.topic_on("a", &[1, 2, 3, 4], "3");
        cluster.wants_isr("a", &[1, 2, 3]).expect("4 is slow");
        let before = cluster.wants_isr("a", &[1, 2]).expect("3 is slow");
        assert_eq!(before.elr, ids(&[3]));
        let change = ConfigChange::Replace([("min.insync.replicas".to_owned(), minimum.to_owned())].into());
        let resources = vec![(ConfigTarget::Topic("a".to_owned()), change)];
        let answer = cluster.bench.ask(Request::AlterConfigs { resources, validate_only: false });
        assert_eq!(answer, Answer::AlterConfigs(vec![Ok(())]));
        let after = cluster.partition("a");
        let cleared = i32::from(elr.is_empty());
        assert_eq!((after.elr, after.isr), (elr, ids(&[1, 2])), "{minimum}");
        assert_eq!(after.partition_epoch.get(), before.partition_epoch.get() + cleared, "{minimum}");
    }
}

#[test]
fn a_registration_whose_stream_has_closed_is_dropped_while_it_waits() {
    let mut cluster = Cluster::of(1);
    let mut out = Effects::new();
    // A shard that is too large is being split: questions wait.
    for topic in super::growth::too_large().into_iter().take(7) {
        cluster.bench.create_one(topic).expect("created");
    }
    let last = super::growth::too_large().remove(7);
    let create = Request::CreateTopics { topics: vec![last], validate_only: false };
    cluster.bench.machine.step(cluster.bench.now, Event::Ask(RequestId(900), create), &mut out);
    let mut late = Vec::new();
    let mut asked = false;
    while !out.is_empty() {
        let mut next = Effects::new();
        for effect in std::mem::take(&mut out) {
            let event = if let Effect::Write(write) = effect {
                let outcome = cluster.bench.store.write(&write);
                Event::Wrote { document: write.content.id(), write: write.id(), outcome }
            } else if let Effect::Read { document, token } = effect {
                Event::Read { document, token, outcome: cluster.bench.store.read(document) }
            } else {
                if let Effect::Answer(id, answer) = effect {
                    late.push((id, answer));
                }
                continue;
            };
            cluster.bench.machine.step(cluster.bench.now, event, &mut next);
            if !asked && cluster.bench.machine.growth.is_under_way() {
                asked = true;
                for (number, broker) in [(901, 2), (902, 3)] {
                    let ask = Event::Ask(RequestId(number), registration(broker, 0, broker as u8));
                    cluster.bench.machine.step(cluster.bench.now, ask, &mut next);
                }
                cluster.bench.machine.step(cluster.bench.now, Event::AskerGone(RequestId(901)), &mut next);
                // Any other question stands, whoever asked it.
                cluster.bench.machine.step(cluster.bench.now, Event::AskerGone(RequestId(900)), &mut next);
            }
        }
        out = next;
    }
    assert!(asked, "the shards were split");
    let members = &cluster.bench.store.root().members;
    assert!(!members.contains_key(&id(2)) && members.contains_key(&id(3)), "{:?}", members.keys());
    let refused = Answer::Register(Err(error::NotController.into()));
    assert!(late.contains(&(RequestId(901), refused)));
}
