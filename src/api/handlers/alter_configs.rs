//! AlterConfigs v0–2: replaces all configs of topics and brokers (KIP-133).

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
};

use crate::{
    api::{Handled, Request},
    broker::{Broker, ConfigChange},
};

use super::incremental_alter_configs::{Altered, alter_resource};

pub fn handle(request: Request) -> Handled {
    let body: AlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let mut responses = Vec::with_capacity(body.resources.len());
        for resource in body.resources {
            responses.push(replace(request.broker(), resource, body.validate_only).await);
        }
        AlterConfigsResponse::default().with_responses(responses)
    })
}

async fn replace(broker: &Broker, resource: AlterConfigsResource, validate_only: bool) -> AlterConfigsResourceResponse {
    let given: Option<_> =
        resource.configs.into_iter().map(|config| Some((config.name.to_string(), config.value?.to_string()))).collect();
    let altered = match given {
        Some(configs) => {
            let change = ConfigChange::Replace(configs);
            alter_resource(broker, resource.resource_type, &resource.resource_name, change, validate_only).await
        }
        None => Altered::failed(ResponseError::InvalidRequest, "Null value not supported for configs"),
    };
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name)
        .with_error_code(altered.error_code)
        .with_error_message(altered.error_message)
}
