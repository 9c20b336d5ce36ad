use kafka_protocol::{
    messages::{self, BrokerId, ProducerId, TopicName, fetch_request, fetch_response as theirs},
    protocol::{Decodable, Encodable},
};
use proptest::prelude::*;

use super::*;
use crate::{
    model::Chunk,
    wire::{
        by_hand::{assert_refuses_truncated, decode_any, endpoint, leader, text},
        random_requests::{Random, random_body},
    },
};

fn theirs_of(request: FetchRequest) -> messages::FetchRequest {
    let partition = |ours: FetchPartition| {
        fetch_request::FetchPartition::default()
            .with_partition(ours.partition)
            .with_current_leader_epoch(ours.current_leader_epoch)
            .with_fetch_offset(ours.fetch_offset)
            .with_last_fetched_epoch(ours.last_fetched_epoch)
            .with_log_start_offset(ours.log_start_offset)
            .with_partition_max_bytes(ours.partition_max_bytes)
            .with_replica_directory_id(ours.replica_directory_id)
            .with_high_watermark(ours.high_watermark)
    };
    let topic = |ours: FetchTopic| {
        let topic =
            fetch_request::FetchTopic::default().with_partitions(ours.partitions.into_iter().map(partition).collect());
        match ours.topic {
            TopicKey::Name(name) => topic.with_topic(TopicName(name)),
            TopicKey::Id(id) => topic.with_topic_id(id),
        }
    };
    let forgotten = |ours: ForgottenTopic| {
        let topic = fetch_request::ForgottenTopic::default().with_partitions(ours.partitions);
        match ours.topic {
            TopicKey::Name(name) => topic.with_topic(TopicName(name)),
            TopicKey::Id(id) => topic.with_topic_id(id),
        }
    };
    messages::FetchRequest::default()
        .with_cluster_id(request.cluster_id)
        .with_replica_id(BrokerId(request.replica_id))
        .with_max_wait_ms(request.max_wait_ms)
        .with_min_bytes(request.min_bytes)
        .with_max_bytes(request.max_bytes)
        .with_isolation_level(request.isolation_level)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_topics(request.topics.into_iter().map(topic).collect())
        .with_forgotten_topics_data(request.forgotten_topics.into_iter().map(forgotten).collect())
        .with_rack_id(request.rack_id)
}

/// Without tagged fields that nobody knows, and with the replica where ours has it in every version.
fn comparable(mut request: messages::FetchRequest, version: i16) -> (messages::FetchRequest, i64) {
    request.unknown_tagged_fields.clear();
    for topic in &mut request.topics {
        topic.unknown_tagged_fields.clear();
        topic.partitions.iter_mut().for_each(|partition| partition.unknown_tagged_fields.clear());
    }
    request.forgotten_topics_data.iter_mut().for_each(|topic| topic.unknown_tagged_fields.clear());
    let state = std::mem::take(&mut request.replica_state);
    if version >= 15 {
        request.replica_id = state.replica_id;
    }
    (request, state.replica_epoch)
}

#[test]
fn versions_outside_the_table_do_not_decode() {
    for version in [-1, 0, 3, 19] {
        assert_eq!(
            FetchRequest::decode(version, &Bytes::from_static(&[0; 64])),
            Err(DecodeError::UnsupportedVersion { api_key: ApiKey::Fetch, version })
        );
    }
}

#[test]
fn records_go_out_by_reference() {
    let records = Bytes::from(vec![3; 100_000]);
    let partition = FetchPartitionResponse { records: records.clone().into(), ..FetchPartitionResponse::failed(0, 0) };
    let topic = FetchTopicResponse { topic: TopicKey::Id(Uuid::nil()), partitions: vec![partition] };
    let response = FetchResponse { topics: vec![topic], ..Default::default() };
    let frame = response.encode(18, 1).unwrap();
    assert_eq!(frame.chunks().len(), 3);
    assert!(matches!(&frame.chunks()[1], Chunk::Heap(bytes) if bytes.as_ptr() == records.as_ptr()));
}

#[test]
fn a_topic_in_the_form_of_another_version_does_not_encode() {
    let topic = FetchTopicResponse { topic: TopicKey::Id(Uuid::nil()), partitions: Vec::new() };
    let response = FetchResponse { topics: vec![topic], ..Default::default() };
    assert_eq!(response.clone().encode(12, 1).unwrap_err(), EncodeError::TopicKey { by_id: false });
    assert!(response.encode(13, 1).is_ok());
}

fn records(chunks: Vec<Bytes>) -> Records {
    chunks.into_iter().fold(Records::default(), |mut records, chunk| {
        records.push(chunk.into());
        records
    })
}

fn partition() -> impl Strategy<Value = FetchPartitionResponse> {
    let aborted = (any::<i64>(), any::<i64>())
        .prop_map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
    let chunk = (0usize..1500, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]));
    let numbers = (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i32>());
    let tagged = (prop::option::of((0..9, 0i64..9)), prop::option::of(leader()));
    let lists =
        (prop::option::of(prop::collection::vec(aborted, 0..3)), prop::collection::vec(chunk, 0..4).prop_map(records));
    (numbers, tagged, lists).prop_map(
        |(numbers, (diverging_epoch, current_leader), (aborted_transactions, records))| {
            let (partition, error_code, high_watermark, last_stable_offset, log_start_offset, preferred_read_replica) =
                numbers;
            FetchPartitionResponse {
                partition,
                error_code,
                high_watermark,
                last_stable_offset,
                log_start_offset,
                diverging_epoch,
                current_leader,
                aborted_transactions,
                preferred_read_replica,
                records,
            }
        },
    )
}

fn response() -> impl Strategy<Value = FetchResponse> {
    let topic = (text(), prop::collection::vec(partition(), 0..3))
        .prop_map(|(name, partitions)| FetchTopicResponse { topic: TopicKey::Name(name), partitions });
    let numbers = (any::<i32>(), any::<i16>(), any::<i32>());
    (numbers, prop::collection::vec(topic, 0..3), prop::collection::vec(endpoint(), 0..3)).prop_map(
        |((throttle_time_ms, error_code, session_id), topics, node_endpoints)| FetchResponse {
            throttle_time_ms,
            error_code,
            session_id,
            topics,
            node_endpoints,
        },
    )
}

fn their_response(response: &FetchResponse, version: i16) -> messages::FetchResponse {
    let topic = |ours: &FetchTopicResponse| {
        let partitions = ours.partitions.iter().map(|partition| their_partition(partition, version)).collect();
        let topic = theirs::FetchableTopicResponse::default().with_partitions(partitions);
        match &ours.topic {
            TopicKey::Name(name) => topic.with_topic(TopicName(name.clone())),
            TopicKey::Id(id) => topic.with_topic_id(*id),
        }
    };
    let endpoint = |ours: &NodeEndpoint| {
        theirs::NodeEndpoint::default()
            .with_node_id(BrokerId(ours.node_id))
            .with_host(ours.host.clone())
            .with_port(ours.port)
            .with_rack(ours.rack.clone())
    };
    let mut theirs = messages::FetchResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_error_code(response.error_code)
        .with_responses(response.topics.iter().map(topic).collect());
    if version >= 7 {
        theirs = theirs.with_session_id(response.session_id);
    }
    if version >= 16 {
        theirs = theirs.with_node_endpoints(response.node_endpoints.iter().map(endpoint).collect());
    }
    theirs
}

fn their_partition(ours: &FetchPartitionResponse, version: i16) -> theirs::PartitionData {
    let aborted = |ours: &AbortedTransaction| {
        theirs::AbortedTransaction::default()
            .with_producer_id(ProducerId(ours.producer_id))
            .with_first_offset(ours.first_offset)
    };
    let mut partition = theirs::PartitionData::default()
        .with_partition_index(ours.partition)
        .with_error_code(ours.error_code)
        .with_high_watermark(ours.high_watermark)
        .with_last_stable_offset(ours.last_stable_offset)
        .with_log_start_offset(ours.log_start_offset)
        .with_aborted_transactions(ours.aborted_transactions.as_ref().map(|all| all.iter().map(aborted).collect()))
        .with_records(Some(ours.records.read().unwrap()));
    if version >= 11 {
        partition = partition.with_preferred_read_replica(BrokerId(ours.preferred_read_replica));
    }
    if version >= 12 {
        if let Some((epoch, end_offset)) = ours.diverging_epoch {
            let diverging = theirs::EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
            partition = partition.with_diverging_epoch(diverging);
        }
        if let Some(leader) = ours.current_leader {
            let leader = theirs::LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader.leader_id))
                .with_leader_epoch(leader.leader_epoch);
            partition = partition.with_current_leader(leader);
        }
    }
    partition
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_decode_as_the_crate_decodes_them(seed: u64) {
        let mut random = Random::new(seed);
        for version in VERSIONS {
            let mut body = random_body(ApiKey::Fetch, version, &mut random);
            let ours = FetchRequest::decode(version, &body).unwrap();
            let replica_epoch = ours.replica_epoch;
            let theirs = messages::FetchRequest::decode(&mut body, version).unwrap();
            prop_assert_eq!((theirs_of(ours), replica_epoch), comparable(theirs, version));
        }
    }

    #[test]
    fn truncated_requests_are_refused(seed: u64) {
        assert_refuses_truncated(ApiKey::Fetch, VERSIONS, FetchRequest::decode, seed);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(body in prop::collection::vec(any::<u8>(), 0..100)) {
        decode_any(VERSIONS, FetchRequest::decode, body);
    }

    #[test]
    fn responses_encode_as_the_crate_encodes_them(response in response()) {
        for version in VERSIONS {
            let mut response = response.clone();
            if version >= TOPIC_IDS_FROM {
                for (id, topic) in response.topics.iter_mut().enumerate() {
                    topic.topic = TopicKey::Id(Uuid::from_u128(id as u128));
                }
            }
            let mut expected = BytesMut::new();
            header::encode_response_header(ApiKey::Fetch, version, 5, &mut expected);
            their_response(&response, version).encode(&mut expected, version).unwrap();
            let frame = response.encode(version, 5).unwrap();
            prop_assert_eq!(frame.to_bytes().slice(4..), expected, "version {}", version);
        }
    }
}
