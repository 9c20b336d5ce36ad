//! What of a log is to be cleaned (`LogCleanerManager`, `LogToClean`), and which segments become one. Pure.

/// A segment below the active one, as far as a plan needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) base_offset: i64,
    /// Where the next segment begins.
    pub(super) next_base: i64,
    pub(super) size_bytes: u64,
    /// Of the larger index.
    pub(super) index_bytes: u64,
}

/// The part of a log that a pass would clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Where the dirty part begins.
    pub(super) first_dirty: i64,
    /// The base offset of the first segment that must not be cleaned.
    pub(super) bound: i64,
    /// Share of bytes that were never cleaned, up to `bound`.
    pub(super) dirty_ratio: f64,
}

impl Plan {
    /// Looks at the segments up to the first that ends behind `bound`; none when nothing of them is dirty.
    pub(super) fn of(extents: &[Extent], first_dirty: i64, bound: i64) -> Option<Self> {
        let end = extents.partition_point(|extent| extent.next_base <= bound);
        let extents = extents.get(..end).unwrap_or_default();
        let bytes = |part: &[Extent]| part.iter().map(|extent| extent.size_bytes).sum::<u64>();
        let (clean, dirty) = extents.split_at(extents.partition_point(|extent| extent.next_base <= first_dirty));
        let (clean_bytes, dirty_bytes) = (bytes(clean), bytes(dirty));
        if dirty_bytes == 0 {
            return None;
        }
        let dirty_ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        Some(Self { first_dirty, bound: dirty.last()?.next_base, dirty_ratio })
    }
}

/// Cuts the segments into runs that may become one segment each, by their number (`Cleaner.groupSegmentsBySize`).
pub(super) fn group(extents: &[Extent], segment_bytes: u64, index_bytes: u64) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = extents;
    while let Some((first, others)) = rest.split_first() {
        let (mut size, mut index, mut count) = (first.size_bytes, first.index_bytes, 1);
        for extent in others {
            size += extent.size_bytes;
            index += extent.index_bytes;
            let is_near = extent.next_base - 1 - first.base_offset <= i64::from(i32::MAX);
            let fits = size <= segment_bytes && index <= index_bytes && (is_near || extent.size_bytes == 0);
            if !fits || count == GROUP_MAX {
                break;
            }
            count += 1;
        }
        groups.push(count);
        rest = rest.get(count..).unwrap_or_default();
    }
    groups
}

/// Segments that become one at a time: each is held open while they are exchanged.
const GROUP_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(sizes: &[u64]) -> Vec<Extent> {
        let extent = |(index, size_bytes): (usize, &u64)| Extent {
            base_offset: index as i64 * 10,
            next_base: index as i64 * 10 + 10,
            size_bytes: *size_bytes,
            index_bytes: 8,
        };
        sizes.iter().enumerate().map(extent).collect()
    }

    #[test]
    fn the_ratio_is_that_of_bytes_below_the_bound() {
        let all = extents(&[100, 200, 300, 400]);
        let plan = |first_dirty, bound| Plan::of(&all, first_dirty, bound);
        let ratio = |first_dirty, bound| plan(first_dirty, bound).map(|plan| plan.dirty_ratio);
        assert_eq!(ratio(0, 40), Some(1.0));
        assert_eq!(ratio(20, 40), Some(0.7));
        assert_eq!(ratio(20, 30), Some(0.5));
        assert_eq!(plan(20, 39).map(|plan| plan.bound), Some(30));
        // A segment that was cleaned in part only is dirty still.
        assert_eq!(ratio(25, 40), Some(0.7));
        assert_eq!(ratio(40, 40), None);
        assert_eq!(ratio(0, 9), None);
    }

    #[test]
    fn neighbours_are_grouped_up_to_every_bound() {
        assert_eq!(group(&extents(&[10, 20, 30, 40, 50]), 60, 1_000), [3, 1, 1]);
        assert_eq!(group(&extents(&[10, 10, 10, 10, 10]), 1_000, 16), [2, 2, 1]);
        assert_eq!(group(&extents(&[500]), 60, 1_000), [1]);
        assert_eq!(group(&extents(&[0; 130]), 60, 10_000), [64, 64, 2]);
        let mut far = extents(&[10, 10, 10]);
        let mut with_end = |end: i64| {
            (far[1].next_base, far[2].base_offset, far[2].next_base) = (end, end, end + 1);
            group(&far, 1_000, 1_000)
        };
        assert_eq!(with_end(i64::from(i32::MAX) + 1), [2, 1]);
        assert_eq!(with_end(i64::from(i32::MAX) + 2), [1, 2]);
        assert_eq!(group(&[], 1, 1), [] as [usize; 0]);
    }
}
