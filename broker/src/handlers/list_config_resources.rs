//! ListConfigResources, versions 0 and 1.
//!
//! Version 0 lists client metrics only, of which there are none here; 1 lists what is asked for, by default everything.

use ottla_wire::ErrorCode;
use ottla_wire::messages::list_config_resources_response::ConfigResource;
use ottla_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::config_resource::Kind;
use crate::server::dispatch::Cx;

/// Every kind that can be asked for; of some there never is one.
const KINDS: [i8; 5] = [Kind::TOPIC, Kind::BROKER, Kind::BROKER_LOGGER, Kind::CLIENT_METRICS, Kind::GROUP];

/// Lists what has configs.
pub async fn handle(cx: &Cx, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    let mut response = ListConfigResourcesResponse::default();
    let asked = match cx.version {
        0 => &[Kind::CLIENT_METRICS][..],
        _ if request.resource_types.is_empty() => &KINDS,
        _ => &request.resource_types,
    };
    if asked.iter().any(|kind| !KINDS.contains(kind)) {
        response.error_code = ErrorCode::UNSUPPORTED_VERSION.code();
        return response;
    }
    let image = cx.node.metadata.image();
    let listed = |name: String, kind| ConfigResource { resource_name: name, resource_type: kind };
    if asked.contains(&Kind::TOPIC) {
        response.config_resources.extend(image.topics().keys().map(|name| listed(name.clone(), Kind::TOPIC)));
    }
    for kind in [Kind::BROKER, Kind::BROKER_LOGGER].into_iter().filter(|kind| asked.contains(kind)) {
        response.config_resources.extend(image.brokers().keys().map(|id| listed(id.to_string(), kind)));
    }
    response
}
