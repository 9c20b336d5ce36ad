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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::{messages, protocol::Encodable};
    use proptest::prelude::*;

    use super::*;

    fn encoded(api_key: ApiKey, version: i16, client_id: Option<&str>, tags: usize) -> Bytes {
        let mut header = messages::RequestHeader::default()
            .with_request_api_key(api_key as i16)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(client_id.map(|id| StrBytes::from_string(id.to_owned())));
        let header_version = api_key.request_header_version(version);
        for tag in 0..if header_version >= 2 { tags } else { 0 } {
            header = header.with_unknown_tagged_field(tag as i32 * 1000, Bytes::from(vec![7; tag * 100]));
        }
        let mut out = BytesMut::new();
        header.encode(&mut out, header_version).unwrap();
        out.put_slice(b"body");
        out.freeze()
    }

    fn decoded(mut frame: Bytes) -> Result<RequestHeader, HeaderError> {
        decode_header(&mut frame)
    }

    #[test]
    fn headers_of_every_api_and_version_leave_the_body() {
        for api_key in ApiKey::iter() {
            let versions = api_key.valid_versions();
            for version in [versions.min, versions.max, versions.max + 1] {
                for (client_id, tags) in [(None, 0), (Some(""), 1), (Some("rdkafka"), 3)] {
                    let mut frame = encoded(api_key, version, client_id, tags);
                    let header = decode_header(&mut frame).unwrap();
                    assert_eq!(header.api_key, api_key);
                    assert_eq!((header.api_version, header.correlation_id), (version, 77));
                    assert_eq!(header.client_id.as_deref(), client_id);
                    assert_eq!(&frame[..], b"body", "{api_key:?} version {version}");
                }
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_in_its_header_is_refused_and_kept() {
        for (version, frame) in [8, 9].map(|version| (version, encoded(ApiKey::Metadata, version, Some("kcat"), 2))) {
            for len in 0..frame.len() - b"body".len() {
                let mut cut = frame.slice(..len);
                let error = decode_header(&mut cut).unwrap_err();
                assert!(matches!(error, HeaderError::Malformed(_)), "version {version}, {len} bytes: {error}");
                assert_eq!(cut.len(), len);
            }
        }
    }

    #[test]
    fn a_client_id_longer_than_the_frame_is_refused() {
        let frame = Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, b'a']);
        assert_eq!(decoded(frame), Err(HeaderError::Malformed(Malformed::Truncated { needed: 0x7fff, remaining: 1 })));
        let negative = Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xfe]);
        assert_eq!(decoded(negative), Err(HeaderError::Malformed(Malformed::NegativeLength(-2))));
    }

    #[test]
    fn lying_tagged_fields_are_refused() {
        let header = |tail: &[u8]| Bytes::from([&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff][..], tail].concat());
        assert!(decoded(header(&[0])).is_ok());
        assert!(decoded(header(&[0xff, 0xff, 0xff, 0xff, 0x0f])).is_err());
        assert!(decoded(header(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f])).is_err());
        assert!(decoded(header(&[2, 0, 0])).is_err());
    }

    #[test]
    fn an_unknown_api_is_named() {
        let frame = Bytes::from_static(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        assert_eq!(decoded(frame), Err(HeaderError::UnknownApiKey(0x7fff)));
    }

    #[test]
    fn a_malformed_client_id_is_replaced_as_in_java() {
        let frame = Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0, 2, b'a', 0xff]);
        assert_eq!(decoded(frame).unwrap().client_id.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn response_headers_are_flexible_with_their_bodies_except_for_api_versions() {
        let encoded = |api_key, version| {
            let mut out = BytesMut::new();
            encode_response_header(api_key, version, 0x01020304, &mut out);
            out
        };
        assert_eq!(encoded(ApiKey::Metadata, 8)[..], [1, 2, 3, 4]);
        assert_eq!(encoded(ApiKey::Metadata, 9)[..], [1, 2, 3, 4, 0]);
        for version in 0..=5 {
            assert_eq!(encoded(ApiKey::ApiVersions, version)[..], [1, 2, 3, 4]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..64), key in 0u8..80) {
            if let [high, low, ..] = &mut bytes[..] {
                (*high, *low) = (0, key);
            }
            let _ = decoded(bytes.into());
        }
    }
}
