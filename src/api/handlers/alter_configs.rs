//! AlterConfigs v0–2: replaces all configs of topics (KIP-133). Broker configs cannot be changed at run time.

use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse,
    alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

use crate::api::{Handled, Request};

use super::incremental_alter_configs::{Altered, alter_topic};

pub fn handle(request: Request) -> Handled {
    let body: AlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let mut responses = Vec::with_capacity(body.resources.len());
        for resource in body.resources {
            responses.push(replace(&request, resource, body.validate_only).await);
        }
        AlterConfigsResponse::default().with_responses(responses)
    })
}

async fn replace(
    request: &Request,
    resource: AlterConfigsResource,
    validate_only: bool,
) -> AlterConfigsResourceResponse {
    let configs = resource
        .configs
        .into_iter()
        .filter_map(|config| Some((config.name.to_string(), config.value?.to_string())))
        .collect();
    let name = resource.resource_name.as_str();
    let Altered { error_code, error_message } =
        alter_topic(resource.resource_type, name, request.broker().replace_configs(name, configs, validate_only)).await;
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name)
        .with_error_code(error_code)
        .with_error_message(error_message)
}
