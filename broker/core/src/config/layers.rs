//! Which value of a key wins: what was set at run time, the file, the default, and where each came from.
//!
//! Owns `BrokerConfig`, the three layers of one broker, and the chain of synonyms of a topic key.

use super::value::{parse_boolean, parse_double, parse_long};
use super::{InvalidValue, Key, TopicKey, UnknownKey, broker};
use crate::metadata::{ExplicitConfig, Image};
use crate::types::BrokerId;

/// Where a value comes from, as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time for this broker.
    Broker = 2,
    /// Set at run time for all brokers.
    AllBrokers = 3,
    /// Set in the broker's file.
    File = 4,
    /// Nobody set it.
    Default = 5,
}

/// One value of a chain: the key that it stands under, the value as text, and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layered {
    /// The key: the one asked for, or a synonym.
    pub name: &'static str,
    /// The value as it was set, in the unit of `name`.
    pub value: String,
    /// The value in the unit of the key asked for.
    pub effective: String,
    /// Where it was set.
    pub source: Source,
}

/// What one broker runs with: its file, and what was changed at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    file: ExplicitConfig,
    all_brokers: ExplicitConfig,
    this_broker: ExplicitConfig,
}

impl BrokerConfig {
    /// Checks what a file, flags and variables set together. Unknown keys are returned beside the config, for the
    /// caller to warn about: files are shared with other tools.
    ///
    /// # Errors
    /// Every value that its key does not take.
    pub fn from_file(values: ExplicitConfig) -> Result<(Self, Vec<UnknownKey>), Vec<InvalidValue>> {
        let mut unknown = Vec::new();
        let mut invalid = Vec::new();
        let mut file = ExplicitConfig::new();
        for (name, value) in values {
            match broker::find(&name) {
                Some(key) => {
                    if let Err(error) = key.kind.check(key.name, &value) {
                        invalid.push(error);
                    }
                    file.insert(name, value);
                }
                None => unknown.push(UnknownKey { nearest: nearest_broker_key(&name), key: name }),
            }
        }
        if !invalid.is_empty() {
            return Err(invalid);
        }
        Ok((Self { file, ..Self::default() }, unknown))
    }

    /// These file values under what `image` says was changed at run time for `me`.
    #[must_use]
    pub fn at_run_time(&self, image: &Image, me: BrokerId) -> Self {
        let this_broker = image.broker_config(me).cloned().unwrap_or_default();
        self.with_run_time(image.broker_defaults().clone(), this_broker).with_min_insync(image.min_insync_replicas())
    }

    /// These values with the cluster's `min.insync.replicas` in place of the file's: whoever leads and whoever decides
    /// must count alike, and files may differ (R3).
    #[must_use]
    pub fn with_min_insync(mut self, minimum: Option<i32>) -> Self {
        let key = &broker::MIN_INSYNC_REPLICAS;
        if let Some(minimum) = minimum.filter(|minimum| *minimum != self.int(key)) {
            self.file.insert(key.name.to_owned(), minimum.to_string());
        }
        self
    }

    /// These file values under what was set at run time for all brokers and for this one.
    #[must_use]
    pub fn with_run_time(&self, all_brokers: ExplicitConfig, this_broker: ExplicitConfig) -> Self {
        Self { file: self.file.clone(), all_brokers, this_broker }
    }

    /// These values as a file has them that alone says what the keys are that change under a broker that runs. What else
    /// it names is returned beside them, for the caller to warn about, and changes nothing.
    ///
    /// # Errors
    /// Every value that its key does not take.
    pub fn with_dynamic_file(&self, values: ExplicitConfig) -> Result<(Self, Vec<String>), Vec<InvalidValue>> {
        let (read, unknown) = Self::from_file(values)?;
        let follows = |name: &str| broker::find(name).is_some_and(Key::follows_file);
        let (taken, fixed): (ExplicitConfig, ExplicitConfig) =
            read.file.into_iter().partition(|(name, _)| follows(name));
        let mut ignored: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        // What it starts with it need not be told again.
        let other = fixed.into_iter().filter(|(name, value)| self.file.get(name) != Some(value));
        ignored.extend(other.map(|(name, _)| format!("{name} does not change while a broker runs")));
        let mut next = self.clone();
        next.file.retain(|name, _| !follows(name));
        next.file.extend(taken);
        Ok((next, ignored))
    }

    /// What the file sets.
    pub fn file(&self) -> &ExplicitConfig {
        &self.file
    }

    /// What stands under `key` itself, strongest first, the default last if there is one.
    pub fn chain(&self, key: &'static Key) -> Vec<Layered> {
        let layers = [
            (self.this_broker.get(key.name), Source::Broker),
            (self.all_brokers.get(key.name), Source::AllBrokers),
            (self.file.get(key.name), Source::File),
        ];
        let set = layers.into_iter().filter_map(|(value, source)| Some((value?.as_str(), source)));
        set.chain(key.default.map(|value| (value, Source::Default)))
            .map(|(value, source)| Layered {
                name: key.name,
                value: value.to_owned(),
                effective: value.to_owned(),
                source,
            })
            .collect()
    }

    /// The text that `key` has now; `None` is Kafka's null.
    pub fn text(&self, key: &'static Key) -> Option<&str> {
        let set = self.this_broker.get(key.name).or_else(|| self.all_brokers.get(key.name));
        set.or_else(|| self.file.get(key.name)).map(String::as_str).or(key.default)
    }

    /// The number that `key` has now.
    pub fn long(&self, key: &'static Key) -> Option<i64> {
        self.text(key).and_then(parse_long).or_else(|| key.default.and_then(parse_long))
    }

    /// The 32-bit number that `key` has now; 0 for a key without a value.
    pub fn int(&self, key: &'static Key) -> i32 {
        self.long(key).and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
    }

    /// The truth value that `key` has now; false for a key without a value.
    pub fn boolean(&self, key: &'static Key) -> bool {
        self.text(key).and_then(parse_boolean).or_else(|| key.default.and_then(parse_boolean)).unwrap_or_default()
    }

    /// The fraction that `key` has now.
    pub fn double(&self, key: &'static Key) -> Option<f64> {
        self.text(key).and_then(parse_double)
    }
}

impl TopicKey {
    /// Every value that this key could have, strongest first: the topic's own, the broker's synonyms, the default.
    /// The first is the one that counts.
    pub fn chain(&'static self, explicit: &ExplicitConfig, broker: &BrokerConfig) -> Vec<Layered> {
        let name = self.key.name;
        let mut chain = Vec::new();
        if let Some(value) = explicit.get(name) {
            chain.push(Layered { name, value: value.clone(), effective: value.clone(), source: Source::Topic });
        }
        for synonym in self.synonyms {
            chain.extend(broker.chain(synonym.key).into_iter().map(|mut layer| {
                layer.effective = scaled(&layer.value, synonym.factor);
                layer
            }));
        }
        if !chain.iter().any(|layer| layer.source == Source::Default) {
            let value = self.key.default.unwrap_or_default().to_owned();
            chain.push(Layered { name, effective: value.clone(), value, source: Source::Default });
        }
        chain
    }

    /// The value that counts: as text, in this key's unit.
    pub fn effective(&'static self, explicit: &ExplicitConfig, broker: &BrokerConfig) -> Layered {
        let usable = |layer: &Layered| self.key.kind.check(self.key.name, &layer.effective).is_ok();
        let default = || {
            let value = self.key.default.unwrap_or_default().to_owned();
            Layered { name: self.key.name, effective: value.clone(), value, source: Source::Default }
        };
        self.chain(explicit, broker).into_iter().find(usable).unwrap_or_else(default)
    }
}

/// A number of a larger unit in a smaller one. Negative numbers mean "no limit" in every unit.
fn scaled(value: &str, factor: i64) -> String {
    match parse_long(value) {
        Some(number) if factor != 1 && number >= 0 => number.saturating_mul(factor).to_string(),
        Some(_) | None => value.to_owned(),
    }
}

fn nearest_broker_key(name: &str) -> Option<&'static str> {
    super::validate::nearest(name, broker::ALL.iter().map(|key| key.name))
}
