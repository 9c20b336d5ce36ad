//! DeleteTopics v1–6: KIP-599 (v5: error messages), KIP-516 (v6: by id).

use std::{collections::HashSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_response::DeletableTopicResult},
};
use uuid::Uuid;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, TopicRef},
};

use super::{domain_name, text, topic_name};

pub fn handle(request: Request) -> Handled {
    let body: DeleteTopicsRequest = request.decode()?;
    request.alone(|request| async move {
        let by_name = body.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
        let by_either = body.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
        DeleteTopicsResponse::default().with_responses(delete(request.broker(), by_name.chain(by_either)).await)
    })
}

async fn delete(
    broker: &Arc<Broker>,
    asked: impl Iterator<Item = (Option<TopicName>, Uuid)>,
) -> Vec<DeletableTopicResult> {
    let mut responses = Vec::new();
    let (mut places, mut targets, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (name, id) in asked {
        let response = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(id);
        let target = match &name {
            Some(_) if !id.is_nil() => Err("You may not specify both topic name and topic id."),
            Some(name) => Ok(TopicRef::Name(domain_name(name))),
            None => Ok(TopicRef::Id(id)),
        };
        match target {
            Ok(target) if seen.insert(target.clone()) => {
                places.push(responses.len());
                targets.push(target);
                responses.push(response);
            }
            Ok(_) => responses.push(refused(response, "Duplicate topic name.")),
            Err(message) => responses.push(refused(response, message)),
        }
    }
    for (place, result) in places.into_iter().zip(broker.delete_topics(targets).await) {
        let Some(response) = responses.get_mut(place) else { continue };
        match result {
            Ok(topic) => {
                response.name = Some(topic_name(&topic.name));
                response.topic_id = topic.id;
            }
            Err(error) => {
                response.error_code = error.code();
                response.error_message = error.message();
            }
        }
    }
    responses
}

fn refused(response: DeletableTopicResult, message: &str) -> DeletableTopicResult {
    response.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(text(message)))
}
