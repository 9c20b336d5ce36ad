//! Bringing a partition's files in order after a stop of any kind. Only what no checkpoint vouches for is read; a torn
//! tail is cut off, and never a byte before it.

use std::sync::Arc;

use super::{
    checkpoint::{Checkpoint, Point},
    compaction::{self, CLEANED},
    config::LogConfig,
    epochs::LeaderEpochs,
    files::{
        CHECKPOINT, LEADER_EPOCHS, PARTITION_METADATA, PROGRESS, offset_of, parse_partition_metadata, snapshot_name,
    },
    producers::Producers,
    progress,
    scan::{Expected, Scanner, Step},
    segment::{IndexMark, Segment},
};
use crate::{
    model::{TopicId, TopicPartition, batch::BatchHeader},
    storage::{
        StorageError,
        segment::{FileEntry, SegmentStore},
    },
};

/// What the files of a partition hold.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) log_start: i64,
    pub(super) end: Point,
    /// What lies before it survives a power cut.
    pub(super) checkpoint: Point,
    /// Where the scan began.
    pub(super) scanned_from: Point,
    pub(super) producers: Producers,
    pub(super) epochs: LeaderEpochs,
    pub(super) scanned_bytes: u64,
}

/// Removes a directory that belongs to an earlier topic of the same name: its records must never be served.
pub(super) fn discard_strangers(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    topic_id: TopicId,
) -> Result<(), StorageError> {
    let Some(metadata) = store.read_whole(partition, PARTITION_METADATA)? else { return Ok(()) };
    match parse_partition_metadata(&metadata) {
        Some(found) if found != topic_id => {
            tracing::warn!(%partition, %found, %topic_id, "deleting the records of an earlier topic of this name");
            store.delete_partition(partition)
        }
        _ => Ok(()),
    }
}

/// Opens the segments and finds the end of the log.
pub(super) fn recover(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    config: &LogConfig,
    log_start_floor: i64,
) -> Result<Recovered, StorageError> {
    let mut files = store.list(partition)?;
    if compaction::finish_swap(store, partition, &files)? {
        files = store.list(partition)?;
    }
    let bases: Vec<i64> = files.iter().filter_map(|file| offset_of(&file.name, "log")).collect();
    let segments =
        bases.iter().map(|base| Segment::sealed(store, partition, *base)).collect::<Result<Vec<_>, StorageError>>()?;
    let Some(first) = bases.first().copied() else { return Ok(Recovered::empty(log_start_floor)) };
    let Start { checkpoint, from: start } = starting_point(store, partition, &segments, &files)?;
    let stored_epochs = store.read_whole(partition, LEADER_EPOCHS)?.and_then(|text| LeaderEpochs::parse(&text));
    let are_epochs_known = stored_epochs.as_ref().is_some_and(|epochs| epochs.latest().is_some());
    let mut epochs = stored_epochs.unwrap_or_default();
    if !are_epochs_known && let Some(epoch) = first_epoch(&segments)? {
        epochs.assign(epoch, first);
    }
    let mut recovery = Recovery {
        store,
        partition,
        config,
        expected: start.point.offset,
        producers: start.producers,
        epochs,
        are_epochs_known,
        scanned_bytes: 0,
    };
    let mut end = start.point;
    for (index, segment) in segments.iter().enumerate() {
        if segment.base_offset < start.point.segment {
            continue;
        }
        let from = if segment.base_offset == start.point.segment { start.point.position } else { 0 };
        if from == 0 {
            segment.reset(store, partition)?;
        }
        end = recovery.scan(segment, from, bases.get(index + 1).copied())?;
    }
    if end.offset < log_start_floor {
        // Deleted records were acknowledged as such: their offsets are never given out again.
        tracing::warn!(%partition, log_end = end.offset, log_start = log_start_floor, "the log ends before its start");
        for segment in &segments {
            segment.delete(store, partition)?;
        }
        return Ok(Recovered::empty(log_start_floor));
    }
    delete_stale(store, partition, &files, &bases)?;
    recovery.epochs.truncate_end(end.offset);
    Ok(Recovered {
        segments,
        log_start: log_start_floor.max(first),
        end,
        checkpoint,
        scanned_from: start.point,
        producers: recovery.producers,
        epochs: recovery.epochs,
        scanned_bytes: recovery.scanned_bytes,
    })
}

impl Recovered {
    fn empty(log_start_floor: i64) -> Self {
        let start = log_start_floor.max(0);
        let end = Point { offset: start, segment: start, position: 0 };
        Self {
            segments: Vec::new(),
            log_start: start,
            end,
            checkpoint: end,
            scanned_from: end,
            producers: Producers::default(),
            epochs: LeaderEpochs::default(),
            scanned_bytes: 0,
        }
    }
}

/// The epoch of the first batch, for a directory whose epochs file is missing.
fn first_epoch(segments: &[Arc<Segment>]) -> Result<Option<i32>, StorageError> {
    for segment in segments {
        if let Ok(header) = BatchHeader::parse(&segment.file.read(0, BatchHeader::SIZE)?) {
            return Ok(Some(header.partition_leader_epoch));
        }
    }
    Ok(None)
}

/// Where a recovery begins.
struct Start {
    checkpoint: Point,
    from: Checkpoint,
}

/// The note of progress when it is of this boot, else the checkpoint, when they fit the files; else the first segment.
fn starting_point(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    segments: &[Arc<Segment>],
    files: &[FileEntry],
) -> Result<Start, StorageError> {
    let has = |name| files.iter().any(|file| file.name == name);
    let stored = match has(CHECKPOINT) {
        true => store.read_whole(partition, CHECKPOINT)?.and_then(|contents| Checkpoint::parse(&contents)),
        false => None,
    };
    let base = segments.first().map_or(0, |segment| segment.base_offset);
    let first = Point { offset: base, segment: base, position: 0 };
    let segment_of = |point: Point| {
        let segment = segments.iter().find(|segment| segment.base_offset == point.segment);
        segment.filter(|segment| segment.file.size_bytes() >= point.position)
    };
    let checkpoint = stored.as_ref().map(|stored| stored.point).filter(|point| segment_of(*point).is_some());
    let checkpoint = checkpoint.unwrap_or(first);
    let noted = if has(PROGRESS) { progress::read(store, partition)? } else { None };
    // An older one may speak of segments that were compacted since.
    let noted = noted.filter(|noted| stored.as_ref().is_none_or(|stored| noted.point.offset > stored.point.offset));
    for candidate in noted.into_iter().chain(stored) {
        let point = candidate.point;
        let Some(segment) = segment_of(point) else {
            tracing::error!(
                %partition, segment = point.segment, checkpoint_offset = point.offset,
                "records are missing at the end: they were written, and are not there"
            );
            continue;
        };
        if point.position == 0 || segment.resume(store, partition, &candidate.index)? {
            return Ok(Start { checkpoint, from: candidate });
        }
        tracing::warn!(%partition, segment = point.segment, "an index is damaged, reading more of the records again");
    }
    // Without a checkpoint every segment is looked at; producers that wrote before the first are in its snapshot.
    let producers = match store.read_whole(partition, &snapshot_name(base))? {
        Some(contents) => Producers::parse_snapshot(&contents).unwrap_or_default(),
        None => Producers::default(),
    };
    Ok(Start { checkpoint, from: Checkpoint { point: first, index: IndexMark::EMPTY, producers } })
}

struct Recovery<'a> {
    store: &'a dyn SegmentStore,
    partition: &'a TopicPartition,
    config: &'a LogConfig,
    expected: i64,
    producers: Producers,
    epochs: LeaderEpochs,
    /// The epochs were stored: what the headers say, which no checksum covers, is not needed.
    are_epochs_known: bool,
    scanned_bytes: u64,
}

impl Recovery<'_> {
    /// Reads a segment from `from` on and answers where it ends. The tail of the last one is cut when it is torn.
    fn scan(&mut self, segment: &Segment, from: u64, upper: Option<i64>) -> Result<Point, StorageError> {
        let partition = self.partition;
        let is_last = upper.is_none();
        let size_bytes = segment.file.size_bytes();
        self.expected = self.expected.max(segment.base_offset);
        let expected = Expected { first: self.expected, upper };
        let mut scanner = Scanner::verifying(&*segment.file, from..u64::MAX, expected);
        let position = loop {
            match scanner.step()? {
                Step::Batch { header, position } => {
                    segment.note(&header, position, self.config.index_interval_bytes);
                    self.producers.note(&header);
                    if !self.are_epochs_known {
                        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
                    }
                    self.expected = header.next_offset();
                }
                Step::Damage { from, to } => {
                    segment.note_damage();
                    tracing::error!(
                        %partition, segment = segment.base_offset, from, to,
                        "damaged bytes in a segment are kept and not served"
                    );
                }
                Step::End { position } => break position,
            }
        };
        self.scanned_bytes += position - from;
        if position < size_bytes && is_last {
            tracing::warn!(
                %partition, offset = self.expected, position, cut_bytes = size_bytes - position,
                "cutting a torn tail"
            );
            segment.file.truncate(position)?;
        } else if position < size_bytes {
            tracing::error!(
                %partition, segment = segment.base_offset, from = position, to = size_bytes,
                "a segment that is not the last one ends in damaged bytes"
            );
        }
        if !is_last {
            segment.finish_indexes(self.store, partition)?;
        }
        Ok(Point { offset: self.expected, segment: segment.base_offset, position })
    }
}

/// Snapshots that no segment begins with, whose state the checkpoint or the records hold, and what a crash left of a
/// replaced file or a cleaned segment.
fn delete_stale(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    files: &[FileEntry],
    bases: &[i64],
) -> Result<(), StorageError> {
    for file in files {
        let is_stray = offset_of(&file.name, "snapshot").is_some_and(|offset| !bases.contains(&offset));
        if is_stray || file.name.ends_with(".tmp") || file.name.ends_with(CLEANED) {
            store.delete(partition, &file.name)?;
        }
    }
    Ok(())
}
