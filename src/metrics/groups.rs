//! What consumer groups do.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{histogram, set};
use crate::model::{GroupId, TopicName};

/// See [`Metrics::groups`](super::Metrics::groups). Clones share what they count.
#[derive(Clone)]
pub struct GroupMetrics {
    groups: IntGaugeVec,
    members: IntGauge,
    events: IntGaugeVec,
    rebalances: IntCounterVec,
    step_seconds: HistogramVec,
    lag: IntGaugeVec,
    /// What `lag` shows, so that it can be taken away.
    lagging: Arc<Mutex<HashSet<(GroupId, TopicName)>>>,
    lag_omitted: IntGauge,
}

impl GroupMetrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            groups: IntGaugeVec::new(Opts::new("tidegate_groups", "Consumer groups by state."), &["state"])?,
            members: IntGauge::new("tidegate_group_members", "Members of all groups.")?,
            events: IntGaugeVec::new(
                Opts::new("tidegate_coordinator_events", "What the group coordinator did since the start, by event."),
                &["event"],
            )?,
            rebalances: IntCounterVec::new(
                Opts::new("tidegate_group_rebalances_total", "Rebalances that began, by reason."),
                &["reason"],
            )?,
            step_seconds: HistogramVec::new(
                histogram(
                    "tidegate_group_rebalance_step_duration_seconds",
                    "Time of each step of a rebalance: join until all have joined, sync until the leader has assigned.",
                ),
                &["step"],
            )?,
            lag: IntGaugeVec::new(
                Opts::new("tidegate_group_lag", "Records that a group has not committed yet, by topic."),
                &["group", "topic"],
            )?,
            lagging: Arc::default(),
            lag_omitted: IntGauge::new(
                "tidegate_group_lag_omitted_groups",
                "Groups with offsets whose lag is not shown, because of metrics.group.lag.max.series.",
            )?,
        })
    }

    /// A rebalance begins; reasons are few and fixed.
    pub fn rebalance_started(&self, reason: &'static str) {
        self.rebalances.with_label_values(&[reason]).inc();
    }

    /// A step of a rebalance came to its end.
    pub fn step_ended(&self, step: &'static str, seconds: f64) {
        self.step_seconds.with_label_values(&[step]).observe(seconds);
    }

    /// How many groups are in each state, and the members of all.
    pub fn observe_states(&self, counts: &[(&str, u64)], members: u64) {
        counts.iter().for_each(|(state, count)| set(&self.groups, &[state], *count));
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
    }

    /// The coordinator's counters.
    pub fn observe_events(&self, counts: &[(&str, u64)]) {
        counts.iter().for_each(|(event, count)| set(&self.events, &[event], *count));
    }

    /// The lag of groups by topic, all that is to be shown; and how many groups are left out.
    pub fn observe_lag(&self, lags: Vec<(GroupId, TopicName, u64)>, omitted: usize) {
        self.lag_omitted.set(i64::try_from(omitted).unwrap_or(i64::MAX));
        let mut shown = self.lagging.lock();
        let mut former = std::mem::take(&mut *shown);
        for (group, topic, lag) in lags {
            set(&self.lag, &[&group, &topic], lag);
            let series = (group, topic);
            former.remove(&series);
            shown.insert(series);
        }
        for (group, topic) in former {
            // It is there: it was shown.
            let _ = self.lag.remove_label_values(&[&group, &topic]);
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.groups.clone()))?;
        registry.register(Box::new(self.members.clone()))?;
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.rebalances.clone()))?;
        registry.register(Box::new(self.step_seconds.clone()))?;
        registry.register(Box::new(self.lag.clone()))?;
        registry.register(Box::new(self.lag_omitted.clone()))
    }
}
