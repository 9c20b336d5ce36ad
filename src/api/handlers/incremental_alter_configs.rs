//! IncrementalAlterConfigs v0–1: sets, deletes, appends to and subtracts from single configs of topics (KIP-339).
//! Broker configs cannot be changed at run time: INVALID_REQUEST says so.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::AlterConfigsResource,
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::AlterConfigsError,
    config::{ConfigOp, ConfigOpKind},
    model::validate_topic_name,
};

use super::{
    describe_configs::{RESOURCE_BROKER, RESOURCE_TOPIC},
    text,
};

pub fn handle(request: Request) -> Handled {
    let body: IncrementalAlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let mut responses = Vec::with_capacity(body.resources.len());
        for resource in body.resources {
            responses.push(alter(&request, resource, body.validate_only).await);
        }
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    })
}

/// What altering one resource came to.
pub(super) struct Altered {
    pub(super) error_code: i16,
    pub(super) error_message: Option<StrBytes>,
}

impl Altered {
    fn failed(error: ResponseError, message: impl AsRef<str>) -> Self {
        Self { error_code: error.code(), error_message: Some(text(message)) }
    }
}

/// Runs `change` if the resource is a topic; nothing else can be altered.
pub(super) async fn alter_topic(
    resource_type: i8,
    name: &str,
    change: impl Future<Output = Result<(), AlterConfigsError>>,
) -> Altered {
    match resource_type {
        RESOURCE_TOPIC => {
            if let Err(error) = validate_topic_name(name) {
                return Altered::failed(ResponseError::InvalidTopicException, error.to_string());
            }
            match change.await {
                Ok(()) => Altered { error_code: 0, error_message: None },
                Err(error) => Altered { error_code: error.code(), error_message: error.message() },
            }
        }
        RESOURCE_BROKER => Altered::failed(
            ResponseError::InvalidRequest,
            "Broker configs cannot be changed at run time; change the config file and restart.",
        ),
        other => Altered::failed(ResponseError::InvalidRequest, format!("Unsupported resource type: {other}")),
    }
}

async fn alter(request: &Request, resource: AlterConfigsResource, validate_only: bool) -> AlterConfigsResourceResponse {
    let name = resource.resource_name.as_str();
    let altered = match ops(&resource) {
        Ok(ops) => {
            alter_topic(resource.resource_type, name, request.broker().alter_configs(name, ops, validate_only)).await
        }
        Err(message) => Altered::failed(ResponseError::InvalidRequest, message),
    };
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name)
        .with_error_code(altered.error_code)
        .with_error_message(altered.error_message)
}

fn ops(resource: &AlterConfigsResource) -> Result<Vec<ConfigOp>, String> {
    let mut seen = HashSet::new();
    resource
        .configs
        .iter()
        .map(|config| {
            if !seen.insert(config.name.as_str()) {
                return Err("Error due to duplicate config keys".to_owned());
            }
            let kind = match config.config_operation {
                0 => ConfigOpKind::Set,
                1 => ConfigOpKind::Delete,
                2 => ConfigOpKind::Append,
                3 => ConfigOpKind::Subtract,
                other => return Err(format!("Unknown operation type {other}")),
            };
            let value = config.value.as_ref().map(ToString::to_string);
            if value.is_none() && kind != ConfigOpKind::Delete {
                return Err(format!("Null value not supported for : {}", config.name.as_str()));
            }
            Ok(ConfigOp { name: config.name.to_string(), kind, value })
        })
        .collect()
}
