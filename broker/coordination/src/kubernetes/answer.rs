//! What an answer of the API server, or none, means for who asked.
//!
//! Owns the difference between "not written and never will be" and "nobody knows". In doubt nobody knows: a write that
//! is taken for undone and appears later would be a second history.

use std::error::Error as StdError;

use kube::Error;
use kube::core::Status;

use crate::{LeaseError, PutError, Unavailable};

/// The object does not exist, and its kind does.
pub(super) fn is_absent(error: &Error) -> bool {
    // A kind that is not installed answers 404 too, without naming anything.
    let names_it = |status: &Status| status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    status(error).is_some_and(|status| status.code == 404 && names_it(status))
}

pub(super) fn unavailable(error: Error) -> Unavailable {
    Unavailable(describe(error))
}

pub(super) fn lease_error(error: Error) -> LeaseError {
    if is_absent(&error) || status(&error).is_some_and(|status| status.code == 409) {
        LeaseError::Taken
    } else {
        LeaseError::Unavailable(unavailable(error))
    }
}

pub(super) fn put_error(error: Error) -> PutError {
    let code = status(&error).map_or(0, |status| status.code);
    if code == 409 || is_absent(&error) {
        return PutError::Conflict;
    }
    // Refused before anything was tried: malformed, not allowed, too large, too many requests.
    let refused = matches!(code, 400..=407 | 413..=415 | 422 | 429);
    let unsent = matches!(error, Error::BuildRequest(_) | Error::Auth(_)) || is_refused_connection(&error);
    if refused || unsent { PutError::NotDone(describe(error)) } else { PutError::Unknown(describe(error)) }
}

/// What the API server said, if it said something.
fn status(error: &Error) -> Option<&Status> {
    if let Error::Api(status) = error { Some(status) } else { None }
}

/// No connection came to be, so nothing was sent.
fn is_refused_connection(error: &Error) -> bool {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A sentence with its causes.
fn describe(error: Error) -> String {
    if let Some(status) = status(&error) {
        return format!("the API server answered {} {}: {}", status.code, status.reason, status.message);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
