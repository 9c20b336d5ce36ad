//! AlterConfigs v0–2: replaces all configs of topics, brokers and groups (KIP-133).

use std::collections::BTreeMap;

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
    Alteration {
        change: given(&resource).map(ConfigChange::Replace),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }
}

fn given(resource: &AlterConfigsResource) -> Result<BTreeMap<String, String>, String> {
    let nulls: Vec<_> =
        resource.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
    if !nulls.is_empty() {
        return Err(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    let mut given = BTreeMap::new();
    for config in &resource.configs {
        let value = config.value.as_deref().unwrap_or_default();
        if given.insert(config.name.to_string(), value.to_owned()).is_some() {
            return Err("Error due to duplicate config keys".to_owned());
        }
    }
    Ok(given)
}

fn respond(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(altered.resource_type)
        .with_resource_name(altered.resource_name)
        .with_error_code(code_of(&altered.result))
        .with_error_message(message_of(&altered.result))
}
