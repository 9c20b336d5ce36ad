//! Every API that ApiVersions lists is answered at every version of its range, and at no other.

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::{
    messages::*,
    protocol::{Decodable, Request},
};

use crate::support::{Gateway, StrBytes, frames::raw_frame, legacy::put_string, str_bytes};

#[test]
fn every_listed_version_is_answered() {
    let gateway = Gateway::start();
    let mut walk = Walk { gateway: &gateway, walked: Vec::new() };
    walk.answers(&ProduceRequest::default().with_transactional_id(None).with_acks(1));
    walk.answers(&FetchRequest::default());
    walk.answers(&ListOffsetsRequest::default());
    walk.answers(&MetadataRequest::default());
    walk.answers(&OffsetCommitRequest::default());
    walk.answers(&OffsetFetchRequest::default());
    walk.answers(&FindCoordinatorRequest::default());
    walk.answers(&JoinGroupRequest::default());
    walk.answers(&HeartbeatRequest::default());
    walk.answers(&LeaveGroupRequest::default());
    walk.answers(&SyncGroupRequest::default());
    walk.answers(&DescribeGroupsRequest::default());
    walk.answers(&ListGroupsRequest::default());
    walk.answers(&ApiVersionsRequest::default());
    walk.answers(&CreateTopicsRequest::default());
    walk.answers(&DeleteTopicsRequest::default());
    walk.answers(&DeleteRecordsRequest::default());
    walk.answers(&InitProducerIdRequest::default());
    walk.answers(&OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()));
    walk.answers(&DescribeConfigsRequest::default());
    walk.answers(&AlterConfigsRequest::default());
    walk.answers(&DescribeLogDirsRequest::default());
    walk.answers(&CreatePartitionsRequest::default());
    walk.answers(&DeleteGroupsRequest::default());
    walk.answers(&IncrementalAlterConfigsRequest::default());
    walk.answers(&OffsetDeleteRequest::default());
    walk.answers(&DescribeClusterRequest::default());
    walk.answers(&DescribeTopicPartitionsRequest::default().with_cursor(None));
    walk.answers(&ConsumerGroupHeartbeatRequest::default());
    walk.answers(&ConsumerGroupDescribeRequest::default());
    walk.answers(&DescribeAclsRequest::default());
    walk.answers(&CreateAclsRequest::default());
    walk.answers(&DeleteAclsRequest::default());
    walk.answers(&ElectLeadersRequest::default());
    walk.answers(&AlterPartitionReassignmentsRequest::default());
    walk.answers(&ListPartitionReassignmentsRequest::default());
    walk.answers(&DescribeClientQuotasRequest::default());
    walk.answers(&DescribeUserScramCredentialsRequest::default());
    walk.answers(&DescribeQuorumRequest::default());
    walk.answers(&DescribeProducersRequest::default());
    walk.answers(&DescribeTransactionsRequest::default());
    walk.answers(&ListTransactionsRequest::default());
    walk.answers(&ListConfigResourcesRequest::default());
    if !gateway.is_kafka() {
        let mut listed: Vec<_> = gateway.connect().api_versions().api_keys.iter().map(|api| api.api_key).collect();
        listed.sort_unstable();
        walk.walked.sort_unstable();
        assert_eq!(listed, walk.walked, "APIs listed, APIs that this test knows");
    }
}

struct Walk<'a> {
    gateway: &'a Gateway,
    walked: Vec<i16>,
}

impl Walk<'_> {
    fn answers<R: Request>(&mut self, request: &R) {
        self.walked.push(R::KEY);
        let mut client = self.gateway.connect();
        let listed = client.api_versions();
        let range = listed.api_keys.iter().find(|api| api.api_key == R::KEY);
        let range = range.unwrap_or_else(|| panic!("api {} is not listed", R::KEY));
        for version in range.min_version..=range.max_version {
            match (R::KEY, version) {
                (PRODUCE, 0..=2) => self.closes_on(R::KEY, version),
                (OFFSET_COMMIT, 0 | 1) => {
                    let mut body = BytesMut::new();
                    put_string(&mut body, Some("group"));
                    if version == 1 {
                        body.put_i32(-1);
                        put_string(&mut body, Some(""));
                    }
                    body.put_i32(0);
                    assert_eq!(client.call_raw(R::KEY, version, 1, &body), [0; 4][..]);
                }
                (OFFSET_FETCH, 0) => {
                    let mut body = BytesMut::new();
                    put_string(&mut body, Some("group"));
                    body.put_i32(0);
                    assert_eq!(client.call_raw(R::KEY, version, 1, &body), [0; 4][..]);
                }
                // Topic ids in offsets: newer than the encoder at hand.
                (OFFSET_COMMIT | OFFSET_FETCH, 10..) if self.gateway.is_kafka() => {}
                _ => {
                    client.call(version, request);
                }
            }
        }
        client.ping();
        if R::KEY != API_VERSIONS {
            self.closes_on(R::KEY, range.max_version + 1);
            self.closes_on(R::KEY, i16::MAX);
        }
        if range.min_version > 0 {
            self.closes_on(R::KEY, range.min_version - 1);
        }
        self.closes_on(R::KEY, -1);
    }

    fn closes_on(&self, api_key: i16, version: i16) {
        let mut client = self.gateway.connect();
        client.write(&raw_frame(api_key, version, 1, 2, &[0; 16]));
        if api_key == API_VERSIONS {
            assert_eq!(error_code_of_api_versions(&client.read_frame()), UNSUPPORTED_VERSION);
        } else {
            client.assert_closed(&format!("api {api_key} version {version}"));
        }
    }
}

#[test]
fn an_unknown_api_closes_the_connection() {
    let gateway = Gateway::start();
    for api_key in [999, 93, -1, i16::MIN, i16::MAX] {
        let mut client = gateway.connect();
        client.write(&raw_frame(api_key, 0, 1, 1, &[]));
        client.assert_closed(&format!("api {api_key}"));
    }
    gateway.connect().ping();
}

#[test]
fn newer_api_versions_are_told_the_range_of_ours() {
    let gateway = Gateway::start();
    let ours = gateway.connect().api_versions();
    let own = ours.api_keys.iter().find(|api| api.api_key == API_VERSIONS).unwrap();
    for version in [own.max_version + 1, 99, i16::MAX] {
        let mut client = gateway.connect();
        let mut body = BytesMut::new();
        for text in ["apache-kafka-java", "9.9.9"] {
            body.put_u8(u8::try_from(text.len() + 1).unwrap());
            body.put_slice(text.as_bytes());
        }
        body.put_slice(&[0, 1, 2, 3, 4, 5]);
        client.write(&raw_frame(API_VERSIONS, version, 7, 2, &body));
        // Version 0, since the client may not know what we know: header without tags, error, array of ranges.
        let mut frame = client.read_frame();
        assert_eq!(frame.get_i32(), 7);
        let response = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
        assert!(frame.is_empty());
        assert_eq!(response.error_code, UNSUPPORTED_VERSION);
        let range = response.api_keys.iter().find(|api| api.api_key == API_VERSIONS).unwrap();
        assert_eq!((range.min_version, range.max_version), (own.min_version, own.max_version));
        // The client goes on, on the same connection.
        client.ping();
    }
}

#[test]
fn a_client_must_say_who_it_is_properly() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for (name, version) in [("", "1"), ("a b", "1"), ("-a", "1"), ("a", ""), ("a", "1 2")] {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str(version));
        for api_version in [3, 4] {
            let response = client.call(api_version, &request);
            assert_eq!(response.error_code, INVALID_REQUEST, "{name:?} {version:?}");
        }
    }
    client.ping();
}

#[test]
fn what_is_listed_is_what_clients_depend_on() {
    let gateway = Gateway::start();
    let response = gateway.connect().api_versions();
    let range = |key: i16| {
        let api = response.api_keys.iter().find(|api| api.api_key == key).unwrap();
        (api.min_version, api.max_version)
    };
    // librdkafka turns compression off unless Produce is listed from version 0 (librdkafka#4956).
    assert_eq!(range(PRODUCE).0, 0);
    assert!(range(PRODUCE).1 >= 13, "topic ids (KIP-516)");
    assert!(range(FetchRequest::KEY).1 >= 17);
    if !gateway.is_kafka() {
        assert_eq!(range(OFFSET_COMMIT).0, 0);
        assert_eq!(range(OFFSET_FETCH).0, 0);
        // Features that exist, and no other: a client must not find transactions.
        let feature = |name: &str, level: i16| (name.to_owned(), level);
        let finalized = response.finalized_features.iter();
        let finalized: Vec<_> = finalized.map(|of| (of.name.to_string(), of.max_version_level)).collect();
        assert_eq!(finalized, [feature("group.version", 1)]);
    }
}

/// Java clients before 3.9 do not start to read a feature that may be at level 0 (KAFKA-17011).
#[test]
fn features_from_level_0_on_are_listed_where_clients_know_such() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let request = ApiVersionsRequest::default()
        .with_client_software_name(str_bytes("tests"))
        .with_client_software_version(str_bytes("1"));
    let is_listed = |response: ApiVersionsResponse| {
        response.supported_features.iter().any(|feature| *feature.name == *"group.version" && feature.min_version == 0)
    };
    assert!(!is_listed(client.call(3, &request)));
    assert!(is_listed(client.call(4, &request)));
}

fn error_code_of_api_versions(frame: &[u8]) -> i16 {
    i16::from_be_bytes([frame[4], frame[5]])
}

const PRODUCE: i16 = 0;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_REQUEST: i16 = 42;
