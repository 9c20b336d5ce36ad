//! Fetch (api key 1), versions 4 to 18, by hand: the records of a response go out by reference.
//!
//! KIP-227 (v7) adds sessions, KIP-320 (v9) leader epochs, KIP-392 (v11) racks, KIP-595 (v12) diverging epochs,
//! KIP-516 (v13) topics by id, KIP-903 (v15) the replica's state, KIP-951 (v16) the new leader, KIP-853 (v17) the
//! replica's directory, KIP-1166 (v18) its high watermark.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{messages::ApiKey, protocol::StrBytes};
use uuid::Uuid;

use super::{
    codec::{DecodeError, EncodeError},
    frame::{FrameWriter, ResponseFrame},
    guard::GuardLimits,
    header,
    produce::{LeaderIdAndEpoch, NodeEndpoint, put_node_endpoints},
    reader::{Malformed, Reader, shared_string},
    topic::TopicKey,
    writer::{self, Form},
};
use crate::model::Records;

/// A request to read. Fields that the version does not have are at Kafka's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub cluster_id: Option<StrBytes>,
    /// -1 for a consumer.
    pub replica_id: i32,
    pub replica_epoch: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// 0: read_uncommitted, 1: read_committed.
    pub isolation_level: i8,
    /// 0 without a session (KIP-227).
    pub session_id: i32,
    /// -1 without a session, 0 to open one.
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    /// What an incremental fetch takes out of its session.
    pub forgotten_topics: Vec<ForgottenTopic>,
    pub rack_id: StrBytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    pub topic: TopicKey,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub partition: i32,
    /// -1 when the client does not check it.
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// -1 when there is none.
    pub last_fetched_epoch: i32,
    /// Of a follower; -1 for a consumer.
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
    pub replica_directory_id: Uuid,
    /// What the replica knows; `i64::MAX` when it does not say.
    pub high_watermark: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    pub topic: TopicKey,
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    /// Decodes a body; bytes after its last field are ignored.
    pub fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { api_key: ApiKey::Fetch, version });
        }
        let form = Form::of(version, FLEXIBLE_FROM);
        let mut reader = Reader::new(body, form, GuardLimits::default().memory_bytes_max);
        let reader = &mut reader;
        let mut request = Self {
            cluster_id: None,
            replica_id: if version <= 14 { reader.i32()? } else { -1 },
            replica_epoch: -1,
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            session_id: if version >= 7 { reader.i32()? } else { 0 },
            session_epoch: if version >= 7 { reader.i32()? } else { -1 },
            topics: decode_topics(reader, version, body)?,
            forgotten_topics: if version >= 7 { decode_forgotten(reader, version, body)? } else { Vec::new() },
            rack_id: if version >= 11 { shared_string(body, reader.string()?) } else { StrBytes::new() },
        };
        request.decode_tags(reader, version, body)?;
        Ok(request)
    }

    fn decode_tags(&mut self, reader: &mut Reader<'_>, version: i16, body: &Bytes) -> Result<(), Malformed> {
        for _ in 0..reader.tags()? {
            // The size in front of a known field is not checked: Kafka's generated readers do not look at it.
            match reader.tag()? {
                (0, _) => self.cluster_id = reader.nullable_string()?.map(|id| shared_string(body, id)),
                (1, _) if version >= 15 => {
                    self.replica_id = reader.i32()?;
                    self.replica_epoch = reader.i64()?;
                    reader.skip_tags()?;
                }
                (1, _) => return Err(Malformed::Tag(1)),
                (_, size) => _ = reader.take(size)?,
            }
        }
        Ok(())
    }
}

/// The answer; with sessions, only the partitions that have something to say.
#[derive(Clone, Debug, Default)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    /// From v7: of the session.
    pub error_code: i16,
    /// From v7.
    pub session_id: i32,
    pub topics: Vec<FetchTopicResponse>,
    /// Where the new leaders listen (v16).
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug)]
pub struct FetchTopicResponse {
    pub topic: TopicKey,
    pub partitions: Vec<FetchPartitionResponse>,
}

#[derive(Clone, Debug)]
pub struct FetchPartitionResponse {
    pub partition: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    /// From v5.
    pub log_start_offset: i64,
    /// From v12, tagged: the end of the epoch where the client's log left ours (epoch, end offset).
    pub diverging_epoch: Option<(i32, i64)>,
    /// From v12, tagged.
    pub current_leader: Option<LeaderIdAndEpoch>,
    /// `None` (null on the wire) for read_uncommitted.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// From v11; -1 for none.
    pub preferred_read_replica: i32,
    /// Batches in order, by reference. Never null on the wire: some clients dislike it.
    pub records: Records,
}

impl FetchPartitionResponse {
    /// An answer without records; what Kafka's `FetchResponse.partitionResponse` gives with an error.
    pub fn failed(partition: i32, error_code: i16) -> Self {
        Self {
            partition,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Records::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

impl FetchResponse {
    /// Encodes the whole response. Fields that the version does not have are left out; records are not copied.
    pub fn encode(self, version: i16, correlation_id: i32) -> Result<ResponseFrame, EncodeError> {
        let form = Form::of(version, FLEXIBLE_FROM);
        let mut frame = FrameWriter::with_capacity(RESPONSE_BYTES_TYPICAL);
        let out = frame.out();
        header::encode_response_header(ApiKey::Fetch, version, correlation_id, out);
        out.put_i32(self.throttle_time_ms);
        if version >= 7 {
            out.put_i16(self.error_code);
            out.put_i32(self.session_id);
        }
        writer::put_length(out, form, self.topics.len())?;
        for topic in self.topics {
            topic.topic.put(frame.out(), form, version >= TOPIC_IDS_FROM)?;
            writer::put_length(frame.out(), form, topic.partitions.len())?;
            for partition in topic.partitions {
                partition.put(version, form, &mut frame)?;
            }
            writer::put_no_tags(frame.out(), form);
        }
        if version >= 16 {
            put_node_endpoints(&self.node_endpoints, frame.out())?;
        } else {
            writer::put_no_tags(frame.out(), form);
        }
        Ok(frame.finish()?)
    }
}

impl FetchPartitionResponse {
    fn put(self, version: i16, form: Form, frame: &mut FrameWriter) -> Result<(), EncodeError> {
        let out = frame.out();
        out.put_i32(self.partition);
        out.put_i16(self.error_code);
        out.put_i64(self.high_watermark);
        out.put_i64(self.last_stable_offset);
        if version >= 5 {
            out.put_i64(self.log_start_offset);
        }
        match &self.aborted_transactions {
            None => writer::put_null_length(out, form),
            Some(transactions) => {
                writer::put_length(out, form, transactions.len())?;
                for transaction in transactions {
                    out.put_i64(transaction.producer_id);
                    out.put_i64(transaction.first_offset);
                    writer::put_no_tags(out, form);
                }
            }
        }
        if version >= 11 {
            out.put_i32(self.preferred_read_replica);
        }
        writer::put_length(out, form, self.records.len())?;
        self.records.into_chunks().for_each(|chunk| frame.put_shared(chunk));
        if form.is_flexible() {
            put_partition_tags(self.diverging_epoch, self.current_leader, frame.out());
        }
        Ok(())
    }
}

fn put_partition_tags(
    diverging_epoch: Option<(i32, i64)>,
    current_leader: Option<LeaderIdAndEpoch>,
    out: &mut BytesMut,
) {
    out.put_u8(u8::from(diverging_epoch.is_some()) + u8::from(current_leader.is_some()));
    if let Some((epoch, end_offset)) = diverging_epoch {
        out.put_slice(&[0, 13]);
        out.put_i32(epoch);
        out.put_i64(end_offset);
        out.put_u8(0);
    }
    if let Some(leader) = current_leader {
        leader.put_tagged(1, out);
    }
}

fn decode_topics(reader: &mut Reader<'_>, version: i16, body: &Bytes) -> Result<Vec<FetchTopic>, Malformed> {
    let count = reader.count(TOPIC_BYTES_MIN, size_of::<FetchTopic>())?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let topic = decode_topic_key(reader, version, body)?;
        let partition_count = reader.count(PARTITION_BYTES_MIN, size_of::<FetchPartition>())?;
        let mut partitions = Vec::with_capacity(partition_count);
        for _ in 0..partition_count {
            partitions.push(decode_partition(reader, version)?);
        }
        reader.skip_tags()?;
        topics.push(FetchTopic { topic, partitions });
    }
    Ok(topics)
}

fn decode_partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchPartition, Malformed> {
    let mut partition = FetchPartition {
        partition: reader.i32()?,
        current_leader_epoch: if version >= 9 { reader.i32()? } else { -1 },
        fetch_offset: reader.i64()?,
        last_fetched_epoch: if version >= 12 { reader.i32()? } else { -1 },
        log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
        partition_max_bytes: reader.i32()?,
        replica_directory_id: Uuid::nil(),
        high_watermark: i64::MAX,
    };
    for _ in 0..reader.tags()? {
        match reader.tag()? {
            (0, _) if version >= 17 => partition.replica_directory_id = reader.uuid()?,
            (1, _) if version >= 18 => partition.high_watermark = reader.i64()?,
            (tag @ (0 | 1), _) => return Err(Malformed::Tag(tag)),
            (_, size) => _ = reader.take(size)?,
        }
    }
    Ok(partition)
}

fn decode_forgotten(reader: &mut Reader<'_>, version: i16, body: &Bytes) -> Result<Vec<ForgottenTopic>, Malformed> {
    let count = reader.count(TOPIC_BYTES_MIN, size_of::<ForgottenTopic>())?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let topic = decode_topic_key(reader, version, body)?;
        let partition_count = reader.count(size_of::<i32>(), size_of::<i32>())?;
        let mut partitions = Vec::with_capacity(partition_count);
        for _ in 0..partition_count {
            partitions.push(reader.i32()?);
        }
        reader.skip_tags()?;
        topics.push(ForgottenTopic { topic, partitions });
    }
    Ok(topics)
}

fn decode_topic_key(reader: &mut Reader<'_>, version: i16, body: &Bytes) -> Result<TopicKey, Malformed> {
    if version >= TOPIC_IDS_FROM {
        reader.uuid().map(TopicKey::Id)
    } else {
        reader.string().map(|name| TopicKey::Name(shared_string(body, name)))
    }
}

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;
const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;

/// The least that any version has of a topic (empty name, no partitions, no tags) and of a partition (v4).
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 16;

const RESPONSE_BYTES_TYPICAL: usize = 256;

#[cfg(test)]
mod tests;
