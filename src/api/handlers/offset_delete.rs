//! OffsetDelete v0: forgets offsets of a group (KIP-496), but not of topics that its members subscribe to.

use std::sync::Arc;

use kafka_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteResponse,
    offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
};

use crate::{
    api::{
        Handled, Request,
        errors::{KafkaError, code_of},
    },
    broker::OffsetResults,
    coordinator::{DeleteOffsetsRequest, GroupError},
    model::TopicPartition,
};

use super::{domain_name, shared, topic_name};

pub fn handle(request: Request) -> Handled {
    let body: OffsetDeleteRequest = request.decode()?;
    let mut partitions = Vec::new();
    for topic in body.topics {
        let name = domain_name(&topic.name);
        let indexes = topic.partitions.into_iter().map(|partition| partition.partition_index);
        partitions.extend(indexes.map(|index| TopicPartition::new(Arc::clone(&name), index)));
    }
    let delete = DeleteOffsetsRequest { group_id: shared(&body.group_id), partitions };
    let deleted = request.broker().delete_offsets(delete);
    request.pending(async move { respond(deleted.await) })
}

fn respond(deleted: Result<OffsetResults, GroupError>) -> OffsetDeleteResponse {
    let results = match deleted {
        Ok(results) => results,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut topics: Vec<OffsetDeleteResponseTopic> = Vec::new();
    for (TopicPartition { topic, partition }, result) in results {
        let result =
            OffsetDeleteResponsePartition::default().with_partition_index(partition).with_error_code(code_of(&result));
        match topics.last_mut() {
            Some(last) if last.name.as_str() == &*topic => last.partitions.push(result),
            _ => topics
                .push(OffsetDeleteResponseTopic::default().with_name(topic_name(&topic)).with_partitions(vec![result])),
        }
    }
    OffsetDeleteResponse::default().with_topics(topics)
}
