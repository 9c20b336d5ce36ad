use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

use crate::wire::{
    codec::{self, DecodeError, EncodeError},
    frame::ResponseFrame,
    guard::GuardLimits,
    reader::{Malformed, Reader, shared_string},
    writer::Form,
};

/// An OffsetCommit v0 or v1, with what later versions have no place for.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyOffsetCommit {
    /// As if sent by a later version: in v0 without a generation (-1) and a member (empty).
    pub request: OffsetCommitRequest,
    /// v1's commit timestamps, for each topic and partition of `request` in its order; empty for v0.
    commit_timestamps_ms: Vec<Vec<i64>>,
}

impl LegacyOffsetCommit {
    /// The client's own commit timestamp; `None` where the broker's clock counts (-1 on the wire, and all of v0).
    pub fn commit_timestamp_ms(&self, topic_index: usize, partition_index: usize) -> Option<i64> {
        let timestamp = *self.commit_timestamps_ms.get(topic_index)?.get(partition_index)?;
        (timestamp != BROKER_CLOCK).then_some(timestamp)
    }
}

/// Decodes the body of an OffsetCommit v0 or v1:
///
/// ```text
/// group_id STRING, v1: generation_id INT32, v1: member_id STRING,
/// [name STRING, [partition INT32, offset INT64, v1: timestamp INT64, metadata NULLABLE_STRING]]
/// ```
pub fn decode_offset_commit(version: i16, body: &Bytes) -> Result<LegacyOffsetCommit, DecodeError> {
    if !(0..=1).contains(&version) {
        return Err(DecodeError::UnsupportedVersion { api_key: ApiKey::OffsetCommit, version });
    }
    let mut reader = Reader::new(body, Form::Fixed, GuardLimits::default().memory_bytes_max);
    let mut request = OffsetCommitRequest::default().with_group_id(GroupId(shared_string(body, reader.string()?)));
    if version >= 1 {
        request = request
            .with_generation_id_or_member_epoch(reader.i32()?)
            .with_member_id(shared_string(body, reader.string()?));
    }
    let count = reader.count(TOPIC_BYTES_MIN, size_of::<OffsetCommitRequestTopic>() + size_of::<Vec<i64>>())?;
    let mut topics = Vec::with_capacity(count);
    let mut commit_timestamps_ms = Vec::with_capacity(if version >= 1 { count } else { 0 });
    for _ in 0..count {
        let name = TopicName(shared_string(body, reader.string()?));
        let (partitions, timestamps) = decode_partitions(version, &mut reader, body)?;
        topics.push(OffsetCommitRequestTopic::default().with_name(name).with_partitions(partitions));
        if version >= 1 {
            commit_timestamps_ms.push(timestamps);
        }
    }
    Ok(LegacyOffsetCommit { request: request.with_topics(topics), commit_timestamps_ms })
}

/// Encodes the response to v0 and v1, which is that of v2: names, partitions, error codes.
pub fn encode_offset_commit_response(
    correlation_id: i32,
    response: &OffsetCommitResponse,
) -> Result<ResponseFrame, EncodeError> {
    codec::encode_response(ApiKey::OffsetCommit, 2, correlation_id, response)
}

type Partitions = (Vec<OffsetCommitRequestPartition>, Vec<i64>);

fn decode_partitions(version: i16, reader: &mut Reader<'_>, body: &Bytes) -> Result<Partitions, Malformed> {
    let memory_bytes = size_of::<OffsetCommitRequestPartition>() + size_of::<i64>();
    let count = reader.count(PARTITION_BYTES_MIN, memory_bytes)?;
    let mut partitions = Vec::with_capacity(count);
    let mut timestamps = Vec::with_capacity(if version >= 1 { count } else { 0 });
    for _ in 0..count {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(reader.i32()?)
            .with_committed_offset(reader.i64()?);
        if version >= 1 {
            timestamps.push(reader.i64()?);
        }
        let metadata = reader.nullable_string()?.map(|metadata| shared_string(body, metadata));
        partitions.push(partition.with_committed_metadata(metadata));
    }
    Ok((partitions, timestamps))
}

/// `OffsetCommitRequest.DEFAULT_TIMESTAMP`.
const BROKER_CLOCK: i64 = -1;

/// An empty name and no partitions; index, offset and a null string.
const TOPIC_BYTES_MIN: usize = 6;
const PARTITION_BYTES_MIN: usize = 14;

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

    use super::*;
    use crate::wire::guard;

    fn put_string(out: &mut BytesMut, string: &str) {
        out.put_i16(string.len() as i16);
        out.put_slice(string.as_bytes());
    }

    /// A group with one topic of two partitions, of which the second commits null metadata at the broker's time.
    fn encoded(version: i16) -> Bytes {
        let mut out = BytesMut::new();
        put_string(&mut out, "g");
        if version >= 1 {
            out.put_i32(5);
            put_string(&mut out, "m");
        }
        out.put_i32(1);
        put_string(&mut out, "t");
        out.put_i32(2);
        for (partition, offset, timestamp, metadata) in [(0, 10, 1234, Some("meta")), (7, -3, -1, None)] {
            out.put_i32(partition);
            out.put_i64(offset);
            if version >= 1 {
                out.put_i64(timestamp);
            }
            match metadata {
                Some(metadata) => put_string(&mut out, metadata),
                None => out.put_i16(-1),
            }
        }
        out.freeze()
    }

    #[test]
    fn versions_0_and_1_decode() {
        for version in [0, 1] {
            let decoded = decode_offset_commit(version, &encoded(version)).unwrap();
            let request = &decoded.request;
            assert_eq!(&**request.group_id, "g");
            assert_eq!(request.generation_id_or_member_epoch, [-1, 5][version as usize]);
            assert_eq!(&*request.member_id, ["", "m"][version as usize]);
            assert_eq!((request.retention_time_ms, &request.group_instance_id), (-1, &None));
            let [topic] = &request.topics[..] else { panic!("{request:?}") };
            assert_eq!(&**topic.name, "t");
            let [first, second] = &topic.partitions[..] else { panic!("{topic:?}") };
            assert_eq!((first.partition_index, first.committed_offset), (0, 10));
            assert_eq!((second.partition_index, second.committed_offset), (7, -3));
            assert_eq!(first.committed_metadata.as_deref(), Some("meta"));
            assert_eq!(second.committed_metadata, None);
            assert_eq!((first.committed_leader_epoch, second.committed_leader_epoch), (-1, -1));
        }
    }

    #[test]
    fn only_version_1_has_commit_timestamps() {
        let v1 = decode_offset_commit(1, &encoded(1)).unwrap();
        assert_eq!(v1.commit_timestamp_ms(0, 0), Some(1234));
        assert_eq!(v1.commit_timestamp_ms(0, 1), None);
        assert_eq!(v1.commit_timestamp_ms(1, 0), None);
        let v0 = decode_offset_commit(0, &encoded(0)).unwrap();
        assert_eq!(v0.commit_timestamp_ms(0, 0), None);
    }

    #[test]
    fn truncations_and_lying_counts_are_refused() {
        for version in [0, 1] {
            let body = encoded(version);
            assert!(guard::check(ApiKey::OffsetCommit, version, &body, &GuardLimits::default()).is_ok());
            for len in 0..body.len() {
                assert!(decode_offset_commit(version, &body.slice(..len)).is_err());
                assert!(guard::check(ApiKey::OffsetCommit, version, &body[..len], &GuardLimits::default()).is_err());
            }
        }
        let lying = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert!(matches!(decode_offset_commit(0, &lying), Err(DecodeError::Malformed(Malformed::Count { .. }))));
        assert!(decode_offset_commit(2, &encoded(1)).is_err());
    }

    #[test]
    fn the_response_carries_names_partitions_and_errors() {
        let partition = OffsetCommitResponsePartition::default().with_partition_index(7).with_error_code(25);
        let topic = OffsetCommitResponseTopic::default()
            .with_name(TopicName("t".to_owned().into()))
            .with_partitions(vec![partition]);
        let response = OffsetCommitResponse::default().with_topics(vec![topic]);
        let frame = encode_offset_commit_response(9, &response).unwrap();
        let expected = [&[0, 0, 0, 21, 0, 0, 0, 9][..], &[0, 0, 0, 1, 0, 1, b't'], &[0, 0, 0, 1, 0, 0, 0, 7, 0, 25]];
        assert_eq!(frame.to_bytes(), expected.concat());
    }
}
