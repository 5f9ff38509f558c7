//! The APIs: keys, names, version ranges, header versions.
//!
//! The table is generated from `schema/api`. Which versions a broker advertises is the broker's decision; these are the
//! versions that Kafka speaks and this codec knows.

use std::fmt;
use std::ops::RangeInclusive;

use crate::DecodeError;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

/// What the table knows of one API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    name: &'static str,
    min: i16,
    max: i16,
    known: i16,
    flexible: i16,
}

impl ApiKey {
    /// Every API, in the order of keys.
    pub const fn all() -> &'static [Self] {
        &ALL
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The API with this number, if a client can call it.
    pub fn from_code(code: i16) -> Option<Self> {
        let index = ALL.binary_search_by_key(&code, |key| key.code()).ok()?;
        Some(ALL[index])
    }

    /// Kafka's name: `Metadata`.
    pub const fn name(self) -> &'static str {
        row(self).name
    }

    /// The versions that Kafka advertises.
    pub const fn versions(self) -> RangeInclusive<i16> {
        row(self).min..=row(self).max
    }

    /// The versions that this codec knows: `versions` and those that Kafka keeps behind a switch.
    pub const fn known_versions(self) -> RangeInclusive<i16> {
        row(self).min..=row(self).known
    }

    /// Whether the version has compact lengths and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= row(self).flexible
    }

    /// The version of the header in front of a request of this version.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header in front of a response of this version. That of ApiVersions is always 0, because a
    /// client must be able to read it before it knows what the broker speaks.
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = DecodeError;

    fn try_from(key: i16) -> Result<Self, DecodeError> {
        Self::from_code(key).ok_or(DecodeError::UnknownApi { key })
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
