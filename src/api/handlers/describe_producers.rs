//! DescribeProducers v0: the idempotent producers that a partition remembers (KIP-664). A partition that comes twice is
//! answered once.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_request::TopicRequest,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::Broker,
    log::ProducerInfo,
    model::validate_topic_name,
};

use super::{UNKNOWN_TOPIC_OR_PARTITION, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeProducersRequest = request.decode()?;
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(body.topics.len());
    for mut topic in body.topics {
        topic.partition_indexes.retain(|&partition| seen.insert((topic.name.clone(), partition)));
        topics.push(describe(request.broker(), topic));
    }
    request.ready(&DescribeProducersResponse::default().with_topics(topics))
}

fn describe(broker: &Broker, asked: TopicRequest) -> TopicResponse {
    let refused = match (validate_topic_name(&asked.name), broker.topics().topic(&asked.name)) {
        (Err(error), _) => Some((ResponseError::InvalidTopicException, text(error.to_string()))),
        (Ok(()), None) => {
            let message = StrBytes::from_static_str(UNKNOWN_TOPIC_OR_PARTITION);
            Some((ResponseError::UnknownTopicOrPartition, message))
        }
        (Ok(()), Some(_)) => None,
    };
    let partitions = asked.partition_indexes.iter().map(|&partition| {
        let result = PartitionResponse::default().with_partition_index(partition).with_error_message(None);
        match &refused {
            Some((error, message)) => result.with_error_code(error.code()).with_error_message(Some(message.clone())),
            None => match broker.producers(&asked.name, partition) {
                Ok(producers) => result.with_active_producers(producers.into_iter().map(encode).collect()),
                Err(error) => result.with_error_code(error.code()),
            },
        }
    });
    TopicResponse::default().with_partitions(partitions.collect()).with_name(asked.name.clone())
}

fn encode(producer: ProducerInfo) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(NONE)
        .with_current_txn_start_offset(i64::from(NONE))
}

/// There are no transactions.
const NONE: i32 = -1;
