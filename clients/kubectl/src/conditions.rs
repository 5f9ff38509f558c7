//! Conditions: which of them are as they should be.
//!
//! Owns what is good for each type. A type that is not known here is wrong only when nobody can say how it is.

use ottla_crds::shared::Condition;

/// What a condition's status is when nothing has to be done about it.
fn wanted(kind: &str) -> Option<&'static str> {
    match kind {
        "Ready" | "DataSafe" | "Balanced" | "CertificatesValid" => Some("True"),
        "Reconciling" | "Stalled" | "UpdatePending" | "Insecure" => Some("False"),
        _ => None,
    }
}

/// Whether somebody should read this one.
pub(crate) fn is_wrong(condition: &Condition) -> bool {
    wanted(&condition.type_).map_or(condition.status == "Unknown", |wanted| condition.status != wanted)
}

/// The condition of that type.
pub(crate) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|one| one.type_ == kind)
}

/// Whether the condition of that type has that status.
pub(crate) fn is(conditions: &[Condition], kind: &str, status: &str) -> bool {
    find(conditions, kind).is_some_and(|one| one.status == status)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(kind: &str, status: &str) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: "R".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn what_is_good_depends_on_the_type() {
        let wrong = |kind, status| is_wrong(&condition(kind, status));
        assert!(!wrong("Ready", "True") && wrong("Ready", "False") && wrong("Ready", "Unknown"));
        assert!(!wrong("Stalled", "False") && wrong("Stalled", "True"));
        assert!(
            !wrong("NewlyInvented", "False") && !wrong("NewlyInvented", "True") && wrong("NewlyInvented", "Unknown")
        );
    }
}
