//! Configs of broker 1 at run time, asked and changed through it.
//!
//! Owns the requests. Judges nothing: what an answer must say is the caller's to know.

use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::peer::{Peer, with};

pub(crate) const BROKER: i8 = 4;

/// What DescribeConfigs says of a key: the value and where it comes from.
pub(crate) async fn described(peer: &mut Peer, key: &str) -> (Option<String>, i8) {
    let resource = with(|resource: &mut DescribeConfigsResource| {
        resource.resource_type = BROKER;
        resource.resource_name = "1".to_owned();
        resource.configuration_keys = Some(vec![key.to_owned()]);
    });
    let request = with(|request: &mut DescribeConfigsRequest| request.resources = vec![resource]);
    let answer = peer.ask(&request, 4).await;
    let config = &answer.results[0].configs[0];
    (config.value.clone(), config.config_source)
}

/// Sets the key for this broker, or takes that back.
pub(crate) async fn alter(peer: &mut Peer, key: &str, value: Option<&str>) -> ErrorCode {
    let config = with(|config: &mut AlterableConfig| {
        config.name = key.to_owned();
        config.config_operation = i8::from(value.is_none());
        config.value = value.map(str::to_owned);
    });
    let resource = with(|resource: &mut AlterConfigsResource| {
        resource.resource_type = BROKER;
        resource.resource_name = "1".to_owned();
        resource.configs = vec![config];
    });
    let request = with(|request: &mut IncrementalAlterConfigsRequest| request.resources = vec![resource]);
    ErrorCode::new(peer.ask(&request, 1).await.responses[0].error_code)
}
