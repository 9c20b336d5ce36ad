//! The response of Metadata (api key 3), versions 0 to 13, by hand: it says of a partition only what the cluster's one
//! node makes it say, so that partitions differ in nothing but their index and are not spelled out one by one.
//!
//! KIP-516 (v10) adds topic ids, KIP-700 (v11) takes the cluster's operations away again, v13 ends in an error.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

use super::{
    codec::EncodeError,
    frame::{FrameWriter, ResponseFrame},
    header,
    writer::{self, Form},
};

/// A cluster of one node, which is its controller and leads every partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataResponse<'a> {
    pub node: MetadataNode<'a>,
    /// From v2.
    pub cluster_id: &'a str,
    pub leader_epoch: i32,
    pub topics: Vec<MetadataTopic>,
    /// v8 to v10: a bit for each operation.
    pub cluster_operations: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataNode<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: u16,
    /// From v1.
    pub rack: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataTopic {
    pub error_code: i16,
    /// Null only when an id was asked for that no topic has (v12).
    pub name: Option<Arc<str>>,
    /// From v10.
    pub id: Uuid,
    /// How many it has; their indexes count from 0.
    pub partitions: i32,
    /// From v8: a bit for each operation.
    pub operations: i32,
}

impl MetadataResponse<'_> {
    /// Encodes the whole response. Fields that the version does not have are left out.
    pub fn encode(&self, version: i16, correlation_id: i32) -> Result<ResponseFrame, EncodeError> {
        let partition = Partition::new(version, self.node.id, self.leader_epoch)?;
        let names: usize = self.topics.iter().filter_map(|topic| topic.name.as_deref()).map(str::len).sum();
        let partitions: usize = self.topics.iter().map(|topic| topic.partition_count()).sum();
        let capacity = HEAD_BYTES_TYPICAL + self.topics.len() * TOPIC_BYTES_MAX + names + partitions * partition.len();
        let mut frame = FrameWriter::with_capacity(capacity);
        header::encode_response_header(ApiKey::Metadata, version, correlation_id, frame.out());
        self.encode_body(version, &partition, frame.out())?;
        Ok(frame.finish()?)
    }

    fn encode_body(&self, version: i16, partition: &Partition, out: &mut BytesMut) -> Result<(), EncodeError> {
        let form = Form::of(version, FLEXIBLE_FROM);
        if version >= 3 {
            // Throttle time.
            out.put_i32(0);
        }
        writer::put_length(out, form, 1)?;
        self.node.put(version, form, out)?;
        if version >= 2 {
            writer::put_string(out, form, self.cluster_id)?;
        }
        if version >= 1 {
            out.put_i32(self.node.id);
        }
        writer::put_length(out, form, self.topics.len())?;
        for topic in &self.topics {
            topic.put(version, form, partition, out)?;
        }
        if (8..=10).contains(&version) {
            out.put_i32(self.cluster_operations);
        }
        if version >= 13 {
            // The error of the whole request.
            out.put_i16(0);
        }
        writer::put_no_tags(out, form);
        Ok(())
    }
}

impl MetadataNode<'_> {
    fn put(&self, version: i16, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i32(self.id);
        writer::put_string(out, form, self.host)?;
        out.put_i32(i32::from(self.port));
        if version >= 1 {
            writer::put_nullable_string(out, form, self.rack)?;
        }
        writer::put_no_tags(out, form);
        Ok(())
    }
}

impl MetadataTopic {
    fn partition_count(&self) -> usize {
        usize::try_from(self.partitions).unwrap_or_default()
    }

    fn put(&self, version: i16, form: Form, partition: &Partition, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i16(self.error_code);
        writer::put_nullable_string(out, form, self.name.as_deref())?;
        if version >= 10 {
            out.put_slice(self.id.as_bytes());
        }
        if version >= 1 {
            // Whether it is internal.
            out.put_u8(0);
        }
        writer::put_length(out, form, self.partition_count())?;
        for index in 0..self.partitions {
            partition.put(index, out);
        }
        if version >= 8 {
            out.put_i32(self.operations);
        }
        writer::put_no_tags(out, form);
        Ok(())
    }
}

/// What every partition is encoded as but for its index.
struct Partition {
    /// What follows the index.
    behind_index: BytesMut,
}

impl Partition {
    fn new(version: i16, node_id: i32, leader_epoch: i32) -> Result<Self, EncodeError> {
        let form = Form::of(version, FLEXIBLE_FROM);
        let mut out = BytesMut::new();
        out.put_i32(node_id);
        if version >= 7 {
            out.put_i32(leader_epoch);
        }
        // The replicas, and those in sync.
        for _ in 0..2 {
            writer::put_length(&mut out, form, 1)?;
            out.put_i32(node_id);
        }
        if version >= 5 {
            // Those offline.
            writer::put_length(&mut out, form, 0)?;
        }
        writer::put_no_tags(&mut out, form);
        Ok(Self { behind_index: out })
    }

    fn len(&self) -> usize {
        size_of::<i16>() + size_of::<i32>() + self.behind_index.len()
    }

    fn put(&self, index: i32, out: &mut BytesMut) {
        // No error.
        out.put_i16(0);
        out.put_i32(index);
        out.put_slice(&self.behind_index);
    }
}

const FLEXIBLE_FROM: i16 = 9;
/// Header, node and cluster id.
const HEAD_BYTES_TYPICAL: usize = 256;
/// What a topic has beside its name and partitions.
const TOPIC_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use kafka_protocol::{
        messages::{
            self, BrokerId, TopicName,
            metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        },
        protocol::StrBytes,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::wire::codec::encode_response;

    /// As kafka-protocol has it, without what the version has not.
    fn theirs(ours: &MetadataResponse<'_>, version: i16) -> messages::MetadataResponse {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let operations = |operations, versions: std::ops::RangeInclusive<i16>| match versions.contains(&version) {
            true => operations,
            false => i32::MIN,
        };
        let node = BrokerId(ours.node.id);
        let partition = |index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(node)
                .with_leader_epoch(ours.leader_epoch)
                .with_replica_nodes(vec![node])
                .with_isr_nodes(vec![node])
        };
        let topic = |topic: &MetadataTopic| {
            MetadataResponseTopic::default()
                .with_error_code(topic.error_code)
                .with_name(topic.name.as_deref().map(|name| TopicName(text(name))))
                .with_topic_id(topic.id)
                .with_partitions((0..topic.partitions).map(partition).collect())
                .with_topic_authorized_operations(operations(topic.operations, 8..=13))
        };
        let broker = MetadataResponseBroker::default()
            .with_node_id(node)
            .with_host(text(ours.node.host))
            .with_port(i32::from(ours.node.port))
            .with_rack(ours.node.rack.map(text));
        messages::MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(ours.cluster_id)))
            .with_controller_id(node)
            .with_topics(ours.topics.iter().map(topic).collect())
            .with_cluster_authorized_operations(operations(ours.cluster_operations, 8..=10))
    }

    fn topic() -> impl Strategy<Value = MetadataTopic> {
        (any::<i16>(), prop::option::of("[a-z.]{0,200}"), any::<u128>(), 0..200, any::<i32>()).prop_map(
            |(error_code, name, id, partitions, operations)| MetadataTopic {
                error_code,
                name: name.map(Arc::from),
                id: Uuid::from_u128(id),
                partitions,
                operations,
            },
        )
    }

    proptest! {
        #[test]
        fn every_version_has_the_bytes_of_the_schema(
            (id, leader_epoch, cluster_operations) in any::<(i32, i32, i32)>(),
            (host, port, rack) in ("[a-z.]{0,150}", any::<u16>(), prop::option::of("[a-z]{0,150}")),
            topics in prop::collection::vec(topic(), 0..4),
        ) {
            let node = MetadataNode { id, host: &host, port, rack: rack.as_deref() };
            let ours = MetadataResponse { node, cluster_id: "cluster", leader_epoch, topics, cluster_operations };
            for version in 0..=13 {
                let frame = ours.encode(version, 7).unwrap();
                let expected = encode_response(ApiKey::Metadata, version, 7, &theirs(&ours, version)).unwrap();
                prop_assert_eq!(frame.to_bytes(), expected.to_bytes(), "version {}", version);
            }
        }
    }

    #[test]
    fn a_name_too_long_for_its_version_is_an_error() {
        let node = MetadataNode { id: 0, host: "", port: 0, rack: None };
        let name = Some(Arc::from("a".repeat(40_000)));
        let topic = MetadataTopic { error_code: 3, name, id: Uuid::nil(), partitions: 0, operations: 0 };
        let mut response =
            MetadataResponse { node, cluster_id: "", leader_epoch: 0, topics: vec![topic], cluster_operations: 0 };
        assert!(matches!(response.encode(8, 1), Err(EncodeError::TooLong(40_000))));
        response.encode(9, 1).unwrap();
        response.topics.clear();
        response.encode(8, 1).unwrap();
    }
}
