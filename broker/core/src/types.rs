//! The identifiers and positions that every crate passes around, each a type of its own.
//!
//! Owns their meaning, order and text form. No bare integer stands for an offset, an epoch or an id in a function
//! signature; conversion to the wire's integers happens at the edge, by `get`.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($int);

        impl $name {
            /// Wraps the wire's integer.
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The wire's integer.
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// Position of a record in a partition, counted from 0. The log end offset is the one after the last record.
    Offset(i64)
}
number! {
    /// Term of one leadership of one partition; never decreases. −1 means unknown.
    LeaderEpoch(i32)
}
number! {
    /// Version of a partition's metadata; every change adds one.
    PartitionEpoch(i32)
}
number! {
    /// Term of one controller; allotted by claiming the metadata root, never decreases.
    ControllerEpoch(i64)
}
number! {
    /// A broker's `node.id`; never reused within a cluster.
    BrokerId(i32)
}
number! {
    /// Which run of a broker on its data directory this is; registration allots the next one.
    Incarnation(i64)
}
number! {
    /// Index of a partition within its topic, counted from 0.
    PartitionIndex(i32)
}
number! {
    /// Id of an idempotent or transactional producer. −1 means none.
    ProducerId(i64)
}
number! {
    /// Epoch of a producer id; a higher one fences a lower one. −1 means none.
    ProducerEpoch(i16)
}
number! {
    /// Number of the first record of a producer's batch in that partition; wraps from `i32::MAX` to 0.
    Sequence(i32)
}
number! {
    /// Position of a frame in the journal; dense, counted from 1 over the life of a data directory.
    Lsn(u64)
}
number! {
    /// Wall-clock time in milliseconds since the Unix epoch. −1 means none.
    Timestamp(i64)
}

impl Offset {
    /// The offset `count` records further on; saturates at the largest offset.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Lsn {
    /// The LSN of the next frame.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LeaderEpoch {
    /// What the protocol says when an epoch is not known.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// A batch without a producer.
    pub const NONE: Self = Self(-1);
}

impl Timestamp {
    /// A batch or a question without a timestamp.
    pub const NONE: Self = Self(-1);
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// All zeros: what the wire says when there is none.
            pub const ZERO: Self = Self(uuid::Uuid::nil());

            /// Wraps sixteen bytes, most significant first.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(uuid::Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes, most significant first.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Whether this is the wire's "none".
            pub const fn is_zero(self) -> bool {
                self.0.is_nil()
            }

            /// Kafka's text form: 22 characters of URL-safe base64 without padding.
            pub fn to_kafka_string(self) -> String {
                kafka_base64(&self.to_bytes())
            }

            /// Reads Kafka's text form; `None` if it is not 22 characters of URL-safe base64.
            pub fn parse_kafka(text: &str) -> Option<Self> {
                parse_kafka_base64(text).map(Self::from_bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_kafka_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_kafka_string())
            }
        }
    };
}

id! {
    /// Identity of a topic; a topic that is deleted and created again has another one (KIP-516).
    TopicId
}
id! {
    /// Identity of one data directory, drawn when it is formatted.
    DirectoryId
}
id! {
    /// Identity of a cluster, drawn by `cluster init`.
    ClusterId
}

/// A partition by the identity of its topic, as the log, the journal and the catalogue name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub const fn new(topic: TopicId, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn kafka_base64(bytes: &[u8; 16]) -> String {
    let value = u128::from_be_bytes(*bytes);
    // 22 digits of 6 bits are 132 bits: the value stands in the upper 128, the last digit keeps 4 zero bits.
    (0..22)
        .map(|digit| {
            let shift = 122 - 6 * digit;
            let six = if shift >= 0 { value >> shift } else { value << -shift } & 0x3f;
            char::from(BASE64_URL[six as usize])
        })
        .collect()
}

fn parse_kafka_base64(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut value: u128 = 0;
    for (digit, symbol) in text.bytes().enumerate() {
        let six = BASE64_URL.iter().position(|&known| known == symbol)? as u128;
        if digit < 21 {
            value = (value << 6) | six;
        } else if six & 0xf != 0 {
            return None;
        } else {
            value = (value << 2) | (six >> 4);
        }
    }
    Some(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_their_kafka_text() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let id = TopicId::from_bytes(bytes);
            assert_eq!(TopicId::parse_kafka(&id.to_string()), Some(id));
        }
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId::from_bytes(*b"0123456789abcdef").to_string(), "MDEyMzQ1Njc4OWFiY2RlZg");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA+"] {
            assert_eq!(TopicId::parse_kafka(text), None, "{text:?}");
        }
    }
}
