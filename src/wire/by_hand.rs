//! What the tests of the codecs by hand share.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::{messages::ApiKey, protocol::StrBytes};
use proptest::prelude::*;

use super::{
    codec::DecodeError,
    produce::{LeaderIdAndEpoch, NodeEndpoint},
    random_requests::{Random, random_body},
};

/// Decodes the body of a request of some version.
type Decode<T> = fn(i16, &Bytes) -> Result<T, DecodeError>;

/// Asserts that no request decodes that ends too early.
pub fn assert_refuses_truncated<T>(api_key: ApiKey, versions: RangeInclusive<i16>, decode: Decode<T>, seed: u64) {
    let mut random = Random::new(seed);
    for version in versions {
        let body = random_body(api_key, version, &mut random);
        for len in 0..body.len().min(300) {
            assert!(decode(version, &body.slice(..len)).is_err(), "version {version}, {len} of {} bytes", body.len());
        }
    }
}

/// Decodes `body`, which nobody has encoded: whatever comes of it, it is no panic.
pub fn decode_any<T>(versions: RangeInclusive<i16>, decode: Decode<T>, body: Vec<u8>) {
    let body = Bytes::from(body);
    for version in versions {
        let _ = decode(version, &body);
    }
}

pub fn text() -> impl Strategy<Value = StrBytes> {
    "[a-zé]{0,150}".prop_map(StrBytes::from_string)
}

pub fn leader() -> impl Strategy<Value = LeaderIdAndEpoch> {
    (0..9, 0..9).prop_map(|(leader_id, leader_epoch)| LeaderIdAndEpoch { leader_id, leader_epoch })
}

pub fn endpoint() -> impl Strategy<Value = NodeEndpoint> {
    (any::<i32>(), text(), any::<i32>(), prop::option::of(text()))
        .prop_map(|(node_id, host, port, rack)| NodeEndpoint { node_id, host, port, rack })
}
