//! Committed offsets of one topic by partition, small: a million of them are held in memory.

use std::collections::BTreeMap;

use crate::model::OffsetMetadata;

/// A map in the order of the partitions.
#[derive(Debug)]
pub(super) enum Partitions {
    /// Sorted, without the room that maps keep free. To insert moves what is behind, so they may not be many.
    Few(Vec<(i32, OffsetMetadata)>),
    Many(BTreeMap<i32, OffsetMetadata>),
}

impl Partitions {
    pub(super) fn get(&self, partition: i32) -> Option<&OffsetMetadata> {
        match self {
            Self::Few(few) => few.get(position(few, partition).ok()?).map(|(_, value)| value),
            Self::Many(many) => many.get(&partition),
        }
    }

    /// Answers what was there.
    pub(super) fn insert(&mut self, partition: i32, value: OffsetMetadata) -> Option<OffsetMetadata> {
        match self {
            Self::Few(few) => match position(few, partition) {
                Ok(at) => few.get_mut(at).map(|(_, place)| std::mem::replace(place, value)),
                Err(at) if few.len() < FEW_MAX => {
                    if few.len() == few.capacity() {
                        // By a quarter, where a vector by itself would double.
                        few.reserve_exact(few.len() / 4 + 1);
                    }
                    few.insert(at, (partition, value));
                    None
                }
                Err(_) => {
                    let mut many: BTreeMap<_, _> = std::mem::take(few).into_iter().collect();
                    many.insert(partition, value);
                    *self = Self::Many(many);
                    None
                }
            },
            Self::Many(many) => many.insert(partition, value),
        }
    }

    pub(super) fn remove(&mut self, partition: i32) -> Option<OffsetMetadata> {
        match self {
            Self::Few(few) => position(few, partition).ok().map(|at| few.remove(at).1),
            Self::Many(many) => many.remove(&partition),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    /// In the order of the partitions.
    pub(super) fn for_each<'a>(&'a self, mut visit: impl FnMut(i32, &'a OffsetMetadata)) {
        match self {
            Self::Few(few) => few.iter().for_each(|(partition, value)| visit(*partition, value)),
            Self::Many(many) => many.iter().for_each(|(partition, value)| visit(*partition, value)),
        }
    }
}

/// The same under construction: changes are taken in any order, the later one of a partition counts.
#[derive(Debug, Default)]
pub(super) struct Unordered {
    /// The first `ordered` are in the order of the partitions, each once; none stands for a deletion.
    changes: Vec<(i32, Option<OffsetMetadata>)>,
    ordered: usize,
}

impl Unordered {
    pub(super) fn extend(&mut self, changes: impl ExactSizeIterator<Item = (i32, Option<OffsetMetadata>)>) {
        if self.changes.is_empty() {
            self.changes.reserve_exact(changes.len());
        }
        changes.for_each(|(partition, value)| self.push(partition, value));
    }

    fn push(&mut self, partition: i32, value: Option<OffsetMetadata>) {
        let last = self.changes.last().map(|(last, _)| *last);
        let goes_on = self.ordered == self.changes.len() && last.is_none_or(|last| last < partition);
        self.changes.push((partition, value));
        if goes_on {
            self.ordered += 1;
        } else if self.changes.len() > UNORDERED_MIN.max(2 * self.ordered) {
            self.put_in_order();
        }
    }

    /// What is there in the end.
    pub(super) fn finish(mut self) -> Partitions {
        self.put_in_order();
        let present = self.changes.into_iter().filter_map(|(partition, value)| Some((partition, value?)));
        let mut few: Vec<_> = present.collect();
        if few.len() > FEW_MAX {
            return Partitions::Many(few.into_iter().collect());
        }
        few.shrink_to_fit();
        Partitions::Few(few)
    }

    fn put_in_order(&mut self) {
        if self.ordered < self.changes.len() {
            // Later changes of a partition come behind earlier ones, and after the reversal are the ones that are kept.
            self.changes.sort_by_key(|(partition, _)| *partition);
            self.changes.reverse();
            self.changes.dedup_by_key(|(partition, _)| *partition);
            self.changes.reverse();
            self.ordered = self.changes.len();
        }
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

fn position(few: &[(i32, OffsetMetadata)], partition: i32) -> Result<usize, usize> {
    few.binary_search_by_key(&partition, |(partition, _)| *partition)
}

/// About 80 KiB to move at worst.
const FEW_MAX: usize = 1024;
/// So many are not worth being put in order before the end.
const UNORDERED_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_changes_in_any_order_the_last_of_each_partition_counts() {
        for (count, spread) in [(0, 1), (1, 1), (50, 10), (700, 5000), (5000, 300), (5000, 2000)] {
            let (mut unordered, mut model) = (Unordered::default(), BTreeMap::new());
            for offset in 0..count {
                // Runs, as commits are.
                let partition = if fastrand::bool() { offset as i32 % spread } else { fastrand::i32(..spread) };
                let value = (fastrand::u8(..) > 32).then(|| OffsetMetadata::at(offset));
                unordered.push(partition, value.clone());
                match value {
                    Some(value) => model.insert(partition, value),
                    None => model.remove(&partition),
                };
                assert!(unordered.changes.len() <= 2 * model.len() + 2 * spread as usize + UNORDERED_MIN);
            }
            let partitions = unordered.finish();
            assert_eq!(matches!(partitions, Partitions::Many(_)), model.len() > FEW_MAX);
            let mut visited = Vec::new();
            partitions.for_each(|partition, value| visited.push((partition, value.clone())));
            assert_eq!(visited, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn few_and_many_are_as_a_map() {
        for (count, spread) in [(100, 50), (5000, 3000)] {
            let (mut partitions, mut model) = (Partitions::default(), BTreeMap::new());
            for offset in 0..count {
                let partition = fastrand::i32(-spread..spread);
                let value = OffsetMetadata::at(offset);
                if fastrand::u8(..) < 32 {
                    assert_eq!(partitions.remove(partition), model.remove(&partition));
                } else {
                    assert_eq!(partitions.insert(partition, value.clone()), model.insert(partition, value));
                }
                let other = fastrand::i32(-spread..spread);
                assert_eq!(partitions.get(other), model.get(&other));
                assert_eq!(partitions.is_empty(), model.is_empty());
            }
            let mut visited = Vec::new();
            partitions.for_each(|partition, value| visited.push((partition, value.clone())));
            assert_eq!(visited, model.into_iter().collect::<Vec<_>>());
            assert_eq!(matches!(partitions, Partitions::Many(_)), count == 5000);
        }
    }
}
