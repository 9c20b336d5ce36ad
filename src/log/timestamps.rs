//! Finding offsets by time (ListOffsets).

use std::sync::Arc;

use super::{
    decompress,
    error::ReadError,
    partition::{PartitionLog, Status},
    scan::{Scanner, Step},
    segment::Segment,
    segments::View,
};
use crate::{
    model::batch::{BatchHeader, Codec, ReadSource, RecordWalker, SliceSource, Source, TimestampType, checksum},
    storage::StorageError,
};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp_ms: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

impl PartitionLog {
    /// The first record below the high watermark whose timestamp is at least `timestamp_ms`. Blocks for the disk.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.look(|snapshot| self.find_timestamp(snapshot, timestamp_ms))
    }

    /// The first record with the largest timestamp (ListOffsets with -3, KIP-734). Blocks for the disk.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.look(|snapshot| self.find_max_timestamp(snapshot))
    }

    /// Looks again when segments were deleted or replaced meanwhile.
    fn look<T>(&self, look: impl Fn(&Snapshot) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let _in_use = self.in_use.read();
        let mut attempts = 0;
        loop {
            let snapshot = self.snapshot()?;
            match look(&snapshot) {
                Err(ReadError::Storage(_))
                    if attempts < ATTEMPTS_MAX && !self.state.lock().segments.is(&snapshot.segments) =>
                {
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    fn find_timestamp(&self, at: &Snapshot, timestamp_ms: i64) -> Result<Option<TimestampOffset>, ReadError> {
        let Snapshot { segments, log_start, high_watermark } = at;
        let first = segments.first_reaching(timestamp_ms, &*self.store, &self.partition)?;
        for (index, segment) in segments.iter().enumerate().skip(first) {
            let (max_timestamp_ms, _) = segment.max_timestamp(&*self.store, &self.partition)?;
            if max_timestamp_ms < timestamp_ms {
                continue;
            }
            let from = segment.offset_before_timestamp(&*self.store, &self.partition, timestamp_ms)?.max(*log_start);
            let upper = segments.get(index + 1).map(|next| next.base_offset);
            let mut scanner = segment.scan_from(&*self.store, &self.partition, from, u64::MAX, upper)?;
            while let Some((header, position)) = next_batch(&mut scanner)? {
                if header.max_timestamp_ms < timestamp_ms || header.last_offset() < *log_start {
                    continue;
                }
                let wanted = |offset, at_ms| offset >= *log_start && at_ms >= timestamp_ms;
                if let Some((offset, at_ms)) = find_record(segment, &header, position, wanted)? {
                    let found =
                        TimestampOffset { timestamp_ms: at_ms, offset, leader_epoch: header.partition_leader_epoch };
                    return Ok(Some(found).filter(|found| found.offset < *high_watermark));
                }
            }
        }
        Ok(None)
    }

    fn find_max_timestamp(&self, at: &Snapshot) -> Result<Option<TimestampOffset>, ReadError> {
        let Some(segment) = at.segments.first_with_max(&*self.store, &self.partition)? else { return Ok(None) };
        let (max_timestamp_ms, offset) = segment.max_timestamp(&*self.store, &self.partition)?;
        if max_timestamp_ms < 0 {
            return Ok(None);
        }
        let Some((header, position)) = self.locate(segment, u64::MAX, Some(i64::MAX), offset)? else { return Ok(None) };
        let found = find_record(segment, &header, position, |_, at_ms| at_ms >= max_timestamp_ms)?;
        Ok(found
            .map(|(offset, timestamp_ms)| TimestampOffset {
                timestamp_ms,
                offset,
                leader_epoch: header.partition_leader_epoch,
            })
            .filter(|found| found.offset < at.high_watermark))
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let mut state = self.state.lock();
        if matches!(state.status, Status::Closed) {
            return Err(ReadError::Closed);
        }
        let segments = state.segments.view();
        Ok(Snapshot { segments, log_start: state.log_start, high_watermark: state.high_watermark.offset })
    }
}

/// What a look-up looks at.
struct Snapshot {
    segments: Arc<View>,
    log_start: i64,
    high_watermark: i64,
}

fn next_batch(scanner: &mut Scanner<'_>) -> Result<Option<(BatchHeader, u64)>, StorageError> {
    loop {
        match scanner.step()? {
            Step::Batch { header, position } => return Ok(Some((header, position))),
            Step::Damage { .. } => {}
            Step::End { .. } => return Ok(None),
        }
    }
}

/// The first record of a batch that `wanted` accepts by offset and timestamp.
fn find_record(
    segment: &Segment,
    header: &BatchHeader,
    position: u64,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<(i64, i64)>, ReadError> {
    let bytes = segment.file.read(position, header.size_bytes())?;
    let payload = bytes.get(BatchHeader::SIZE..).unwrap_or_default();
    if checksum(&bytes) != Some(header.crc) {
        return Ok(None);
    }
    match header.attributes.codec() {
        Some(Codec::None) => Ok(walk(SliceSource::new(payload), header, wanted)),
        Some(codec) => {
            let source = ReadSource::new(decompress::reader(codec, payload), decompress::UNPACKED_BYTES_MAX);
            Ok(walk(source, header, wanted))
        }
        None => Ok(None),
    }
}

fn walk<S: Source>(source: S, header: &BatchHeader, wanted: impl Fn(i64, i64) -> bool) -> Option<(i64, i64)> {
    let is_stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    RecordWalker::new(source, header.record_count).map_while(Result::ok).find_map(|record| {
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        let timestamp_ms = match is_stamped {
            true => header.max_timestamp_ms,
            false => header.base_timestamp_ms.saturating_add(record.timestamp_delta),
        };
        wanted(offset, timestamp_ms).then_some((offset, timestamp_ms))
    })
}

const ATTEMPTS_MAX: u32 = 3;
