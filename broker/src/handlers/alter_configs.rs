//! AlterConfigs, versions 0 to 2: the older way, which replaces everything that was set.
//!
//! IncrementalAlterConfigs changes single keys; both meet in the controller.

use ottla_core::controller::{ConfigChange, ConfigTarget};
use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::alteration::{self, Outcome};
use crate::controller::{Refusal, explicit};
use crate::server::dispatch::Cx;

/// Has the controller replace configs, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: AlterConfigsRequest) -> AlterConfigsResponse {
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
    AlterConfigsResponse { responses: responses.into_iter().map(answered).collect(), ..Default::default() }
}

fn read(resource: AlterConfigsResource) -> Result<(ConfigTarget, ConfigChange), Refusal> {
    let target = alteration::target(resource.resource_type, &resource.resource_name)?;
    let mut all = Vec::with_capacity(resource.configs.len());
    for entry in resource.configs {
        let value = entry.value.ok_or_else(|| alteration::null(&entry.name))?;
        if all.iter().any(|(name, _)| *name == entry.name) {
            return Err(alteration::refused(format!("configuration {} appears more than once", entry.name)));
        }
        all.push((entry.name, value));
    }
    Ok((target, ConfigChange::Replace(explicit(all))))
}
