//! DeleteTopics v1–6: KIP-599 (v5: error messages), KIP-516 (v6: by id).

use std::{collections::BTreeSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_response::DeletableTopicResult},
};
use uuid::Uuid;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, TopicRef},
};

use super::{domain_name, split_repeated, text, topic_name};

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
    let (single, repeated) = split_repeated(asked.collect(), Clone::clone);
    let repeated: BTreeSet<_> = repeated.into_iter().collect();
    let mut responses: Vec<_> = repeated
        .into_iter()
        .map(|(name, id)| {
            let what = if name.is_some() { "name" } else { "id" };
            refused(name, id, &format!("Duplicate topic {what}."))
        })
        .collect();
    let (mut named, mut targets) = (Vec::new(), Vec::new());
    let twice = named_twice(broker, &single);
    for (name, id) in single {
        match (&name, id.is_nil()) {
            (None, false) if twice.contains(&id) => {}
            (Some(_), false) => responses.push(refused(name, id, "You may not specify both topic name and topic id.")),
            (None, true) => responses.push(refused(name, id, "Neither topic name nor id were specified.")),
            (Some(known), true) => {
                if let Some(id) = id_of(broker, known).filter(|id| twice.contains(id)) {
                    responses.push(refused(name, id, ID_SUPPLIED));
                    continue;
                }
                targets.push(TopicRef::Name(domain_name(known)));
                named.push((name, id));
            }
            (None, false) => {
                targets.push(TopicRef::Id(id));
                named.push((name, id));
            }
        }
    }
    let results = broker.delete_topics(targets).await;
    responses.extend(named.into_iter().zip(results).map(|((name, id), result)| {
        match result {
            Ok(topic) => {
                DeletableTopicResult::default().with_name(Some(topic_name(&topic.name))).with_topic_id(topic.id)
            }
            Err(error) => DeletableTopicResult::default()
                .with_name(name)
                .with_topic_id(id)
                .with_error_code(error.code())
                .with_error_message(error.message()),
        }
    }));
    responses
}

/// The topics that a request gives by name and by id.
fn named_twice(broker: &Broker, asked: &[(Option<TopicName>, Uuid)]) -> BTreeSet<Uuid> {
    let ids: BTreeSet<_> = asked.iter().filter(|(name, _)| name.is_none()).map(|(_, id)| *id).collect();
    let names = asked.iter().filter(|(_, id)| id.is_nil()).filter_map(|(name, _)| id_of(broker, name.as_ref()?));
    names.filter(|id| ids.contains(id)).collect()
}

fn id_of(broker: &Broker, name: &TopicName) -> Option<Uuid> {
    broker.topics().topic(name).map(|topic| topic.id)
}

fn refused(name: Option<TopicName>, id: Uuid, message: &str) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name)
        .with_topic_id(id)
        .with_error_code(ResponseError::InvalidRequest.code())
        .with_error_message(Some(text(message)))
}

const ID_SUPPLIED: &str = "The provided topic name maps to an ID that was already supplied.";
