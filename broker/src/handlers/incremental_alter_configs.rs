//! IncrementalAlterConfigs, versions 0 and 1: setting, deleting, and adding to or taking from lists, key by key.

use ottla_core::config::Alteration;
use ottla_core::controller::{ConfigChange, ConfigTarget};
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alteration::{self, Outcome};
use crate::controller::Refusal;
use crate::server::dispatch::Cx;

/// Has the controller change single keys, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let read =
        |resource: AlterConfigsResource| (resource.resource_type, resource.resource_name.clone(), read(resource));
    let resources = request.resources.into_iter().map(read).collect();
    let answered = |outcome: Outcome| AlterConfigsResourceResponse {
        error_code: outcome.error.code(),
        error_message: outcome.message,
        resource_type: outcome.resource_type,
        resource_name: outcome.resource_name,
    };
    let responses = alteration::alter(cx, resources, request.validate_only).await;
    IncrementalAlterConfigsResponse { responses: responses.into_iter().map(answered).collect(), ..Default::default() }
}

fn read(resource: AlterConfigsResource) -> Result<(ConfigTarget, ConfigChange), Refusal> {
    let target = alteration::target(resource.resource_type, &resource.resource_name)?;
    let changes = resource.configs.into_iter().map(change).collect::<Result<_, _>>()?;
    Ok((target, ConfigChange::Alter(changes)))
}

fn change(entry: AlterableConfig) -> Result<(String, Alteration), Refusal> {
    let value = || entry.value.clone().ok_or_else(|| alteration::null(&entry.name));
    let change = match entry.config_operation {
        0 => Alteration::Set(value()?),
        1 => Alteration::Delete,
        2 => Alteration::Append(value()?),
        3 => Alteration::Subtract(value()?),
        other => return Err(alteration::refused(format!("{other} is no operation on a configuration"))),
    };
    Ok((entry.name, change))
}
