//! DeleteTopics v1–6: KIP-599 (v5: error messages), KIP-516 (v6: by id).

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_response::DeletableTopicResult},
};
use uuid::Uuid;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, TopicRef},
};

use super::{domain_name, topic_name};

pub fn handle(request: Request) -> Handled {
    let body: DeleteTopicsRequest = request.decode()?;
    request.alone(|request| async move {
        let by_name = body.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
        let by_either = body.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
        let mut responses = Vec::new();
        for (name, id) in by_name.chain(by_either) {
            responses.push(delete(request.broker(), name, id).await);
        }
        DeleteTopicsResponse::default().with_responses(responses)
    })
}

async fn delete(broker: &Arc<Broker>, name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(id);
    let target = match &name {
        Some(_) if !id.is_nil() => {
            return result
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(super::text("Topic names and IDs may not both be specified.")));
        }
        Some(name) => TopicRef::Name(domain_name(name)),
        None => TopicRef::Id(id),
    };
    match broker.delete_topic(&target).await {
        Ok(topic) => result.with_name(Some(topic_name(&topic.name))).with_topic_id(topic.id),
        Err(error) => result.with_error_code(error.code()).with_error_message(error.message()),
    }
}
