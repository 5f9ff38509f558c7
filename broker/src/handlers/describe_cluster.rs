//! DescribeCluster, versions 0 to 2.
//!
//! Versions: 1 endpoint types (this listener only serves brokers), 2 fenced brokers. Brokers are named by the address of
//! the listener that the client came through.

use ottla_core::types::BrokerId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::server::dispatch::Cx;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers from the image.
pub async fn handle(cx: &Cx, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refused = |error: ErrorCode, message: &str| DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(message.to_owned()),
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, "this listener serves brokers, not controllers");
        }
        _ => return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "the endpoint type is not known"),
    }
    let image = cx.node.metadata.image();
    let listener = &cx.session.listener.name;
    let visible = image.brokers().values().filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let described = visible.filter_map(|broker| {
        let endpoint = broker.endpoints.get(listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.get(),
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        })
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: image.cluster_id().to_string(),
        controller_id: image.controller().map_or(-1, BrokerId::get),
        brokers: described.collect(),
        ..Default::default()
    }
}
