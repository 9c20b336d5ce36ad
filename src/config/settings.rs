//! The settings as the program sees them; everything here was validated.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{address::HostPort, broker::BrokerConfigs, filer::FilerSettings, topic::TopicDefaults};

/// Where state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    Memory,
    Disk,
    Filer,
}

/// When acks=all and OffsetCommit are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync, shared by everything that waits.
    Sync,
    /// After the write, as Kafka does.
    Os,
}

/// What a fetch from beyond the log end answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPastEnd {
    /// OFFSET_OUT_OF_RANGE, as Kafka.
    Error,
    /// No records and no error.
    Empty,
}

/// Everything that `tidegate serve` can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// None: the address that the listener got.
    pub advertise: Option<HostPort>,
    pub admin_listen: SocketAddr,
    pub data_dir: PathBuf,
    pub storage: StorageKind,
    pub filer: FilerSettings,
    pub durability: Durability,
    /// `offsets.cache.max.bytes`; 0 is no cache.
    pub offsets_cache_bytes_max: u64,
    /// `metrics.group.lag.max.series`; 0 shows none.
    pub group_lag_series_max: usize,
    /// `tracing_subscriber::EnvFilter` syntax.
    pub log_filter: String,
    pub broker: BrokerSettings,
    pub net: NetSettings,
    pub groups: GroupSettings,
    pub log: LogSettings,
    pub fetch: FetchSettings,
    /// What topics use where they have no config of their own, before any change at run time.
    pub topic_defaults: TopicDefaults,
    /// The same settings as DescribeConfigs shows them.
    pub broker_configs: BrokerConfigs,
}

/// Identity and the catalogue's behaviour.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// `node.id`
    pub node_id: i32,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// Upper bound of partitions of all topics together: `max.partitions`
    pub partitions_max: u32,
}

/// Limits of the wire.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// `num.network.threads`; none: one for every two processors.
    pub threads: Option<usize>,
    /// `socket.send.buffer.bytes`; none leaves it to the kernel.
    pub send_buffer_bytes: Option<u32>,
    /// `socket.receive.buffer.bytes`; none leaves it to the kernel.
    pub receive_buffer_bytes: Option<u32>,
    /// `socket.request.max.bytes`
    pub request_bytes_max: u32,
    /// Request bytes that may be in memory at once: `queued.max.request.bytes`
    pub in_flight_bytes_max: u64,
    /// Requests of one connection that may wait for their reply: `max.in.flight.requests.per.connection`
    pub in_flight_requests_max: usize,
    /// `max.connections`
    pub connections_max: usize,
    /// `connections.max.idle.ms`
    pub idle: Duration,
    /// How long a request may take to arrive once begun: `request.read.timeout.ms`
    pub read_timeout: Duration,
    /// How long SIGTERM waits for what is in flight: `shutdown.timeout.ms`
    pub drain: Duration,
}

/// Consumer groups.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub size_max: usize,
    /// `offsets.topic.num.partitions`: coordinator shards.
    pub shards: u16,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check: Duration,
    pub consumer: ConsumerGroupSettings,
}

/// Groups of the consumer protocol (KIP-848).
#[derive(Clone, Debug)]
pub struct ConsumerGroupSettings {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout: Duration,
    /// `group.consumer.min.session.timeout.ms` to `group.consumer.max.session.timeout.ms`: what groups may have of their own.
    pub session_timeout_bounds: RangeInclusive<Duration>,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `group.consumer.min.heartbeat.interval.ms` to `group.consumer.max.heartbeat.interval.ms`
    pub heartbeat_interval_bounds: RangeInclusive<Duration>,
    /// `group.consumer.max.size`
    pub size_max: usize,
    /// `group.consumer.assignors`
    pub assignors: Vec<String>,
    /// `group.consumer.migration.policy`: whether classic groups with members may become groups of the consumer protocol.
    pub upgrades: bool,
    /// And the other way round.
    pub downgrades: bool,
}

/// Upkeep of partition logs; what topics configure is in [`TopicDefaults`].
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `log.retention.check.interval.ms`
    pub retention_check: Duration,
    /// `log.segment.delete.delay.ms`
    pub delete_delay: Duration,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration: Duration,
    /// `memory.max.bytes`: records that the memory backend keeps.
    pub memory_bytes_max: u64,
    pub cleaner: CleanerSettings,
}

/// Compaction.
#[derive(Clone, Debug)]
pub struct CleanerSettings {
    /// `log.cleaner.enable`
    pub is_enabled: bool,
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.max.bytes.per.second`
    pub io_bytes_per_second: f64,
}

/// Fetch.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// `fetch.past-end`
    pub past_end: FetchPastEnd,
    /// `fetch.max.bytes`
    pub bytes_max: u32,
    /// `max.incremental.fetch.session.cache.slots`
    pub sessions_max: usize,
}
