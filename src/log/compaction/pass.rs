//! One pass over a log.

use std::{sync::Arc, time::Duration};

use super::{
    Cleaning, CompactError, CompactStats, Pace, Sealed, extent,
    filter::{Filter, Verdict, visit_keys},
    keys::KeyMap,
    output::Output,
    plan::{Plan, group},
    point::CleanerPoint,
    swap::cleaned_name,
};
use crate::{
    log::{
        config::LogConfig,
        files::CLEANER_POINT,
        partition::{PartitionLog, Status},
        scan::{Expected, Scanner, Step},
        segment::Segment,
    },
    model::batch::{BatchHeader, RecordError},
    storage::{StorageError, segment::OpenMode},
};

impl PartitionLog {
    /// Cleans the log as far as `dedupe_bytes` of memory for keys allow. None when there is nothing to do. Blocks, for as
    /// long as `pace` makes it.
    pub fn compact(&self, dedupe_bytes: u64, pace: &mut Pace) -> Result<Option<CompactStats>, CompactError> {
        let mut cleaning = self.cleaning.lock();
        let clock = &self.context.clock;
        let started = clock.monotonic();
        pace.start();
        let stats = CompactStats { bytes_before: self.size_bytes(), ..CompactStats::default() };
        let mut pass = Pass { log: self, config: self.config.load_full(), now_ms: clock.wall_ms(), pace, stats };
        let result = pass.run(&mut cleaning, dedupe_bytes);
        let elapsed = clock.monotonic().saturating_sub(started);
        let stats = CompactStats { bytes_after: self.size_bytes(), elapsed, ..pass.stats };
        match &result {
            Ok(_) | Err(CompactError::Stopped) => {}
            Err(CompactError::Damaged { .. }) => cleaning.is_uncleanable = true,
            Err(CompactError::Storage(_)) => cleaning.not_before = clock.monotonic() + RETRY_AFTER,
        }
        result.map(|is_cleaned| is_cleaned.then_some(stats))
    }

    /// An error when the log is closed, or not to be compacted any more.
    pub(super) fn check_wanted(&self) -> Result<(), CompactError> {
        if self.is_wanted() { Ok(()) } else { Err(CompactError::Stopped) }
    }

    fn is_wanted(&self) -> bool {
        self.config.load().compact && matches!(self.state.lock().status, Status::Open)
    }
}

/// A copy of some segments that is not in their place yet.
pub(super) struct Cleaned {
    pub(super) segment: Segment,
    /// Whether it differs from the segments that it was made of.
    is_changed: bool,
}

/// Segments that become one.
struct Group {
    segments: Vec<Arc<Segment>>,
    base_offset: i64,
    /// Where the segment behind them begins.
    upper: i64,
}

struct Pass<'a> {
    log: &'a PartitionLog,
    config: Arc<LogConfig>,
    now_ms: i64,
    pace: &'a mut Pace,
    stats: CompactStats,
}

impl Pass<'_> {
    /// Whether there was something to do.
    fn run(&mut self, cleaning: &mut Cleaning, dedupe_bytes: u64) -> Result<bool, CompactError> {
        let log = self.log;
        log.check_wanted()?;
        log.finish_replacing()?;
        let sealed = log.sealed();
        let Some(plan) = log.plan_pass(cleaning, &self.config, &sealed, self.now_ms)? else { return Ok(false) };
        log.checkpoint_behind(plan.bound)?;
        let keys = self.collect_keys(&sealed, &plan, dedupe_bytes)?;
        let end = keys.next_offset();
        if end <= plan.first_dirty {
            return Ok(false);
        }
        // What follows makes gaps, and a start in the middle of it must not take them for lost records.
        self.store_point(cleaning, CleanerPoint { first_dirty: plan.first_dirty, touched: plan.bound })?;
        for group in self.groups(&sealed, end)? {
            let filter = Filter {
                keys: &keys,
                now_ms: self.now_ms,
                delete_retention_ms: self.config.delete_retention_ms,
                producers: log.state.lock().producers.last_offsets(),
                bound: plan.bound,
            };
            let cleaned = self.clean(&group, &filter)?;
            self.stats.segments_before += group.segments.len();
            self.stats.segments_after += 1;
            if cleaned.is_changed {
                log.replace(&group.segments, cleaned)?;
            } else {
                log.store.delete(&log.partition, &cleaned_name(group.base_offset))?;
            }
        }
        self.store_point(cleaning, CleanerPoint { first_dirty: end, touched: plan.bound })?;
        self.stats.clean_until = end;
        Ok(true)
    }

    /// Reads the dirty part and notes every key in it, up to the offset at which the map is full (`buildOffsetMap`).
    fn collect_keys(&mut self, sealed: &Sealed, plan: &Plan, dedupe_bytes: u64) -> Result<KeyMap, CompactError> {
        let dirty_offsets = u64::try_from(plan.bound - plan.first_dirty).unwrap_or(0);
        let mut keys = KeyMap::new(dirty_offsets, dedupe_bytes);
        for (index, segment) in sealed.segments.iter().enumerate() {
            let upper = sealed.next_base(index);
            if upper <= plan.first_dirty || segment.base_offset >= plan.bound {
                continue;
            }
            let is_all = self.each_batch(segment, upper, |header, payload| {
                let has_keys = !header.attributes.is_control() && !header.attributes.is_transactional();
                if header.last_offset() < plan.first_dirty || !has_keys {
                    return Ok(true);
                }
                Ok(note_keys(&mut keys, header, payload, plan.first_dirty)?)
            })?;
            if !is_all {
                break;
            }
            keys.advance(upper);
        }
        Ok(keys)
    }

    /// The segments below `end`, in runs that become one segment each.
    fn groups(&self, sealed: &Sealed, end: i64) -> Result<Vec<Group>, CompactError> {
        let log = self.log;
        let mut extents = Vec::new();
        let below = sealed.segments.iter().take_while(|segment| segment.base_offset < end);
        for (index, segment) in below.enumerate() {
            let index_bytes = segment
                .loaded_index_bytes(&*log.store, &log.partition)
                .map_err(|error| unless_gone(log, segment, error))?;
            extents.extend(extent(sealed, index).map(|extent| super::plan::Extent { index_bytes, ..extent }));
        }
        let mut rest = sealed.segments.iter();
        let mut next = 0;
        let (segment_bytes, index_bytes) = (self.config.segment_bytes, self.config.segment_index_bytes);
        let groups = group(&extents, u64::from(segment_bytes), u64::from(index_bytes)).into_iter().map(|count| {
            let segments: Vec<_> = rest.by_ref().take(count).cloned().collect();
            next += count;
            let base_offset = segments.first().map_or(0, |first| first.base_offset);
            Group { segments, base_offset, upper: sealed.next_base(next - 1) }
        });
        Ok(groups.collect())
    }

    /// Copies the segments into one new file without what is out of date (`cleanSegments`).
    fn clean(&mut self, group: &Group, filter: &Filter<'_>) -> Result<Cleaned, CompactError> {
        let log = self.log;
        let name = cleaned_name(group.base_offset);
        log.store.delete(&log.partition, &name)?;
        let file = log.store.open(&log.partition, &name, OpenMode::Create)?;
        let mut out = Output::new(group.base_offset, file, self.config.index_interval_bytes);
        let copied = self.copy(group, filter, &mut out);
        self.stats.bytes_written += out.position();
        match copied.and_then(|is_changed| Ok(Cleaned { segment: out.finish()?, is_changed })) {
            Ok(cleaned) => Ok(cleaned),
            Err(error) => {
                let _ = log.store.delete(&log.partition, &name);
                Err(error)
            }
        }
    }

    /// Whether what was written is not simply what was read.
    fn copy(&mut self, group: &Group, filter: &Filter<'_>, out: &mut Output) -> Result<bool, CompactError> {
        let mut is_changed = group.segments.len() > 1;
        for (index, segment) in group.segments.iter().enumerate() {
            let upper = group.segments.get(index + 1).map_or(group.upper, |next| next.base_offset);
            self.each_batch(segment, upper, |header, payload| {
                let verdict = filter.judge(header, payload)?;
                is_changed |= verdict != Verdict::Keep;
                match &verdict {
                    Verdict::Keep => out.write(header, payload)?,
                    Verdict::Replace(header, payload) => out.write(header, payload)?,
                    Verdict::Drop => {}
                }
                Ok(true)
            })?;
        }
        Ok(is_changed)
    }

    /// Walks the batches of a sealed segment, every checksum compared; `visit` says whether to go on. Whether it did so to
    /// the end.
    fn each_batch(
        &mut self,
        segment: &Arc<Segment>,
        upper: i64,
        mut visit: impl FnMut(&BatchHeader, &[u8]) -> Result<bool, VisitError>,
    ) -> Result<bool, CompactError> {
        let log = self.log;
        let damaged =
            |position, reason: String| CompactError::Damaged { base_offset: segment.base_offset, position, reason };
        let expected = Expected { first: segment.base_offset, upper: Some(upper) };
        let mut scanner = Scanner::verifying(&*segment.file, 0..u64::MAX, expected);
        loop {
            let step = scanner.step().map_err(|error| unless_gone(log, segment, error))?;
            let (header, position) = match step {
                Step::Batch { header, position } => (header, position),
                Step::Damage { from, .. } => return Err(damaged(from, "its bytes are no batch".to_owned())),
                Step::End { position } if position < segment.file.size_bytes() => {
                    return Err(damaged(position, "its end is no batch".to_owned()));
                }
                Step::End { .. } => return Ok(true),
            };
            let size_bytes = header.size_bytes();
            let batch = scanner.bytes(position, size_bytes).map_err(|error| unless_gone(log, segment, error))?;
            match visit(&header, batch.get(BatchHeader::SIZE..).unwrap_or_default()) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(VisitError::Records(error)) => return Err(damaged(position, error.to_string())),
                Err(VisitError::Storage(error)) => return Err(error.into()),
            }
            self.stats.bytes_read += size_bytes as u64;
            self.pace.spend(size_bytes as u64, || log.is_wanted())?;
        }
    }

    fn store_point(&self, cleaning: &mut Cleaning, point: CleanerPoint) -> Result<(), CompactError> {
        let log = self.log;
        log.check_wanted()?;
        let touched = point.touched.max(cleaning.point.map_or(0, |before| before.touched));
        let point = CleanerPoint { touched, ..point };
        log.store.write_whole(&log.partition, CLEANER_POINT, point.encode().as_bytes(), true)?;
        cleaning.point = Some(point);
        Ok(())
    }
}

/// Notes the keys of a batch from `first_dirty` on; false when one found no room.
fn note_keys(keys: &mut KeyMap, header: &BatchHeader, payload: &[u8], first_dirty: i64) -> Result<bool, RecordError> {
    let hashing = keys.hashing().clone();
    let is_all = visit_keys(header, payload, &hashing, |record, key| {
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        key.filter(|_| offset >= first_dirty).is_none_or(|key| keys.put(key, offset))
    })?;
    if is_all {
        keys.advance(header.next_offset());
    }
    Ok(is_all)
}

/// Retention may delete a segment while it is read: then the pass is over, and nothing is wrong.
fn unless_gone(log: &PartitionLog, segment: &Arc<Segment>, error: StorageError) -> CompactError {
    if log.is_gone(segment) { CompactError::Stopped } else { error.into() }
}

/// Why a batch was not visited.
enum VisitError {
    Records(RecordError),
    Storage(StorageError),
}

impl From<RecordError> for VisitError {
    fn from(error: RecordError) -> Self {
        Self::Records(error)
    }
}

impl From<StorageError> for VisitError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// After an error of the storage.
const RETRY_AFTER: Duration = Duration::from_secs(60);
