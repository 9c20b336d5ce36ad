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

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        TopicName,
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    };

    use super::*;

    #[test]
    fn version_0_decodes() {
        let mut body = Bytes::from_static(&[
            0, 1, b'g', 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, //
        ]);
        let request = decode_offset_fetch(&mut body).unwrap();
        assert_eq!(&**request.group_id, "g");
        let topics = request.topics.unwrap();
        assert_eq!(&**topics[0].name, "t");
        assert_eq!(topics[0].partition_indexes, [0, 7]);
        assert!(body.is_empty());
    }

    #[test]
    fn lying_counts_are_refused() {
        assert!(decode_offset_fetch(&mut Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).is_err());
        assert!(decode_offset_fetch(&mut Bytes::from_static(&[0, 0, 0xff, 0xff, 0xff, 0xff])).is_err());
    }

    #[test]
    fn the_response_has_no_error_above_the_partitions() {
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(7)
            .with_committed_offset(-1)
            .with_metadata(Some("".to_owned().into()))
            .with_error_code(3);
        let topic = OffsetFetchResponseTopic::default()
            .with_name(TopicName("t".to_owned().into()))
            .with_partitions(vec![partition]);
        let response = OffsetFetchResponse::default().with_topics(vec![topic]);
        let frame = encode_offset_fetch_response(9, &response).unwrap();
        let expected = [
            &[0, 0, 0, 31, 0, 0, 0, 9][..],
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7],
            &[0xff; 8],
            &[0, 0, 0, 3],
        ];
        assert_eq!(frame.to_bytes(), expected.concat());
    }
}
