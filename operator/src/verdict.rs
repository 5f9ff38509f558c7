//! How both controllers say what they found: a refusal, and the conditions of a status.
//!
//! Owns their shape, whatever the closed list of reasons. Pure: the time is an argument. Must never give a condition a new
//! time while its status stays.

use std::fmt::Display;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::shared::Condition;

/// What keeps an object from becoming what its `spec` says, until a person does something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<R> {
    /// In a word.
    pub reason: R,
    /// In a sentence that names the thing and the way out.
    pub message: String,
}

impl<R> Refusal<R> {
    /// A refusal.
    pub fn new(reason: R, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A condition's status, why, and the sentence.
pub type Verdict<R> = (&'static str, R, String);

/// The condition of that type in `after`, if its status or its reason is another one than in `before`.
pub fn changed<'a>(before: &[Condition], after: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    let is = after.iter().find(|one| one.type_ == kind)?;
    let same = |one: &Condition| one.type_ == kind && one.status == is.status && one.reason == is.reason;
    (!before.iter().any(same)).then_some(is)
}

/// The conditions of an object at `now`, made one by one.
pub struct Conditions<'a> {
    /// Those that its status has.
    pub before: &'a [Condition],
    /// Of the `spec` that is spoken of.
    pub generation: Option<i64>,
    /// When.
    pub now: Timestamp,
}

impl Conditions<'_> {
    /// The condition of that type.
    pub fn of<R: Display>(&self, kind: &str, (status, reason, message): Verdict<R>) -> Condition {
        let same = self.before.iter().find(|one| one.type_ == kind && one.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message,
            observed_generation: self.generation,
            last_transition_time: same.map_or(Time(self.now), |one| one.last_transition_time.clone()),
        }
    }
}
