//! Builds shards of a projection from a journal, as it is read: nothing is held twice, and what is alike in neighbouring
//! records, as a commit writes them, is looked up once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Group, Shard, partitions::Unordered, topics::Topics};
use crate::{
    model::{GroupId, OffsetMetadata, TopicName},
    storage::{
        Reading, ShardId, StorageError,
        records::{DecodeError, Key, Offset, Strings, corrupt, decode_group, text},
    },
};

/// The shards that were read so far.
#[derive(Debug, Default)]
pub(in crate::storage) struct Loading {
    shards: BTreeMap<ShardId, LoadingShard>,
    topics: Strings,
    metadata: Strings,
    run: Option<Run>,
}

#[derive(Debug, Default)]
struct LoadingShard {
    /// By the group's id, the place in `groups`.
    places: HashMap<GroupId, usize>,
    groups: Vec<LoadingGroup>,
}

#[derive(Debug)]
struct LoadingGroup {
    id: GroupId,
    offsets: Topics<Unordered>,
    /// The bytes of the group's own record: only the last one is worth being understood.
    state: Option<Box<[u8]>>,
}

/// Neighbouring changes of offsets of one group and topic.
#[derive(Debug)]
struct Run {
    shard: ShardId,
    group: GroupId,
    place: usize,
    topic: TopicName,
    changes: Vec<(i32, Option<OffsetMetadata>)>,
}

impl Loading {
    /// What was read of `shard`, which must be asked for once only.
    pub(in crate::storage) fn finish(&mut self, shard: ShardId) -> Result<Shard, StorageError> {
        self.end_run();
        let LoadingShard { places, groups } = self.shards.remove(&shard).unwrap_or_default();
        drop(places);
        let mut finished = Shard::default();
        finished.groups.reserve(groups.len());
        for LoadingGroup { id, offsets, state } in groups {
            let offsets =
                offsets.filter_map(|partitions| Some(partitions.finish()).filter(|partitions| !partitions.is_empty()));
            let state = match state.map(|state| decode_group(&id, &state)).transpose() {
                Ok(state) => state.map(Arc::new),
                Err(error) => return Err(corrupt(id.as_bytes(), &error)),
            };
            finished.insert(id, Group { offsets, state });
        }
        Ok(finished)
    }

    fn take(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) -> Result<(), DecodeError> {
        let Key { group, partition } = Key::parse(key)?;
        let Some((topic, partition)) = partition else {
            let of_shard = self.shards.entry(shard).or_default();
            let place = of_shard.place(group)?;
            if let Some(group) = of_shard.groups.get_mut(place) {
                group.state = value.map(Box::from);
            }
            return Ok(());
        };
        let value = match value.map(Offset::parse).transpose()? {
            Some(value) => Some(value.with(self.metadata.shared(value.metadata)?.into())),
            None => None,
        };
        let goes_on =
            |run: &&mut Run| run.topic.as_bytes() == topic && run.group.as_bytes() == group && run.shard == shard;
        match self.run.as_mut().filter(goes_on) {
            Some(run) => run.changes.push((partition, value)),
            None => {
                let mut changes = self.end_run();
                changes.push((partition, value));
                let topic = self.topics.shared(topic)?;
                let of_shard = self.shards.entry(shard).or_default();
                let place = of_shard.place(group)?;
                let Some(LoadingGroup { id, .. }) = of_shard.groups.get(place) else { return Ok(()) };
                self.run = Some(Run { shard, group: Arc::clone(id), place, topic, changes });
            }
        }
        Ok(())
    }

    /// Puts the run where it belongs; answers its room for the next one.
    fn end_run(&mut self) -> Vec<(i32, Option<OffsetMetadata>)> {
        let Some(Run { shard, place, topic, mut changes, .. }) = self.run.take() else { return Vec::new() };
        if let Some(group) = self.shards.get_mut(&shard).and_then(|of_shard| of_shard.groups.get_mut(place)) {
            group.offsets.entry(&topic).extend(changes.drain(..));
        }
        changes
    }
}

impl LoadingShard {
    /// Where the group is, or begins.
    fn place(&mut self, group: &[u8]) -> Result<usize, DecodeError> {
        let group = text(group)?;
        if let Some(place) = self.places.get(group) {
            return Ok(*place);
        }
        let (id, place) = (GroupId::from(group), self.groups.len());
        self.places.insert(Arc::clone(&id), place);
        self.groups.push(LoadingGroup { id, offsets: Topics::default(), state: None });
        Ok(place)
    }
}

impl Reading for Loading {
    fn begin(&mut self) {
        *self = Self::default();
    }

    fn change(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) -> Result<(), StorageError> {
        self.take(shard, key, value).map_err(|error| corrupt(key, &error))
    }
}
