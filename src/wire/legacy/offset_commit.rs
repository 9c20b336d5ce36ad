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
