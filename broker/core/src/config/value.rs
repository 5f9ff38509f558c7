//! What a key may hold: reading a value from text and saying what would have been allowed.

use super::error::InvalidValue;
use crate::types::{BrokerId, PartitionIndex};

/// The type of a key as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum WireType {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A fraction.
    Double = 6,
    /// Text separated by commas.
    List = 7,
    /// The name of a class.
    Class = 8,
    /// A secret.
    Password = 9,
}

/// What a key may hold. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// A 16-bit number.
    Short(i64, i64),
    /// A 32-bit number.
    Int(i64, i64),
    /// A 32-bit number in a range from which one more value, below it, is taken too: gzip's −1.
    IntOr(i64, i64, i64),
    /// A 64-bit number.
    Long(i64, i64),
    /// A fraction.
    Double(f64, f64),
    /// Any text.
    Text,
    /// Text that may not be empty.
    Name,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any number of these words, or none.
    AnyOf(&'static [&'static str]),
    /// Words separated by commas.
    List,
    /// `*`, or `partition:broker` pairs separated by commas.
    Replicas,
    /// The name of a class, kept for compatibility.
    Class,
    /// What a log holds: a level, or levels per module separated by commas.
    LogFilter,
    /// A secret.
    Password,
}

impl Kind {
    /// The type as DescribeConfigs numbers it.
    pub fn wire_type(self) -> WireType {
        match self {
            Self::Boolean => WireType::Boolean,
            Self::Short(..) => WireType::Short,
            Self::Int(..) | Self::IntOr(..) => WireType::Int,
            Self::Long(..) => WireType::Long,
            Self::Double(..) => WireType::Double,
            Self::Text | Self::Name | Self::OneOf(_) | Self::LogFilter => WireType::String,
            Self::AnyOf(_) | Self::List | Self::Replicas => WireType::List,
            Self::Class => WireType::Class,
            Self::Password => WireType::Password,
        }
    }

    /// Whether values are lists, which can be appended to and subtracted from.
    pub fn is_list(self) -> bool {
        self.wire_type() == WireType::List
    }

    /// Checks one value.
    ///
    /// # Errors
    /// [`InvalidValue`] with what would have been allowed.
    pub fn check(self, key: &str, value: &str) -> Result<(), InvalidValue> {
        let fits = match self {
            Self::Boolean => parse_boolean(value).is_some(),
            Self::Short(min, max) | Self::Int(min, max) | Self::Long(min, max) => {
                parse_long(value).is_some_and(|number| (min..=max).contains(&number))
            }
            Self::IntOr(also, min, max) => {
                parse_long(value).is_some_and(|number| number == also || (min..=max).contains(&number))
            }
            Self::Double(min, max) => parse_double(value).is_some_and(|number| (min..=max).contains(&number)),
            Self::Text | Self::List | Self::Class | Self::Password => true,
            Self::Name => !value.trim().is_empty(),
            Self::OneOf(words) => words.contains(&value.trim()),
            Self::AnyOf(words) => parse_list(value).all(|word| words.contains(&word)),
            Self::Replicas => value.trim() == "*" || parse_list(value).all(is_replica),
            Self::LogFilter => parse_list(value).next().is_some() && parse_list(value).all(is_log_directive),
        };
        if fits {
            return Ok(());
        }
        Err(InvalidValue { key: key.to_owned(), value: value.to_owned(), allowed: self.allowed() })
    }

    /// What the kind takes, for people: "a whole number from 1 to 9".
    pub fn allowed(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Short(min, max) | Self::Int(min, max) | Self::Long(min, max) => {
                format!("a whole number from {min} to {max}")
            }
            Self::IntOr(also, min, max) => format!("{also}, or a whole number from {min} to {max}"),
            Self::Double(min, max) if max.is_infinite() => format!("a number from {min} up"),
            Self::Double(min, max) => format!("a number from {min} to {max}"),
            Self::Text | Self::Password => "any text".to_owned(),
            Self::Name => "text that is not empty".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::AnyOf(words) => format!("any of {}, separated by commas, or nothing", words.join(", ")),
            Self::List => "words separated by commas".to_owned(),
            Self::Replicas => "*, or partition:broker pairs separated by commas".to_owned(),
            Self::Class => "the name of a class".to_owned(),
            Self::LogFilter => {
                "error, warn, info, debug, trace or off, or filters such as info,ottla_log=debug".to_owned()
            }
        }
    }
}

/// Whether a value of [`Kind::Replicas`] is `*` or names that replica.
pub(super) fn names_replica(value: &str, partition: PartitionIndex, broker: BrokerId) -> bool {
    let wanted = (partition.get(), broker.get());
    let named = |word: &str| {
        let (partition, broker) = word.split_once(':')?;
        Some((partition.parse::<i32>().ok()?, broker.parse::<i32>().ok()?))
    };
    value.trim() == "*" || parse_list(value).filter_map(named).any(|replica| replica == wanted)
}

fn is_replica(word: &str) -> bool {
    let is_id = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<i32>().is_ok();
    word.split_once(':').is_some_and(|(partition, broker)| is_id(partition) && is_id(broker))
}

/// `LEVEL` or `module::path=LEVEL`.
fn is_log_directive(word: &str) -> bool {
    let is_level = |text: &str| {
        ["error", "warn", "info", "debug", "trace", "off"].iter().any(|level| level.eq_ignore_ascii_case(text))
    };
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    match word.split_once('=') {
        None => is_level(word),
        Some((module, level)) => !module.is_empty() && module.bytes().all(in_path) && is_level(level),
    }
}

/// Reads `true` or `false` in any case.
pub(super) fn parse_boolean(value: &str) -> Option<bool> {
    match value.trim() {
        word if word.eq_ignore_ascii_case("true") => Some(true),
        word if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Reads a whole number.
pub(super) fn parse_long(value: &str) -> Option<i64> {
    value.trim().parse().ok()
}

/// Reads a finite fraction.
pub(super) fn parse_double(value: &str) -> Option<f64> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The words of a list, trimmed, empty ones left out.
pub(super) fn parse_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}
