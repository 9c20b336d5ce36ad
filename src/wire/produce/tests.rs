use kafka_protocol::{
    messages::{self, BrokerId, TopicName, produce_response as theirs},
    protocol::{Decodable, Encodable},
};
use proptest::prelude::*;

use super::*;
use crate::wire::{
    by_hand::{assert_refuses_truncated, decode_any, endpoint, leader, text},
    random_requests::{Random, random_body},
};

fn theirs_of(request: ProduceRequest) -> messages::ProduceRequest {
    let topic = |topic: ProduceTopic| {
        let partition = |partition: ProducePartition| {
            messages::produce_request::PartitionProduceData::default()
                .with_index(partition.index)
                .with_records(partition.records)
        };
        let partitions = topic.partitions.into_iter().map(partition).collect();
        let data = messages::produce_request::TopicProduceData::default().with_partition_data(partitions);
        match topic.topic {
            TopicKey::Name(name) => data.with_name(TopicName(name)),
            TopicKey::Id(id) => data.with_topic_id(id),
        }
    };
    messages::ProduceRequest::default()
        .with_transactional_id(request.transactional_id.map(messages::TransactionalId))
        .with_acks(request.acks)
        .with_timeout_ms(request.timeout_ms)
        .with_topic_data(request.topics.into_iter().map(topic).collect())
}

fn without_tags(mut request: messages::ProduceRequest) -> messages::ProduceRequest {
    request.unknown_tagged_fields.clear();
    for topic in &mut request.topic_data {
        topic.unknown_tagged_fields.clear();
        topic.partition_data.iter_mut().for_each(|partition| partition.unknown_tagged_fields.clear());
    }
    request
}

#[test]
fn records_are_slices_of_the_frame() {
    let data =
        messages::produce_request::PartitionProduceData::default().with_records(Some(Bytes::from_static(b"a batch")));
    let topic = messages::produce_request::TopicProduceData::default().with_partition_data(vec![data]);
    let mut body = BytesMut::new();
    messages::ProduceRequest::default().with_topic_data(vec![topic]).encode(&mut body, 13).unwrap();
    let body = body.freeze();

    let request = ProduceRequest::decode(13, &body).unwrap();
    let records = request.topics[0].partitions[0].records.clone().unwrap();
    assert_eq!(&records[..], b"a batch");
    assert!(body.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn versions_outside_the_table_do_not_decode() {
    for version in [-1, 0, 2, 14] {
        assert_eq!(
            ProduceRequest::decode(version, &Bytes::from_static(&[0; 64])),
            Err(DecodeError::UnsupportedVersion { api_key: ApiKey::Produce, version })
        );
    }
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    let body = Bytes::from_static(&[0, 0, 1, 0, 0, 0, 9, 1, 0, 0xff, 0xff]);
    assert_eq!(ProduceRequest::decode(9, &body).unwrap().timeout_ms, 9);
}

#[test]
fn a_topic_in_the_form_of_another_version_does_not_encode() {
    let response = |topic| ProduceResponse {
        topics: vec![ProduceTopicResponse { topic, partitions: Vec::new() }],
        ..Default::default()
    };
    let by_name = response(TopicKey::Name(StrBytes::from_static_str("t")));
    let by_id = response(TopicKey::Id(uuid::Uuid::nil()));
    assert_eq!(by_name.encode(13, 1).unwrap_err(), EncodeError::TopicKey { by_id: true });
    assert_eq!(by_id.encode(12, 1).unwrap_err(), EncodeError::TopicKey { by_id: false });
}

fn partition() -> impl Strategy<Value = ProducePartitionResponse> {
    let error = (any::<i32>(), prop::option::of(text()))
        .prop_map(|(batch_index, message)| RecordError { batch_index, message });
    let numbers = (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>());
    (numbers, prop::collection::vec(error, 0..3), prop::option::of(text()), prop::option::of(leader())).prop_map(
        |(
            (index, error_code, base_offset, log_append_time_ms, log_start_offset),
            record_errors,
            error_message,
            current_leader,
        )| {
            ProducePartitionResponse {
                index,
                error_code,
                base_offset,
                log_append_time_ms,
                log_start_offset,
                record_errors,
                error_message,
                current_leader,
            }
        },
    )
}

fn response() -> impl Strategy<Value = ProduceResponse> {
    let topic = (text(), prop::collection::vec(partition(), 0..3))
        .prop_map(|(name, partitions)| ProduceTopicResponse { topic: TopicKey::Name(name), partitions });
    (prop::collection::vec(topic, 0..3), any::<i32>(), prop::collection::vec(endpoint(), 0..3)).prop_map(
        |(topics, throttle_time_ms, node_endpoints)| ProduceResponse { topics, throttle_time_ms, node_endpoints },
    )
}

fn their_response(response: &ProduceResponse, version: i16) -> messages::ProduceResponse {
    let partition = |ours: &ProducePartitionResponse| {
        let error = |error: &RecordError| {
            theirs::BatchIndexAndErrorMessage::default()
                .with_batch_index(error.batch_index)
                .with_batch_index_error_message(error.message.clone())
        };
        let mut partition = theirs::PartitionProduceResponse::default()
            .with_index(ours.index)
            .with_error_code(ours.error_code)
            .with_base_offset(ours.base_offset)
            .with_log_append_time_ms(ours.log_append_time_ms)
            .with_log_start_offset(ours.log_start_offset)
            .with_error_message(ours.error_message.clone());
        if version >= 8 {
            partition = partition.with_record_errors(ours.record_errors.iter().map(error).collect());
        }
        match ours.current_leader {
            Some(leader) if version >= 10 => partition.with_current_leader(
                theirs::LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader.leader_id))
                    .with_leader_epoch(leader.leader_epoch),
            ),
            _ => partition,
        }
    };
    let topic = |ours: &ProduceTopicResponse| {
        let topic = theirs::TopicProduceResponse::default()
            .with_partition_responses(ours.partitions.iter().map(partition).collect());
        match &ours.topic {
            TopicKey::Name(name) => topic.with_name(TopicName(name.clone())),
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
    messages::ProduceResponse::default()
        .with_responses(response.topics.iter().map(topic).collect())
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_node_endpoints(response.node_endpoints.iter().map(endpoint).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_decode_as_the_crate_decodes_them(seed: u64) {
        let mut random = Random::new(seed);
        for version in VERSIONS {
            let mut body = random_body(ApiKey::Produce, version, &mut random);
            let ours = ProduceRequest::decode(version, &body).unwrap();
            let theirs = messages::ProduceRequest::decode(&mut body, version).unwrap();
            prop_assert_eq!(theirs_of(ours), without_tags(theirs));
        }
    }

    #[test]
    fn truncated_requests_are_refused(seed: u64) {
        assert_refuses_truncated(ApiKey::Produce, VERSIONS, ProduceRequest::decode, seed);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(body in prop::collection::vec(any::<u8>(), 0..100)) {
        decode_any(VERSIONS, ProduceRequest::decode, body);
    }

    #[test]
    fn responses_encode_as_the_crate_encodes_them(response in response()) {
        for version in VERSIONS {
            let mut response = response.clone();
            if version >= TOPIC_IDS_FROM {
                for (id, topic) in response.topics.iter_mut().enumerate() {
                    topic.topic = TopicKey::Id(uuid::Uuid::from_u128(id as u128));
                }
            }
            let mut expected = BytesMut::new();
            header::encode_response_header(ApiKey::Produce, version, 5, &mut expected);
            their_response(&response, version).encode(&mut expected, version).unwrap();
            let frame = response.encode(version, 5).unwrap();
            prop_assert_eq!(frame.to_bytes().slice(4..), expected, "version {}", version);
        }
    }
}
