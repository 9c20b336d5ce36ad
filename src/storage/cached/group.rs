//! What is cached of one group.

use std::collections::HashMap;

use crate::model::{OffsetMetadata, TopicPartition};

/// Offsets of a group; none for what is known to be absent.
#[derive(Debug, Default)]
pub(super) struct CachedGroup {
    offsets: HashMap<TopicPartition, Option<OffsetMetadata>>,
    /// Whether what is not here is absent.
    is_complete: bool,
    bytes: usize,
}

impl CachedGroup {
    /// All that the group has.
    pub(super) fn complete(offsets: &[(TopicPartition, OffsetMetadata)]) -> Self {
        let mut group = Self { is_complete: true, ..Self::default() };
        offsets.iter().for_each(|(partition, value)| group.set(partition, Some(value)));
        group
    }

    /// The offset, or that there is none; none when that is not known.
    pub(super) fn get(&self, partition: &TopicPartition) -> Option<Option<&OffsetMetadata>> {
        match self.offsets.get(partition) {
            Some(value) => Some(value.as_ref()),
            None => self.is_complete.then_some(None),
        }
    }

    /// Every offset, in no order; none when not all are known.
    pub(super) fn all(&self) -> Option<Vec<(TopicPartition, OffsetMetadata)>> {
        let present = |(partition, value): (&TopicPartition, &Option<OffsetMetadata>)| {
            value.as_ref().map(|value| (partition.clone(), value.clone()))
        };
        self.is_complete.then(|| self.offsets.iter().filter_map(present).collect())
    }

    pub(super) fn set(&mut self, partition: &TopicPartition, value: Option<&OffsetMetadata>) {
        let old = if value.is_none() && self.is_complete {
            self.offsets.remove(partition)
        } else {
            self.bytes += entry_bytes(partition, value);
            self.offsets.insert(partition.clone(), value.cloned())
        };
        if let Some(old) = old {
            self.bytes -= entry_bytes(partition, old.as_ref());
        }
    }

    /// What it takes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}

/// An entry with its strings, and as much again of its fixed part for the room that a map keeps free.
fn entry_bytes(partition: &TopicPartition, value: Option<&OffsetMetadata>) -> usize {
    2 * size_of::<(TopicPartition, Option<OffsetMetadata>)>()
        + partition.topic.len()
        + value.map_or(0, |value| value.metadata.len())
}
