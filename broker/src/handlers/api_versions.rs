//! ApiVersions, versions 0 to 5: what this broker serves.
//!
//! Versions: 3 the client names its software (KIP-511) and learns of features, 4 features whose minimum is 0 are listed
//! too, 5 the client states which node it means to talk to (KIP-1242).
//! Must never list what does not work.

use ottla_wire::messages::api_versions_response::ApiVersion;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode};

use crate::server::dispatch::Cx;
use crate::server::session::Software;
use crate::server::table::TABLE;

/// Answers with the table, or with the reason why the client should look elsewhere.
pub async fn handle(cx: &Cx, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if cx.version >= 3 {
        let (name, version) = (request.client_software_name, request.client_software_version);
        if !is_software(&name) || !is_software(&version) {
            return ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.code(), ..Default::default() };
        }
        let _said_before = cx.session.software.set(Software { name, version });
    }
    if cx.version >= 5 {
        let other_cluster =
            request.cluster_id.is_some_and(|id| id != cx.node.metadata.image().cluster_id().to_string());
        let other_node = request.node_id >= 0 && request.node_id != cx.node.id().get();
        if other_cluster || other_node {
            return ApiVersionsResponse { error_code: ErrorCode::REBOOTSTRAP_REQUIRED.code(), ..Default::default() };
        }
    }
    let api_keys = TABLE
        .iter()
        .map(|row| ApiVersion { api_key: row.key.code(), min_version: row.min, max_version: row.max })
        .collect();
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// The version 0 answer to a version that is not served: where ApiVersions itself can be met.
pub fn unsupported() -> ApiVersionsResponse {
    let api_keys = TABLE
        .iter()
        .filter(|row| row.key == ApiKey::ApiVersions)
        .map(|row| ApiVersion { api_key: row.key.code(), min_version: row.min, max_version: row.max })
        .collect();
    ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.code(), api_keys, ..Default::default() }
}

/// Kafka's pattern: letters, digits, `-` and `.`, beginning and ending with a letter or digit.
fn is_software(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.1", "a"] {
            assert!(is_software(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".1", "a b", "ä"] {
            assert!(!is_software(bad), "{bad}");
        }
    }
}
