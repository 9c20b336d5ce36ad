//! The facade that handlers call: it finds the right domain, carries effects from one to another, and holds the long
//! polls. Domains never see each other; what crosses them is written here.

mod cleaner;
mod configs;
mod fetch;
mod groups;
mod health;
mod list_offsets;
mod logs;
mod observe;
mod produce;
mod sessions;
mod topics;

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    catalog::{Catalog, ProducerIds, Snapshot, Topic},
    clock::Clock,
    config::{HostPort, Settings},
    coordinator::Coordinator,
    log::{PartitionLog, ProducerInfo},
    metrics::Metrics,
    model::Topics,
    storage::{CoordinatorStorage, Stalls, StorageError, Volume},
};

pub use cleaner::LogCleaner;
pub use configs::{AlterConfigsError, ConfigChange};
pub use fetch::{FetchPartition, FetchQuery, FetchedPartition, TopicRef};
pub use groups::{OffsetError, OffsetResults};
pub use list_offsets::{EpochError, FoundOffset, OffsetQuery, ReadPartitionError};
pub use logs::{LogDirPartition, Logs, PartitionError};
pub use produce::{LEADER_EPOCH, ProduceError, Produced};
pub use sessions::{SessionError, SessionFetch, SessionRequest, Sessions};
pub use topics::{CreateTopicError, NewTopicRequest, TopicsError};

/// One gateway's domains behind one door.
pub struct Broker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Catalog,
    pub(crate) logs: Logs,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) producer_ids: ProducerIds,
    state: Arc<dyn CoordinatorStorage>,
    pub(crate) sessions: Sessions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) advertised: HostPort,
    refusal: health::Refusal,
    stalls: Stalls,
    stopping: watch::Sender<bool>,
    /// A name is free only when nothing of its former topic is left: held over a deletion, and over a creation.
    topic_names: tokio::sync::Mutex<()>,
    /// Held over a change of a group's configs.
    group_configs: tokio::sync::Mutex<()>,
}

/// What the composition root hands over.
pub struct BrokerParts {
    pub settings: Arc<Settings>,
    pub clock: Arc<dyn Clock>,
    pub catalog: Catalog,
    pub logs: Logs,
    pub coordinator: Arc<Coordinator>,
    pub producer_ids: ProducerIds,
    /// Offsets and groups, for their sizes and health.
    pub state: Arc<dyn CoordinatorStorage>,
    pub metrics: Arc<Metrics>,
    pub advertised: HostPort,
}

/// Does `work` in place. What takes long gives its thread away meanwhile, so that it does not hold up the other
/// connections of the thread.
pub fn in_place<T>(takes_long: bool, work: impl FnOnce() -> T) -> T {
    if takes_long { tokio::task::block_in_place(work) } else { work() }
}

impl Broker {
    pub fn new(parts: BrokerParts) -> Self {
        let sessions = Sessions::new(parts.settings.fetch.sessions_max, Arc::clone(&parts.clock));
        Self {
            settings: parts.settings,
            clock: parts.clock,
            catalog: parts.catalog,
            logs: parts.logs,
            coordinator: parts.coordinator,
            producer_ids: parts.producer_ids,
            state: parts.state,
            sessions,
            metrics: parts.metrics,
            advertised: parts.advertised,
            refusal: health::Refusal::default(),
            stalls: Stalls::default(),
            stopping: watch::Sender::new(false),
            topic_names: tokio::sync::Mutex::default(),
            group_configs: tokio::sync::Mutex::default(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn node_id(&self) -> i32 {
        self.settings.broker.node_id
    }

    /// Where clients are told to connect.
    pub fn advertised(&self) -> &HostPort {
        &self.advertised
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        self.catalog.cluster_id()
    }

    /// The catalogue as it is now.
    pub fn topics(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.catalog.snapshot()
    }

    /// The same for the coordinator, which knows topics by what they are to groups.
    pub fn topics_of_groups(&self) -> Arc<dyn Topics> {
        self.catalog.snapshot().clone()
    }

    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A producer id that nobody had before (InitProducerId without a transactional id).
    pub async fn next_producer_id(&self) -> Result<i64, StorageError> {
        self.producer_ids.next().await
    }

    /// The topic that a request names by name, or by id where its version has ids.
    pub fn resolve(&self, topic: &TopicRef) -> Result<Arc<Topic>, PartitionError> {
        let snapshot = self.topics();
        match topic {
            TopicRef::Name(name) => snapshot.topic(name).cloned().ok_or(PartitionError::UnknownTopicOrPartition),
            TopicRef::Id(id) => snapshot.topic_by_id(*id).cloned().ok_or(PartitionError::UnknownTopicId),
        }
    }

    /// The log of one partition.
    pub fn partition(&self, topic: &TopicRef, partition: i32) -> Result<Arc<PartitionLog>, PartitionError> {
        let topic = self.resolve(topic)?;
        self.logs.get(&topic, partition, &self.catalog)
    }

    /// Every partition with the size of its records.
    pub fn log_dir(&self) -> Vec<LogDirPartition> {
        self.logs.sizes(&self.topics())
    }

    /// The idempotent producers that a partition remembers.
    pub fn producers(&self, topic: &str, partition: i32) -> Result<Vec<ProducerInfo>, PartitionError> {
        let topic = self.topics().topic(topic).filter(|topic| topic.has_partition(partition)).cloned();
        let topic = topic.ok_or(PartitionError::UnknownTopicOrPartition)?;
        Ok(self.logs.if_open(topic.id, partition).map_or_else(Vec::new, |log| log.producers()))
    }

    /// Answers what waits: long polls with what there is, joins with a retriable error. Everything else goes on.
    pub fn begin_shutdown(&self) {
        self.stopping.send_replace(true);
        self.coordinator.begin_shutdown();
    }

    /// Finishes what the coordinator has and flushes the partitions; nothing may be asked afterwards.
    pub async fn close(&self) {
        self.coordinator.shutdown().await;
        self.logs.close().await;
    }

    /// Spares the next start of the process most of the reading; blocks for the disk.
    pub fn note_progress(&self) {
        self.logs.note_progress();
    }

    /// Rolls, deletes and expires what is due; called on a timer.
    pub fn enforce_retention(&self) {
        self.logs.apply_retention(self.clock.wall_ms());
    }

    /// Room of the volume that records are on; none for a backend without one.
    pub fn volume(&self) -> Option<Volume> {
        self.logs.volume()
    }
}
