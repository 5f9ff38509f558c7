//! Why a configuration is refused: each fact with the key, the value and what would be allowed.

/// A value that its key does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} for configuration {key}: expected {allowed}")]
pub struct InvalidValue {
    /// The key.
    pub key: String,
    /// The value as it was given.
    pub value: String,
    /// What the key takes.
    pub allowed: String,
}

/// A key that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown configuration {key}{}", nearest.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default())]
pub struct UnknownKey {
    /// The key as it was given.
    pub key: String,
    /// The known key that it resembles most, if one does.
    pub nearest: Option<&'static str>,
}

/// Two values that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration {key} ({value}) {rule} {other} ({other_value})")]
pub struct Conflict {
    /// The first key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What has to hold between them, as a verb phrase: "may not be larger than".
    pub rule: &'static str,
    /// The other key.
    pub other: &'static str,
    /// The other value.
    pub other_value: String,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is not one the key takes.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// There is no such key.
    #[error(transparent)]
    Unknown(#[from] UnknownKey),
    /// Two values contradict each other.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The key is set in the broker's file and cannot be changed while it runs.
    #[error("configuration {0} can only be set in the broker's configuration file, at start")]
    ReadOnly(&'static str),
    /// The key can be set for one broker, not for all.
    #[error("configuration {0} can be changed for one broker only, not as the default of all")]
    PerBroker(&'static str),
    /// The key cannot be appended to or subtracted from.
    #[error("configuration {0} is not a list: append and subtract do not apply")]
    NotAList(&'static str),
    /// No value was given where one is needed.
    #[error("configuration {0} was given no value")]
    NoValue(String),
    /// Internal topics always acknowledge after their records are on disk.
    #[error("internal topics never opt out of durable acks: {0} stays as it is")]
    InternalDurability(&'static str),
}
