//! What AlterConfigs and IncrementalAlterConfigs have in common: which resource is meant, and the answers.

use ottla_core::controller::{ConfigChange, ConfigTarget};
use ottla_wire::ErrorCode;

use super::config_resource::{BrokerTarget, Kind};
use crate::controller::{Refusal, WAIT_MAX};
use crate::server::dispatch::Cx;

/// A request that contradicts itself, or asks for what there is not.
pub fn refused(message: impl Into<String>) -> Refusal {
    Refusal { code: ErrorCode::INVALID_REQUEST, message: message.into() }
}

/// Null where a value is needed.
pub fn null(key: &str) -> Refusal {
    refused(format!("null is no value for configuration {key}"))
}

/// What became of one resource.
#[derive(Debug)]
pub struct Outcome {
    /// As the request numbers it.
    pub resource_type: i8,
    /// As the request names it.
    pub resource_name: String,
    /// The error, if any.
    pub error: ErrorCode,
    /// Why, for people.
    pub message: Option<String>,
}

/// What a resource of the request means.
///
/// # Errors
/// [`Refusal`] for a kind whose configs are not kept, and for a broker that is none.
pub fn target(resource_type: i8, name: &str) -> Result<ConfigTarget, Refusal> {
    match Kind::read(resource_type) {
        Some(Kind::Topic) => Ok(ConfigTarget::Topic(name.to_owned())),
        Some(Kind::Broker) => match BrokerTarget::read(name) {
            Some(BrokerTarget::One(id)) => Ok(ConfigTarget::Broker(id)),
            Some(BrokerTarget::All) => Ok(ConfigTarget::AllBrokers),
            None => Err(refused(format!("{name:?} is no broker id, and an empty name is all brokers"))),
        },
        None => Err(refused(format!("configs of resource type {resource_type} cannot be altered"))),
    }
}

/// A resource of the request: its number, its name, and what it came to.
pub type Resource = (i8, String, Result<(ConfigTarget, ConfigChange), Refusal>);

/// Has the controller alter what could be read; answers in the order of `resources`.
pub async fn alter(cx: &Cx, resources: Vec<Resource>, validate_only: bool) -> Vec<Outcome> {
    let mut asked = Vec::with_capacity(resources.len());
    let mut outcomes = Vec::with_capacity(resources.len());
    let mut changes = Vec::with_capacity(resources.len());
    for (index, (resource_type, resource_name, read)) in resources.into_iter().enumerate() {
        let (error, message) = match read {
            Ok(change) => {
                asked.push(index);
                changes.push(change);
                (ErrorCode::NONE, None)
            }
            Err(refusal) => (refusal.code, Some(refusal.message)),
        };
        outcomes.push(Outcome { resource_type, resource_name, error, message });
    }
    let results = cx.node.controller.alter_configs(changes, validate_only, WAIT_MAX).await;
    for (index, result) in asked.into_iter().zip(results) {
        let outcome = &mut outcomes[index];
        if let Err(refusal) = result {
            (outcome.error, outcome.message) = (refusal.code, Some(refusal.message));
        }
    }
    outcomes
}
