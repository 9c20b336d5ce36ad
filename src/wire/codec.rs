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
/// field stay in `body`; Kafka ignores them.
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
