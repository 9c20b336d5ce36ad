//! ListConfigResources v0–1: what DescribeConfigs describes. KIP-1000 (v0: client metrics, of which there are none),
//! KIP-1142 (v1: all types).

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources_response::ConfigResource,
    },
};

use crate::api::{Handled, Request};

use super::{
    describe_configs::{
        RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP, RESOURCE_TOPIC,
    },
    text,
};

pub fn handle(request: Request) -> Handled {
    let body: ListConfigResourcesRequest = request.decode()?;
    let response = ListConfigResourcesResponse::default();
    let wanted: HashSet<i8> = match request.version {
        0 => HashSet::new(),
        _ if body.resource_types.is_empty() => TYPES.into(),
        _ => body.resource_types.into_iter().collect(),
    };
    if wanted.iter().any(|kind| !TYPES.contains(kind)) {
        return request.ready(&response.with_error_code(ResponseError::UnsupportedVersion.code()));
    }
    let broker = request.broker();
    let mut resources = Vec::new();
    if wanted.contains(&RESOURCE_TOPIC) {
        resources.extend(broker.topics().topics().map(|topic| resource(RESOURCE_TOPIC, &topic.name)));
    }
    if wanted.contains(&RESOURCE_BROKER) {
        resources.push(resource(RESOURCE_BROKER, &broker.node_id().to_string()));
    }
    if wanted.contains(&RESOURCE_GROUP) {
        resources.extend(broker.configured_groups().iter().map(|group| resource(RESOURCE_GROUP, group)));
    }
    request.ready(&response.with_config_resources(resources))
}

fn resource(kind: i8, name: &str) -> ConfigResource {
    ConfigResource::default().with_resource_type(kind).with_resource_name(text(name))
}

/// `ListConfigResourcesRequest.SUPPORTED_RESOURCE_TYPES`
const TYPES: [i8; 5] =
    [RESOURCE_TOPIC, RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP];
