//! AlterConfigs v0–2: replaces all configs of topics and brokers (KIP-133).

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request},
    broker::{Broker, ConfigChange},
};

use super::{
    incremental_alter_configs::{Altered, alter_resource},
    split_repeated,
};

pub fn handle(request: Request) -> Handled {
    let body: AlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let (single, repeated) =
            split_repeated(body.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
        let mut responses: Vec<_> = repeated
            .into_iter()
            .map(|resource| respond(resource.resource_type, resource.resource_name, Altered::repeated()))
            .collect();
        for resource in single {
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
    respond(resource.resource_type, resource.resource_name, altered)
}

fn respond(resource_type: i8, resource_name: StrBytes, altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource_type)
        .with_resource_name(resource_name)
        .with_error_code(altered.error_code)
        .with_error_message(altered.error_message)
}
