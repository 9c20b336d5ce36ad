//! How the filer backend fares. Registered only where that is the backend.

use prometheus::IntGauge;

use super::Metrics;

/// See [`Metrics::filer`].
pub struct FilerMetrics {
    pub is_resting: IntGauge,
    pub is_exclusion_guarded: IntGauge,
    pub layout_lag_ms: IntGauge,
    pub journal_objects: IntGauge,
    pub waiting_bytes: IntGauge,
    pub tail_bytes: IntGauge,
}

impl Metrics {
    /// Registers the filer's gauges; once.
    pub fn filer(&self) -> Result<FilerMetrics, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            self.registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(FilerMetrics {
            is_resting: gauge(
                "tidegate_filer_circuit_open",
                "1 while the filer failed so often that it is asked once in a while only.",
            )?,
            is_exclusion_guarded: gauge(
                "tidegate_filer_exclusion_guarded",
                "0 when nothing keeps a second gateway from the same folder (filer.exclusive is trust-me).",
            )?,
            layout_lag_ms: gauge(
                "tidegate_filer_layout_lag_ms",
                "How long the oldest change of offsets and groups has waited that is not in the readable files.",
            )?,
            journal_objects: gauge("tidegate_filer_journal_objects", "Objects that a start would read.")?,
            waiting_bytes: gauge("tidegate_filer_waiting_bytes", "Bytes that wait for an object of the journal.")?,
            tail_bytes: gauge(
                "tidegate_filer_tail_bytes",
                "Bytes of records in memory that are no object of their partition yet.",
            )?,
        })
    }
}
