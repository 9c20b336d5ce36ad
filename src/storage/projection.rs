//! Offsets and groups in memory: what the memory backend is, and what the others answer reads from.

mod loading;
mod partitions;
mod topics;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::RwLock;

pub(super) use self::loading::Loading;
use self::{partitions::Partitions, topics::Topics};
use super::{CoordinatorRecord, GroupStorage, OffsetStorage, StorageError, StorageSize, shard_of};
use crate::model::{GroupId, GroupMetadata, OffsetMetadata, TopicName, TopicPartition};

/// The maps, one lock a coordinator shard: what one append changes becomes visible at once.
#[derive(Debug)]
pub(super) struct Projection {
    shards: Vec<RwLock<Shard>>,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    groups: HashMap<GroupId, Group>,
    size: StorageSize,
    /// Counts changes, so that a reload sees whether it was overtaken.
    version: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// No topic is without a partition.
    offsets: Topics<Partitions>,
    state: Option<Arc<GroupMetadata>>,
}

impl Projection {
    /// An empty one of `shards` (at least one) shards.
    pub(super) fn new(shards: u16) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| RwLock::default()).collect() }
    }

    pub(super) fn shards(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(u16::MAX)
    }

    /// The shard of a group, as [`shard_of`] counts.
    pub(super) fn index_of(&self, group: &str) -> u16 {
        shard_of(group, self.shards())
    }

    /// Makes `records`, all of groups of shard `index`, visible at once.
    pub(super) fn apply(&self, index: u16, records: Vec<CoordinatorRecord>) {
        if let Some(shard) = self.shards.get(usize::from(index)) {
            let mut shard = shard.write();
            for record in records {
                shard.apply(record);
            }
            shard.version += 1;
        }
    }

    pub(super) fn version(&self, index: u16) -> u64 {
        self.shards.get(usize::from(index)).map_or(0, |shard| shard.read().version)
    }

    /// Replaces all of shard `index` by `fresh` at once, unless it has changed since it was at `version`; false then.
    #[must_use]
    pub(super) fn replace(&self, index: u16, version: u64, mut fresh: Shard) -> bool {
        fresh.version = version + 1;
        let Some(shard) = self.shards.get(usize::from(index)) else { return true };
        let mut shard = shard.write();
        let unchanged = shard.version == version;
        if unchanged {
            std::mem::swap(&mut *shard, &mut fresh);
        }
        drop(shard);
        unchanged
    }

    pub(super) fn size(&self) -> StorageSize {
        self.shards.iter().map(|shard| shard.read().size).fold(StorageSize::default(), |sum, size| StorageSize {
            offset_entries: sum.offset_entries + size.offset_entries,
            offset_bytes: sum.offset_bytes + size.offset_bytes,
            group_entries: sum.group_entries + size.group_entries,
            group_bytes: sum.group_bytes + size.group_bytes,
        })
    }

    fn read<T>(&self, group: &str, read: impl FnOnce(&Group) -> T) -> Option<T> {
        let shard = self.shards.get(usize::from(self.index_of(group)))?.read();
        shard.groups.get(group).map(read)
    }

    fn offset(&self, group: &str, partition: &TopicPartition) -> Option<OffsetMetadata> {
        self.read(group, |group| group.offsets.get(&partition.topic)?.get(partition.partition).cloned()).flatten()
    }

    /// Of several partitions at one moment.
    pub(super) fn offsets_of(&self, group: &str, partitions: &[TopicPartition]) -> Vec<Option<OffsetMetadata>> {
        let found = self.read(group, |group| {
            let mut values = Vec::with_capacity(partitions.len());
            // Neighbours are mostly of one topic: it is looked up once.
            for of_topic in partitions.chunk_by(|one, next| Arc::ptr_eq(&one.topic, &next.topic)) {
                let topic = of_topic.first().and_then(|first| group.offsets.get(&first.topic));
                values.extend(of_topic.iter().map(|partition| topic?.get(partition.partition).cloned()));
            }
            values
        });
        found.unwrap_or_else(|| vec![None; partitions.len()])
    }

    pub(super) fn offsets(&self, group: &str) -> Vec<(TopicPartition, OffsetMetadata)> {
        let copied = self.read(group, |group| {
            let mut offsets = Vec::new();
            for (topic, partitions) in group.offsets.iter() {
                partitions.for_each(|partition, value| {
                    offsets.push((TopicPartition { topic: Arc::clone(topic), partition }, value.clone()));
                });
            }
            offsets
        });
        copied.unwrap_or_default()
    }

    fn groups_with_offsets(&self) -> Vec<GroupId> {
        let mut groups = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            groups.extend(shard.groups.iter().filter(|(_, group)| !group.offsets.is_empty()).map(|(id, _)| id.clone()));
        }
        groups
    }

    fn group(&self, group: &str) -> Option<Arc<GroupMetadata>> {
        self.read(group, |group| group.state.clone()).flatten()
    }

    fn groups(&self) -> Vec<GroupMetadata> {
        let mut states: Vec<Arc<GroupMetadata>> = Vec::new();
        for shard in &self.shards {
            states.extend(shard.read().groups.values().filter_map(|group| group.state.clone()));
        }
        states.sort_unstable_by(|left, right| left.group_id.cmp(&right.group_id));
        states.into_iter().map(Arc::unwrap_or_clone).collect()
    }
}

impl Shard {
    /// Adds a group that is not there yet, unless nothing is known of it.
    fn insert(&mut self, group_id: GroupId, group: Group) {
        if group.offsets.is_empty() && group.state.is_none() {
            return;
        }
        for (topic, partitions) in group.offsets.iter() {
            partitions.for_each(|_, value| {
                self.size.offset_entries += 1;
                self.size.offset_bytes += offset_bytes(topic, value);
            });
        }
        if let Some(state) = &group.state {
            self.size.group_entries += 1;
            self.size.group_bytes += group_bytes(state);
        }
        self.groups.insert(group_id, group);
    }

    fn apply(&mut self, record: CoordinatorRecord) {
        match record {
            CoordinatorRecord::Offset { group, partition, value } => self.apply_offset(group, partition, value),
            CoordinatorRecord::Group { group, value } => self.apply_group(group, value),
        }
    }

    fn apply_offset(&mut self, group: GroupId, partition: TopicPartition, value: Option<OffsetMetadata>) {
        let TopicPartition { topic, partition } = partition;
        let Some(value) = value else { return self.forget_offset(&group, &topic, partition) };
        self.size.offset_entries += 1;
        self.size.offset_bytes += offset_bytes(&topic, &value);
        if let Some(old) = self.groups.entry(group).or_default().offsets.entry(&topic).insert(partition, value) {
            self.size.offset_entries -= 1;
            self.size.offset_bytes -= offset_bytes(&topic, &old);
        }
    }

    fn forget_offset(&mut self, group: &GroupId, topic: &TopicName, partition: i32) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        let Some(partitions) = entry.offsets.get_mut(topic) else { return };
        if let Some(old) = partitions.remove(partition) {
            self.size.offset_entries -= 1;
            self.size.offset_bytes -= offset_bytes(topic, &old);
        }
        if partitions.is_empty() {
            entry.offsets.remove(topic);
        }
        self.drop_if_empty(group);
    }

    fn apply_group(&mut self, group: GroupId, value: Option<GroupMetadata>) {
        let size = &mut self.size;
        let old = match value {
            Some(value) => {
                size.group_entries += 1;
                size.group_bytes += group_bytes(&value);
                self.groups.entry(group).or_default().state.replace(Arc::new(value))
            }
            None => {
                let old = self.groups.get_mut(&group).and_then(|entry| entry.state.take());
                self.drop_if_empty(&group);
                old
            }
        };
        if let Some(old) = old {
            self.size.group_entries -= 1;
            self.size.group_bytes -= group_bytes(&old);
        }
    }

    fn drop_if_empty(&mut self, group: &str) {
        if self.groups.get(group).is_some_and(|entry| entry.offsets.is_empty() && entry.state.is_none()) {
            self.groups.remove(group);
        }
    }
}

/// A storage whose reads are those of a [`Projection`].
#[async_trait]
pub(super) trait Projected: Send + Sync + 'static {
    fn projection(&self) -> &Arc<Projection>;

    /// Stores changes of groups of one shard, all or none; answers when they are durable and visible.
    async fn store(&self, index: u16, records: Vec<CoordinatorRecord>) -> Result<(), StorageError>;
}

#[async_trait]
impl<T: Projected> OffsetStorage for T {
    async fn commit(
        &self,
        group: &GroupId,
        offsets: Vec<(TopicPartition, OffsetMetadata)>,
    ) -> Result<(), StorageError> {
        let records = offsets.into_iter().map(|(partition, value)| CoordinatorRecord::Offset {
            group: group.clone(),
            partition,
            value: Some(value),
        });
        self.store(self.projection().index_of(group), records.collect()).await
    }

    async fn fetch(&self, group: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError> {
        Ok(self.projection().offset(group, partition))
    }

    async fn fetch_all(&self, group: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, StorageError> {
        Ok(self.projection().offsets(group))
    }

    async fn delete(&self, group: &GroupId, partitions: &[TopicPartition]) -> Result<(), StorageError> {
        let stored = partitions.iter().filter(|partition| self.projection().offset(group, partition).is_some());
        let records = stored.map(|partition| deletion(group, partition.clone())).collect();
        self.store(self.projection().index_of(group), records).await
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StorageError> {
        let stored = self.projection().offsets(group).into_iter();
        let records = stored.map(|(partition, _)| deletion(group, partition)).collect();
        self.store(self.projection().index_of(group), records).await
    }

    async fn list_groups(&self) -> Result<Vec<GroupId>, StorageError> {
        Ok(self.projection().groups_with_offsets())
    }
}

#[async_trait]
impl<T: Projected> GroupStorage for T {
    async fn save(&self, group: &GroupMetadata) -> Result<(), StorageError> {
        let record = CoordinatorRecord::Group { group: group.group_id.clone(), value: Some(group.clone()) };
        self.store(self.projection().index_of(&group.group_id), vec![record]).await
    }

    async fn get(&self, group: &str) -> Result<Option<GroupMetadata>, StorageError> {
        Ok(self.projection().group(group).map(Arc::unwrap_or_clone))
    }

    async fn delete(&self, group: &GroupId) -> Result<(), StorageError> {
        let stored = self.projection().group(group);
        let records = stored.map(|_| CoordinatorRecord::Group { group: group.clone(), value: None });
        self.store(self.projection().index_of(group), records.into_iter().collect()).await
    }

    async fn list(&self) -> Result<Vec<GroupMetadata>, StorageError> {
        Ok(self.projection().groups())
    }
}

fn deletion(group: &GroupId, partition: TopicPartition) -> CoordinatorRecord {
    CoordinatorRecord::Offset { group: group.clone(), partition, value: None }
}

/// Names and values, without what the maps add.
fn offset_bytes(topic: &TopicName, value: &OffsetMetadata) -> u64 {
    (size_of::<TopicPartition>() + size_of::<OffsetMetadata>() + topic.len() + value.metadata.len()) as u64
}

fn group_bytes(value: &GroupMetadata) -> u64 {
    let consumers = value.consumer.iter().flat_map(|consumer| &consumer.members);
    let consumers = consumers.map(|(member_id, member)| {
        let partitions = member.held().count() + member.target.len();
        size_of_val(&**member)
            + member_id.len()
            + member.client_id.len()
            + member.client_host.len()
            + member.topics.iter().map(|topic| topic.len()).sum::<usize>()
            + partitions * size_of::<i32>()
    });
    let members = value.members.iter().map(|member| {
        let protocols = member.protocols.iter().map(|(name, metadata)| name.len() + metadata.0.len());
        size_of_val(&**member)
            + member.member_id.len()
            + member.group_instance_id.as_ref().map_or(0, |id| id.len())
            + member.client_id.len()
            + member.client_host.len()
            + protocols.sum::<usize>()
            + member.assignment.0.len()
    });
    (size_of::<GroupMetadata>() + value.group_id.len() + members.sum::<usize>() + consumers.sum::<usize>()) as u64
}
