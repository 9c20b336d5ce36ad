//! IncrementalAlterConfigs v0–1: sets, deletes, appends to and subtracts from single configs of topics, brokers and
//! groups (KIP-339, KIP-848). Broker configs that need a restart are refused as in Kafka.

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
    api::{
        Handled, Request,
        errors::{KafkaError, code_of, message_of},
    },
    broker::{AlterConfigsError, Broker, ConfigChange},
    catalog::CatalogError,
    config::{ConfigOp, ConfigOpKind},
    model::{InvalidTopicName, validate_topic_name},
};

use super::{
    describe_configs::{RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC, WrongBroker, broker_scope},
    split_repeated,
};

pub fn handle(request: Request) -> Handled {
    let body: IncrementalAlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let wanted = body.resources.into_iter().map(alteration).collect();
        let altered = alter_all(request.broker(), wanted, body.validate_only).await;
        IncrementalAlterConfigsResponse::default().with_responses(altered.into_iter().map(respond).collect())
    })
}

/// What a request wants of one resource.
pub(super) struct Alteration {
    pub(super) resource_type: i8,
    pub(super) resource_name: StrBytes,
    /// Or what is wrong with the request.
    pub(super) change: Result<ConfigChange, String>,
}

/// What altering one resource came to.
pub(super) struct Altered {
    pub(super) resource_type: i8,
    pub(super) resource_name: StrBytes,
    pub(super) result: Result<(), AlterError>,
}

/// Why a resource was not altered.
#[derive(Debug, thiserror::Error)]
pub(super) enum AlterError {
    #[error("{0}")]
    Request(String),
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    #[error(transparent)]
    TopicName(#[from] InvalidTopicName),
    #[error(transparent)]
    Configs(#[from] AlterConfigsError),
}

impl KafkaError for AlterError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Request(_) => ResponseError::InvalidRequest,
            Self::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            Self::TopicName(_) => ResponseError::InvalidTopicException,
            Self::Configs(error) => error.kafka(),
        }
    }
}

/// Changes the configs of one resource after another, except of those that the request names more than once.
pub(super) async fn alter_all(broker: &Broker, wanted: Vec<Alteration>, validate_only: bool) -> Vec<Altered> {
    let (single, repeated) = split_repeated(wanted, |wanted| (wanted.resource_type, wanted.resource_name.clone()));
    let refuse = |Alteration { resource_type, resource_name, .. }| {
        let error = AlterError::Request("Each resource must appear at most once.".to_owned());
        Altered { resource_type, resource_name, result: Err(error) }
    };
    let mut altered: Vec<_> = repeated.into_iter().map(refuse).collect();
    for Alteration { resource_type, resource_name, change } in single {
        let result = alter(broker, resource_type, &resource_name, change, validate_only).await;
        altered.push(Altered { resource_type, resource_name, result });
    }
    altered
}

async fn alter(
    broker: &Broker,
    resource_type: i8,
    name: &str,
    change: Result<ConfigChange, String>,
    validate_only: bool,
) -> Result<(), AlterError> {
    let change = change.map_err(AlterError::Request)?;
    match resource_type {
        RESOURCE_TOPIC if name.is_empty() => {
            return Err(AlterError::Request("Default topic resources are not allowed.".to_owned()));
        }
        RESOURCE_TOPIC => {
            validate_topic_name(name)?;
            broker.alter_topic_configs(name, change, validate_only).await.map_err(|error| of_topic(name, error))?;
        }
        RESOURCE_BROKER => {
            let scope = broker_scope(broker, name).map_err(|error| wrong_broker(broker, name, &error))?;
            broker.alter_broker_configs(scope, change, validate_only).await?;
        }
        RESOURCE_GROUP if name.is_empty() => {
            return Err(AlterError::Request("Default group resources are not allowed.".to_owned()));
        }
        RESOURCE_GROUP => broker.alter_group_configs(name, change, validate_only).await?,
        other => return Err(AlterError::Request(format!("Unknown resource type {other}"))),
    }
    Ok(())
}

fn of_topic(name: &str, error: AlterConfigsError) -> AlterError {
    match error {
        AlterConfigsError::Catalog(CatalogError::UnknownTopic) => AlterError::UnknownTopic(name.to_owned()),
        error => error.into(),
    }
}

fn wrong_broker(broker: &Broker, name: &str, error: &WrongBroker) -> AlterError {
    AlterError::Request(match error {
        WrongBroker::Other(id) => format!("Unexpected broker id, expected {}, but received {id}", broker.node_id()),
        WrongBroker::NoNumber => format!("Node id must be an integer, but it is: {name}"),
    })
}

fn alteration(resource: AlterConfigsResource) -> Alteration {
    Alteration {
        change: ops(&resource).map(ConfigChange::Ops),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }
}

fn respond(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(altered.resource_type)
        .with_resource_name(altered.resource_name)
        .with_error_code(code_of(&altered.result))
        .with_error_message(message_of(&altered.result))
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
