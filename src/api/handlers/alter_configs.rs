//! AlterConfigs v0–2: replaces all configs of topics and brokers (KIP-133).

use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

use crate::{
    api::{
        Handled, Request,
        errors::{code_of, message_of},
    },
    broker::ConfigChange,
};

use super::incremental_alter_configs::{Alteration, Altered, alter_all};

pub fn handle(request: Request) -> Handled {
    let body: AlterConfigsRequest = request.decode()?;
    request.alone(|request| async move {
        let wanted = body.resources.into_iter().map(replacement).collect();
        let altered = alter_all(request.broker(), wanted, body.validate_only).await;
        AlterConfigsResponse::default().with_responses(altered.into_iter().map(respond).collect())
    })
}

fn replacement(resource: AlterConfigsResource) -> Alteration {
    let given: Option<_> =
        resource.configs.into_iter().map(|config| Some((config.name.to_string(), config.value?.to_string()))).collect();
    Alteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        change: given.map(ConfigChange::Replace).ok_or_else(|| "Null value not supported for configs".into()),
    }
}

fn respond(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(altered.resource_type)
        .with_resource_name(altered.resource_name)
        .with_error_code(code_of(&altered.result))
        .with_error_message(message_of(&altered.result))
}
