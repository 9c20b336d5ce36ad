//! Produce v3–13: appends record batches. KIP-98 (idempotence), KIP-467 (v8: which records are wrong), KIP-516 (v13:
//! topics by id). Advertised from version 0, but versions 0 to 2 end the connection, as in Kafka 4 (KIP-896).
//!
//! Batches are appended in the first stage, in the order of the requests; acks=1 answers after the write, acks=all
//! after durability. Transactions are not done yet: a transactional id is refused.

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::{ResponseError, protocol::StrBytes};
use tracing::debug;

use crate::{
    api::{Handled, Outcome, Request, RequestError, errors::KafkaError},
    broker::{ProduceError, Produced, TopicRef, in_place},
    config::Durability,
    log::AppendError,
    model::batch::{Attributes, Codec},
    wire::{
        produce::{
            ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic, ProduceTopicResponse, RecordError,
        },
        topic::TopicKey,
    },
};

use super::topic_ref;

pub fn handle(request: Request) -> Handled {
    let body = ProduceRequest::decode(request.version, &request.body)?;
    let acks = body.acks;
    let refusal = refusal(&body);
    // Kafka does not answer for topics without partitions.
    let topics: Vec<_> = body.topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let append_all = || topics.into_iter().map(|topic| append_topic(&request, topic, refusal)).collect::<Vec<_>>();
    let at_hand = match request.broker().settings().durability {
        Durability::Os => PARTITIONS_AT_HAND,
        // The flush would have to share its processor, and all of it takes longer then.
        Durability::Sync => PARTITIONS_AT_HAND_WITH_SYNC,
    };
    let topics = in_place(partitions > at_hand, append_all);
    match acks {
        0 => match first_failure(&topics) {
            None => Ok(Outcome::NoReply),
            // There is no reply to carry the error: Kafka closes the connection so that the producer refreshes.
            Some(error) => Err(RequestError::UnacknowledgedFailure(error)),
        },
        -1 => Ok(Outcome::Pending(Box::pin(async move {
            let mut responses = Vec::with_capacity(topics.len());
            for topic in topics {
                responses.push(topic.when_durable().await);
            }
            encode(&request, responses)
        }))),
        _ => encode(&request, topics.into_iter().map(AppendedTopic::when_written).collect()).map(Outcome::Ready),
    }
}

/// One topic of the request, appended as far as it could be.
struct AppendedTopic {
    topic: TopicKey,
    partitions: Vec<(i32, Result<Produced, Refused>)>,
}

/// Why a partition's batch was not taken.
enum Refused {
    Request(ResponseError),
    Produce(ProduceError),
}

impl AppendedTopic {
    fn when_written(self) -> ProduceTopicResponse {
        let partitions = self.partitions.into_iter().map(|(index, result)| respond(index, result)).collect();
        ProduceTopicResponse { topic: self.topic, partitions }
    }

    async fn when_durable(self) -> ProduceTopicResponse {
        let mut partitions = Vec::with_capacity(self.partitions.len());
        for (index, result) in self.partitions {
            let result = match result {
                Ok(produced) => match produced.durable().await {
                    Ok(()) => Ok(produced),
                    Err(error) => Err(Refused::Produce(error)),
                },
                Err(refused) => Err(refused),
            };
            partitions.push(respond(index, result));
        }
        ProduceTopicResponse { topic: self.topic, partitions }
    }
}

fn refusal(body: &ProduceRequest) -> Option<ResponseError> {
    if !matches!(body.acks, -1..=1) {
        Some(ResponseError::InvalidRequiredAcks)
    } else if body.transactional_id.is_some() {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else {
        None
    }
}

fn append_topic(request: &Request, topic: ProduceTopic, refusal: Option<ResponseError>) -> AppendedTopic {
    let target = topic_ref(&topic.topic);
    // A partition that is named twice counts once, with its last records, as in Kafka.
    let partitions: IndexMap<_, _> = topic
        .partitions
        .into_iter()
        .map(|partition| (partition.index, partition.records.unwrap_or_default()))
        .collect();
    let partitions = partitions
        .into_iter()
        .map(|(index, records)| {
            let result = match refusal.or_else(|| refused_attributes(request.version, &records)) {
                Some(error) => Err(Refused::Request(error)),
                None => append(request, &target, index, records),
            };
            (index, result)
        })
        .collect();
    AppendedTopic { topic: topic.topic, partitions }
}

fn append(request: &Request, topic: &TopicRef, partition: i32, records: Bytes) -> Result<Produced, Refused> {
    request.broker().append(topic, partition, records).map_err(|error| {
        debug!(?topic, partition, %error, client_id = request.client_id(), "produce refused");
        Refused::Produce(error)
    })
}

/// What a batch's attributes alone forbid: transactions, which are not there yet, and zstd before the version that
/// brought it (KIP-110).
fn refused_attributes(version: i16, batch: &[u8]) -> Option<ResponseError> {
    let attributes = Attributes::peek(batch).unwrap_or_default();
    if attributes.is_transactional() {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else if attributes.codec() == Some(Codec::Zstd) && version < FIRST_VERSION_WITH_ZSTD {
        Some(ResponseError::UnsupportedCompressionType)
    } else {
        None
    }
}

fn respond(index: i32, result: Result<Produced, Refused>) -> ProducePartitionResponse {
    match result {
        Ok(Produced { appended, .. }) => ProducePartitionResponse::appended(
            index,
            appended.base_offset,
            appended.log_append_time_ms,
            appended.log_start_offset,
        ),
        Err(Refused::Request(error)) => ProducePartitionResponse::failed(index, error.code(), None),
        Err(Refused::Produce(error)) => {
            let mut response = ProducePartitionResponse::failed(index, error.code(), error.message());
            response.record_errors = record_errors(&error);
            response
        }
    }
}

fn record_errors(error: &ProduceError) -> Vec<RecordError> {
    match error {
        ProduceError::Append(
            AppendError::InvalidRecord { records, .. } | AppendError::InvalidTimestamp { records },
        ) => records
            .iter()
            .map(|record| RecordError {
                batch_index: record.batch_index,
                message: Some(StrBytes::from_string(record.message.clone())),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn first_failure(topics: &[AppendedTopic]) -> Option<String> {
    topics.iter().flat_map(|topic| &topic.partitions).find_map(|(_, result)| match result {
        Ok(_) => None,
        Err(Refused::Request(error)) => Some(error.to_string()),
        Err(Refused::Produce(error)) => Some(error.to_string()),
    })
}

fn encode(
    request: &Request,
    topics: Vec<ProduceTopicResponse>,
) -> Result<crate::wire::frame::ResponseFrame, RequestError> {
    Ok(ProduceResponse { topics, ..Default::default() }.encode(request.version, request.correlation_id)?)
}

/// Partitions that one request writes to without leaving its thread to others meanwhile.
const PARTITIONS_AT_HAND: usize = 16;
const PARTITIONS_AT_HAND_WITH_SYNC: usize = 128;
const FIRST_VERSION_WITH_ZSTD: i16 = 7;
