//! The open partition logs, and the one rule that binds them to the catalogue: no log without its topic.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tracing::{error, warn};

use crate::{
    catalog::{Catalog, Snapshot, Topic},
    config::{self, BrokerConfigs, CompressionType, TopicConfig, TopicDefaults},
    log::{Compression, LogConfig, LogContext, LogError, PartitionInfo, PartitionLog},
    model::{
        TopicId, TopicPartition,
        batch::{self, Codec},
    },
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

/// The open logs of one topic, by partition.
type OpenPartitions = BTreeMap<i32, Arc<PartitionLog>>;

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
    open: RwLock<HashMap<TopicId, OpenPartitions>>,
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

    /// The log of a partition of `topic`; opened when it was not yet.
    pub fn get(&self, topic: &Topic, partition: i32, catalog: &Catalog) -> Result<Arc<PartitionLog>, PartitionError> {
        if let Some(log) = self.open.read().get(&topic.id).and_then(|logs| logs.get(&partition)) {
            return Ok(Arc::clone(log));
        }
        let mut open = self.open.write();
        // Looked up again under the lock. The topic may have been deleted since the caller looked: a deletion leaves the
        // catalogue first and comes for its logs under this lock, so either it is seen here or the log is seen there.
        // Its configs may have changed: a change reaches the catalogue first and the open logs under this lock.
        let topic = catalog.snapshot().topic_by_id(topic.id).cloned();
        let topic = topic.ok_or(PartitionError::UnknownTopicOrPartition)?;
        if !topic.has_partition(partition) {
            return Err(PartitionError::UnknownTopicOrPartition);
        }
        let logs = open.entry(topic.id).or_default();
        if let Some(log) = logs.get(&partition) {
            return Ok(Arc::clone(log));
        }
        let log = self.open_one(&topic, partition, catalog)?;
        logs.insert(partition, Arc::clone(&log));
        Ok(log)
    }

    /// The log of a partition that was ever written to or read.
    pub fn if_open(&self, topic: TopicId, partition: i32) -> Option<Arc<PartitionLog>> {
        self.open.read().get(&topic)?.get(&partition).cloned()
    }

    /// Deletes the records of a topic that left the catalogue.
    pub fn delete_topic(&self, topic: &Topic) {
        let removed = self.open.write().remove(&topic.id);
        for log in removed.into_iter().flat_map(BTreeMap::into_values) {
            if let Err(error) = log.delete() {
                error!(topic = %topic.name, %error, "cannot delete a partition; the next start tries again");
            }
        }
    }

    pub fn defaults(&self) -> Arc<TopicDefaults> {
        self.defaults.load_full()
    }

    /// Makes the defaults those that follow from the dynamic configs that the catalogue has now, for every log. Changes
    /// that race each end with the latest, as in [`update_config`](Self::update_config).
    pub fn update_defaults(&self, fixed: &BrokerConfigs, catalog: &Catalog) {
        let open = self.open.write();
        self.defaults.store(Arc::new(fixed.topic_defaults(&catalog.dynamic_configs())));
        open.iter().for_each(|(&id, logs)| self.configure(id, logs, catalog));
    }

    /// Makes the configs that the catalogue has now for a topic those of its logs. Changes that race each end with the
    /// latest, since each reads the catalogue under the lock.
    pub fn update_config(&self, topic_id: TopicId, catalog: &Catalog) {
        let open = self.open.write();
        if let Some(logs) = open.get(&topic_id) {
            self.configure(topic_id, logs, catalog);
        }
    }

    fn configure(&self, topic_id: TopicId, logs: &OpenPartitions, catalog: &Catalog) {
        if let Some(topic) = catalog.snapshot().topic_by_id(topic_id) {
            let config = Arc::new(self.config_of(topic));
            logs.values().for_each(|log| log.update_config(Arc::clone(&config)));
        }
    }

    /// Every partition of the catalogue: one that was never written to has no log yet, and no bytes.
    pub fn sizes(&self, snapshot: &Snapshot) -> Vec<LogDirPartition> {
        let open = self.open.read();
        let of_topic = |topic: &Arc<Topic>| {
            let (topic, logs) = (Arc::clone(topic), open.get(&topic.id));
            (0..topic.partitions).map(move |partition| LogDirPartition {
                topic: Arc::clone(&topic),
                partition,
                size_bytes: logs.and_then(|logs| logs.get(&partition)).map_or(0, |log| log.size_bytes()),
            })
        };
        snapshot.topics().flat_map(of_topic).collect()
    }

    /// How many partitions have records, and the bytes of all.
    pub fn stored(&self) -> (u64, u64) {
        let open = self.open.read();
        let sizes = open.values().flat_map(BTreeMap::values).map(|log| log.size_bytes()).filter(|size| *size > 0);
        sizes.fold((0, 0), |(partitions, bytes), size| (partitions + 1, bytes + size))
    }

    /// Room of the volume that records are on.
    pub fn volume(&self) -> Option<Volume> {
        self.store.volume()
    }

    /// See [`SegmentStore::damages`].
    pub fn damages(&self) -> u64 {
        self.store.damages()
    }

    /// The logs that are open now.
    pub fn all(&self) -> Vec<Arc<PartitionLog>> {
        self.open.read().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The highest id of an idempotent producer that a log remembers.
    pub fn highest_producer_id(&self) -> Option<i64> {
        self.open.read().values().flat_map(BTreeMap::values).filter_map(|log| log.highest_producer_id()).max()
    }

    /// Why the first of the logs that take no writes does not; none when all do.
    pub fn trouble(&self) -> Option<String> {
        let open = self.open.read();
        let mut logs = open.values().flat_map(BTreeMap::values);
        logs.find_map(|log| Some(format!("{}: {}", log.partition(), log.trouble()?)))
    }

    pub fn apply_retention(&self, now_ms: i64) {
        for log in self.all() {
            if let Err(error) = log.apply_retention(now_ms) {
                warn!(partition = %log.partition(), %error, "retention failed; the next round tries again");
            }
        }
    }

    /// Spares the next start of the process most of the reading; see [`PartitionLog::note_progress`].
    pub fn note_progress(&self) {
        for log in self.all() {
            if let Err(error) = log.note_progress(PROGRESS_WORTH_BYTES) {
                warn!(partition = %log.partition(), %error, "the next start has more to read");
            }
        }
    }

    /// Flushes and marks every log clean.
    pub async fn close(&self) {
        let logs: Vec<_> = self.open.write().drain().flat_map(|entry| entry.1.into_values()).collect();
        let store = Arc::clone(&self.store);
        let closed = tokio::task::spawn_blocking(move || {
            spread(&logs, CLOSING_THREADS, |some| some.iter().for_each(|log| close_one(log)));
            if let Err(error) = store.settle() {
                error!(%error, "cannot settle what was synced together; the next start does");
            }
        });
        if let Err(error) = closed.await {
            error!(%error, "closing the partitions failed");
        }
    }

    fn open_all(&self, wanted: &[(Arc<Topic>, i32)], catalog: &Catalog) -> Result<(), LogError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) * 2;
        let open_some = |some: &[(Arc<Topic>, i32)]| {
            some.iter().try_for_each(|(topic, partition)| {
                let log = self.open_one(topic, *partition, catalog)?;
                self.open.write().entry(topic.id).or_default().insert(*partition, log);
                Ok(())
            })
        };
        spread(wanted, threads, open_some).into_iter().collect()
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

/// Shares `items` between threads, for work that mostly waits for the disk; one answer a share.
fn spread<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let (share, work) = (items.len().div_ceil(threads).max(1), &work);
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.chunks(share).map(|chunk| scope.spawn(move || work(chunk))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn close_one(log: &PartitionLog) {
    if let Err(error) = log.close() {
        error!(partition = %log.partition(), %error, "cannot close a partition cleanly");
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
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
        compression: compression(config),
    }
}

/// Codec and level of a topic that does not leave them to its producers.
fn compression(config: &TopicConfig) -> Option<Compression> {
    let (codec, level) = match config.compression_type {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Codec::None, 0),
        CompressionType::Gzip => (Codec::Gzip, config.compression_gzip_level),
        CompressionType::Snappy => (Codec::Snappy, 0),
        CompressionType::Lz4 => (Codec::Lz4, config.compression_lz4_level),
        CompressionType::Zstd => (Codec::Zstd, config.compression_zstd_level),
    };
    Some(Compression { codec, level })
}

const CLOSING_THREADS: usize = 8;
/// So much is read faster at a start than it is noted again and again.
const PROGRESS_WORTH_BYTES: u64 = 256 << 10;
