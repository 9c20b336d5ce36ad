//! Request headers in, response headers out. By hand: kafka-protocol panics on frames shorter than four bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{messages::ApiKey, protocol::StrBytes};
use thiserror::Error;

use super::{
    reader::{Malformed, Reader, shared_string},
    writer::Form,
};

/// What precedes each request body (`org.apache.kafka.common.requests.RequestHeader`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    /// Not checked: the version may be one that nobody serves.
    pub api_version: i16,
    pub correlation_id: i32,
    /// The client's own name for itself, by reference into the frame: copy it to keep it.
    pub client_id: Option<StrBytes>,
}

/// A frame without a readable header; Kafka closes the connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    #[error("unknown api key {0}")]
    UnknownApiKey(i16),
    #[error("malformed request header: {0}")]
    Malformed(#[from] Malformed),
}

/// Takes the header off a frame (without its length); what is left is the body.
///
/// Version 1 adds the client id, version 2 tagged fields (KIP-482), none of which is known. On `Err` the frame is as
/// it was.
pub fn decode_header(frame: &mut Bytes) -> Result<RequestHeader, HeaderError> {
    // The client id keeps its fixed form in the flexible header, so that any version can be read up to it.
    let mut reader = Reader::new(frame, Form::Fixed, 0);
    let raw_key = reader.i16()?;
    let api_version = reader.i16()?;
    let correlation_id = reader.i32()?;
    let api_key = ApiKey::try_from(raw_key).map_err(|()| HeaderError::UnknownApiKey(raw_key))?;
    let header_version = api_key.request_header_version(api_version);
    let client_id = match header_version {
        ..=0 => None,
        _ => reader.nullable_string()?.map(|id| shared_string(frame, id)),
    };
    let mut body_start = reader.position();
    if header_version >= 2 {
        let mut tags = Reader::new(frame.get(body_start..).unwrap_or_default(), Form::Flexible, 0);
        tags.skip_tags()?;
        body_start = body_start.saturating_add(tags.position());
    }
    frame.advance(body_start);
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// Appends the response header: version 1, with empty tagged fields, where the response is flexible.
///
/// ApiVersions always has version 0 (KIP-511), so that a client can read the answer to a version that is too new.
pub fn encode_response_header(api_key: ApiKey, api_version: i16, correlation_id: i32, out: &mut BytesMut) {
    out.put_i32(correlation_id);
    if api_key != ApiKey::ApiVersions && api_key.response_header_version(api_version) >= 1 {
        out.put_u8(0);
    }
}
