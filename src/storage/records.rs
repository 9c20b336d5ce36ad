//! The journal's bytes of offsets and groups.
//!
//! ```text
//! key     1 · group length u32 · group · partition i32 · topic          an offset
//!         2 · group length u32 · group                                  a group
//! offset  version u8 = 1 · offset i64 · leader epoch i32 · commit time ms i64 · expire time ms i64 (-1: none)
//!         · topic id 16 · pending u8 · producer id i64 · producer epoch i16 · shard epoch i32 · metadata
//! group   version u8 = 1 · JSON of `GroupMetadata`
//! ```
//!
//! Big-endian. `pending`, producer and shard epoch are there for transactional commits (KIP-447) and for several
//! gateways over one store; until then they are 0, -1, -1 and -1, and an offset that is pending is refused rather than
//! shown.

use std::{collections::HashSet, sync::Arc};

use bytes::{Buf, BufMut, Bytes};

use super::{CoordinatorRecord, JournalRecord, StorageError};
use crate::model::{CommitMetadata, GroupId, GroupMetadata, OffsetMetadata, TopicId, TopicPartition};

/// The journal record of a change. An error only if a group cannot be written as JSON.
pub(super) fn encode(record: &CoordinatorRecord) -> Result<JournalRecord, StorageError> {
    let (key, value) = match record {
        CoordinatorRecord::Offset { group, partition, value } => {
            (offset_key(group, partition), value.as_ref().map(encode_offset))
        }
        CoordinatorRecord::Group { group, value } => (group_key(group), value.as_ref().map(encode_group).transpose()?),
    };
    Ok(JournalRecord { key, value })
}

/// The change that sets `key` to `value`.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<CoordinatorRecord, StorageError> {
    decode_parts(key, value).map_err(|error| corrupt(key, &error))
}

/// The group that a journal record's key is about.
pub(super) fn group_of(key: &Bytes) -> Result<Arc<str>, StorageError> {
    subject_of(key).map(|(group, _)| group)
}

/// What a journal record's key is about: a group's offset of a partition, or a group.
pub(super) fn subject_of(key: &Bytes) -> Result<(Arc<str>, Option<TopicPartition>), StorageError> {
    let subject = || {
        let key = Key::parse(key)?;
        let partition = match key.partition {
            Some((topic, partition)) => Some(TopicPartition { topic: text(topic)?.into(), partition }),
            None => None,
        };
        Ok((text(key.group)?.into(), partition))
    };
    subject().map_err(|error| corrupt(key, &error))
}

fn decode_parts(key: &[u8], value: &[u8]) -> Result<CoordinatorRecord, DecodeError> {
    let key = Key::parse(key)?;
    let group = GroupId::from(text(key.group)?);
    match key.partition {
        Some((topic, partition)) => {
            let partition = TopicPartition { topic: text(topic)?.into(), partition };
            let value = Offset::parse(value)?;
            let value = Some(value.with(text(value.metadata)?.into()));
            Ok(CoordinatorRecord::Offset { group, partition, value })
        }
        None => {
            let value = Some(decode_group(&group, value)?);
            Ok(CoordinatorRecord::Group { group, value })
        }
    }
}

/// The parts of a journal record's key, where they lie in it; the names are not known to be UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) group: &'a [u8],
    /// Topic and partition of an offset; none of a group's own record.
    pub(super) partition: Option<(&'a [u8], i32)>,
}

impl<'a> Key<'a> {
    pub(super) fn parse(mut key: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = key.try_get_u8().map_err(|_| DecodeError::Key)?;
        let group_bytes = key.try_get_u32().map_err(|_| DecodeError::Key)? as usize;
        let group = key.split_off(..group_bytes).ok_or(DecodeError::Key)?;
        match kind {
            KIND_OFFSET => {
                let partition = key.try_get_i32().map_err(|_| DecodeError::Key)?;
                Ok(Self { group, partition: Some((key, partition)) })
            }
            KIND_GROUP if key.is_empty() => Ok(Self { group, partition: None }),
            _ => Err(DecodeError::Key),
        }
    }
}

/// An offset where it lies in a journal record's value; the metadata is not known to be UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offset<'a> {
    offset: i64,
    leader_epoch: i32,
    commit_timestamp_ms: i64,
    expire_timestamp_ms: Option<i64>,
    topic_id: TopicId,
    pub(super) metadata: &'a [u8],
}

impl<'a> Offset<'a> {
    pub(super) fn parse(mut value: &'a [u8]) -> Result<Self, DecodeError> {
        if value.try_get_u8().map_err(|_| DecodeError::Value)? != VERSION_OFFSET {
            return Err(DecodeError::Version);
        }
        if value.len() < OFFSET_FIXED_BYTES {
            return Err(DecodeError::Value);
        }
        let offset = value.get_i64();
        let leader_epoch = value.get_i32();
        let commit_timestamp_ms = value.get_i64();
        let expire_timestamp_ms = Some(value.get_i64()).filter(|expires| *expires != NO_EXPIRY);
        let topic_id = TopicId::from_u128(value.get_u128());
        if value.get_u8() != NOT_PENDING {
            return Err(DecodeError::Version);
        }
        value.advance(RESERVED_BYTES);
        Ok(Self { offset, leader_epoch, commit_timestamp_ms, expire_timestamp_ms, topic_id, metadata: value })
    }

    /// The whole, with `metadata` as it is shared.
    pub(super) fn with(&self, metadata: CommitMetadata) -> OffsetMetadata {
        let Self { offset, leader_epoch, commit_timestamp_ms, expire_timestamp_ms, topic_id, .. } = *self;
        OffsetMetadata { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, topic_id }
    }
}

/// Strings that repeat share their memory.
#[derive(Debug, Default)]
pub(super) struct Strings {
    known: HashSet<Arc<str>>,
    last: Option<Arc<str>>,
}

impl Strings {
    pub(super) fn shared(&mut self, bytes: &[u8]) -> Result<Arc<str>, DecodeError> {
        if let Some(last) = self.last.as_ref().filter(|last| last.as_bytes() == bytes) {
            return Ok(Arc::clone(last));
        }
        let text = text(bytes)?;
        let string = match self.known.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let string = Arc::<str>::from(text);
                if self.known.len() < SHARED_STRINGS_MAX {
                    self.known.insert(Arc::clone(&string));
                }
                string
            }
        };
        self.last = Some(Arc::clone(&string));
        Ok(string)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

/// Why a journal record is no change of offsets or groups.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the key is malformed")]
    Key,
    #[error("the value is malformed")]
    Value,
    #[error("the value was written by a newer program")]
    Version,
    #[error("a name is not UTF-8")]
    Utf8,
    #[error("the group's JSON is malformed: {0}")]
    Json(String),
    #[error("the group in the value is not that of the key")]
    OtherGroup,
}

pub(super) fn corrupt(key: &[u8], error: &DecodeError) -> StorageError {
    let shown = key.get(..KEY_BYTES_SHOWN).unwrap_or(key);
    StorageError::Corrupt(format!("journal record \"{}\": {error}", shown.escape_ascii()))
}

fn offset_key(group: &str, partition: &TopicPartition) -> Bytes {
    let mut key = Vec::with_capacity(1 + 4 + group.len() + 4 + partition.topic.len());
    put_group(&mut key, KIND_OFFSET, group);
    key.put_i32(partition.partition);
    key.put_slice(partition.topic.as_bytes());
    key.into()
}

fn group_key(group: &str) -> Bytes {
    let mut key = Vec::with_capacity(1 + 4 + group.len());
    put_group(&mut key, KIND_GROUP, group);
    key.into()
}

fn put_group(key: &mut Vec<u8>, kind: u8, group: &str) {
    key.put_u8(kind);
    // A name came in a frame of at most 2 GiB.
    key.put_u32(u32::try_from(group.len()).unwrap_or(u32::MAX));
    key.put_slice(group.as_bytes());
}

fn encode_offset(value: &OffsetMetadata) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + OFFSET_FIXED_BYTES + value.metadata.len());
    bytes.put_u8(VERSION_OFFSET);
    bytes.put_i64(value.offset);
    bytes.put_i32(value.leader_epoch);
    bytes.put_i64(value.commit_timestamp_ms);
    bytes.put_i64(value.expire_timestamp_ms.unwrap_or(NO_EXPIRY));
    bytes.put_u128(value.topic_id.as_u128());
    bytes.put_u8(NOT_PENDING);
    bytes.put_i64(-1);
    bytes.put_i16(-1);
    bytes.put_i32(-1);
    bytes.put_slice(value.metadata.as_bytes());
    bytes.into()
}

fn encode_group(value: &GroupMetadata) -> Result<Bytes, StorageError> {
    // Grown step by step it would be copied as often.
    let mut bytes = Vec::with_capacity(GROUP_JSON_BYTES + value.members.len() * MEMBER_JSON_BYTES);
    bytes.push(VERSION_GROUP);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => {
            // A filer's journal keeps these very bytes.
            bytes.shrink_to_fit();
            Ok(bytes.into())
        }
        Err(error) => Err(StorageError::Corrupt(format!("group {} is no JSON: {error}", value.group_id))),
    }
}

pub(super) fn decode_group(group: &GroupId, mut value: &[u8]) -> Result<GroupMetadata, DecodeError> {
    if value.try_get_u8().map_err(|_| DecodeError::Value)? != VERSION_GROUP {
        return Err(DecodeError::Version);
    }
    let decoded: GroupMetadata = serde_json::from_slice(value).map_err(|error| DecodeError::Json(error.to_string()))?;
    if decoded.group_id == *group { Ok(decoded) } else { Err(DecodeError::OtherGroup) }
}

const KIND_OFFSET: u8 = 1;
const KIND_GROUP: u8 = 2;
const VERSION_OFFSET: u8 = 1;
const VERSION_GROUP: u8 = 1;
const NO_EXPIRY: i64 = -1;
const NOT_PENDING: u8 = 0;
/// Producer id, producer epoch, shard epoch.
const RESERVED_BYTES: usize = 8 + 2 + 4;
/// Of an offset, between the version and the metadata.
const OFFSET_FIXED_BYTES: usize = 8 + 4 + 8 + 8 + 16 + 1 + RESERVED_BYTES;
const KEY_BYTES_SHOWN: usize = 200;
/// What a classic group of few topics needs, about.
const GROUP_JSON_BYTES: usize = 384;
const MEMBER_JSON_BYTES: usize = 512;
/// Beyond this, strings are hardly the same ones again.
const SHARED_STRINGS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{GroupState, MemberMetadata, group::Base64Bytes};

    fn decode(record: JournalRecord) -> Result<CoordinatorRecord, DecodeError> {
        decode_parts(&record.key, &record.value.unwrap_or_default())
    }

    fn group(id: &str) -> GroupMetadata {
        GroupMetadata {
            group_id: id.into(),
            protocol_type: "sr".to_owned(),
            protocol: Some("v0".to_owned()),
            generation: 3,
            leader: Some("m-1".into()),
            state: GroupState::Stable,
            state_timestamp_ms: 1,
            members: vec![Arc::new(MemberMetadata {
                member_id: "m-1".into(),
                group_instance_id: None,
                client_id: "c\u{0}\"".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: 60_000,
                protocols: vec![("v0".to_owned(), Base64Bytes(Bytes::from_static(&[0, 255, 7])))],
                assignment: Base64Bytes(Bytes::from_static(b"\xff\x00")),
            })],
            consumer: None,
        }
    }

    proptest! {
        #[test]
        fn every_offset_reads_back(
            group in "\\PC{0,40}", topic in "[a-z._-]{0,20}", partition: i32, offset: i64, leader_epoch: i32,
            metadata in "\\PC{0,40}", commit_timestamp_ms: i64, expires in proptest::option::of(0..i64::MAX),
            topic_id: u128,
        ) {
            let value = OffsetMetadata {
                offset, leader_epoch, metadata: metadata.into(), commit_timestamp_ms,
                expire_timestamp_ms: expires, topic_id: TopicId::from_u128(topic_id),
            };
            let record = CoordinatorRecord::Offset {
                group: group.into(), partition: TopicPartition::new(topic, partition), value: Some(value),
            };
            prop_assert_eq!(decode(encode(&record).unwrap()), Ok(record));
        }

        #[test]
        fn no_bytes_make_decoding_panic(key: Vec<u8>, value: Vec<u8>, kind in 0..4u8, version in 0..3u8) {
            let key = [vec![kind, 0, 0, 0], key].concat();
            let value = [vec![version], value].concat();
            let _ = decode_parts(&key, &value);
        }
    }

    #[test]
    fn a_group_reads_back() {
        let record = CoordinatorRecord::Group { group: "g".into(), value: Some(group("g")) };
        assert_eq!(decode(encode(&record).unwrap()), Ok(record));
    }

    #[test]
    fn a_deletion_has_the_key_of_what_it_deletes() {
        let partition = TopicPartition::new("t", 1);
        let set = CoordinatorRecord::Offset {
            group: "g".into(),
            partition: partition.clone(),
            value: Some(OffsetMetadata::at(1)),
        };
        let delete = CoordinatorRecord::Offset { group: "g".into(), partition, value: None };
        assert_eq!(encode(&set).unwrap().key, encode(&delete).unwrap().key);
        assert_eq!(encode(&delete).unwrap().value, None);
    }

    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let value = OffsetMetadata {
            offset: 1,
            leader_epoch: 2,
            metadata: "m".into(),
            commit_timestamp_ms: 3,
            expire_timestamp_ms: Some(4),
            topic_id: TopicId::from_u128(5),
        };
        let record =
            CoordinatorRecord::Offset { group: "g".into(), partition: TopicPartition::new("t", 6), value: Some(value) };
        let record = encode(&record).unwrap();
        assert_eq!(&record.key[..], b"\x01\0\0\0\x01g\0\0\0\x06t");
        let expected = [
            &b"\x01\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04"[..],
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0",
            &[0xff; 14],
            b"m",
        ]
        .concat();
        assert_eq!(record.value.unwrap(), expected);
    }

    #[test]
    fn damaged_and_newer_values_are_told_apart() {
        let record = CoordinatorRecord::Group { group: "g".into(), value: Some(group("g")) };
        let JournalRecord { key, value } = encode(&record).unwrap();
        let value = value.unwrap();
        let newer = [&[VERSION_GROUP + 1], &value[1..]].concat();
        assert_eq!(decode(JournalRecord { key: key.clone(), value: Some(newer.into()) }), Err(DecodeError::Version));
        let cut = value.slice(..value.len() - 1);
        assert!(matches!(decode(JournalRecord { key, value: Some(cut) }), Err(DecodeError::Json(_))));
        let other = JournalRecord { key: group_key("h"), value: Some(value) };
        assert_eq!(decode(other), Err(DecodeError::OtherGroup));
    }
}
