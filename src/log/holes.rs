//! Records that should be there and are not: a segment file in the middle of a log that somebody removed, or that a
//! disk lost.

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    compaction::CleanerPoint,
    error::LogError,
    files::CLEANER_POINT,
    partition::{PartitionLog, Status},
    scan::Step,
    segment::Segment,
};
use crate::storage::StorageError;

impl PartitionLog {
    /// The offsets that are missing between two segments; reads go on behind them, as Kafka's do. Compaction
    /// leaves such gaps by design, and damaged bytes are no gap: reads tell of those. Looks at the last few
    /// batches of each segment; blocks for the disk.
    pub fn holes(&self) -> Result<Vec<RangeInclusive<i64>>, LogError> {
        let storage = |source| LogError::Storage { partition: self.partition.clone(), source };
        let (segments, log_start) = {
            let state = self.state.lock();
            (state.segments.to_vec(), state.log_start)
        };
        let mut holes = Vec::new();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            // A deletion waits for one segment, not for all.
            let _in_use = self.in_use.read();
            if self.gaps_by_design().map_err(storage)? >= next.base_offset {
                continue;
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

    /// The offset before which compaction may have left gaps. A compacted log that says nothing of it came from elsewhere.
    fn gaps_by_design(&self) -> Result<i64, StorageError> {
        if matches!(self.state.lock().status, Status::Closed) {
            return Ok(i64::MAX);
        }
        let stored = self.store.read_whole(&self.partition, CLEANER_POINT)?;
        Ok(match stored {
            Some(contents) => CleanerPoint::parse(&contents).map_or(i64::MAX, |point| point.touched),
            None if self.config.load().compact => i64::MAX,
            None => 0,
        })
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
