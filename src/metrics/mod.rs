//! Prometheus registry and what is observed; names and labels are listed in docs/architecture.md.

mod cleaner;
mod filer;
mod groups;

pub use prometheus::Histogram;
use prometheus::{
    Encoder, HistogramOpts, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use self::{cleaner::CleanerMetrics, filer::FilerMetrics, groups::GroupMetrics};

/// Observes a duration when dropped.
pub type RequestTimer = HistogramTimer;

/// Everything that the gateway counts. One instance a process, shared by reference: no global state.
pub struct Metrics {
    registry: Registry,
    pub connections: IntGauge,
    request_seconds: HistogramVec,
    pub offset_commit_seconds: Histogram,
    pub offset_fetch_seconds: Histogram,
    pub offsets_committed: IntCounter,
    pub produced_bytes: IntCounter,
    pub fetched_bytes: IntCounter,
    pub fetch_out_of_range: IntCounter,
    pub appends_refused: IntCounter,
    pub refuses_writes: IntGauge,
    pub missing_records: IntGauge,
    pub redo_log_damages: IntGauge,
    storage_bytes: IntGaugeVec,
    storage_entries: IntGaugeVec,
    pub groups: GroupMetrics,
    cache_events: IntCounterVec,
    cache_groups: IntGauge,
    cache_bytes: IntGauge,
    pub cleaner: CleanerMetrics,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            connections: IntGauge::new("tidegate_connections", "Open client connections.")?,
            request_seconds: HistogramVec::new(
                histogram("tidegate_request_duration_seconds", "Time from dispatch to the encoded reply, by API."),
                &["api"],
            )?,
            offset_commit_seconds: Histogram::with_opts(histogram(
                "tidegate_offset_commit_duration_seconds",
                "Time of an OffsetCommit until it was durable.",
            ))?,
            offset_fetch_seconds: Histogram::with_opts(histogram(
                "tidegate_offset_fetch_duration_seconds",
                "Time of an OffsetFetch.",
            ))?,
            offsets_committed: IntCounter::new("tidegate_offsets_committed_total", "Partition offsets committed.")?,
            produced_bytes: IntCounter::new("tidegate_produced_bytes_total", "Bytes of record batches appended.")?,
            fetched_bytes: IntCounter::new("tidegate_fetched_bytes_total", "Bytes of record batches fetched.")?,
            fetch_out_of_range: IntCounter::new(
                "tidegate_fetch_offset_out_of_range_total",
                "Partitions of fetches that were answered OFFSET_OUT_OF_RANGE.",
            )?,
            appends_refused: IntCounter::new(
                "tidegate_appends_refused_total",
                "Record batches that storage did not take: no room, or a failed disk.",
            )?,
            refuses_writes: IntGauge::new(
                "tidegate_storage_refuses_writes",
                "1 while storage takes no writes; /healthz tells why.",
            )?,
            missing_records: IntGauge::new(
                "tidegate_missing_records",
                "Offsets missing in the middle of logs, as found at the start.",
            )?,
            redo_log_damages: IntGauge::new(
                "tidegate_redo_log_damages",
                "Places of the redo log that the start could not read: ends of logs may be missing.",
            )?,
            storage_bytes: IntGaugeVec::new(
                Opts::new("tidegate_storage_bytes", "Bytes stored, by kind and backend."),
                &["kind", "backend"],
            )?,
            storage_entries: IntGaugeVec::new(
                Opts::new("tidegate_storage_entries", "Entries stored, by kind and backend."),
                &["kind", "backend"],
            )?,
            groups: GroupMetrics::new()?,
            cache_events: IntCounterVec::new(
                Opts::new("tidegate_offsets_cache_events_total", "What the cache of offsets did, by event."),
                &["event"],
            )?,
            cache_groups: IntGauge::new("tidegate_offsets_cache_groups", "Groups with offsets in the cache.")?,
            cache_bytes: IntGauge::new("tidegate_offsets_cache_bytes", "Memory that the cache of offsets takes.")?,
            cleaner: CleanerMetrics::new()?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    /// How long requests of one API take.
    pub fn request_seconds(&self, api: &str) -> Histogram {
        self.request_seconds.with_label_values(&[api])
    }

    /// How much of one kind (`offsets`, `groups`, `records`) a backend holds; the entries of records are partitions.
    pub fn observe_stored(&self, kind: &str, backend: &str, entries: u64, bytes: u64) {
        set(&self.storage_entries, &[kind, backend], entries);
        set(&self.storage_bytes, &[kind, backend], bytes);
    }

    /// The cache of offsets: its counters by event, and what it holds.
    pub fn observe_offsets_cache(&self, counts: &[(&str, u64)], groups: u64, bytes: u64) {
        for (event, count) in counts {
            let counter = self.cache_events.with_label_values(&[event]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.cache_groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The registry in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let registry = &self.registry;
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.request_seconds.clone()))?;
        registry.register(Box::new(self.offset_commit_seconds.clone()))?;
        registry.register(Box::new(self.offset_fetch_seconds.clone()))?;
        registry.register(Box::new(self.offsets_committed.clone()))?;
        registry.register(Box::new(self.produced_bytes.clone()))?;
        registry.register(Box::new(self.fetched_bytes.clone()))?;
        registry.register(Box::new(self.fetch_out_of_range.clone()))?;
        registry.register(Box::new(self.appends_refused.clone()))?;
        registry.register(Box::new(self.refuses_writes.clone()))?;
        registry.register(Box::new(self.missing_records.clone()))?;
        registry.register(Box::new(self.redo_log_damages.clone()))?;
        registry.register(Box::new(self.storage_bytes.clone()))?;
        registry.register(Box::new(self.storage_entries.clone()))?;
        self.groups.register(registry)?;
        registry.register(Box::new(self.cache_events.clone()))?;
        registry.register(Box::new(self.cache_groups.clone()))?;
        registry.register(Box::new(self.cache_bytes.clone()))?;
        self.cleaner.register(registry)
    }
}

fn set(gauges: &IntGaugeVec, labels: &[&str], value: u64) {
    gauges.with_label_values(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn histogram(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BUCKETS_SECONDS.to_vec())
}

/// From what a memory answer takes to what a rebalance takes.
const BUCKETS_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
    300.0,
];
