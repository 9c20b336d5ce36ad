//! DescribeConfigs v1–4: topic, broker and group configs with where they come from. KIP-226 (v1: source, synonyms), KIP-569
//! (v3: type, documentation).
//!
//! Resource types: topic (2), broker (4), broker loggers (8, there are none), client metrics (16, always empty),
//! group (32, KIP-848); others are INVALID_REQUEST.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request},
    broker::Broker,
    config::{BrokerScope, ConfigEntry},
    model::validate_topic_name,
};

use super::{INVALID_REQUEST, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeConfigsRequest = request.decode()?;
    let details = Details { synonyms: body.include_synonyms, documentation: body.include_documentation };
    let mut seen = HashSet::new();
    let mut resources = body.resources;
    resources.retain(|resource| seen.insert((resource.resource_type, resource.resource_name.clone())));
    let results = resources.into_iter().map(|resource| describe(request.broker(), resource, details)).collect();
    request.ready(&DescribeConfigsResponse::default().with_results(results))
}

#[derive(Clone, Copy)]
struct Details {
    synonyms: bool,
    documentation: bool,
}

fn describe(broker: &Broker, resource: DescribeConfigsResource, details: Details) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match entries(broker, &resource) {
        Ok(entries) => {
            let wanted = |entry: &ConfigEntry| match &resource.configuration_keys {
                Some(keys) if !keys.is_empty() => keys.iter().any(|key| **key == *entry.name),
                // As in Kafka, an empty list asks for all, as none does.
                _ => true,
            };
            result.with_configs(entries.into_iter().filter(wanted).map(|entry| encode(entry, details)).collect())
        }
        Err((error, message)) => result.with_error_code(error.code()).with_error_message(Some(text(message))),
    }
}

fn entries(broker: &Broker, resource: &DescribeConfigsResource) -> Result<Vec<ConfigEntry>, (ResponseError, String)> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        RESOURCE_TOPIC => {
            validate_topic_name(name).map_err(|error| (ResponseError::InvalidTopicException, error.to_string()))?;
            match broker.topics().topic(name) {
                Some(topic) => Ok(broker.describe_topic_configs(topic)),
                None => Err((ResponseError::UnknownTopicOrPartition, String::new())),
            }
        }
        RESOURCE_BROKER => describe_broker(broker, name).map_err(|message| (ResponseError::InvalidRequest, message)),
        RESOURCE_BROKER_LOGGER => match broker_scope(broker, name) {
            Ok(BrokerScope::Broker) => Ok(Vec::new()),
            Ok(BrokerScope::Cluster) => Err((ResponseError::InvalidRequest, "Broker id must not be empty".to_owned())),
            Err(wrong) => Err((ResponseError::InvalidRequest, wrong_broker(broker, name, &wrong))),
        },
        RESOURCE_GROUP if name.is_empty() => {
            Err((ResponseError::InvalidRequest, "Group name must not be empty".to_owned()))
        }
        RESOURCE_GROUP => Ok(broker.describe_group_configs(name)),
        // Client metrics (16) belong to a feature that is not there: none are set.
        RESOURCE_CLIENT_METRICS => Ok(Vec::new()),
        _ => Err((ResponseError::InvalidRequest, INVALID_REQUEST.to_owned())),
    }
}

fn describe_broker(broker: &Broker, name: &str) -> Result<Vec<ConfigEntry>, String> {
    let scope = broker_scope(broker, name).map_err(|wrong| wrong_broker(broker, name, &wrong))?;
    Ok(broker.describe_broker_configs(scope))
}

fn wrong_broker(broker: &Broker, name: &str, wrong: &WrongBroker) -> String {
    match wrong {
        WrongBroker::Other(id) => {
            format!("Unexpected broker id, expected {} or empty string, but received {id}", broker.node_id())
        }
        WrongBroker::NoNumber => format!("Broker id must be an integer, but it is: {name}"),
    }
}

/// Why a resource's name is not one of this broker; Kafka has other words for it in each API.
pub(super) enum WrongBroker {
    Other(i32),
    NoNumber,
}

/// Which broker configs a resource's name means: those of this broker, or with an empty name those of all.
pub(super) fn broker_scope(broker: &Broker, name: &str) -> Result<BrokerScope, WrongBroker> {
    if name.is_empty() {
        return Ok(BrokerScope::Cluster);
    }
    match name.parse::<i32>() {
        Ok(id) if id == broker.node_id() => Ok(BrokerScope::Broker),
        Ok(id) => Err(WrongBroker::Other(id)),
        Err(_) => Err(WrongBroker::NoNumber),
    }
}

fn encode(entry: ConfigEntry, details: Details) -> DescribeConfigsResourceResult {
    let synonyms = if details.synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.wire())
        .with_is_sensitive(entry.is_sensitive)
        .with_synonyms(
            synonyms
                .into_iter()
                .map(|synonym| {
                    DescribeConfigsSynonym::default()
                        .with_name(text(synonym.name))
                        .with_value(synonym.value.map(StrBytes::from_string))
                        .with_source(synonym.source.wire())
                })
                .collect(),
        )
        .with_config_type(entry.config_type.wire())
        .with_documentation(details.documentation.then(|| text(entry.documentation)))
}

pub(super) const RESOURCE_TOPIC: i8 = 2;
pub(super) const RESOURCE_BROKER: i8 = 4;
/// Brokers have no loggers that could be configured.
pub(super) const RESOURCE_BROKER_LOGGER: i8 = 8;
pub(super) const RESOURCE_CLIENT_METRICS: i8 = 16;
pub(super) const RESOURCE_GROUP: i8 = 32;
