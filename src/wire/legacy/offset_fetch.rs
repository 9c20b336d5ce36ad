use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse};

use crate::wire::{
    codec::{self, DecodeError, EncodeError},
    frame::ResponseFrame,
};

/// Decodes the body of an OffsetFetch v0, which is that of v1: `group_id STRING, [name STRING, [partition INT32]]`.
///
/// Only the meaning differed: v0 read ZooKeeper.
pub fn decode_offset_fetch(body: &mut Bytes) -> Result<OffsetFetchRequest, DecodeError> {
    codec::decode_request(ApiKey::OffsetFetch, 1, body)
}

/// Encodes the response to v0, which is that of v1: offsets, metadata and error codes of partitions, none above them.
pub fn encode_offset_fetch_response(
    correlation_id: i32,
    response: &OffsetFetchResponse,
) -> Result<ResponseFrame, EncodeError> {
    codec::encode_response(ApiKey::OffsetFetch, 1, correlation_id, response)
}
