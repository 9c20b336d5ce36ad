//! What the journal keeps of partition files.
//!
//! ```text
//! key    "f" · file id u64                             a file: where it is and what is on the filer of it
//!        "o" · file id u64 · position u64              one more object of it: path length u16 · path · length u64
//!        "d" · file id u64 · position u64              bytes of it that are not there yet
//! file   version u8 = 1 · partition i32 · topic length u16 · topic · name length u16 · name
//!        · again and again: path length u16 · path of an object · position u64 · length u64
//! ```
//!
//! Big-endian. A file is its objects one behind the other, each as far as its length says, and then its bytes in the journal.
//! Objects have records of their own, so that one more costs no more the larger the file is; a file's own record names only those
//! that an earlier version of the gateway stored.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    model::TopicPartition,
    storage::{JournalRecord, ShardId, StorageError},
};

/// The journal's shard of partition files.
pub(in crate::storage::filer) const FILES: ShardId = ShardId(900);

/// Names a file for as long as it exists, whatever it is called.
pub(super) type FileId = u64;

/// A file as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileRecord {
    pub(super) partition: TopicPartition,
    pub(super) name: String,
    /// Paths below the filer's folder, with where they lie in the file.
    pub(super) extents: Vec<(String, u64, u64)>,
}

/// Everything that the journal knows of a file.
#[derive(Debug, Default)]
pub(super) struct StoredFile {
    pub(super) record: Option<FileRecord>,
    /// Paths and lengths by position: objects with a record of their own.
    pub(super) objects: BTreeMap<u64, (String, u64)>,
    pub(super) chunks: BTreeMap<u64, Bytes>,
}

pub(super) fn file_key(id: FileId) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(b'f');
    key.put_u64(id);
    key.freeze()
}

pub(super) fn chunk_key(id: FileId, position: u64) -> Bytes {
    positioned(b'd', id, position)
}

pub(super) fn object_key(id: FileId, position: u64) -> Bytes {
    positioned(b'o', id, position)
}

pub(super) fn object_value(path: &str, length: u64) -> Bytes {
    let mut value = BytesMut::with_capacity(2 + path.len() + 8);
    put_text(&mut value, path);
    value.put_u64(length);
    value.freeze()
}

fn positioned(kind: u8, id: FileId, position: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_u8(kind);
    key.put_u64(id);
    key.put_u64(position);
    key.freeze()
}

pub(super) fn set(key: Bytes, value: Bytes) -> JournalRecord {
    JournalRecord { key, value: Some(value) }
}

pub(super) fn forget(key: Bytes) -> JournalRecord {
    JournalRecord { key, value: None }
}

impl FileRecord {
    pub(super) fn encode(&self) -> Bytes {
        let mut value = BytesMut::new();
        value.put_u8(VERSION);
        value.put_i32(self.partition.partition);
        put_text(&mut value, &self.partition.topic);
        put_text(&mut value, &self.name);
        for (path, position, length) in &self.extents {
            put_text(&mut value, path);
            value.put_u64(*position);
            value.put_u64(*length);
        }
        value.freeze()
    }

    fn decode(mut value: Bytes) -> Option<Self> {
        if value.try_get_u8().ok()? != VERSION {
            return None;
        }
        let partition = value.try_get_i32().ok()?;
        let topic = take_text(&mut value)?;
        let name = take_text(&mut value)?;
        let mut extents = Vec::new();
        while !value.is_empty() {
            extents.push((take_text(&mut value)?, value.try_get_u64().ok()?, value.try_get_u64().ok()?));
        }
        Some(Self { partition: TopicPartition::new(topic.as_str(), partition), name, extents })
    }
}

/// Sorts what a replay answered into files.
pub(super) fn files(entries: Vec<(Bytes, Bytes)>) -> Result<BTreeMap<FileId, StoredFile>, StorageError> {
    let mut files: BTreeMap<FileId, StoredFile> = BTreeMap::new();
    for (key, value) in entries {
        let corrupt = |key: &Bytes| {
            StorageError::Corrupt(format!("journal record \"{}\" is no part of a file", key.escape_ascii()))
        };
        let mut rest = key.clone();
        match (rest.try_get_u8(), rest.len()) {
            (Ok(b'f'), 8) => {
                let record = FileRecord::decode(value).ok_or_else(|| corrupt(&key))?;
                files.entry(rest.get_u64()).or_default().record = Some(record);
            }
            (Ok(b'o'), 16) => {
                let (id, mut value) = (rest.get_u64(), value);
                let path = take_text(&mut value).ok_or_else(|| corrupt(&key))?;
                let length = value.try_get_u64().ok().filter(|_| value.is_empty()).ok_or_else(|| corrupt(&key))?;
                files.entry(id).or_default().objects.insert(rest.get_u64(), (path, length));
            }
            (Ok(b'd'), 16) => {
                let id = rest.get_u64();
                files.entry(id).or_default().chunks.insert(rest.get_u64(), value);
            }
            _ => return Err(corrupt(&key)),
        }
    }
    Ok(files)
}

fn put_text(bytes: &mut BytesMut, text: &str) {
    // Topics have 249 characters, names fewer.
    bytes.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    bytes.put_slice(text.as_bytes());
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    (length <= bytes.len()).then(|| String::from_utf8(bytes.split_to(length).to_vec()).ok())?
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_read_back_and_a_cut_one_is_refused() {
        let record = FileRecord {
            partition: TopicPartition::new("t", 3),
            name: "00000000000000000000.log".to_owned(),
            extents: vec![("topics/t/3/a".to_owned(), 0, 10), ("topics/t/3/b".to_owned(), 10, 5)],
        };
        let value = record.encode();
        let stored = |value: Bytes| files(vec![(chunk_key(7, 15), Bytes::from_static(b"xyz")), (file_key(7), value)]);
        let found = stored(value.clone()).unwrap();
        assert_eq!(found[&7].record, Some(record));
        assert_eq!(found[&7].chunks.keys().collect::<Vec<_>>(), [&15]);
        assert!(stored(value.slice(..value.len() - 1)).is_err());
        assert!(files(vec![(Bytes::from_static(b"x"), Bytes::new())]).is_err());
        let value = object_value("topics/t/3/c", 7);
        let found = files(vec![(object_key(7, 15), value.clone())]).unwrap();
        assert_eq!(found[&7].objects[&15], ("topics/t/3/c".to_owned(), 7));
        assert!(files(vec![(object_key(7, 15), value.slice(..value.len() - 1))]).is_err());
    }
}
