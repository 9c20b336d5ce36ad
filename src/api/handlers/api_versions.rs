//! ApiVersions v0–4: what this gateway speaks. KIP-511 (v3: client software name, flexible), KIP-584 (features), KIP-1022 (v4:
//! features from level 0 on).
//!
//! Any version is answered: one that is too new gets UNSUPPORTED_VERSION in a version 0 body with our own ranges, which
//! is how clients find out what to use. Of the features that Kafka switches by level there is one, `group.version` (KIP-848),
//! which is always on.

use kafka_protocol::{
    ResponseError,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};

use crate::api::{APIS, Handled, Request};

pub fn handle(request: Request) -> Handled {
    if request.version < FIRST_VERSION_WITH_CLIENT {
        return request.ready(&supported(request.version));
    }
    let body: ApiVersionsRequest = request.decode()?;
    if !is_software_name(&body.client_software_name) || !is_software_name(&body.client_software_version) {
        return request.ready(&ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code()));
    }
    request.ready(&supported(request.version))
}

/// Answers a version outside the table.
pub fn unsupported_version(mut request: Request) -> Handled {
    request.version = 0;
    request.ready(&supported(0).with_error_code(ResponseError::UnsupportedVersion.code()))
}

fn supported(version: i16) -> ApiVersionsResponse {
    let api_keys = APIS
        .iter()
        .map(|api| {
            ApiVersion::default()
                .with_api_key(api.key as i16)
                .with_min_version(api.advertised_min)
                .with_max_version(api.max)
        })
        .collect();
    let (name, level) = GROUP_VERSION;
    let supported = SupportedFeatureKey::default().with_name(StrBytes::from_static_str(name)).with_max_version(level);
    let finalized = FinalizedFeatureKey::default()
        .with_name(StrBytes::from_static_str(name))
        .with_min_version_level(level)
        .with_max_version_level(level);
    ApiVersionsResponse::default()
        .with_api_keys(api_keys)
        .with_supported_features(if version < FIRST_VERSION_WITH_LEVEL_0 { Vec::new() } else { vec![supported] })
        .with_finalized_features(vec![finalized])
        .with_finalized_features_epoch(0)
}

/// `ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN`: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software_name(name: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

const FIRST_VERSION_WITH_CLIENT: i16 = 3;
/// Older clients fail at a feature that may be at level 0 (KAFKA-17011).
const FIRST_VERSION_WITH_LEVEL_0: i16 = 4;
/// `GroupVersion.GV_1`
const GROUP_VERSION: (&str, i16) = ("group.version", 1);
