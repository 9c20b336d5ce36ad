//! Records that should be there and are not: a segment file in the middle of a log that somebody removed, or that a
//! disk lost.

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    error::LogError,
    files::CLEANER_POINT,
    partition::{PartitionLog, Status},
    scan::Step,
    segment::Segment,
};
use crate::storage::StorageError;

impl PartitionLog {
    /// The offsets that are missing between two segments; reads go on behind them, as Kafka's do. A log that is or was
    /// compacted has such gaps by design, and damaged bytes are no gap: reads tell of those. Looks at the last few
    /// batches of each segment; blocks for the disk.
    pub fn holes(&self) -> Result<Vec<RangeInclusive<i64>>, LogError> {
        let storage = |source| LogError::Storage { partition: self.partition.clone(), source };
        let (segments, log_start) = {
            let state = self.state.lock();
            (state.segments.clone(), state.log_start)
        };
        let mut holes = Vec::new();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            // A deletion waits for one segment, not for all.
            let _in_use = self.in_use.read();
            if self.has_gaps_by_design().map_err(storage)? {
                return Ok(Vec::new());
            }
            match self.end_of(segment, next.base_offset) {
                Ok(Some(end)) if end.max(log_start) < next.base_offset => {
                    holes.push(end.max(log_start)..=next.base_offset - 1);
                }
                Ok(_) => {}
                Err(_) if self.is_gone(segment) => {}
                Err(error) => return Err(storage(error)),
            }
        }
        Ok(holes)
    }

    fn has_gaps_by_design(&self) -> Result<bool, StorageError> {
        let is_closed = matches!(self.state.lock().status, Status::Closed);
        Ok(is_closed || self.config.load().compact || self.store.read_whole(&self.partition, CLEANER_POINT)?.is_some())
    }

    /// The offset behind the last batch of a segment that another one follows; none when its last bytes are damaged.
    fn end_of(&self, segment: &Arc<Segment>, upper: i64) -> Result<Option<i64>, StorageError> {
        let size_bytes = segment.file.size_bytes();
        let mut scanner = segment.scan_from(&*self.store, &self.partition, upper - 1, size_bytes, Some(upper))?;
        let mut end = Some(segment.base_offset);
        loop {
            match scanner.step()? {
                Step::Batch { header, .. } => end = Some(header.next_offset()),
                Step::Damage { .. } => end = None,
                Step::End { position } => return Ok(end.filter(|_| position >= size_bytes)),
            }
        }
    }
}
