use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{messages::ApiKey, protocol::Decodable};
use proptest::prelude::*;

use super::{walk::Walk, *};
use crate::wire::random_requests::{self, Random, random_body, served, with_request_type};

fn guard(api_key: ApiKey, version: i16, body: &[u8]) -> Result<GuardCost, GuardError> {
    check(api_key, version, body, &GuardLimits::default())
}

fn refusal(api_key: ApiKey, version: i16, body: &[u8]) -> Malformed {
    match guard(api_key, version, body) {
        Err(GuardError::Malformed { source, .. }) => source,
        other => panic!("{api_key:?} version {version}: {other:?}"),
    }
}

/// Decodes with kafka-protocol alone and drops the request.
fn decode(api_key: ApiKey, version: i16, body: &mut Bytes) -> Result<(), String> {
    with_request_type!(api_key, Request => {
        Request::decode(body, version).map(drop).map_err(|error| error.to_string())
    })
}

/// An unsigned varint of `u32::MAX`: as a compact count, 4294967294.
const COMPACT_MAX: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

#[test]
fn metadata_v0_that_aborts_the_crate_is_refused() {
    let malformed = refusal(ApiKey::Metadata, 0, &[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(malformed, Malformed::Count { count: i32::MAX as usize, remaining: 0 });
}

#[test]
fn metadata_with_the_largest_compact_count_is_refused() {
    for version in 9..=13 {
        let malformed = refusal(ApiKey::Metadata, version, &COMPACT_MAX);
        assert!(matches!(malformed, Malformed::Count { count: 0xffff_fffe, .. }), "{malformed:?}");
    }
}

#[test]
fn largest_counts_are_refused_wherever_an_array_stands() {
    let mut refused = 0;
    for (api_key, version) in served() {
        let flexible = api_key.request_header_version(version) >= 2;
        // Ahead of the array: null or empty strings and zeros; then the count; then some bytes for elements.
        for prefix in 0..40 {
            let mut body = vec![0; prefix];
            match flexible {
                true => body.extend(COMPACT_MAX),
                false => body.extend([0x7f, 0xff, 0xff, 0xff]),
            }
            body.extend([0; 64]);
            match guard(api_key, version, &body) {
                Err(GuardError::Malformed { source: Malformed::Count { .. }, .. }) => refused += 1,
                Err(_) => {}
                Ok(cost) => assert!(cost.memory_bytes < 64 * 1024, "{api_key:?} version {version}: {cost:?}"),
            }
        }
    }
    assert!(refused > 100, "only {refused} counts were reached");
}

#[test]
fn produce_with_a_lying_topic_count_is_refused() {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(1);
    body.put_i32(1000);
    body.put_i32(i32::MAX);
    assert!(matches!(refusal(ApiKey::Produce, 3, &body), Malformed::Count { .. }));
    let mut body = BytesMut::from(&[0, 0, 1, 0, 0, 0, 0][..]);
    body.put_slice(&COMPACT_MAX);
    assert!(matches!(refusal(ApiKey::Produce, 9, &body), Malformed::Count { .. }));
}

#[test]
fn produce_with_a_lying_record_length_is_refused() {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(1);
    body.put_i32(1000);
    body.put_i32(1);
    body.put_i16(1);
    body.put_u8(b't');
    body.put_i32(1);
    body.put_i32(0);
    body.put_i32(i32::MAX);
    let malformed = refusal(ApiKey::Produce, 3, &body);
    assert_eq!(malformed, Malformed::Truncated { needed: i32::MAX as usize, remaining: 0 });
}

#[test]
fn fetch_with_a_lying_partition_count_is_refused() {
    let mut body = BytesMut::new();
    body.put_bytes(0, 17);
    body.put_i32(1);
    body.put_i16(1);
    body.put_u8(b't');
    body.put_i32(i32::MAX);
    assert!(matches!(refusal(ApiKey::Fetch, 4, &body), Malformed::Count { .. }));
}

#[test]
fn join_group_with_a_lying_protocol_count_is_refused() {
    let mut body = BytesMut::new();
    body.put_i16(0);
    body.put_i32(10_000);
    body.put_i16(0);
    body.put_i16(0);
    body.put_i32(i32::MAX);
    assert!(matches!(refusal(ApiKey::JoinGroup, 0, &body), Malformed::Count { .. }));
    let mut body = BytesMut::from(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1][..]);
    body.put_slice(&COMPACT_MAX);
    assert!(matches!(refusal(ApiKey::JoinGroup, 9, &body), Malformed::Count { .. }));
}

#[test]
fn create_topics_with_a_lying_config_count_is_refused() {
    let mut body = BytesMut::new();
    body.put_i32(1);
    body.put_i16(0);
    body.put_i32(1);
    body.put_i16(1);
    body.put_i32(0);
    body.put_i32(i32::MAX);
    assert!(matches!(refusal(ApiKey::CreateTopics, 2, &body), Malformed::Count { .. }));
}

#[test]
fn a_count_that_fits_the_bytes_but_not_the_memory_is_refused() {
    // A million empty names take 2 MB on the wire and more than 80 MB decoded.
    let mut body = BytesMut::new();
    body.put_i32(1_000_000);
    body.put_bytes(0, 2_000_000);
    assert!(matches!(refusal(ApiKey::Metadata, 0, &body), Malformed::Memory { .. }));
    let lower = GuardLimits { memory_bytes_max: 1000 };
    let body = [0, 0, 0, 20].into_iter().chain([0; 40]).collect::<Vec<_>>();
    assert!(guard(ApiKey::Metadata, 0, &body).is_ok());
    assert!(check(ApiKey::Metadata, 0, &body, &lower).is_err());
}

#[test]
fn tagged_fields_cost_memory() {
    let plain = guard(ApiKey::ApiVersions, 3, &[1, 1, 0]).unwrap();
    let tagged = guard(ApiKey::ApiVersions, 3, &[1, 1, 3, 9, 0, 10, 0, 11, 1, 0]).unwrap();
    assert_eq!(tagged.memory_bytes - plain.memory_bytes, 512 + 2 * 128);
    let mut body = BytesMut::from(&[1, 1][..]);
    body.put_slice(&COMPACT_MAX);
    assert!(matches!(refusal(ApiKey::ApiVersions, 3, &body), Malformed::Count { .. }));
}

#[test]
fn lengths_below_null_are_refused() {
    assert_eq!(refusal(ApiKey::Metadata, 1, &[0xff, 0xff, 0xff, 0xfe]), Malformed::NegativeLength(-2));
    assert_eq!(refusal(ApiKey::FindCoordinator, 0, &[0x80, 0]), Malformed::NegativeLength(-32768));
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    assert_eq!(refusal(ApiKey::Metadata, 0, &[0xff; 4]), Malformed::Null);
    assert!(guard(ApiKey::Metadata, 1, &[0xff; 4]).is_ok());
    assert_eq!(refusal(ApiKey::OffsetFetch, 1, &[0, 0, 0xff, 0xff, 0xff, 0xff]), Malformed::Null);
    assert!(guard(ApiKey::OffsetFetch, 2, &[0, 0, 0xff, 0xff, 0xff, 0xff]).is_ok());
    assert_eq!(refusal(ApiKey::FindCoordinator, 0, &[0xff, 0xff]), Malformed::Null);
}

#[test]
fn a_varint_of_six_bytes_is_refused() {
    assert_eq!(refusal(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Malformed::Varint);
}

#[test]
fn a_known_tag_in_an_older_version_is_refused() {
    // Fetch v12 knows tag 0 (cluster id), and tag 1 (replica state) only from v15.
    let mut body = vec![0; 4 + 12 + 1 + 8];
    body.extend([1, 1, 1, 1, 1, 0]);
    assert_eq!(refusal(ApiKey::Fetch, 12, &body), Malformed::Tag(1));
}

#[test]
fn a_cursor_is_there_or_null() {
    let body = |presence| [1, 0, 0, 0, 9, presence, 1, 0, 0, 0, 0, 0, 0];
    assert!(guard(ApiKey::DescribeTopicPartitions, 0, &body(1)).is_ok());
    assert!(guard(ApiKey::DescribeTopicPartitions, 0, &[1, 0, 0, 0, 9, 0xff, 0]).is_ok());
    assert_eq!(refusal(ApiKey::DescribeTopicPartitions, 0, &body(0)), Malformed::Presence(0));
}

#[test]
fn unserved_apis_and_versions_are_refused() {
    for (api_key, version) in [
        (ApiKey::Produce, 2),
        (ApiKey::Produce, 14),
        (ApiKey::OffsetCommit, 10),
        (ApiKey::OffsetFetch, 10),
        (ApiKey::InitProducerId, 6),
        (ApiKey::ApiVersions, 5),
        (ApiKey::Metadata, -1),
        (ApiKey::WriteTxnMarkers, 1),
    ] {
        assert_eq!(guard(api_key, version, &[0; 64]), Err(GuardError::Unserved { api_key, version }));
    }
}

#[test]
fn the_table_serves_what_the_tests_walk_and_the_legacy_versions() {
    for request in table::REQUESTS {
        let (_, min, max) = random_requests::SERVED.into_iter().find(|served| served.0 == request.api_key).unwrap();
        let min = match request.api_key {
            ApiKey::OffsetCommit | ApiKey::OffsetFetch => 0,
            _ => min,
        };
        assert_eq!((request.versions.min, request.versions.max), (min, max), "{:?}", request.api_key);
    }
}

#[test]
fn the_table_knows_which_versions_are_flexible() {
    for (api_key, version) in served() {
        let flexible = request(api_key, version).unwrap().flexible_from <= version;
        assert_eq!(flexible, api_key.request_header_version(version) >= 2, "{api_key:?} version {version}");
    }
}

#[test]
fn malformed_strings_are_replaced_as_in_java() {
    // A FindCoordinator v0 for the group "a\xffb\xe2\x82": one malformed byte, and a sequence cut short.
    let body = Bytes::from_static(&[0, 5, b'a', 0xff, b'b', 0xe2, 0x82]);
    let cost = guard(ApiKey::FindCoordinator, 0, &body).unwrap();
    assert_eq!(cost.malformed_strings, 1);
    let mut repaired = repair(ApiKey::FindCoordinator, 0, &body).unwrap();
    assert_eq!(&repaired[..], b"\x00\x08a\xef\xbf\xbdb\xef\xbf\xbd");
    assert_eq!(decode(ApiKey::FindCoordinator, 0, &mut repaired), Ok(()));
}

#[test]
fn a_string_that_outgrows_its_length_is_refused() {
    let mut body = BytesMut::new();
    body.put_i16(20_000);
    body.put_bytes(0xff, 20_000);
    assert!(guard(ApiKey::FindCoordinator, 0, &body).is_ok());
    assert!(repair(ApiKey::FindCoordinator, 0, &body).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_crate_encodes_is_walked_to_its_last_byte(seed: u64) {
        let mut random = Random::new(seed);
        for (api_key, version) in served() {
            let mut body = random_body(api_key, version, &mut random);
            let mut walk = Walk::new(request(api_key, version).unwrap(), version, &body, &GuardLimits::default());
            prop_assert_eq!(walk.run(), Ok(()));
            prop_assert_eq!(walk.position(), body.len(), "{:?} version {}", api_key, version);
            prop_assert_eq!(walk.cost().malformed_strings, 0);
            prop_assert_eq!(decode(api_key, version, &mut body), Ok(()));
        }
    }

    #[test]
    fn every_truncation_is_refused(seed: u64) {
        let mut random = Random::new(seed);
        for (api_key, version) in served() {
            let body = random_body(api_key, version, &mut random);
            for len in 0..body.len().min(500) {
                prop_assert!(guard(api_key, version, &body[..len]).is_err(), "{:?} version {}", api_key, version);
            }
        }
    }

    #[test]
    fn bytes_after_the_last_field_are_ignored(seed: u64) {
        let mut random = Random::new(seed);
        for (api_key, version) in served() {
            let body = random_body(api_key, version, &mut random);
            let longer = [&body[..], &[0xff; 9]].concat();
            prop_assert_eq!(guard(api_key, version, &longer), guard(api_key, version, &body));
        }
    }

    #[test]
    fn what_passes_decodes(seed: u64) {
        let mut random = Random::new(seed);
        for (api_key, version) in served() {
            let mut body = random_body(api_key, version, &mut random).to_vec();
            for _ in 0..16 {
                mutate(&mut body, &mut random);
                let body = Bytes::from(body.clone());
                if let Ok(cost) = guard(api_key, version, &body) {
                    let mut valid = body.clone();
                    if cost.malformed_strings > 0 {
                        match repair(api_key, version, &body) {
                            Ok(repaired) => valid = repaired,
                            Err(_) => continue,
                        }
                    }
                    prop_assert_eq!(decode(api_key, version, &mut valid), Ok(()));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_walked_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for (api_key, version) in served() {
            let _ = guard(api_key, version, &body);
        }
    }
}

fn mutate(body: &mut Vec<u8>, random: &mut Random) {
    if body.is_empty() {
        return;
    }
    let at = random.index(body.len());
    match random.index(4) {
        0 => body[at] = random.byte(),
        1 => body[at] = [0, 1, 0x7f, 0x80, 0xff][random.index(5)],
        2 => drop(body.remove(at)),
        _ => body.insert(at, random.byte()),
    }
}
