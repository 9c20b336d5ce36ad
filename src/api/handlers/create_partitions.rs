//! CreatePartitions v0–3: grows topics (KIP-195).

use std::collections::BTreeSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use crate::{
    api::{
        Handled, Request,
        errors::{code_of, message_of},
    },
    broker::{Broker, CreateTopicError},
    catalog::CatalogError,
};

use super::{split_repeated, text};

pub fn handle(request: Request) -> Handled {
    let body: CreatePartitionsRequest = request.decode()?;
    request.alone(|request| async move {
        let (single, repeated) = split_repeated(body.topics, |topic| topic.name.clone());
        let mut results = Vec::with_capacity(single.len());
        for topic in single {
            results.push(grow(request.broker(), topic, body.validate_only).await);
        }
        let repeated: BTreeSet<_> = repeated.into_iter().map(|topic| topic.name).collect();
        results.extend(repeated.into_iter().map(|name| {
            CreatePartitionsTopicResult::default()
                .with_name(name)
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(text("Duplicate topic name.")))
        }));
        CreatePartitionsResponse::default().with_results(results)
    })
}

async fn grow(broker: &Broker, topic: CreatePartitionsTopic, validate_only: bool) -> CreatePartitionsTopicResult {
    let assignments = topic.assignments.map(|assignments| {
        assignments.into_iter().map(|one| one.broker_ids.into_iter().map(|id| id.0).collect()).collect()
    });
    let result = broker.create_partitions(&topic.name, topic.count, assignments, validate_only).await;
    let message = match &result {
        // Kafka leaves it at the code.
        Err(CreateTopicError::Catalog(CatalogError::UnknownTopic)) => None,
        result => message_of(result),
    };
    CreatePartitionsTopicResult::default()
        .with_name(topic.name)
        .with_error_code(code_of(&result))
        .with_error_message(message)
}
