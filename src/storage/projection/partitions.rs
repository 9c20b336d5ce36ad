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

    /// Adds one that is not there yet without looking where it belongs; [`put_in_order`](Self::put_in_order) must follow.
    pub(super) fn add_unordered(&mut self, partition: i32, value: OffsetMetadata) {
        match self {
            Self::Few(few) => few.push((partition, value)),
            Self::Many(many) => _ = many.insert(partition, value),
        }
    }

    pub(super) fn put_in_order(&mut self) {
        let Self::Few(few) = self else { return };
        if few.len() > FEW_MAX {
            *self = Self::Many(std::mem::take(few).into_iter().collect());
        } else {
            few.sort_unstable_by_key(|(partition, _)| *partition);
            few.shrink_to_fit();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_without_order_is_in_order_afterwards() {
        for count in [0, 1, 700, 3000] {
            let mut numbers: Vec<i32> = (0..count).collect();
            fastrand::shuffle(&mut numbers);
            let mut partitions = Partitions::default();
            for number in numbers {
                partitions.add_unordered(number, OffsetMetadata::at(number.into()));
            }
            partitions.put_in_order();
            let mut visited = Vec::new();
            partitions.for_each(|partition, value| visited.push((partition, value.offset)));
            assert_eq!(visited, (0..count).map(|number| (number, number.into())).collect::<Vec<_>>());
            assert_eq!(matches!(partitions, Partitions::Many(_)), count == 3000);
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
