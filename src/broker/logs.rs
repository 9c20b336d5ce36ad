//! The open partition logs, and the one rule that binds them to the catalogue: no log without its topic.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tracing::{error, warn};

use crate::{
    catalog::{Catalog, Snapshot, Topic},
    config::{self, TopicConfig, TopicDefaults},
    log::{LogConfig, LogContext, LogError, PartitionInfo, PartitionLog},
    model::{TopicId, TopicPartition, batch},
    storage::{SegmentStore, Volume},
};

/// Why a partition cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("This server does not host this topic-partition.")]
    UnknownTopicOrPartition,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What DescribeLogDirs tells of a partition.
pub struct LogDirPartition {
    pub topic: Arc<Topic>,
    pub partition: i32,
    pub size_bytes: u64,
}

/// All partition logs that were opened, by topic id: a topic created again under its old name has other logs.
pub struct Logs {
    store: Arc<dyn SegmentStore>,
    context: Arc<LogContext>,
    /// What topics use where they have no config of their own.
    defaults: ArcSwap<TopicDefaults>,
    open: RwLock<HashMap<(TopicId, i32), Arc<PartitionLog>>>,
}

impl Logs {
    /// Opens every partition that has records, several at a time, and removes what belongs to no topic.
    pub fn open(
        store: Arc<dyn SegmentStore>,
        context: Arc<LogContext>,
        defaults: Arc<TopicDefaults>,
        catalog: &Catalog,
    ) -> Result<Self, LogError> {
        let snapshot = catalog.snapshot();
        let mut wanted = Vec::new();
        let storage = |partition: &TopicPartition| {
            let partition = partition.clone();
            move |source| LogError::Storage { partition, source }
        };
        for stored in store.partitions().map_err(storage(&TopicPartition::new("", -1)))? {
            match snapshot.topic(&stored.topic).filter(|topic| topic.has_partition(stored.partition)) {
                Some(topic) => wanted.push((Arc::clone(topic), stored.partition)),
                None => {
                    warn!(partition = %stored, "removing records of a deleted topic");
                    store.delete_partition(&stored).map_err(storage(&stored))?;
                }
            }
        }
        let logs = Self { store, context, defaults: ArcSwap::new(defaults), open: RwLock::default() };
        logs.open_all(&wanted, catalog)?;
        Ok(logs)
    }

    /// The log of a partition of `topic`; opened, without touching the disk, when it has no records yet.
    pub fn get(&self, topic: &Topic, partition: i32, catalog: &Catalog) -> Result<Arc<PartitionLog>, PartitionError> {
        let key = (topic.id, partition);
        if let Some(log) = self.open.read().get(&key) {
            return Ok(Arc::clone(log));
        }
        if !topic.has_partition(partition) {
            return Err(PartitionError::UnknownTopicOrPartition);
        }
        let mut open = self.open.write();
        if let Some(log) = open.get(&key) {
            return Ok(Arc::clone(log));
        }
        // The topic may have been deleted since the caller looked; a deletion leaves the catalogue first and
        // comes for its logs under this same lock, so either it is seen here or the log is seen there.
        if !catalog.snapshot().contains_id(topic.id) {
            return Err(PartitionError::UnknownTopicOrPartition);
        }
        let log = self.open_one(topic, partition, catalog)?;
        open.insert(key, Arc::clone(&log));
        Ok(log)
    }

    /// Deletes the records of a topic that left the catalogue.
    pub fn delete_topic(&self, topic: &Topic) {
        let mut removed = Vec::new();
        self.open.write().retain(|(id, _), log| {
            let keep = *id != topic.id;
            if !keep {
                removed.push(Arc::clone(log));
            }
            keep
        });
        for log in removed {
            if let Err(error) = log.delete() {
                error!(topic = %topic.name, %error, "cannot delete a partition; the next start tries again");
            }
        }
    }

    pub fn defaults(&self) -> Arc<TopicDefaults> {
        self.defaults.load_full()
    }

    /// Gives every log the configs that follow from new defaults.
    pub fn set_defaults(&self, defaults: Arc<TopicDefaults>, snapshot: &Snapshot) {
        self.defaults.store(defaults);
        snapshot.topics().for_each(|topic| self.update_config(topic));
    }

    /// Makes the changed configs of `topic` those of its logs.
    pub fn update_config(&self, topic: &Topic) {
        let config = Arc::new(self.config_of(topic));
        for ((id, _), log) in self.open.read().iter() {
            if *id == topic.id {
                log.update_config(Arc::clone(&config));
            }
        }
    }

    pub fn sizes(&self, snapshot: &Snapshot) -> Vec<LogDirPartition> {
        let open = self.open.read();
        open.iter()
            .filter_map(|(&(id, partition), log)| {
                let topic = Arc::clone(snapshot.topic_by_id(id)?);
                Some(LogDirPartition { topic, partition, size_bytes: log.size_bytes() })
            })
            .collect()
    }

    /// Room of the volume that records are on.
    pub fn volume(&self) -> Option<Volume> {
        self.store.volume()
    }

    pub fn apply_retention(&self, now_ms: i64) {
        let logs: Vec<_> = self.open.read().values().cloned().collect();
        for log in logs {
            if let Err(error) = log.apply_retention(now_ms) {
                warn!(partition = %log.partition(), %error, "retention failed; the next round tries again");
            }
        }
    }

    /// Flushes and marks every log clean.
    pub async fn close(&self) {
        let logs: Vec<_> = self.open.write().drain().map(|entry| entry.1).collect();
        let closed = tokio::task::spawn_blocking(move || {
            for log in logs {
                if let Err(error) = log.close() {
                    error!(partition = %log.partition(), %error, "cannot close a partition cleanly");
                }
            }
        });
        if let Err(error) = closed.await {
            error!(%error, "closing the partitions failed");
        }
    }

    fn open_all(&self, wanted: &[(Arc<Topic>, i32)], catalog: &Catalog) -> Result<(), LogError> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from) * 2;
        let share = wanted.len().div_ceil(workers).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .chunks(share)
                .map(|chunk| {
                    scope.spawn(move || {
                        chunk.iter().try_for_each(|(topic, partition)| {
                            let log = self.open_one(topic, *partition, catalog)?;
                            self.open.write().insert((topic.id, *partition), log);
                            Ok(())
                        })
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn open_one(&self, topic: &Topic, partition: i32, catalog: &Catalog) -> Result<Arc<PartitionLog>, LogError> {
        let info = PartitionInfo {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partition,
            log_start_offset: catalog.log_start(topic.id, partition),
        };
        let config = Arc::new(self.config_of(topic));
        PartitionLog::open(Arc::clone(&self.store), info, config, Arc::clone(&self.context))
    }

    /// What is stored was validated when it was set; should a newer release refuse it, the defaults apply.
    fn config_of(&self, topic: &Topic) -> LogConfig {
        let defaults = self.defaults.load();
        match TopicConfig::resolve(&topic.configs, &defaults) {
            Ok(config) => log_config(&config),
            Err(error) => {
                warn!(topic = %topic.name, %error, "stored topic configs are not valid; using the defaults");
                log_config(defaults.config())
            }
        }
    }
}

fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        max_message_bytes: config.max_message_bytes,
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        segment_index_bytes: config.segment_index_bytes,
        index_interval_bytes: config.index_interval_bytes,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        timestamp_type: match config.message_timestamp_type {
            config::TimestampType::CreateTime => batch::TimestampType::CreateTime,
            config::TimestampType::LogAppendTime => batch::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compact: config.cleanup_policy.compact,
        delete: config.cleanup_policy.delete,
    }
}
