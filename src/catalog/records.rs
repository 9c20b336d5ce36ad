//! The catalogue's journal records: a kind byte, then what names the entry; values carry a version.

use std::sync::Arc;

use base64::Engine as _;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config::DynamicConfigs,
    model::{GroupId, TopicId},
    storage::{JournalRecord, StorageError},
};

use super::snapshot::{Topic, TopicConfigs};

/// What one journal record of the catalogue says.
pub(super) enum CatalogRecord {
    ClusterId(Arc<str>),
    Topic(Topic),
    LogStart { topic_id: TopicId, partition: i32, offset: i64 },
    DynamicConfigs(DynamicConfigs),
    GroupConfigs(GroupId, TopicConfigs),
}

impl CatalogRecord {
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, StorageError> {
        let corrupt = || StorageError::Corrupt(format!("catalogue record with key {:02x?}", key));
        let (&kind, name) = key.split_first().ok_or_else(corrupt)?;
        let (&version, body) = value.split_first().ok_or_else(corrupt)?;
        if version != VERSION {
            return Err(StorageError::Corrupt(format!("catalogue record of unknown version {version}")));
        }
        match kind {
            KIND_CLUSTER_ID => {
                std::str::from_utf8(body).map(|id| Self::ClusterId(Arc::from(id))).map_err(|_| corrupt())
            }
            KIND_TOPIC => {
                let name = std::str::from_utf8(name).map_err(|_| corrupt())?;
                let stored: StoredTopic = serde_json::from_slice(body).map_err(|_| corrupt())?;
                Ok(Self::Topic(Topic {
                    name: Arc::from(name),
                    id: stored.id,
                    partitions: stored.partitions,
                    configs: stored.configs,
                }))
            }
            KIND_LOG_START => {
                let (id, partition) = name.split_first_chunk::<16>().ok_or_else(corrupt)?;
                Ok(Self::LogStart {
                    topic_id: Uuid::from_bytes(*id),
                    partition: i32::from_be_bytes(partition.try_into().map_err(|_| corrupt())?),
                    offset: i64::from_be_bytes(body.try_into().map_err(|_| corrupt())?),
                })
            }
            KIND_DYNAMIC_CONFIGS => {
                let stored: StoredConfigs = serde_json::from_slice(body).map_err(|_| corrupt())?;
                Ok(Self::DynamicConfigs(DynamicConfigs { broker: stored.broker, cluster: stored.cluster }))
            }
            KIND_GROUP_CONFIGS => {
                let group = std::str::from_utf8(name).map_err(|_| corrupt())?;
                let configs = serde_json::from_slice(body).map_err(|_| corrupt())?;
                Ok(Self::GroupConfigs(Arc::from(group), configs))
            }
            _ => Err(corrupt()),
        }
    }
}

pub(super) fn cluster_id(id: &str) -> JournalRecord {
    record(KIND_CLUSTER_ID, &[], Some(id.as_bytes()))
}

pub(super) fn topic(topic: &Topic) -> JournalRecord {
    let stored = StoredTopic { id: topic.id, partitions: topic.partitions, configs: topic.configs.clone() };
    record(KIND_TOPIC, topic.name.as_bytes(), Some(&json(&stored)))
}

pub(super) fn dynamic_configs(configs: &DynamicConfigs) -> JournalRecord {
    let stored = StoredConfigs { broker: configs.broker.clone(), cluster: configs.cluster.clone() };
    record(KIND_DYNAMIC_CONFIGS, &[], Some(&json(&stored)))
}

/// A group without configs has no record.
pub(super) fn group_configs(group: &str, configs: &TopicConfigs) -> JournalRecord {
    let stored = (!configs.is_empty()).then(|| json(configs));
    record(KIND_GROUP_CONFIGS, group.as_bytes(), stored.as_deref())
}

pub(super) fn topic_tombstone(name: &str) -> JournalRecord {
    record(KIND_TOPIC, name.as_bytes(), None)
}

pub(super) fn log_start(topic_id: TopicId, partition: i32, offset: i64) -> JournalRecord {
    record(KIND_LOG_START, &log_start_name(topic_id, partition), Some(&offset.to_be_bytes()))
}

pub(super) fn log_start_tombstone(topic_id: TopicId, partition: i32) -> JournalRecord {
    record(KIND_LOG_START, &log_start_name(topic_id, partition), None)
}

/// Kafka's spelling of a UUID: base64, URL-safe, without padding (`org.apache.kafka.common.Uuid`).
pub(super) fn encode_uuid(uuid: Uuid) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uuid.as_bytes())
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: Uuid,
    partitions: i32,
    configs: TopicConfigs,
}

#[derive(Serialize, Deserialize)]
struct StoredConfigs {
    broker: TopicConfigs,
    cluster: TopicConfigs,
}

#[expect(clippy::expect_used, reason = "structs of ids, integers and maps of strings always serialise")]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}

fn log_start_name(topic_id: TopicId, partition: i32) -> [u8; 20] {
    let mut name = [0; 20];
    let (id, number) = name.split_at_mut(16);
    id.copy_from_slice(topic_id.as_bytes());
    number.copy_from_slice(&partition.to_be_bytes());
    name
}

fn record(kind: u8, name: &[u8], body: Option<&[u8]>) -> JournalRecord {
    let mut key = BytesMut::with_capacity(1 + name.len());
    key.put_u8(kind);
    key.put_slice(name);
    let value = body.map(|body| {
        let mut value = BytesMut::with_capacity(1 + body.len());
        value.put_u8(VERSION);
        value.put_slice(body);
        value.freeze()
    });
    JournalRecord { key: key.freeze(), value: value as Option<Bytes> }
}

const KIND_CLUSTER_ID: u8 = b'c';
const KIND_TOPIC: u8 = b't';
const KIND_LOG_START: u8 = b's';
const KIND_DYNAMIC_CONFIGS: u8 = b'd';
const KIND_GROUP_CONFIGS: u8 = b'g';
const VERSION: u8 = 1;
