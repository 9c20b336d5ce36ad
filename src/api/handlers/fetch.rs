//! Fetch v4–18: reads records from an offset on, waiting for more when there are too few. KIP-227 (v7: sessions),
//! KIP-320 (v9: leader epochs), KIP-516 (v13: topics by id), KIP-903 (v15: replica state, tagged).
//!
//! Not done: replica fetches (there are no followers), aborted transactions (there are no transactions).

use std::{sync::Arc, time::Duration};

use crate::{
    api::{Handled, Outcome, Request, RequestError, errors::KafkaError},
    broker::{
        FetchPartition, FetchQuery, FetchedPartition, ReadPartitionError, SessionFetch, SessionRequest, TopicRef,
    },
    log::Isolation,
    wire::{
        fetch::{FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse},
        frame::ResponseFrame,
        topic::TopicKey,
    },
};

use super::{text, topic_ref};

pub fn handle(mut request: Request) -> Handled {
    let body = FetchRequest::decode(request.version, &request.body)?;
    request.release_frame();
    Ok(Outcome::Alone(Box::pin(fetch(request, body))))
}

async fn fetch(request: Request, body: FetchRequest) -> Result<ResponseFrame, RequestError> {
    let broker = Arc::clone(request.broker());
    let bytes_max = body.max_bytes.min(i32::try_from(broker.settings().fetch.bytes_max).unwrap_or(i32::MAX));
    let bytes_min = body.min_bytes.min(bytes_max);
    // A connection that is quiet for longer is closed by rights, whatever its client says.
    let wait_max = Duration::from_millis(u64::try_from(body.max_wait_ms).unwrap_or(0)).min(broker.settings().net.idle);
    let isolation = match body.isolation_level {
        READ_COMMITTED => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut session = match broker.sessions().begin(session_request(&request, body)) {
        Ok(session) => session,
        Err(error) => {
            let response = FetchResponse { error_code: error.code(), ..Default::default() };
            return encode(&request, response);
        }
    };
    let query = FetchQuery {
        partitions: std::mem::take(&mut session.partitions),
        bytes_min: usize::try_from(bytes_min).unwrap_or(0),
        bytes_max: usize::try_from(bytes_max).unwrap_or(0),
        wait_max,
        isolation,
    };
    respond(&request, session, isolation, broker.fetch(query).await)
}

fn session_request(request: &Request, body: FetchRequest) -> SessionRequest {
    let partitions = body
        .topics
        .into_iter()
        .flat_map(|topic| {
            let target = topic_ref(&topic.topic);
            topic.partitions.into_iter().map(move |partition| FetchPartition {
                topic: target.clone(),
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
                // `FetchRequest.optionalEpoch`: any negative number is none.
                leader_epoch: partition.current_leader_epoch.max(-1),
                bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            })
        })
        .collect();
    let forgotten = body
        .forgotten_topics
        .into_iter()
        .flat_map(|topic| {
            let target = topic_ref(&topic.topic);
            topic.partitions.into_iter().map(move |partition| (target.clone(), partition))
        })
        .collect();
    SessionRequest {
        session_id: body.session_id,
        session_epoch: body.session_epoch,
        partitions,
        forgotten,
        by_id: request.version >= FIRST_VERSION_BY_ID,
        partitions_max: usize::try_from(request.broker().settings().broker.partitions_max).unwrap_or(usize::MAX),
    }
}

fn respond(
    request: &Request,
    session: SessionFetch,
    isolation: Isolation,
    fetched: Vec<(FetchPartition, FetchedPartition)>,
) -> Result<ResponseFrame, RequestError> {
    let session_id = session.session_id;
    let mut topics: Vec<FetchTopicResponse> = Vec::new();
    for (partition, fetched) in session.respond(fetched) {
        let topic = topic_key(partition.topic);
        let answer = answer(partition.partition, isolation, fetched);
        match topics.last_mut().filter(|last| last.topic == topic) {
            Some(last) => last.partitions.push(answer),
            None => topics.push(FetchTopicResponse { topic, partitions: vec![answer] }),
        }
    }
    encode(request, FetchResponse { session_id, topics, ..Default::default() })
}

fn answer(partition: i32, isolation: Isolation, fetched: FetchedPartition) -> FetchPartitionResponse {
    let error_code = fetched.error.as_ref().map_or(0, KafkaError::code);
    let mut answer = FetchPartitionResponse::failed(partition, error_code);
    // There are no transactions, so none was aborted; null says that nobody looked.
    let somebody_looked = match fetched.error {
        None => isolation == Isolation::ReadCommitted,
        // Kafka makes this answer elsewhere than those of partitions that it reads.
        Some(ReadPartitionError::Partition(_)) => true,
        Some(ReadPartitionError::Epoch(_) | ReadPartitionError::Read(_)) => false,
    };
    answer.aborted_transactions = somebody_looked.then(Vec::new);
    if fetched.error.is_none() {
        answer.high_watermark = fetched.high_watermark;
        answer.last_stable_offset = fetched.last_stable_offset;
        answer.log_start_offset = fetched.log_start_offset;
        answer.records = fetched.records;
    }
    answer
}

fn encode(request: &Request, response: FetchResponse) -> Result<ResponseFrame, RequestError> {
    Ok(response.encode(request.version, request.correlation_id)?)
}

fn topic_key(topic: TopicRef) -> TopicKey {
    match topic {
        TopicRef::Name(name) => TopicKey::Name(text(name)),
        TopicRef::Id(id) => TopicKey::Id(id),
    }
}

const READ_COMMITTED: i8 = 1;
const FIRST_VERSION_BY_ID: i16 = 13;
