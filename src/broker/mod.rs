//! The facade that handlers call: it finds the right domain, carries effects from one to another, and holds the long
//! polls. Domains never see each other; what crosses them is written here.

mod configs;
mod fetch;
mod groups;
mod list_offsets;
mod logs;
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
    log::PartitionLog,
    metrics::Metrics,
    model::TopicId,
    storage::{StorageError, StorageSize},
};

pub use configs::{AlterConfigsError, ConfigChange};
pub use fetch::{FetchError, FetchPartition, FetchQuery, FetchedPartition, TopicRef};
pub use list_offsets::{EpochError, FoundOffset, ListOffsetsError, OffsetQuery};
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
    pub(crate) sessions: Sessions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) advertised: HostPort,
    stopping: watch::Sender<bool>,
}

/// What the composition root hands over.
pub struct BrokerParts {
    pub settings: Arc<Settings>,
    pub clock: Arc<dyn Clock>,
    pub catalog: Catalog,
    pub logs: Logs,
    pub coordinator: Arc<Coordinator>,
    pub producer_ids: ProducerIds,
    pub metrics: Arc<Metrics>,
    pub advertised: HostPort,
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
            sessions,
            metrics: parts.metrics,
            advertised: parts.advertised,
            stopping: watch::Sender::new(false),
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

    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
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

    /// Every partition that has records, with its size.
    pub fn log_dir(&self) -> Vec<LogDirPartition> {
        self.logs.sizes(&self.topics())
    }

    /// Answers long polls at once, so that connections can drain.
    pub fn begin_shutdown(&self) {
        self.stopping.send_replace(true);
        self.coordinator.begin_shutdown();
    }

    /// Flushes everything; nothing may be asked afterwards.
    pub async fn close(&self) {
        self.coordinator.shutdown().await;
        self.logs.close().await;
    }

    /// Rolls, deletes and expires what is due; called on a timer.
    pub fn enforce_retention(&self) {
        self.logs.apply_retention(&self.topics(), self.clock.wall_ms());
    }

    /// Brings the gauges of stored sizes up to date; called when metrics are read.
    pub fn observe_sizes(&self, backend: &str, small: StorageSize) {
        let records: u64 = self.log_dir().iter().map(|partition| partition.size_bytes).sum();
        let gauges = [
            ("offsets", Some(small.offset_entries), small.offset_bytes),
            ("groups", Some(small.group_entries), small.group_bytes),
            ("records", None, records),
        ];
        for (kind, entries, bytes) in gauges {
            self.metrics
                .storage_bytes
                .with_label_values(&[kind, backend])
                .set(i64::try_from(bytes).unwrap_or(i64::MAX));
            if let Some(entries) = entries {
                self.metrics
                    .storage_entries
                    .with_label_values(&[kind, backend])
                    .set(i64::try_from(entries).unwrap_or(i64::MAX));
            }
        }
    }

    fn topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.topics().topic_by_id(id).cloned()
    }
}
