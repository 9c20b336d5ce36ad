//! Requests and responses that kafka-protocol knows, with the guard before its decoders and its errors named.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::ApiKey,
    protocol::{Decodable, Encodable},
};
use thiserror::Error;

use super::{
    frame::{FrameTooLarge, FrameWriter, ResponseFrame},
    guard::{self, GuardError, GuardLimits},
    header,
    reader::Malformed,
};

/// A body that does not decode; Kafka closes the connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// From the decoders written by hand.
    #[error("malformed request: {0}")]
    Malformed(#[from] Malformed),
    #[error("no decoder here for {api_key:?} version {version}")]
    UnsupportedVersion { api_key: ApiKey, version: i16 },
    /// kafka-protocol refused what the guard let through: a hole in the guard's table, but a clean error.
    #[error("{api_key:?} version {version}: {reason}")]
    Codec { api_key: ApiKey, version: i16, reason: String },
}

/// A response that cannot be written: always a fault of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    #[error("{0} bytes or elements do not fit in the length in front of them")]
    TooLong(usize),
    #[error("a topic {} in a version that names topics {}", named(!by_id), named(*by_id))]
    TopicKey { by_id: bool },
    #[error(transparent)]
    Frame(#[from] FrameTooLarge),
    #[error("{api_key:?} version {version}: {reason}")]
    Codec { api_key: ApiKey, version: i16, reason: String },
}

/// Decodes a body with kafka-protocol, behind the guard with its default limits.
///
/// Strings with malformed UTF-8 come out with U+FFFD in place of what is malformed, as in Kafka. Bytes after the last
/// field stay in `body`; Kafka ignores them. OffsetCommit v0–1 and OffsetFetch v0 decode in [`super::legacy`] only.
pub fn decode_request<T: Decodable>(api_key: ApiKey, version: i16, body: &mut Bytes) -> Result<T, DecodeError> {
    let cost = guard::check(api_key, version, body, &GuardLimits::default())?;
    if cost.malformed_strings > 0 {
        *body = guard::repair(api_key, version, body)?;
    }
    T::decode(body, version).map_err(|error| DecodeError::Codec { api_key, version, reason: error.to_string() })
}

/// Encodes a whole response: length, header, body.
pub fn encode_response<T: Encodable>(
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<ResponseFrame, EncodeError> {
    let mut frame = FrameWriter::with_capacity(RESPONSE_BYTES_TYPICAL);
    header::encode_response_header(api_key, version, correlation_id, frame.out());
    encode_body(api_key, version, response, frame.out())?;
    Ok(frame.finish()?)
}

/// Appends only the body of a response. On `Err`, `out` holds a part of it.
pub fn encode_body<T: Encodable>(
    api_key: ApiKey,
    version: i16,
    response: &T,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    response.encode(out, version).map_err(|error| EncodeError::Codec { api_key, version, reason: error.to_string() })
}

fn named(by_id: bool) -> &'static str {
    if by_id { "by id" } else { "by name" }
}

/// Most responses of a consumer or a registry fit; others grow.
const RESPONSE_BYTES_TYPICAL: usize = 256;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{FindCoordinatorRequest, MetadataResponse, OffsetCommitResponse, TopicName};

    use super::*;
    use crate::wire::random_requests::{Random, random_body, served, with_request_type};

    #[test]
    fn every_served_version_decodes_to_what_was_encoded() {
        let mut random = Random::new(1);
        for (api_key, version) in served() {
            for _ in 0..20 {
                let encoded = random_body(api_key, version, &mut random);
                let mut body = encoded.clone();
                let again = with_request_type!(api_key, Request => {
                    let request: Request = decode_request(api_key, version, &mut body).unwrap();
                    let mut again = BytesMut::new();
                    request.encode(&mut again, version).unwrap();
                    again
                });
                assert!(body.is_empty(), "{api_key:?} version {version}");
                assert_eq!(again, encoded, "{api_key:?} version {version}");
            }
        }
    }

    #[test]
    fn the_guard_stands_before_the_crate() {
        let mut body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        let decoded = decode_request::<kafka_protocol::messages::MetadataRequest>(ApiKey::Metadata, 0, &mut body);
        assert!(matches!(decoded, Err(DecodeError::Guard(_))), "{decoded:?}");
    }

    #[test]
    fn malformed_utf8_decodes_with_replacements() {
        let mut body = Bytes::from_static(&[0, 2, b'g', 0xff]);
        let request: FindCoordinatorRequest = decode_request(ApiKey::FindCoordinator, 0, &mut body).unwrap();
        assert_eq!(&*request.key, "g\u{fffd}");
    }

    #[test]
    fn a_request_of_another_api_is_a_clean_error() {
        let mut body = Bytes::from_static(&[0, 0, 0, 0]);
        let decoded = decode_request::<FindCoordinatorRequest>(ApiKey::Metadata, 9, &mut body);
        assert!(decoded.is_err());
    }

    #[test]
    fn a_response_has_its_length_and_header_in_front() {
        let response = MetadataResponse::default();
        let mut body = BytesMut::new();
        response.encode(&mut body, 9).unwrap();
        let frame = encode_response(ApiKey::Metadata, 9, 7, &response).unwrap();
        let size = body.len() as u8 + 5;
        assert_eq!(frame.to_bytes(), [&[0, 0, 0, size, 0, 0, 0, 7, 0], &body[..]].concat());
    }

    #[test]
    fn a_response_that_its_version_cannot_carry_is_an_error() {
        let topic = kafka_protocol::messages::offset_commit_response::OffsetCommitResponseTopic::default()
            .with_name(TopicName("t".repeat(40_000).into()));
        let response = OffsetCommitResponse::default().with_topics(vec![topic]);
        assert!(matches!(
            encode_response(ApiKey::OffsetCommit, 2, 1, &response),
            Err(EncodeError::Codec { api_key: ApiKey::OffsetCommit, version: 2, .. })
        ));
    }
}
