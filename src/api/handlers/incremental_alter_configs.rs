//! IncrementalAlterConfigs v0–1: sets, deletes, appends to and subtracts from single configs of topics and brokers
//! (KIP-339). Broker configs that need a restart are refused as in Kafka.

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
    broker::{Broker, ConfigChange},
    config::{ConfigOp, ConfigOpKind},
    model::validate_topic_name,
};

use super::{
    describe_configs::{RESOURCE_BROKER, RESOURCE_TOPIC, broker_scope},
    split_repeated, text,
};

pub fn handle(request: Request) -> Handled {
    let body: IncrementalAlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let (single, repeated) =
            split_repeated(body.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
        let mut responses: Vec<_> = repeated
            .into_iter()
            .map(|resource| respond(resource.resource_type, resource.resource_name, Altered::repeated()))
            .collect();
        for resource in single {
            responses.push(alter(request.broker(), resource, body.validate_only).await);
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
    /// Of a resource that a request names more than once.
    pub(super) fn repeated() -> Self {
        Self::failed(ResponseError::InvalidRequest, "Each resource must appear at most once.")
    }

    pub(super) fn failed(error: ResponseError, message: impl AsRef<str>) -> Self {
        Self { error_code: error.code(), error_message: Some(text(message)) }
    }
}

/// Changes the configs of a topic or broker.
pub(super) async fn alter_resource(
    broker: &Broker,
    resource_type: i8,
    name: &str,
    change: ConfigChange,
    validate_only: bool,
) -> Altered {
    let result = match resource_type {
        RESOURCE_TOPIC => match validate_topic_name(name) {
            Ok(()) => broker.alter_topic_configs(name, change, validate_only).await,
            Err(error) => return Altered::failed(ResponseError::InvalidTopicException, error.to_string()),
        },
        RESOURCE_BROKER => match broker_scope(broker, name) {
            Ok(scope) => broker.alter_broker_configs(scope, change, validate_only).await,
            Err(message) => return Altered::failed(ResponseError::InvalidRequest, message),
        },
        other => return Altered::failed(ResponseError::InvalidRequest, format!("Unsupported resource type: {other}")),
    };
    match result {
        Ok(()) => Altered { error_code: 0, error_message: None },
        Err(error) => Altered { error_code: error.code(), error_message: error.message() },
    }
}

async fn alter(broker: &Broker, resource: AlterConfigsResource, validate_only: bool) -> AlterConfigsResourceResponse {
    let name = resource.resource_name.as_str();
    let altered = match ops(&resource) {
        Ok(ops) => alter_resource(broker, resource.resource_type, name, ConfigChange::Ops(ops), validate_only).await,
        Err(message) => Altered::failed(ResponseError::InvalidRequest, message),
    };
    respond(resource.resource_type, resource.resource_name, altered)
}

fn respond(resource_type: i8, resource_name: StrBytes, altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource_type)
        .with_resource_name(resource_name)
        .with_error_code(altered.error_code)
        .with_error_message(altered.error_message)
}

fn ops(resource: &AlterConfigsResource) -> Result<Vec<ConfigOp>, String> {
    resource
        .configs
        .iter()
        .map(|config| {
            let kind = ConfigOpKind::from_wire(config.config_operation)
                .ok_or_else(|| format!("Unknown operation type {}", config.config_operation))?;
            Ok(ConfigOp { name: config.name.to_string(), kind, value: config.value.as_ref().map(ToString::to_string) })
        })
        .collect()
}
