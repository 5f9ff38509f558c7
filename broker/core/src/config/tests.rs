//! The tables hold what they promise, the right value wins, and refusals name the key, the value and what is allowed.

use super::*;
use crate::metadata::{ExplicitConfig, Image};
use crate::types::{BrokerId, ClusterId};

fn map(pairs: &[(&str, &str)]) -> ExplicitConfig {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn file(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_file(map(pairs)).expect("valid").0
}

#[test]
fn there_are_36_topic_keys_in_order() {
    assert_eq!(topic::ALL.len(), 36);
    assert!(topic::ALL.is_sorted_by(|a, b| a.key.name < b.key.name));
    for known in topic::ALL {
        assert!(topic::find(known.key.name).is_some(), "{}", known.key);
        assert!(known.key.doc.ends_with('.') && known.key.doc.len() > 20, "{}", known.key);
    }
    assert!(topic::find("segment.byte").is_none());
}

#[test]
fn every_default_is_a_value_that_its_key_takes() {
    for key in topic::ALL.iter().map(|known| &known.key).chain(broker::ALL.iter().copied()) {
        if let Some(default) = key.default {
            assert_eq!(key.kind.check(key.name, default), Ok(()));
        }
    }
}

#[test]
fn a_broker_that_sets_nothing_leaves_the_topic_defaults() {
    for known in topic::ALL {
        let layer = known.effective(&ExplicitConfig::new(), &BrokerConfig::default());
        assert_eq!(Some(layer.effective.as_str()), known.key.default, "{}", known.key);
        assert_eq!(layer.source, Source::Default);
    }
}

#[test]
fn broker_keys_are_unique() {
    let names: std::collections::BTreeSet<_> = broker::ALL.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), broker::ALL.len());
}

#[test]
fn the_strongest_synonym_wins() {
    let retention = |explicit: &[(&str, &str)], broker: &[(&str, &str)]| {
        TopicConfig::resolve(&map(explicit), &file(broker), false).retention_ms
    };
    assert_eq!(retention(&[], &[]), Some(604_800_000));
    assert_eq!(retention(&[], &[("log.retention.hours", "1")]), Some(3_600_000));
    assert_eq!(retention(&[], &[("log.retention.hours", "1"), ("log.retention.minutes", "2")]), Some(120_000));
    assert_eq!(retention(&[], &[("log.retention.ms", "7"), ("log.retention.minutes", "2")]), Some(7));
    assert_eq!(retention(&[("retention.ms", "9")], &[("log.retention.ms", "7")]), Some(9));
    assert_eq!(retention(&[("retention.ms", "-1")], &[("log.retention.ms", "7")]), None);
    assert_eq!(retention(&[], &[("log.retention.hours", "-1")]), None);
}

#[test]
fn the_chain_of_synonyms_is_shown_whole() {
    let image = Image::empty(ClusterId::ZERO).with_broker_configs(
        map(&[("log.retention.ms", "5")]),
        [(BrokerId::new(1), map(&[("log.retention.ms", "4")]))].into(),
    );
    let broker = file(&[("log.retention.ms", "6"), ("log.retention.hours", "1")]).at_run_time(&image, BrokerId::new(1));
    let chain = topic::RETENTION_MS.chain(&map(&[("retention.ms", "3")]), &broker);
    let seen: Vec<_> = chain.iter().map(|layer| (layer.name, layer.value.as_str(), layer.source)).collect();
    assert_eq!(
        seen,
        [
            ("retention.ms", "3", Source::Topic),
            ("log.retention.ms", "4", Source::Broker),
            ("log.retention.ms", "5", Source::AllBrokers),
            ("log.retention.ms", "6", Source::File),
            ("log.retention.hours", "1", Source::File),
            ("log.retention.hours", "168", Source::Default),
        ]
    );
}

#[test]
fn acks_are_durable_unless_somebody_opts_out() {
    let durable =
        |explicit: &[(&str, &str)]| TopicConfig::resolve(&map(explicit), &BrokerConfig::default(), false).durable_acks;
    assert!(durable(&[]));
    assert!(durable(&[("flush.messages", "1")]));
    assert!(!durable(&[("flush.messages", "2")]));
    assert!(!durable(&[("flush.ms", "1000")]));
    assert!(durable(&[("flush.ms", "1000"), ("flush.messages", "1")]));
    let kafka = file(&[("log.flush.interval.messages", "9223372036854775807")]);
    assert!(!TopicConfig::resolve(&ExplicitConfig::new(), &kafka, false).durable_acks);
    assert!(TopicConfig::resolve(&ExplicitConfig::new(), &kafka, true).durable_acks);
}

#[test]
fn special_numbers_mean_what_they_say() {
    let config = TopicConfig::resolve(&map(&[("retention.bytes", "5")]), &BrokerConfig::default(), false);
    assert_eq!((config.retention_bytes, config.local_retention_bytes), (Some(5), Some(5)));
    let config = TopicConfig::default();
    assert_eq!((config.retention_bytes, config.local_retention_bytes, config.flush_ms), (None, None, None));
    let kept = TopicConfig::resolve(&map(&[("cleanup.policy", "")]), &BrokerConfig::default(), false);
    assert_eq!(kept.cleanup_policy, CleanupPolicy { delete: false, compact: false });
}

#[test]
fn refusals_name_the_key_the_value_and_what_is_allowed() {
    let refused = |explicit: &[(&str, &str)]| {
        check_topic(&map(explicit), &BrokerConfig::default(), false).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&[("retention.ms", "soon")]),
        "invalid value \"soon\" for configuration retention.ms: expected a whole number from -1 to 9223372036854775807"
    );
    assert_eq!(
        refused(&[("cleanup.policy", "delete,shred")]),
        "invalid value \"delete,shred\" for configuration cleanup.policy: expected any of compact, delete, separated by commas, or nothing"
    );
    assert_eq!(refused(&[("retention.mss", "1")]), "unknown configuration retention.mss (did you mean retention.ms?)");
    assert_eq!(refused(&[("colour", "red")]), "unknown configuration colour");
    assert_eq!(
        refused(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        "configuration min.compaction.lag.ms (10) may not be larger than max.compaction.lag.ms (5)"
    );
    assert_eq!(
        refused(&[("remote.storage.enable", "true")]),
        "configuration remote.storage.enable (true) needs tiered storage on the brokers, which is disabled by remote.log.storage.system.enable (false)"
    );
}

#[test]
fn tiered_topics_keep_less_locally_than_in_all() {
    let broker = file(&[("remote.log.storage.system.enable", "true")]);
    let check = |explicit: &[(&str, &str)]| {
        let mut all = map(explicit);
        all.insert("remote.storage.enable".into(), "true".into());
        check_topic(&all, &broker, false)
    };
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[("retention.ms", "10"), ("local.retention.ms", "10")]), Ok(()));
    assert!(check(&[("retention.ms", "10"), ("local.retention.ms", "11")]).is_err());
    assert!(check(&[("retention.bytes", "10"), ("local.retention.bytes", "-1")]).is_err());
    assert!(check(&[("cleanup.policy", "compact")]).is_err());
}

#[test]
fn each_kind_takes_what_it_says() {
    let takes = |key: &str, value: &str| check_topic(&map(&[(key, value)]), &BrokerConfig::default(), false).is_ok();
    let cases = [
        ("compression.gzip.level", "-1", true),
        ("compression.gzip.level", "0", false),
        ("compression.gzip.level", "9", true),
        ("segment.bytes", "1048575", false),
        ("segment.bytes", " 1048576 ", true),
        ("segment.bytes", "2147483648", false),
        ("preallocate", "TRUE", true),
        ("preallocate", "yes", false),
        ("min.cleanable.dirty.ratio", "NaN", false),
        ("min.cleanable.dirty.ratio", "1.1", false),
        ("min.cleanable.dirty.ratio", "1", true),
        ("leader.replication.throttled.replicas", "*", true),
        ("leader.replication.throttled.replicas", "0:1,3:2", true),
        ("leader.replication.throttled.replicas", "0:x", false),
        ("leader.replication.throttled.replicas", "0", false),
        ("message.timestamp.type", "createtime", false),
        ("flush.messages", "0", false),
    ];
    for (key, value, expected) in cases {
        assert_eq!(takes(key, value), expected, "{key}={value}");
    }
}

#[test]
fn internal_topics_never_opt_out() {
    let explicit = map(&[("flush.messages", "100")]);
    assert_eq!(check_topic(&explicit, &BrokerConfig::default(), false), Ok(()));
    let refused = check_topic(&explicit, &BrokerConfig::default(), true);
    assert_eq!(refused, Err(ConfigError::InternalDurability("flush.messages")));
}

#[test]
fn run_time_broker_configs_are_checked_by_scope() {
    let one = Some(BrokerId::new(1));
    assert_eq!(check_broker(&map(&[("log.retention.ms", "5")]), None), Ok(()));
    for level in ["debug", "WARN", "info,ottla_log=debug", "ottla_log::journal=trace", "off"] {
        assert_eq!(check_broker(&map(&[("ottla.log.level", level)]), one), Ok(()), "{level}");
    }
    for level in ["", "loud", "info,loud", "=debug", "ottla_log=", "a b=info", ","] {
        assert!(check_broker(&map(&[("ottla.log.level", level)]), one).is_err(), "{level}");
    }
    assert_eq!(
        check_broker(&map(&[("ottla.log.level", "debug")]), None),
        Err(ConfigError::PerBroker("ottla.log.level"))
    );
    assert_eq!(check_broker(&map(&[("listeners", "x")]), one), Err(ConfigError::ReadOnly("listeners")));
    // Changing min.insync.replicas of all topics at once would have to clear every ELR in one step.
    assert_eq!(
        check_broker(&map(&[("min.insync.replicas", "2")]), None),
        Err(ConfigError::ReadOnly("min.insync.replicas"))
    );
}

#[test]
fn a_file_reports_every_bad_value_and_every_unknown_key() {
    let errors = BrokerConfig::from_file(map(&[("node.id", "x"), ("num.partitions", "0")])).expect_err("refused");
    assert_eq!(errors.len(), 2);
    let (_, unknown) = BrokerConfig::from_file(map(&[("num.partition", "3")])).expect("accepted");
    assert_eq!(unknown[0].nearest, Some("num.partitions"));
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let broker = BrokerConfig::default();
    let alter = |explicit: &[(&str, &str)], change: Alteration| {
        alter_topic(&map(explicit), [("cleanup.policy", &change)], &broker).map(|next| next["cleanup.policy"].clone())
    };
    assert_eq!(alter(&[], Alteration::Append("compact".into())), Ok("delete,compact".into()));
    assert_eq!(alter(&[("cleanup.policy", "compact")], Alteration::Append("compact".into())), Ok("compact".into()));
    assert_eq!(alter(&[], Alteration::Subtract("delete".into())), Ok(String::new()));
    let refused = alter_topic(&map(&[]), [("retention.ms", &Alteration::Append("1".into()))], &broker);
    assert_eq!(refused, Err(ConfigError::NotAList("retention.ms")));
    let removed = alter_topic(&map(&[]), [("retention.ms", &Alteration::Delete)], &broker);
    assert_eq!(removed, Ok(map(&[])));
}

#[test]
fn a_file_that_changes_says_alone_what_changes_with_it() {
    let base = file(&[("message.max.bytes", "1"), ("log.retention.ms", "2"), ("log.retention.hours", "3")]);
    let read = |pairs: &[(&str, &str)]| base.with_dynamic_file(map(pairs)).expect("valid");
    let (next, ignored) = read(&[("log.retention.ms", "5")]);
    assert!(ignored.is_empty(), "{ignored:?}");
    assert_eq!(next.file(), &map(&[("log.retention.ms", "5"), ("log.retention.hours", "3")]));
    assert_eq!(next.chain(&broker::LOG_RETENTION_MS)[0].source, Source::File);
    let (next, _) = next.with_dynamic_file(map(&[])).expect("valid");
    assert_eq!(next.file(), &map(&[("log.retention.hours", "3")]), "what it does not name is as nobody sets it");
    let invalid = base.with_dynamic_file(map(&[("message.max.bytes", "many"), ("log.roll.ms", "1")]));
    assert_eq!(invalid.expect_err("not a number").len(), 1);
}

#[test]
fn what_brokers_must_think_alike_of_no_file_changes_under_them() {
    let base = file(&[("min.insync.replicas", "2"), ("log.retention.hours", "3")]);
    let named = [
        ("unclean.leader.election.enable", "true"),
        ("min.insync.replicas", "1"),
        ("log.flush.interval.messages", "1000"),
        ("log.flush.interval.ms", "1000"),
        ("ssl.keystore.password", "secret"),
        ("log.retention.hours", "3"),
        ("a.later.key", "1"),
    ];
    let (next, ignored) = base.with_dynamic_file(map(&named)).expect("valid");
    assert_eq!(next, base);
    let [unknown, rest @ ..] = ignored.as_slice() else { panic!("{ignored:?}") };
    assert!(unknown.contains("a.later.key") && rest.len() == 5, "{ignored:?}");
    assert!(rest.iter().all(|line| !line.contains("secret") && line.contains("while a broker runs")), "{rest:?}");
    let judged = |broker: &BrokerConfig| {
        let all = TopicConfig::resolve(&map(&[]), broker, false);
        (ReplicaConfig::resolve(&map(&[]), broker), all.durable_acks)
    };
    for key in broker::ALL.iter().filter(|key| key.follows_file()) {
        let Some(value) =
            ["true", "1", "1048576", "12345678"].into_iter().find(|value| key.kind.check(key.name, value).is_ok())
        else {
            continue;
        };
        let (next, _) = base.with_dynamic_file(map(&[(key.name, value)])).expect("valid");
        assert_ne!(next, base, "{key}");
        assert_eq!(judged(&next), judged(&base), "{key} decides what is committed or who leads");
    }
}
