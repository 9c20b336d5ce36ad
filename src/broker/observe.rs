//! Brings the gauges up to date when metrics are read.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    catalog::{Snapshot, Topic},
    coordinator::ConsumerGroupState,
    model::{GroupId, GroupState, OffsetMetadata, TopicName, TopicPartition},
};

use super::{Broker, groups::is_of_another};

impl Broker {
    /// Called when metrics are read. `backend` labels the stored sizes.
    pub async fn observe(&self, backend: &str) {
        let small = self.state.size();
        let (partitions, bytes) = self.logs.stored();
        self.metrics.observe_stored("offsets", backend, small.offset_entries, small.offset_bytes);
        self.metrics.observe_stored("groups", backend, small.group_entries, small.group_bytes);
        self.metrics.observe_stored("records", backend, partitions, bytes);
        if let Some(cache) = self.state.cache() {
            let events = [("hit", cache.hits), ("miss", cache.misses), ("eviction", cache.evictions)];
            self.metrics.observe_offsets_cache(&events, cache.groups, cache.bytes);
        }
        self.metrics.refuses_writes.set(i64::from(self.storage_trouble().is_some()));
        self.observe_groups().await;
        self.observe_lag().await;
    }

    async fn observe_groups(&self) {
        if let Ok(counts) = self.coordinator.state_counts().await {
            let states = [
                (GroupState::Empty.as_str(), counts.empty),
                (GroupState::PreparingRebalance.as_str(), counts.preparing_rebalance),
                (GroupState::CompletingRebalance.as_str(), counts.completing_rebalance),
                (GroupState::Stable.as_str(), counts.stable),
                (GroupState::Dead.as_str(), counts.dead),
                (ConsumerGroupState::Assigning.as_str(), counts.assigning),
                (ConsumerGroupState::Reconciling.as_str(), counts.reconciling),
            ];
            self.metrics.groups.observe_states(&states, counts.members);
        }
        let stats = self.coordinator.stats();
        self.metrics.groups.observe_events(&[
            ("rebalances_completed", stats.rebalances_completed),
            ("members_removed", stats.members_removed),
            ("offsets_expired", stats.offsets_expired),
            ("groups_deleted", stats.groups_deleted),
            ("appends_failed", stats.appends_failed),
        ]);
    }

    /// Groups by name until there are as many series as are allowed, so that neither their number nor the work has no
    /// bound.
    async fn observe_lag(&self) {
        let series_max = self.settings.group_lag_series_max;
        if series_max == 0 {
            return;
        }
        // Storage that cannot be read now is seen elsewhere.
        let Ok(mut groups) = self.state.list_groups().await else { return };
        groups.sort_unstable();
        let snapshot = Arc::clone(&self.topics());
        let (mut lags, mut shown) = (Vec::new(), 0);
        for group in &groups {
            let Ok(offsets) = self.state.fetch_all(group).await else { continue };
            let of_group = self.lag_by_topic(&snapshot, offsets).into_iter();
            let series = of_group.map(|(topic, lag)| (GroupId::clone(group), topic, lag));
            lags.extend(series.take(series_max - lags.len()));
            shown += 1;
            if lags.len() == series_max {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.metrics.groups.observe_lag(lags, groups.len() - shown);
    }

    /// Log end less committed offset, of all partitions of a topic together.
    fn lag_by_topic(
        &self,
        snapshot: &Snapshot,
        offsets: Vec<(TopicPartition, OffsetMetadata)>,
    ) -> BTreeMap<TopicName, u64> {
        let mut lags = BTreeMap::new();
        for (TopicPartition { topic: name, partition }, committed) in offsets {
            let is_of = |topic: &&Arc<Topic>| topic.has_partition(partition) && !is_of_another(topic, &committed);
            let Some(topic) = snapshot.topic(&name).filter(is_of) else { continue };
            let end = self.logs.if_open(topic.id, partition).map_or(0, |log| log.offsets().high_watermark);
            *lags.entry(name).or_default() += u64::try_from(end.saturating_sub(committed.offset)).unwrap_or(0);
        }
        lags
    }
}
