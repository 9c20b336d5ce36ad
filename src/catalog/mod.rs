//! Topics, partitions and their configs; readers see an immutable snapshot.
//!
//! Every change is one journal append, durable before the snapshot shows it, so that what a client was told
//! survives a kill. Partition directories appear with the first record: the catalogue is the truth, and a directory
//! without a topic is removed.

mod producer_ids;
mod records;
mod snapshot;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    config::DynamicConfigs,
    model::{GroupId, InvalidTopicName, TopicId, TopicName, validate_topic_name},
    storage::{Journal, JournalRecord, ShardId, StorageError},
};

use records::CatalogRecord;

pub use producer_ids::ProducerIds;
pub use snapshot::{Snapshot, Topic, TopicConfigs};

/// A topic to be created; validated by the caller but for its name and its uniqueness.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: TopicName,
    pub partitions: i32,
    pub configs: TopicConfigs,
}

/// Why the catalogue refused a change.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("Topic '{0}' already exists.")]
    TopicExists(TopicName),
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    NameCollision { name: TopicName, existing: TopicName },
    #[error(transparent)]
    InvalidName(#[from] InvalidTopicName),
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error("Topic already has {0} partition(s).")]
    SameCount(i32),
    #[error("The topic {name} currently has {current} partition(s); {wanted} would not be an increase.")]
    NotAnIncrease { name: TopicName, current: i32, wanted: i32 },
    #[error("{wanted} more partitions would exceed the limit of {limit} (max.partitions).")]
    TooManyPartitions { wanted: i64, limit: u32 },
    #[error("There are configs of {GROUPS_CONFIGURED_MAX} groups already.")]
    TooManyGroupConfigs,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The catalogue of one cluster.
pub struct Catalog {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    partitions_max: u32,
    cluster_id: Arc<str>,
    snapshot: ArcSwap<Snapshot>,
    /// Broker configs that were changed at run time.
    dynamic_configs: ArcSwap<DynamicConfigs>,
    /// Of groups that have any, whether they exist or not.
    group_configs: Mutex<BTreeMap<GroupId, TopicConfigs>>,
    /// Held across the append, so that changes reach the journal and the snapshot in one order.
    writer: tokio::sync::Mutex<()>,
    /// Where DeleteRecords moved the start of a partition; read when its log is opened.
    log_starts: Mutex<HashMap<(TopicId, i32), i64>>,
}

/// What a journal has of a catalogue.
#[derive(Default)]
pub struct StoredCatalog {
    pub snapshot: Snapshot,
    pub dynamic_configs: DynamicConfigs,
    pub group_configs: BTreeMap<GroupId, TopicConfigs>,
    /// By topic and partition.
    pub log_starts: HashMap<(TopicId, i32), i64>,
    cluster_id: Option<Arc<str>>,
}

impl StoredCatalog {
    /// Reads the entries of [`ShardId::CATALOG`].
    pub fn read(entries: Vec<(Bytes, Bytes)>) -> Result<Self, StorageError> {
        let mut stored = Self::default();
        for (key, value) in entries {
            match CatalogRecord::decode(&key, &value)? {
                CatalogRecord::ClusterId(id) => stored.cluster_id = Some(id),
                CatalogRecord::DynamicConfigs(configs) => stored.dynamic_configs = configs,
                CatalogRecord::GroupConfigs(group, configs) => _ = stored.group_configs.insert(group, configs),
                CatalogRecord::Topic(topic) => stored.snapshot.insert(Arc::new(topic)),
                CatalogRecord::LogStart { topic_id, partition, offset } => {
                    stored.log_starts.insert((topic_id, partition), offset);
                }
            }
        }
        Ok(stored)
    }
}

impl Catalog {
    /// Replays the catalogue; a journal without one gets a new cluster id.
    pub async fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        partitions_max: u32,
    ) -> Result<Self, StorageError> {
        let stored = StoredCatalog::read(journal.replay(ShardId::CATALOG).await?)?;
        let cluster_id = match stored.cluster_id {
            Some(id) => id,
            None => {
                let id = records::encode_uuid(clock.uuid());
                journal.append(ShardId::CATALOG, vec![records::cluster_id(&id)]).await?;
                Arc::from(id)
            }
        };
        Ok(Self {
            journal,
            clock,
            partitions_max,
            cluster_id,
            snapshot: ArcSwap::from_pointee(stored.snapshot),
            dynamic_configs: ArcSwap::from_pointee(stored.dynamic_configs),
            group_configs: Mutex::new(stored.group_configs),
            writer: tokio::sync::Mutex::default(),
            log_starts: Mutex::new(stored.log_starts),
        })
    }

    /// The cluster's id: a UUID in Kafka's base64 spelling, made once and kept.
    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// The catalogue as it is now; does not change under the reader.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Whether `create` would take this topic, without creating it (CreateTopics with `validateOnly`).
    pub fn check_new(&self, topic: &NewTopic) -> Result<(), CatalogError> {
        self.check_new_in(&self.snapshot(), topic)
    }

    /// Creates each topic that can be created, all of those by one append; answers in the order of `topics`.
    pub async fn create(&self, topics: Vec<NewTopic>) -> Vec<Result<Arc<Topic>, CatalogError>> {
        let _writer = self.writer.lock().await;
        let mut next = Snapshot::clone(&self.snapshot.load());
        let mut appended = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for new in topics {
            results.push(self.check_new_in(&next, &new).map(|()| {
                let topic = Arc::new(Topic {
                    name: new.name,
                    id: self.clock.uuid(),
                    partitions: new.partitions,
                    configs: new.configs,
                });
                appended.push(records::topic(&topic));
                next.insert(Arc::clone(&topic));
                topic
            }));
        }
        if appended.is_empty() {
            return results;
        }
        match self.journal.append(ShardId::CATALOG, appended).await {
            Ok(()) => self.snapshot.store(Arc::new(next)),
            Err(error) => {
                for result in results.iter_mut().filter(|result| result.is_ok()) {
                    *result = Err(CatalogError::Storage(error.clone()));
                }
            }
        }
        results
    }

    /// Deletes a topic; its records are the caller's to remove, after this has answered.
    pub async fn delete(&self, id: TopicId) -> Result<Arc<Topic>, CatalogError> {
        let _writer = self.writer.lock().await;
        let mut next = Snapshot::clone(&self.snapshot.load());
        let topic = next.remove(id).ok_or(CatalogError::UnknownTopicId)?;
        let mut changes = vec![records::topic_tombstone(&topic.name)];
        changes.extend(
            self.log_starts
                .lock()
                .keys()
                .filter(|(topic_id, _)| *topic_id == id)
                .map(|&(topic_id, partition)| records::log_start_tombstone(topic_id, partition)),
        );
        self.append(changes).await?;
        self.log_starts.lock().retain(|(topic_id, _), _| *topic_id != id);
        self.snapshot.store(Arc::new(next));
        Ok(topic)
    }

    /// Grows a topic to `partitions`.
    pub async fn grow(&self, name: &str, partitions: i32) -> Result<Arc<Topic>, CatalogError> {
        self.change(name, |snapshot, topic| {
            topic.check_growth(partitions)?;
            self.check_room(snapshot, i64::from(partitions) - i64::from(topic.partitions))?;
            Ok(Topic { partitions, ..topic.clone() })
        })
        .await
    }

    /// Replaces a topic's configs by what `change` makes of them; concurrent changes do not undo each other.
    pub async fn change_configs<E>(
        &self,
        name: &str,
        change: impl FnOnce(&TopicConfigs) -> Result<TopicConfigs, E>,
    ) -> Result<Arc<Topic>, E>
    where
        E: From<CatalogError>,
    {
        self.change(name, |_, topic| Ok(Topic { configs: change(&topic.configs)?, ..topic.clone() })).await
    }

    /// Broker configs as they were last changed at run time.
    pub fn dynamic_configs(&self) -> Arc<DynamicConfigs> {
        self.dynamic_configs.load_full()
    }

    /// Replaces the broker's dynamic configs by what `change` makes of them.
    pub async fn change_dynamic_configs<E>(
        &self,
        change: impl FnOnce(&DynamicConfigs) -> Result<DynamicConfigs, E>,
    ) -> Result<Arc<DynamicConfigs>, E>
    where
        E: From<CatalogError>,
    {
        let _writer = self.writer.lock().await;
        let changed = Arc::new(change(&self.dynamic_configs.load())?);
        self.append(vec![records::dynamic_configs(&changed)]).await?;
        self.dynamic_configs.store(Arc::clone(&changed));
        Ok(changed)
    }

    /// The configs of a group; empty when it has none.
    pub fn group_configs(&self, group: &str) -> TopicConfigs {
        self.group_configs.lock().get(group).cloned().unwrap_or_default()
    }

    /// Every group that has configs, with them, in order.
    pub fn configured_groups(&self) -> Vec<(GroupId, TopicConfigs)> {
        self.group_configs.lock().iter().map(|(group, configs)| (Arc::clone(group), configs.clone())).collect()
    }

    /// Replaces a group's configs by what `change` makes of them.
    pub async fn change_group_configs<E>(
        &self,
        group: &GroupId,
        change: impl FnOnce(&TopicConfigs) -> Result<TopicConfigs, E>,
    ) -> Result<TopicConfigs, E>
    where
        E: From<CatalogError>,
    {
        let _writer = self.writer.lock().await;
        let before = self.group_configs(group);
        let changed = change(&before)?;
        if changed == before {
            return Ok(changed);
        }
        if before.is_empty() && self.group_configs.lock().len() >= GROUPS_CONFIGURED_MAX {
            return Err(CatalogError::TooManyGroupConfigs.into());
        }
        self.append(vec![records::group_configs(group, &changed)]).await?;
        let mut configs = self.group_configs.lock();
        if changed.is_empty() {
            configs.remove(group);
        } else {
            configs.insert(Arc::clone(group), changed.clone());
        }
        Ok(changed)
    }

    /// Makes a partition's new log start durable; starts only move up.
    pub async fn set_log_start(&self, topic_id: TopicId, partition: i32, offset: i64) -> Result<(), CatalogError> {
        let _writer = self.writer.lock().await;
        if self.log_start(topic_id, partition) >= offset {
            return Ok(());
        }
        if !self.snapshot.load().contains_id(topic_id) {
            return Err(CatalogError::UnknownTopicId);
        }
        self.append(vec![records::log_start(topic_id, partition, offset)]).await?;
        self.log_starts.lock().insert((topic_id, partition), offset);
        Ok(())
    }

    /// The log start that [`set_log_start`](Self::set_log_start) last stored; 0 when it never did.
    pub fn log_start(&self, topic_id: TopicId, partition: i32) -> i64 {
        self.log_starts.lock().get(&(topic_id, partition)).copied().unwrap_or(0)
    }

    async fn change<E: From<CatalogError>>(
        &self,
        name: &str,
        change: impl FnOnce(&Snapshot, &Topic) -> Result<Topic, E>,
    ) -> Result<Arc<Topic>, E> {
        let _writer = self.writer.lock().await;
        let mut next = Snapshot::clone(&self.snapshot.load());
        let topic = next.topic(name).ok_or(CatalogError::UnknownTopic)?;
        let changed = Arc::new(change(&next, topic)?);
        self.journal.append(ShardId::CATALOG, vec![records::topic(&changed)]).await.map_err(CatalogError::Storage)?;
        next.insert(Arc::clone(&changed));
        self.snapshot.store(Arc::new(next));
        Ok(changed)
    }

    async fn append(&self, changes: Vec<JournalRecord>) -> Result<(), CatalogError> {
        Ok(self.journal.append(ShardId::CATALOG, changes).await?)
    }

    fn check_new_in(&self, snapshot: &Snapshot, new: &NewTopic) -> Result<(), CatalogError> {
        validate_topic_name(&new.name)?;
        if snapshot.topic(&new.name).is_some() {
            return Err(CatalogError::TopicExists(new.name.clone()));
        }
        if let Some(existing) = snapshot.colliding(&new.name) {
            return Err(CatalogError::NameCollision { name: new.name.clone(), existing: existing.clone() });
        }
        self.check_room(snapshot, i64::from(new.partitions))
    }

    fn check_room(&self, snapshot: &Snapshot, wanted: i64) -> Result<(), CatalogError> {
        if snapshot.partitions_total().saturating_add(wanted) > i64::from(self.partitions_max) {
            return Err(CatalogError::TooManyPartitions { wanted, limit: self.partitions_max });
        }
        Ok(())
    }
}

/// Kafka has no limit; here whoever may alter configs does not fill the memory with names of groups.
const GROUPS_CONFIGURED_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
