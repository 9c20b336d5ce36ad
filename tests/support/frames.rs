//! Request frames as bytes, also those that no encoder makes.

use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::RequestHeader,
    protocol::{Encodable, Request, StrBytes},
};

/// A whole frame with its length.
pub fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let mut body = header(R::KEY, version, correlation_id, R::header_version(version));
    request
        .encode(&mut body, version)
        .unwrap_or_else(|error| panic!("api {} version {version} cannot be encoded: {error}", R::KEY));
    framed(&body)
}

/// A frame with a hand-made body.
pub fn raw_frame(api_key: i16, version: i16, correlation_id: i32, header_version: i16, body: &[u8]) -> BytesMut {
    let mut bytes = header(api_key, version, correlation_id, header_version);
    bytes.put_slice(body);
    framed(&bytes)
}

pub fn framed(body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_i32(body.len().try_into().unwrap());
    frame.put_slice(body);
    frame
}

fn header(api_key: i16, version: i16, correlation_id: i32, header_version: i16) -> BytesMut {
    let mut bytes = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("tests")))
        .encode(&mut bytes, header_version)
        .unwrap();
    bytes
}
