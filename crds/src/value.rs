//! Values that people write in more than one way: quantities, durations and Kafka config values.
//!
//! Owns their text form, their schema and their exact arithmetic. Nothing here rounds silently except a fraction of a
//! byte, which is rounded up as Kubernetes does.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration as StdDuration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What a quantity must look like: digits, a fraction, and one suffix of Kubernetes.
pub const QUANTITY_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(([KMGTPE]i)|[mkMGTPE]|([eE][0-9]{1,2}))?$";
/// What a duration must look like: numbers with units, largest first or not.
pub const DURATION_PATTERN: &str = r"^([0-9]+(ms|s|m|h))+$";

/// An amount of bytes or of bytes per second, as Kubernetes writes it: `100Gi`, `1.5Mi`, `1M`, `1048576`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity(String);

/// A text that is no quantity, or one that does not fit 63 bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a quantity such as 512Mi, 100Gi or 1048576, found {found:?}")]
pub struct NotAQuantity {
    /// What stood there.
    pub found: String,
}

impl Quantity {
    /// Wraps a text after checking that it is a quantity.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let quantity = Self(text.to_owned());
        quantity.bytes().map(|_| quantity)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount as a whole number; a fraction is rounded up.
    pub fn bytes(&self) -> Result<u64, NotAQuantity> {
        whole(&self.0).ok_or_else(|| NotAQuantity { found: self.0.clone() })
    }
}

/// Exact value of a quantity, rounded up; `None` if the text is none or the value does not fit 63 bits.
fn whole(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (units, fraction) = number.split_once('.').unwrap_or((number, ""));
    if units.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let digits: u128 = format!("{units}{fraction}").parse().ok()?;
    let (factor, mut divisor) = scale(suffix)?;
    divisor = divisor.checked_mul(10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let value = digits.checked_mul(factor)?.div_ceil(divisor);
    u64::try_from(value).ok().filter(|value| i64::try_from(*value).is_ok())
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if suffix == "m" {
        return Some((1, 1000));
    }
    if let Some(power) = (0u32..).zip(DECIMAL).find_map(|(power, name)| (name == suffix).then_some(power)) {
        return Some((1000u128.pow(power), 1));
    }
    if let Some(power) = (0u32..).zip(BINARY).find_map(|(power, name)| (name == suffix).then_some(power)) {
        return Some((1024u128.pow(power), 1));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let power = exponent.parse::<u32>().ok().filter(|_| exponent.bytes().all(|b| b.is_ascii_digit()))?;
    Some((10u128.checked_pow(power)?, 1))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 512Mi, 100Gi or 1048576")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
                Quantity::parse(&value.to_string()).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Quantity, E> {
                Quantity::parse(value).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY_PATTERN })
    }
}

/// A length of time as Go and Kubernetes write it: `30m`, `2160h`, `1h30m`, `250ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duration(String);

/// A text that is no duration, or one that does not fit 63 bits of milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration such as 30s, 10m or 1h30m, found {found:?}")]
pub struct NotADuration {
    /// What stood there.
    pub found: String,
}

impl Duration {
    /// Wraps a text after checking that it is a duration.
    pub fn parse(text: &str) -> Result<Self, NotADuration> {
        match span(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(NotADuration { found: text.to_owned() }),
        }
    }

    /// The length of time.
    pub fn get(&self) -> StdDuration {
        span(&self.0).expect("the constructor checked the text")
    }
}

fn span(text: &str) -> Option<StdDuration> {
    let mut millis: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let factor: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(StdDuration::from_millis(millis))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION_PATTERN })
    }
}

/// The value of a Kafka config key: a string, a number or a bool, as people write them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for ConfigValue {
    /// The text that Kafka's protocol carries for this value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl JsonSchema for ConfigValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ConfigValue".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A structural schema cannot say "string, number or bool"; who reads the value says it (see `manifest`).
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1_048_576),
            ("1k", 1000),
            ("50Mi", 50 << 20),
            ("100Gi", 100 << 30),
            ("1.5Gi", 3 << 29),
            ("0.1", 1),
            ("1500m", 2),
            ("1e3", 1000),
            ("7Ei", 7 << 60),
        ] {
            assert_eq!(Quantity::parse(text).expect(text).bytes(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in
            ["", "Gi", "1 Gi", "-1", "1.", ".5", "1GB", "1gi", "8Ei", "1e99", "1e", "1e+3", "99999999999999999999"]
        {
            assert!(Quantity::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_quantity_is_read_from_a_number_too() {
        let read: Quantity = serde_yaml::from_str("1048576").unwrap();
        assert_eq!(read.bytes(), Ok(1 << 20));
        let error = serde_yaml::from_str::<Quantity>("12 parsecs").unwrap_err();
        assert!(error.to_string().contains("expected a quantity"), "{error}");
    }

    #[test]
    fn durations_add_up() {
        for (text, millis) in [("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("2160h", 7_776_000_000)] {
            assert_eq!(Duration::parse(text).expect(text).get(), StdDuration::from_millis(millis), "{text}");
        }
        for text in ["", "30", "m", "30 m", "1d", "-1s", "1.5h", "99999999999999999999s"] {
            assert!(Duration::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn config_values_keep_the_text_that_kafka_reads() {
        for (yaml, text) in [
            ("true", "true"),
            ("604800000", "604800000"),
            ("-1", "-1"),
            ("0.5", "0.5"),
            ("\"0644\"", "0644"),
            ("delete,compact", "delete,compact"),
        ] {
            let value: ConfigValue = serde_yaml::from_str(yaml).unwrap();
            assert_eq!(value.to_string(), text, "{yaml}");
        }
    }
}
