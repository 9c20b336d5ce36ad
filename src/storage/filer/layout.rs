//! Offsets and groups as files that people can read. The journal is the truth; these follow it within moments, the latest
//! of several changes first and only.
//!
//! ```text
//! consumer_offsets/{group}/{topic}/{partition}/offset     decimal offset
//! consumer_offsets/{group}/{topic}/{partition}/metadata   the client's string
//! consumer_groups/{group}/metadata                        JSON
//! ```
//!
//! Two files cannot be written at once, so the whole value, with the names in full, goes with `offset` as its attribute:
//! that one file is what is read back, and `metadata`, which is written first, is a copy for readers with curl.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{client::FilerClient, error::FilerError, journal::Engine, names};
use crate::{
    model::{GroupMetadata, OffsetMetadata, TopicPartition},
    storage::{CoordinatorRecord, StorageError, records},
};

/// Reads the files.
pub struct FilerLayout {
    client: Arc<FilerClient>,
    engine: Arc<Engine>,
}

/// What goes with an `offset` file.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    group: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    value: OffsetMetadata,
}

impl FilerLayout {
    pub(super) fn new(client: Arc<FilerClient>, engine: Arc<Engine>) -> Self {
        Self { client, engine }
    }

    /// How long the oldest change has waited that is not in the files.
    pub fn lag(&self) -> Duration {
        self.engine.layout_lag()
    }

    /// Resolves when the files show everything that is acknowledged now.
    pub async fn caught_up(&self) {
        while self.lag() > Duration::ZERO {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The offset that the files show; none where there is none. [`StorageError::Corrupt`] names a file that this program
    /// did not write, or that was changed.
    pub async fn offset(&self, group: &str, at: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError> {
        let path = format!("{}/offset", offset_folder(group, at));
        let Some(found) = self.client.get(&path, FILE_BYTES_MAX).await? else { return Ok(None) };
        let corrupt = |what: &str| {
            tracing::error!(path = %format!("{}/{path}", self.client.folder()), what, "not an offset");
            StorageError::Corrupt(format!("{}/{path}: {what}", self.client.folder()))
        };
        let attribute = found.attribute.and_then(|attribute| STANDARD.decode(attribute).ok());
        let whole = attribute.and_then(|json| serde_json::from_slice::<Whole>(&json).ok());
        let whole = whole.ok_or_else(|| corrupt("it was not written by this program"))?;
        if (&*whole.group, &*whole.topic, whole.partition) != (group, &*at.topic, at.partition) {
            return Err(corrupt("it is of another group or partition"));
        }
        match found.bytes == whole.value.offset.to_string() {
            true => Ok(Some(whole.value)),
            false => Err(corrupt("its contents were changed")),
        }
    }

    /// The group that the files show.
    pub async fn group(&self, group: &str) -> Result<Option<GroupMetadata>, StorageError> {
        let path = group_path(group);
        let Some(found) = self.client.get(&path, FILE_BYTES_MAX).await? else { return Ok(None) };
        let parsed = serde_json::from_slice::<GroupMetadata>(&found.bytes).ok();
        match parsed.filter(|found| *found.group_id == *group) {
            Some(found) => Ok(Some(found)),
            None => Err(StorageError::Corrupt(format!("{}/{path}: it is not this group", self.client.folder()))),
        }
    }

    /// Groups that have offsets in the files, as far as their names can be told from the folders; what others put there
    /// is passed over.
    pub async fn groups_with_offsets(&self) -> Result<Vec<String>, StorageError> {
        let entries = self.client.list(OFFSETS, "").await?;
        Ok(entries.iter().filter(|entry| entry.is_folder).filter_map(|entry| names::decode(&entry.name)).collect())
    }
}

/// Follows the journal for as long as the gateway lives.
pub(super) async fn follow(client: Arc<FilerClient>, engine: Arc<Engine>, interval: Duration) {
    let mut writer = Writer { client, metadata: HashMap::new() };
    loop {
        tokio::time::sleep(interval).await;
        let (keys, up_to) = engine.take_dirty();
        if keys.is_empty() {
            engine.nothing_dirty(up_to);
            continue;
        }
        let mut failed = Vec::new();
        let mut emptied = BTreeSet::new();
        for key in &keys {
            if engine.group_value(key).is_none() {
                emptied.extend(offset_subject(key));
            }
        }
        let (client, metadata) = (&writer.client, &writer.metadata);
        let writes = stream::iter(keys).map(|key| {
            let value = engine.group_value(&key);
            async move {
                let outcome = write(client, metadata, &key, value).await;
                (key, outcome)
            }
        });
        let outcomes: Vec<_> = writes.buffer_unordered(WRITES_AT_ONCE).collect().await;
        for (key, outcome) in outcomes {
            match outcome {
                Ok(written) => writer.remember(key, written),
                Err(error) => {
                    tracing::warn!(%error, "a readable file is behind; it is written later");
                    writer.metadata.remove(&key);
                    failed.push(key);
                }
            }
        }
        for (group, topic) in emptied {
            if let Err(error) = writer.remove_empty_folders(&group, &topic).await {
                tracing::debug!(%error, "an empty folder is left over");
            }
        }
        engine.dirty_written(failed, up_to);
    }
}

struct Writer {
    client: Arc<FilerClient>,
    /// Hashes of the `metadata` files that are there, which seldom change.
    metadata: HashMap<Bytes, u64>,
}

impl Writer {
    fn remember(&mut self, key: Bytes, written: Option<u64>) {
        match written {
            Some(hash) if self.metadata.len() < REMEMBERED_MAX => _ = self.metadata.insert(key, hash),
            _ => _ = self.metadata.remove(&key),
        }
    }

    async fn remove_empty_folders(&self, group: &str, topic: &str) -> Result<(), FilerError> {
        let group = format!("{OFFSETS}/{}", names::encode(group));
        for folder in [format!("{group}/{}", names::encode(topic)), group] {
            if !self.client.is_empty_folder(&folder).await? {
                return Ok(());
            }
            // Not with what may have come into it meanwhile.
            self.client.delete(&folder).await?;
        }
        Ok(())
    }
}

/// Writes what a key stands for, or removes it; answers the hash of the metadata that is there now.
async fn write(
    client: &FilerClient,
    metadata: &HashMap<Bytes, u64>,
    key: &Bytes,
    value: Option<Bytes>,
) -> Result<Option<u64>, StorageError> {
    let Some(value) = value else {
        let (group, partition) = records::subject_of(key)?;
        match partition {
            Some(partition) => client.delete_folder(&offset_folder(&group, &partition)).await?,
            None => client.delete_folder(&format!("{GROUPS}/{}", names::encode(&group))).await?,
        }
        return Ok(None);
    };
    match records::decode(key, &value)? {
        CoordinatorRecord::Offset { group, partition, value: Some(value) } => {
            let folder = offset_folder(&group, &partition);
            let mut hasher = DefaultHasher::new();
            value.metadata.hash(&mut hasher);
            let hash = hasher.finish();
            if metadata.get(key) != Some(&hash) {
                let text = Bytes::copy_from_slice(value.metadata.as_bytes());
                client.put(&format!("{folder}/metadata"), text, None).await?;
            }
            let offset = Bytes::from(value.offset.to_string());
            let whole = Whole { group, topic: partition.topic, partition: partition.partition, value };
            let json = serde_json::to_vec(&whole).map_err(|error| StorageError::Corrupt(error.to_string()))?;
            client.put(&format!("{folder}/offset"), offset, Some(&STANDARD.encode(json))).await?;
            Ok(Some(hash))
        }
        CoordinatorRecord::Group { group, value: Some(value) } => {
            let json = serde_json::to_vec(&value).map_err(|error| StorageError::Corrupt(error.to_string()))?;
            client.put(&group_path(&group), Bytes::from(json), None).await?;
            Ok(None)
        }
        CoordinatorRecord::Offset { .. } | CoordinatorRecord::Group { .. } => Ok(None),
    }
}

fn offset_subject(key: &Bytes) -> Option<(String, String)> {
    let (group, partition) = records::subject_of(key).ok()?;
    Some((group.to_string(), partition?.topic.to_string()))
}

fn offset_folder(group: &str, at: &TopicPartition) -> String {
    format!("{OFFSETS}/{}/{}/{}", names::encode(group), names::encode(&at.topic), at.partition)
}

fn group_path(group: &str) -> String {
    format!("{GROUPS}/{}/metadata", names::encode(group))
}

const OFFSETS: &str = "consumer_offsets";
const GROUPS: &str = "consumer_groups";
const WRITES_AT_ONCE: usize = 32;
const FILE_BYTES_MAX: usize = 64 << 20;
const REMEMBERED_MAX: usize = 100_000;
