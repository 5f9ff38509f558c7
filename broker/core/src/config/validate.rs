//! Checks whole configurations: unknown keys, single values, and values that contradict each other.

use super::value::parse_list;
use super::{BrokerConfig, ConfigError, Conflict, Scope, TopicConfig, UnknownKey, broker, topic};
use crate::metadata::ExplicitConfig;
use crate::types::BrokerId;

/// Checks what somebody wants to set on a topic, on brokers that run with `broker`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_topic(explicit: &ExplicitConfig, broker: &BrokerConfig, internal: bool) -> Result<(), ConfigError> {
    for (name, value) in explicit {
        let nearest_key = || nearest(name, topic::ALL.iter().map(|known| known.key.name));
        let known = topic::find(name).ok_or_else(|| UnknownKey { key: name.clone(), nearest: nearest_key() })?;
        known.key.kind.check(known.key.name, value)?;
    }
    let resolved = TopicConfig::resolve(explicit, broker, false);
    if internal && !resolved.durable_acks {
        return Err(ConfigError::InternalDurability(topic::FLUSH_MESSAGES.key.name));
    }
    check_compaction(&resolved)?;
    check_tiering(&resolved, broker)
}

fn check_compaction(config: &TopicConfig) -> Result<(), Conflict> {
    not_larger(
        (topic::MIN_COMPACTION_LAG_MS.key.name, Some(config.min_compaction_lag_ms)),
        (topic::MAX_COMPACTION_LAG_MS.key.name, Some(config.max_compaction_lag_ms)),
    )
}

fn check_tiering(config: &TopicConfig, broker: &BrokerConfig) -> Result<(), ConfigError> {
    if !config.remote_storage_enable {
        return Ok(());
    }
    let conflict = |rule, other, other_value: &str| Conflict {
        key: topic::REMOTE_STORAGE_ENABLE.key.name,
        value: "true".to_owned(),
        rule,
        other,
        other_value: other_value.to_owned(),
    };
    if !broker.boolean(&broker::REMOTE_LOG_STORAGE_SYSTEM_ENABLE) {
        let other = broker::REMOTE_LOG_STORAGE_SYSTEM_ENABLE.name;
        return Err(conflict("needs tiered storage on the brokers, which is disabled by", other, "false").into());
    }
    if config.cleanup_policy.compact {
        return Err(conflict("does not go with", topic::CLEANUP_POLICY.key.name, "compact").into());
    }
    let local = topic::LOCAL_RETENTION_BYTES.key.name;
    not_larger((local, config.local_retention_bytes), (topic::RETENTION_BYTES.key.name, config.retention_bytes))?;
    let local = topic::LOCAL_RETENTION_MS.key.name;
    not_larger((local, config.local_retention_ms), (topic::RETENTION_MS.key.name, config.retention_ms))?;
    Ok(())
}

/// Refuses a first limit that lies above the second; `None` is no limit.
fn not_larger(first: (&'static str, Option<i64>), second: (&'static str, Option<i64>)) -> Result<(), Conflict> {
    let Some(bound) = second.1 else { return Ok(()) };
    if first.1.is_some_and(|value| value <= bound) {
        return Ok(());
    }
    Err(Conflict {
        key: first.0,
        value: first.1.map_or_else(|| "-1".to_owned(), |value| value.to_string()),
        rule: "may not be larger than",
        other: second.0,
        other_value: bound.to_string(),
    })
}

/// Checks what somebody wants to set at run time for one broker, or for all (`None`).
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_broker(explicit: &ExplicitConfig, target: Option<BrokerId>) -> Result<(), ConfigError> {
    for (name, value) in explicit {
        let nearest_key = || nearest(name, broker::ALL.iter().map(|known| known.name));
        let key = broker::find(name).ok_or_else(|| UnknownKey { key: name.clone(), nearest: nearest_key() })?;
        match key.scope {
            Scope::ReadOnly => return Err(ConfigError::ReadOnly(key.name)),
            Scope::PerBroker if target.is_none() => return Err(ConfigError::PerBroker(key.name)),
            Scope::PerBroker | Scope::ClusterWide => {}
        }
        key.kind.check(key.name, value)?;
    }
    Ok(())
}

/// One change of an incremental alteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Sets the key.
    Set(String),
    /// Removes the explicit value; removing one that is not there is no error.
    Delete,
    /// Adds words to a list.
    Append(String),
    /// Takes words out of a list.
    Subtract(String),
}

/// What `explicit` becomes by `changes`; `current` tells the effective value of a key, which lists are appended to.
///
/// # Errors
/// When a key that is no list is appended to or subtracted from.
fn altered<'a>(
    explicit: &ExplicitConfig,
    changes: impl IntoIterator<Item = (&'a str, &'a Alteration)>,
    current: impl Fn(&str) -> Option<(&'static super::Key, String)>,
) -> Result<ExplicitConfig, ConfigError> {
    let mut next = explicit.clone();
    for (name, change) in changes {
        let known = current(name);
        let list = || -> Result<String, ConfigError> {
            let (key, effective) = known.clone().ok_or_else(|| UnknownKey { key: name.to_owned(), nearest: None })?;
            if !key.kind.is_list() {
                return Err(ConfigError::NotAList(key.name));
            }
            Ok(effective)
        };
        match change {
            Alteration::Set(value) => next.insert(name.to_owned(), value.clone()),
            Alteration::Delete => next.remove(name),
            Alteration::Append(words) => {
                let before = list()?;
                let fresh = parse_list(words).filter(|word| parse_list(&before).all(|known| known != *word));
                let all: Vec<&str> = parse_list(&before).chain(fresh).collect();
                next.insert(name.to_owned(), all.join(","))
            }
            Alteration::Subtract(words) => {
                let before = list()?;
                let kept: Vec<&str> =
                    parse_list(&before).filter(|word| parse_list(words).all(|gone| gone != *word)).collect();
                next.insert(name.to_owned(), kept.join(","))
            }
        };
    }
    Ok(next)
}

/// What a topic's explicit config becomes by `changes`; lists are appended to what counts on `broker`.
///
/// # Errors
/// As [`altered`].
pub fn alter_topic<'a>(
    explicit: &ExplicitConfig,
    changes: impl IntoIterator<Item = (&'a str, &'a Alteration)>,
    broker: &BrokerConfig,
) -> Result<ExplicitConfig, ConfigError> {
    altered(explicit, changes, |name| {
        topic::find(name).map(|known| (&known.key, known.effective(explicit, broker).effective))
    })
}

/// What run-time broker configs become by `changes`; lists are appended to what is set, or the default.
///
/// # Errors
/// As [`altered`].
pub fn alter_broker<'a>(
    explicit: &ExplicitConfig,
    changes: impl IntoIterator<Item = (&'a str, &'a Alteration)>,
) -> Result<ExplicitConfig, ConfigError> {
    altered(explicit, changes, |name| {
        let key = broker::find(name)?;
        let set = explicit.get(name).map(String::as_str).or(key.default);
        Some((key, set.unwrap_or_default().to_owned()))
    })
}

/// The known name that resembles `name` most, if one is near enough to be meant.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let bound = name.len() / 4 + 1;
    // An absurdly long name resembles nothing, and must not cost anything.
    if name.len() > 100 {
        return None;
    }
    known.map(|other| (distance(name, other), other)).filter(|(edits, _)| *edits <= bound).min().map(|(_, other)| other)
}

/// How many characters have to be inserted, removed or replaced to turn one word into the other.
fn distance(first: &str, second: &str) -> usize {
    let second: Vec<char> = second.chars().collect();
    let mut row: Vec<usize> = (0..=second.len()).collect();
    for (i, a) in first.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, b) in second.iter().enumerate() {
            let above = row[j + 1];
            let replaced = diagonal + usize::from(a != *b);
            row[j] = left;
            left = replaced.min(above + 1).min(left + 1);
            diagonal = above;
        }
        row[second.len()] = left;
    }
    row[second.len()]
}
