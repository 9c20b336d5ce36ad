//! Produce (api key 0), versions 3 to 13, by hand: the records of a request stay slices of its frame.
//!
//! KIP-467 (v8) names the records of a batch that are refused, KIP-951 (v10) the new leader, KIP-516 (v13) topics by
//! id. Versions 0 to 2 carry message formats that Kafka 4 no longer takes (KIP-724); they do not decode.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{messages::ApiKey, protocol::StrBytes};

use super::{
    codec::{DecodeError, EncodeError},
    frame::{FrameWriter, ResponseFrame},
    guard::GuardLimits,
    header,
    reader::{Malformed, Reader, shared_string},
    topic::TopicKey,
    writer::{self, Form},
};

/// A request to append. Strings and records are slices of the frame, which they pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    pub transactional_id: Option<StrBytes>,
    /// 0: no answer, 1: when written, -1: when durable.
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<ProduceTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    pub topic: TopicKey,
    pub partitions: Vec<ProducePartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    pub index: i32,
    /// Record batches as the client wrote them, unchecked; `None` is null on the wire.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Decodes a body; bytes after its last field are ignored.
    pub fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { api_key: ApiKey::Produce, version });
        }
        let form = Form::of(version, FLEXIBLE_FROM);
        let mut reader = Reader::new(body, form, GuardLimits::default().memory_bytes_max);
        let request = Self {
            transactional_id: reader.nullable_string()?.map(|id| shared_string(body, id)),
            acks: reader.i16()?,
            timeout_ms: reader.i32()?,
            topics: decode_topics(&mut reader, version, body)?,
        };
        reader.skip_tags()?;
        Ok(request)
    }
}

/// The answer, one entry for each partition of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    pub topics: Vec<ProduceTopicResponse>,
    pub throttle_time_ms: i32,
    /// Where the new leaders listen (v10).
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopicResponse {
    pub topic: TopicKey,
    pub partitions: Vec<ProducePartitionResponse>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    pub index: i32,
    pub error_code: i16,
    /// Offset of the first record, -1 on error.
    pub base_offset: i64,
    /// -1 unless the topic stamps records with LogAppendTime.
    pub log_append_time_ms: i64,
    /// From v5.
    pub log_start_offset: i64,
    /// From v8: the records that made the whole batch be refused.
    pub record_errors: Vec<RecordError>,
    /// From v8.
    pub error_message: Option<StrBytes>,
    /// From v10, with NOT_LEADER_OR_FOLLOWER.
    pub current_leader: Option<LeaderIdAndEpoch>,
}

impl ProducePartitionResponse {
    /// An append that succeeded.
    pub fn appended(index: i32, base_offset: i64, log_append_time_ms: i64, log_start_offset: i64) -> Self {
        Self { base_offset, log_append_time_ms, log_start_offset, ..Self::failed(index, 0, None) }
    }

    /// An append that was refused; all offsets are -1.
    pub fn failed(index: i32, error_code: i16, error_message: Option<StrBytes>) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message,
            current_leader: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record in its batch.
    pub batch_index: i32,
    pub message: Option<StrBytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderIdAndEpoch {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: StrBytes,
    pub port: i32,
    pub rack: Option<StrBytes>,
}

impl ProduceResponse {
    /// Encodes the whole response. Fields that the version does not have are left out.
    pub fn encode(&self, version: i16, correlation_id: i32) -> Result<ResponseFrame, EncodeError> {
        let mut frame = FrameWriter::with_capacity(RESPONSE_BYTES_TYPICAL);
        header::encode_response_header(ApiKey::Produce, version, correlation_id, frame.out());
        self.encode_body(version, frame.out())?;
        Ok(frame.finish()?)
    }

    fn encode_body(&self, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
        let form = Form::of(version, FLEXIBLE_FROM);
        writer::put_length(out, form, self.topics.len())?;
        for topic in &self.topics {
            topic.topic.put(out, form, version >= TOPIC_IDS_FROM)?;
            writer::put_length(out, form, topic.partitions.len())?;
            for partition in &topic.partitions {
                partition.put(version, form, out)?;
            }
            writer::put_no_tags(out, form);
        }
        out.put_i32(self.throttle_time_ms);
        if version >= LEADERS_FROM {
            put_node_endpoints(&self.node_endpoints, out)?;
        } else {
            writer::put_no_tags(out, form);
        }
        Ok(())
    }
}

impl ProducePartitionResponse {
    fn put(&self, version: i16, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i32(self.index);
        out.put_i16(self.error_code);
        out.put_i64(self.base_offset);
        out.put_i64(self.log_append_time_ms);
        if version >= 5 {
            out.put_i64(self.log_start_offset);
        }
        if version >= 8 {
            writer::put_length(out, form, self.record_errors.len())?;
            for error in &self.record_errors {
                out.put_i32(error.batch_index);
                writer::put_nullable_string(out, form, error.message.as_deref())?;
                writer::put_no_tags(out, form);
            }
            writer::put_nullable_string(out, form, self.error_message.as_deref())?;
        }
        match self.current_leader {
            Some(leader) if version >= LEADERS_FROM => {
                out.put_u8(1);
                leader.put_tagged(0, out);
            }
            _ => writer::put_no_tags(out, form),
        }
        Ok(())
    }
}

impl LeaderIdAndEpoch {
    /// As a tagged field: tag, size, structure with its own empty tagged fields.
    pub(super) fn put_tagged(self, tag: u8, out: &mut BytesMut) {
        out.put_slice(&[tag, 9]);
        out.put_i32(self.leader_id);
        out.put_i32(self.leader_epoch);
        out.put_u8(0);
    }
}

/// The tagged fields that end a response from the version that names nodes: tag 0, when there is any.
pub(super) fn put_node_endpoints(endpoints: &[NodeEndpoint], out: &mut BytesMut) -> Result<(), EncodeError> {
    if endpoints.is_empty() {
        out.put_u8(0);
        return Ok(());
    }
    let form = Form::Flexible;
    let mut field = BytesMut::new();
    writer::put_length(&mut field, form, endpoints.len())?;
    for endpoint in endpoints {
        field.put_i32(endpoint.node_id);
        writer::put_string(&mut field, form, &endpoint.host)?;
        field.put_i32(endpoint.port);
        writer::put_nullable_string(&mut field, form, endpoint.rack.as_deref())?;
        writer::put_no_tags(&mut field, form);
    }
    out.put_slice(&[1, 0]);
    writer::put_unsigned_varint(out, u32::try_from(field.len()).map_err(|_| EncodeError::TooLong(field.len()))?);
    out.put_slice(&field);
    Ok(())
}

fn decode_topics(reader: &mut Reader<'_>, version: i16, body: &Bytes) -> Result<Vec<ProduceTopic>, Malformed> {
    let count = reader.count(TOPIC_BYTES_MIN, size_of::<ProduceTopic>())?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let topic = if version >= TOPIC_IDS_FROM {
            TopicKey::Id(reader.uuid()?)
        } else {
            TopicKey::Name(shared_string(body, reader.string()?))
        };
        let partition_count = reader.count(PARTITION_BYTES_MIN, size_of::<ProducePartition>())?;
        let mut partitions = Vec::with_capacity(partition_count);
        for _ in 0..partition_count {
            let index = reader.i32()?;
            let records = reader.nullable_bytes()?.map(|records| body.slice_ref(records));
            reader.skip_tags()?;
            partitions.push(ProducePartition { index, records });
        }
        reader.skip_tags()?;
        topics.push(ProduceTopic { topic, partitions });
    }
    Ok(topics)
}

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;
const FLEXIBLE_FROM: i16 = 9;
const LEADERS_FROM: i16 = 10;
const TOPIC_IDS_FROM: i16 = 13;

/// The least that any version has of a topic (empty name, no partitions, no tags) and of a partition.
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 6;

const RESPONSE_BYTES_TYPICAL: usize = 128;

#[cfg(test)]
mod tests;
