//! What the journal holds at the moment, and which object holds which part of it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::object::{Change, Head, ObjectBuilder};
use crate::storage::ShardId;

/// The latest value of each key, and the objects that a start would read to find the same.
#[derive(Debug, Default)]
pub(super) struct Live {
    shards: HashMap<ShardId, HashMap<Bytes, Entry>>,
    /// By the first sequence number; together they cover all numbers without a gap.
    objects: BTreeMap<u64, StoredObject>,
}

#[derive(Debug)]
struct Entry {
    value: Bytes,
    /// The number of the object that set it.
    sequence: u64,
}

/// An object on the filer.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    pub(super) last: u64,
    /// Names below the journal's folder; all of them go when it goes.
    pub(super) names: Vec<String>,
    /// Never to be removed: see [`super`].
    pub(super) is_fence: bool,
    /// What it changes, sets and deletions.
    keys: Vec<(ShardId, Bytes)>,
    /// Bytes of the values in it that are the latest.
    live_bytes: u64,
}

/// Several neighbouring objects that are to become one.
pub(super) struct Merge {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) builder: ObjectBuilder,
    keys: Vec<(ShardId, Bytes)>,
}

impl Live {
    /// Makes the changes of an object visible; objects come in the order of their numbers.
    pub(super) fn apply(&mut self, head: Head, names: Vec<String>, is_fence: bool, changes: Vec<Change>) {
        let mut object =
            StoredObject { last: head.last, names, is_fence, keys: Vec::with_capacity(changes.len()), live_bytes: 0 };
        for Change { shard, key, value } in changes {
            object.keys.push((shard, key.clone()));
            let entries = self.shards.entry(shard).or_default();
            let old = match value {
                Some(value) => {
                    object.live_bytes += weight(&key, &value);
                    let entry = Entry { value, sequence: head.first };
                    entries.insert(key.clone(), entry)
                }
                None => entries.remove(&key),
            };
            let Some(old) = old else { continue };
            let weight = weight(&key, &old.value);
            if old.sequence >= head.first {
                object.live_bytes = object.live_bytes.saturating_sub(weight);
            } else if let Some((_, before)) = self.objects.range_mut(..=old.sequence).next_back() {
                before.live_bytes = before.live_bytes.saturating_sub(weight);
            }
        }
        self.objects.insert(head.first, object);
    }

    pub(super) fn shard(&self, shard: ShardId) -> Vec<(Bytes, Bytes)> {
        let entries = self.shards.get(&shard).into_iter().flatten();
        entries.map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    pub(super) fn get(&self, shard: ShardId, key: &[u8]) -> Option<Bytes> {
        self.shards.get(&shard)?.get(key).map(|entry| entry.value.clone())
    }

    /// The value of a key of the coordinator, whichever shard it is in.
    pub(super) fn group_value(&self, key: &[u8]) -> Option<Bytes> {
        let shards = self.shards.iter().filter(|(shard, _)| shard.group_index().is_some());
        shards.filter_map(|(_, entries)| entries.get(key)).map(|entry| entry.value.clone()).next()
    }

    /// Keys that objects behind number `after` changed, those of shards that `wanted` takes.
    pub(super) fn changed_since(&self, after: u64, wanted: impl Fn(ShardId) -> bool) -> Vec<(ShardId, Bytes)> {
        let objects = self.objects.values().filter(|object| object.last > after);
        objects.flat_map(|object| &object.keys).filter(|(shard, _)| wanted(*shard)).cloned().collect()
    }

    pub(super) fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Neighbours worth merging. The fewer bytes of theirs live, the fewer of them it takes. Deletions are left out where
    /// nothing older can be brought back, up to number `forgettable`.
    pub(super) fn plan_merge(&self, forgettable: u64) -> Option<Merge> {
        for (live_bytes_max, run_min) in TIERS {
            let mut run = Vec::new();
            for (first, object) in &self.objects {
                if object.live_bytes > *live_bytes_max {
                    if run.len() >= *run_min {
                        break;
                    }
                    run.clear();
                } else if run.len() < RUN_MAX {
                    run.push(*first);
                }
            }
            if run.len() >= *run_min {
                return self.merge(&run, forgettable);
            }
        }
        None
    }

    fn merge(&self, run: &[u64], forgettable: u64) -> Option<Merge> {
        let (first, last_object) = (*run.first()?, self.objects.get(run.last()?)?);
        let last = last_object.last;
        let is_oldest = self.objects.range(..first).next().is_none();
        let keeps_deletions = !is_oldest || last > forgettable;
        let objects = || self.objects.range(first..=last).map(|(_, object)| object);
        let bytes = objects().map(|object| object.live_bytes).sum::<u64>();
        let mut merge = Merge {
            first,
            last,
            builder: ObjectBuilder::new(usize::try_from(bytes).unwrap_or_default()),
            keys: Vec::new(),
        };
        let mut seen = std::collections::HashSet::new();
        for (shard, key) in objects().flat_map(|object| &object.keys) {
            if !seen.insert((*shard, key)) {
                continue;
            }
            match self.shards.get(shard).and_then(|entries| entries.get(key)) {
                // A later object has a newer value.
                Some(entry) if entry.sequence > last => continue,
                Some(entry) => merge.builder.push(*shard, key, Some(&entry.value)),
                None if keeps_deletions => merge.builder.push(*shard, key, None),
                None => continue,
            }
            merge.keys.push((*shard, key.clone()));
        }
        Some(merge)
    }

    /// Puts the merged object, which is stored under `name` now, in the place of its parts, and answers the names that may
    /// go.
    pub(super) fn merged(&mut self, first: u64, last: u64, keys: Vec<(ShardId, Bytes)>, name: String) -> Vec<String> {
        let parts: Vec<u64> = self.objects.range(first..=last).map(|(first, _)| *first).collect();
        let parts: Vec<StoredObject> = parts.iter().filter_map(|first| self.objects.remove(first)).collect();
        let live_bytes = parts.iter().map(|part| part.live_bytes).sum();
        self.objects.insert(first, StoredObject { last, names: vec![name], is_fence: false, keys, live_bytes });
        parts.into_iter().filter(|part| !part.is_fence).flat_map(|part| part.names).collect()
    }
}

impl Merge {
    pub(super) fn into_parts(self) -> (ObjectBuilder, Vec<(ShardId, Bytes)>) {
        (self.builder, self.keys)
    }
}

fn weight(key: &Bytes, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64
}

/// Live bytes of an object up to which so many neighbours are merged.
const TIERS: &[(u64, usize)] = &[(16 << 10, 32), (256 << 10, 64), (4 << 20, 128), (u64::MAX, 512)];
const RUN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::storage::filer::journal::object::{self, Content};

    const SHARD: ShardId = ShardId(1);

    fn change(key: u8, value: Option<u64>) -> Change {
        let value = value.map(|value| Bytes::from(value.to_string()));
        Change { shard: SHARD, key: Bytes::from(vec![key]), value }
    }

    fn head(first: u64, last: u64) -> Head {
        Head { epoch: 1, first, last, durable: 0 }
    }

    /// What a start reads: object after object.
    fn replayed(stored: &BTreeMap<u64, Bytes>) -> Live {
        let mut live = Live::default();
        for bytes in stored.values() {
            let (head, content) = object::parse(bytes).unwrap();
            let Content::Records(changes) = content else { panic!("no records") };
            live.apply(head, Vec::new(), false, changes);
        }
        live
    }

    fn sorted(live: &Live) -> Vec<(Bytes, Bytes)> {
        let mut entries = live.shard(SHARD);
        entries.sort();
        entries
    }

    #[test]
    fn merged_objects_replay_to_the_same_state_whatever_comes_between() {
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut live, mut stored) = (Live::default(), BTreeMap::new());
            let mut merges = 0;
            for sequence in 1..400 {
                let changes: Vec<_> = (0..random.usize(..4))
                    .map(|_| change(random.u8(..20), (random.u8(..3) > 0).then_some(sequence)))
                    .collect();
                let mut builder = ObjectBuilder::new(0);
                changes.iter().for_each(|change| builder.push(SHARD, &change.key, change.value.as_deref()));
                stored.insert(sequence, builder.finish(head(sequence, sequence)));
                live.apply(head(sequence, sequence), vec![sequence.to_string()], false, changes);
                let forgettable = if random.bool() { u64::MAX } else { sequence / 2 };
                if random.u8(..4) == 0
                    && let Some(merge) = live.plan_merge(forgettable)
                {
                    merges += 1;
                    let (first, last) = (merge.first, merge.last);
                    let (builder, keys) = merge.into_parts();
                    // The state moves on while the merged object is under way.
                    stored.insert(first, builder.finish(head(first, last)));
                    for name in live.merged(first, last, keys, first.to_string()) {
                        let number: u64 = name.parse().unwrap();
                        if number != first {
                            stored.remove(&number);
                        }
                    }
                }
                assert_eq!(sorted(&replayed(&stored)), sorted(&live), "seed {seed}, sequence {sequence}");
            }
            assert!(merges > 5 && stored.len() < 80, "{merges} merges, {} objects", stored.len());
        }
    }

    #[test]
    fn what_changed_behind_a_number_is_known_with_deletions() {
        let mut live = Live::default();
        live.apply(head(1, 1), Vec::new(), false, vec![change(1, Some(1)), change(2, Some(1))]);
        live.apply(head(2, 2), Vec::new(), false, vec![change(2, None)]);
        assert_eq!(live.changed_since(1, |_| true), [(SHARD, Bytes::from_static(&[2]))]);
        assert_eq!(live.changed_since(0, |shard| shard != SHARD), []);
    }
}
