//! A part of the cache, and the rules that keep it from ever being stale.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::Ordering},
};

use quick_cache::{Lifecycle, Weighter, unsync::Cache};

use super::{CacheStats, Counters, group::CachedGroup};
use crate::model::{GroupId, OffsetMetadata, TopicPartition};

/// Groups of some coordinator shards.
///
/// A change of a group *claims* it before the backend is asked and settles the claim afterwards. While there is a claim,
/// reads pass the cache by: the backend may show the change at any moment, and a reader that saw it must not see less
/// after it. One change alone leaves what it wrote in the cache; of changes that overlapped nobody here knows which came
/// last, so the group is forgotten. The claim of a change that failed stands until its shard was reloaded.
///
/// A read that missed caches what the backend said if nothing claimed the group since it looked here.
pub(super) struct Stripe {
    groups: Cache<GroupId, CachedGroup, Bytes, RandomState, CountEvictions>,
    /// The changes of each group that are under way; groups without are not listed.
    claims: HashMap<GroupId, Claims>,
    /// Groups of changes that failed, once for each.
    left: Vec<GroupId>,
    /// Counted up by every claim and reload; groups share them by their hash.
    versions: Vec<u64>,
    hasher: RandomState,
    counters: Arc<Counters>,
}

/// What a change makes of a group.
pub(super) enum Change {
    /// The new offsets of some partitions; none for what was deleted.
    Some(Vec<(TopicPartition, Option<OffsetMetadata>)>),
    /// No offset is left.
    AllGone,
}

/// The changes of one group that are under way.
#[derive(Default)]
struct Claims {
    count: u32,
    /// There were several at once, or a reload: nobody here knows what is latest.
    is_unclear: bool,
}

/// The state of a group when a read missed; none when it is being changed.
pub(super) struct Seen(Option<u64>);

impl Stripe {
    pub(super) fn new(bytes_max: u64, counters: Arc<Counters>) -> Self {
        let items = usize::try_from(bytes_max / GROUP_BYTES_TYPICAL).unwrap_or(usize::MAX).clamp(1, ITEMS_EXPECTED_MAX);
        Self {
            groups: Cache::with(items, bytes_max, Bytes, RandomState::new(), CountEvictions(Arc::clone(&counters))),
            claims: HashMap::new(),
            left: Vec::new(),
            versions: vec![0; VERSIONS],
            hasher: RandomState::new(),
            counters,
        }
    }

    pub(super) fn get(&self, group: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, Seen> {
        self.look(group, |cached| cached.get(partition).map(|value| value.cloned()))
    }

    pub(super) fn get_all(&self, group: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, Seen> {
        self.look(group, CachedGroup::all)
    }

    /// Several at one moment. Not to have one of them is no miss yet: they will be asked for one by one.
    pub(super) fn at_hand(&self, group: &str, partitions: &[TopicPartition]) -> Option<Vec<Option<OffsetMetadata>>> {
        let cached = self.cached(group)?;
        let found: Option<Vec<_>> = partitions.iter().map(|at| cached.get(at).map(|value| value.cloned())).collect();
        self.counters.hits.fetch_add(found.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
        found
    }

    pub(super) fn all_at_hand(&self, group: &str) -> Option<Vec<(TopicPartition, OffsetMetadata)>> {
        let found = self.cached(group)?.all();
        self.counters.hits.fetch_add(u64::from(found.is_some()), Ordering::Relaxed);
        found
    }

    /// What is cached of a group that is not being changed.
    fn cached(&self, group: &str) -> Option<&CachedGroup> {
        if self.claims.contains_key(group) { None } else { self.groups.get(group) }
    }

    fn look<T>(&self, group: &str, read: impl FnOnce(&CachedGroup) -> Option<T>) -> Result<T, Seen> {
        let is_free = !self.claims.contains_key(group);
        let found = if is_free { self.groups.get(group).and_then(read) } else { None };
        let counter = if found.is_some() { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found.ok_or_else(|| Seen(is_free.then(|| self.version(group))))
    }

    /// Caches what the backend had of one partition after the cache had been `seen` not to.
    pub(super) fn fill(&mut self, seen: Seen, group: &str, partition: &TopicPartition, value: Option<&OffsetMetadata>) {
        if self.is_unchanged(group, &seen) {
            self.update(group.into(), |cached| cached.set(partition, value));
        }
    }

    /// The same with all that the group has.
    pub(super) fn fill_all(&mut self, seen: Seen, group: &str, offsets: &[(TopicPartition, OffsetMetadata)]) {
        if self.is_unchanged(group, &seen) {
            self.insert(group.into(), CachedGroup::complete(offsets));
        }
    }

    pub(super) fn claim(&mut self, group: &GroupId) {
        let claims = self.claims.entry(Arc::clone(group)).or_default();
        claims.count += 1;
        claims.is_unclear |= claims.count > 1;
        let slot = self.slot(group);
        self.versions.get_mut(slot).into_iter().for_each(|version| *version += 1);
    }

    /// The change of the claim is durable.
    pub(super) fn settle(&mut self, group: GroupId, change: Change) {
        let is_clear = self.claims.get(&group).is_some_and(|claims| !claims.is_unclear);
        self.release(&group);
        if !is_clear {
            self.groups.remove(&group);
            return;
        }
        match change {
            Change::AllGone => self.insert(group, CachedGroup::complete(&[])),
            Change::Some(changed) => self.update(group, |cached| {
                changed.iter().for_each(|(partition, value)| cached.set(partition, value.as_ref()));
            }),
        }
    }

    /// The change of a claim failed.
    pub(super) fn leave(&mut self, group: GroupId) {
        self.groups.remove(&group);
        self.left.push(group);
    }

    /// The failed changes that a reload which begins now will clear up.
    pub(super) fn take_left(&mut self, is_reloaded: impl Fn(&str) -> bool) -> Vec<GroupId> {
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|group| is_reloaded(group));
        self.left = left;
        taken
    }

    /// Whatever a reload made of the backend, nothing older is shown.
    pub(super) fn end_reload(&mut self, is_reloaded: impl Fn(&str) -> bool, mut left: Vec<GroupId>, succeeded: bool) {
        self.groups.retain(|group, _| !is_reloaded(group));
        self.versions.iter_mut().for_each(|version| *version += 1);
        let reloaded = self.claims.iter_mut().filter(|(group, _)| is_reloaded(group));
        reloaded.for_each(|(_, claims)| claims.is_unclear = true);
        if succeeded {
            left.iter().for_each(|group| self.release(group));
        } else {
            self.left.append(&mut left);
        }
    }

    /// Groups and bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.groups.len() as u64, self.groups.weight())
    }

    /// Whether nothing is on its way.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.claims.is_empty() && self.left.is_empty()
    }

    fn is_unchanged(&self, group: &str, seen: &Seen) -> bool {
        seen.0 == Some(self.version(group)) && !self.claims.contains_key(group)
    }

    fn update(&mut self, group: GroupId, change: impl FnOnce(&mut CachedGroup)) {
        match self.groups.get_mut(&group) {
            Some(mut cached) => change(&mut cached),
            None => {
                let mut cached = CachedGroup::default();
                change(&mut cached);
                return self.insert(group, cached);
            }
        }
        // A group that grew makes room as one that came.
        if self.groups.weight() > self.groups.capacity()
            && let Some((group, cached)) = self.groups.remove(&group)
        {
            self.insert(group, cached);
        }
    }

    fn insert(&mut self, group: GroupId, cached: CachedGroup) {
        if Bytes.weight(&group, &cached) <= self.groups.capacity() {
            self.groups.insert(group, cached);
        } else {
            self.groups.remove(&group);
        }
    }

    fn release(&mut self, group: &str) {
        let Some(claims) = self.claims.get_mut(group) else { return };
        claims.count -= 1;
        if claims.count == 0 {
            self.claims.remove(group);
        }
    }

    fn version(&self, group: &str) -> u64 {
        self.versions.get(self.slot(group)).copied().unwrap_or_default()
    }

    fn slot(&self, group: &str) -> usize {
        usize::try_from(self.hasher.hash_one(group) % VERSIONS as u64).unwrap_or_default()
    }
}

impl Counters {
    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            ..CacheStats::default()
        }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<GroupId, CachedGroup> for Bytes {
    fn weight(&self, group: &GroupId, cached: &CachedGroup) -> u64 {
        (group.len() + cached.bytes()) as u64
    }
}

#[derive(Clone)]
struct CountEvictions(Arc<Counters>);

impl Lifecycle<GroupId, CachedGroup> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _group: GroupId, _cached: CachedGroup) {
        self.0.evictions.fetch_add(1, Ordering::Relaxed);
    }
}

/// For the first size of the tables: a group of a few partitions.
const GROUP_BYTES_TYPICAL: u64 = 2048;
/// Tables grow with what they hold; a generous setting alone shall cost nothing.
const ITEMS_EXPECTED_MAX: usize = 4096;
/// So many that groups hardly ever share one with a group that changes.
const VERSIONS: usize = 256;
