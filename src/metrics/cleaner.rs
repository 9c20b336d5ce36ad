//! What the log cleaner did, under names near those of Kafka's `LogCleaner` and `LogCleanerManager`.

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

/// See [`Metrics::cleaner`](super::Metrics::cleaner).
pub struct CleanerMetrics {
    passes: IntCounter,
    read_bytes: IntCounter,
    written_bytes: IntCounter,
    last_pass_seconds: Gauge,
    last_pass_timestamp_seconds: Gauge,
    pub max_dirty_percent: IntGauge,
    pub uncleanable_partitions: IntGauge,
}

impl CleanerMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            passes: IntCounter::new("tidegate_log_cleaner_passes_total", "Partitions compacted.")?,
            read_bytes: IntCounter::new("tidegate_log_cleaner_read_bytes_total", "Bytes that compaction read.")?,
            written_bytes: IntCounter::new("tidegate_log_cleaner_written_bytes_total", "Bytes that compaction wrote.")?,
            last_pass_seconds: Gauge::new(
                "tidegate_log_cleaner_last_pass_seconds",
                "How long the latest compaction of a partition took.",
            )?,
            last_pass_timestamp_seconds: Gauge::new(
                "tidegate_log_cleaner_last_pass_timestamp_seconds",
                "When it ended, in seconds since the Unix epoch.",
            )?,
            max_dirty_percent: IntGauge::new(
                "tidegate_log_cleaner_max_dirty_percent",
                "Dirty share of the dirtiest partition that is due to be compacted.",
            )?,
            uncleanable_partitions: IntGauge::new(
                "tidegate_log_cleaner_uncleanable_partitions",
                "Partitions that are not compacted because they are damaged.",
            )?,
        })
    }

    /// A pass that came to its end at `now_ms`.
    pub fn observe_pass(&self, bytes_read: u64, bytes_written: u64, seconds: f64, now_ms: i64) {
        self.passes.inc();
        self.read_bytes.inc_by(bytes_read);
        self.written_bytes.inc_by(bytes_written);
        self.last_pass_seconds.set(seconds);
        self.last_pass_timestamp_seconds.set(now_ms as f64 / 1_000.0);
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.passes.clone()))?;
        registry.register(Box::new(self.read_bytes.clone()))?;
        registry.register(Box::new(self.written_bytes.clone()))?;
        registry.register(Box::new(self.last_pass_seconds.clone()))?;
        registry.register(Box::new(self.last_pass_timestamp_seconds.clone()))?;
        registry.register(Box::new(self.max_dirty_percent.clone()))?;
        registry.register(Box::new(self.uncleanable_partitions.clone()))
    }
}
