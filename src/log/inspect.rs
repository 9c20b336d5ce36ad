//! Offline check of a partition's files: reads every byte, changes nothing, and says what a start would do.

mod indexes;
mod segment;

use std::{borrow::Cow, ops::RangeInclusive};

use super::{
    checkpoint::Checkpoint,
    compaction::{CLEANED, MANIFEST},
    epochs::LeaderEpochs,
    files::{
        CHECKPOINT, CLEANER_POINT, LEADER_EPOCHS, PARTITION_METADATA, PROGRESS, index_name, log_name, offset_of,
        parse_partition_metadata, snapshot_name, time_index_name,
    },
    producers::Producers,
};
use crate::{
    model::{TopicId, TopicPartition},
    storage::{
        Finding, StorageError,
        segment::{FileEntry, SegmentStore},
    },
};

/// What the catalogue knows of a partition.
#[derive(Clone, Copy, Debug)]
pub struct InspectedTopic {
    pub topic_id: TopicId,
    pub log_start_offset: i64,
    /// Compaction leaves gaps between offsets.
    pub is_compacted: bool,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub segments: u64,
    pub batches: u64,
    pub bytes: u64,
}

/// Checks what `store` has of `partition`; `topic` is none when the catalogue cannot be read. An error means that a
/// file could not be read; everything else is a finding.
pub fn inspect(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    topic: Option<&InspectedTopic>,
    report: &mut dyn FnMut(Finding),
) -> Result<Inspected, StorageError> {
    let files = store.list(partition)?;
    let has_mark = files.iter().any(|file| file.name == CLEANER_POINT);
    let is_compacted = has_mark || topic.is_none_or(|topic| topic.is_compacted);
    let done = Inspected::default();
    let was_flushed = files.iter().any(|file| file.name == CHECKPOINT);
    let mut inspection = Inspection { store, partition, report, is_compacted, was_flushed, epochs: None, done };
    if inspection.belongs_to_another(topic)? {
        return Ok(inspection.done);
    }
    let bases: Vec<i64> = files.iter().filter_map(|file| offset_of(&file.name, "log")).collect();
    inspection.look_at_names(&files, &bases)?;
    if files.iter().any(|file| file.name == MANIFEST) {
        // Its segments are there in part twice, in part no more.
        return Ok(inspection.done);
    }
    let checkpoint = inspection.checkpoint(&files, &bases)?;
    let mut expected = None;
    for (index, base) in bases.iter().enumerate() {
        let upper = bases.get(index + 1).copied();
        expected = Some(inspection.segment(*base, upper, expected, checkpoint.as_ref())?);
    }
    if let (Some(end), Some(checkpoint)) = (expected, &checkpoint)
        && end < checkpoint.point.offset
    {
        let lost = end..=checkpoint.point.offset - 1;
        inspection.damage(
            CHECKPOINT,
            None,
            missing(&lost),
            "the log ends before them, and gives their offsets out again",
        );
    }
    if let (Some(end), Some(topic)) = (expected, topic)
        && end < topic.log_start_offset
    {
        let what = format!("the log ends at offset {end}, before its start {}", topic.log_start_offset);
        inspection.damage(&log_name(bases.last().copied().unwrap_or_default()), None, what, "the records are removed");
    }
    Ok(inspection.done)
}

struct Inspection<'a> {
    store: &'a dyn SegmentStore,
    partition: &'a TopicPartition,
    report: &'a mut dyn FnMut(Finding),
    is_compacted: bool,
    /// The small files beside the records were durable once.
    was_flushed: bool,
    /// What the batches' headers must say, outside of their checksums.
    epochs: Option<LeaderEpochs>,
    done: Inspected,
}

impl Inspection<'_> {
    /// Whether a start would remove the directory.
    fn belongs_to_another(&mut self, topic: Option<&InspectedTopic>) -> Result<bool, StorageError> {
        let Some(metadata) = self.store.read_whole(self.partition, PARTITION_METADATA)? else {
            self.note(PARTITION_METADATA, "is missing", "written again with the next records");
            return Ok(false);
        };
        match (parse_partition_metadata(&metadata), topic) {
            (None, _) => self.unreadable(PARTITION_METADATA, "ignored, and written again"),
            (Some(found), Some(topic)) if found != topic.topic_id => {
                let what = format!("these are records of topic id {found}, and the topic has id {}", topic.topic_id);
                self.note(PARTITION_METADATA, what, "the directory is removed at the start");
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn look_at_names(&mut self, files: &[FileEntry], bases: &[i64]) -> Result<(), StorageError> {
        for file in files {
            let name = file.name.as_str();
            let base = ["log", "index", "timeindex"].iter().find_map(|suffix| offset_of(name, suffix));
            match base {
                Some(base) if bases.contains(&base) => {}
                Some(_) => self.note(name, "is the index of no segment", "passed over"),
                None if offset_of(name, "snapshot").is_some() => self.producer_snapshot(name, bases)?,
                None if name == LEADER_EPOCHS => self.epochs()?,
                None if [CHECKPOINT, CLEANER_POINT, PARTITION_METADATA, PROGRESS].contains(&name) => {}
                None if name == MANIFEST => self.note(name, "an exchange of segments", "finished at the start"),
                None if name.ends_with(".tmp") || name.ends_with(CLEANED) => {
                    self.note(name, "is not complete", "removed at the start")
                }
                None => self.note(name, "belongs to nothing", "passed over"),
            }
        }
        Ok(())
    }

    fn producer_snapshot(&mut self, name: &str, bases: &[i64]) -> Result<(), StorageError> {
        let is_used = bases.iter().any(|base| snapshot_name(*base) == name);
        let contents = self.store.read_whole(self.partition, name)?.unwrap_or_default();
        match Producers::parse_snapshot(&contents) {
            Some(_) => {}
            None if is_used => self.damage(name, None, "cannot be read", "ignored: older producers count as new"),
            None => self.note(name, "cannot be read, and is not needed", "removed at the start"),
        }
        Ok(())
    }

    fn epochs(&mut self) -> Result<(), StorageError> {
        let contents = self.store.read_whole(self.partition, LEADER_EPOCHS)?.unwrap_or_default();
        match LeaderEpochs::parse(&contents) {
            Some(epochs) => self.epochs = Some(epochs).filter(|epochs| epochs.latest().is_some()),
            None => self.unreadable(LEADER_EPOCHS, "made again from the records"),
        }
        Ok(())
    }

    /// The checkpoint, when a start would use it.
    fn checkpoint(&mut self, files: &[FileEntry], bases: &[i64]) -> Result<Option<Checkpoint>, StorageError> {
        let Some(contents) = self.store.read_whole(self.partition, CHECKPOINT)? else { return Ok(None) };
        let Some(checkpoint) = Checkpoint::parse(&contents) else {
            self.damage(CHECKPOINT, None, "cannot be read", "ignored: the start reads all records");
            return Ok(None);
        };
        let point = checkpoint.point;
        let size_of = |name: &str| files.iter().find(|file| file.name == name).map_or(0, |file| file.size_bytes);
        if !bases.contains(&point.segment) || size_of(&log_name(point.segment)) < point.position {
            let what = format!("records up to offset {} were durable, and their file is not", point.offset - 1);
            self.damage(CHECKPOINT, None, what, "the start reads all records that are there");
            return Ok(None);
        }
        let mark = &checkpoint.index;
        let indexes = [
            (index_name(point.segment), mark.offset_entries, 8),
            (time_index_name(point.segment), mark.time_entries, 12),
        ];
        for (name, entries, entry_bytes) in indexes {
            if point.position > 0 && size_of(&name) < entries.saturating_mul(entry_bytes) {
                let what = format!("has fewer than its {entries} entries");
                self.damage(&name, None, what, "made again at the start, which reads all records");
                return Ok(None);
            }
        }
        Ok(Some(checkpoint))
    }

    /// A small file that a power cut spoils only before the first flush.
    fn unreadable(&mut self, name: &str, outcome: &'static str) {
        match self.was_flushed {
            true => self.damage(name, None, "cannot be read", outcome),
            false => self.note(name, "cannot be read", outcome),
        }
    }

    fn note(&mut self, name: &str, what: impl Into<Cow<'static, str>>, outcome: &'static str) {
        let finding = Finding::note(self.path(name), None, what, outcome);
        (self.report)(finding);
    }

    fn damage(&mut self, name: &str, at: Option<u64>, what: impl Into<Cow<'static, str>>, outcome: &'static str) {
        let finding = Finding::damage(self.path(name), at, what, outcome);
        (self.report)(finding);
    }

    fn path(&self, name: &str) -> String {
        let TopicPartition { topic, partition } = self.partition;
        format!("topics/{topic}-{partition}/{name}")
    }
}

fn missing(offsets: &RangeInclusive<i64>) -> String {
    format!("{} missing", in_words(offsets))
}

/// "offset 5 is" or "offsets 5 to 9 are".
fn in_words(offsets: &RangeInclusive<i64>) -> String {
    match offsets.end().saturating_sub(*offsets.start()) {
        0 => format!("offset {} is", offsets.start()),
        _ => format!("offsets {} to {} are", offsets.start(), offsets.end()),
    }
}
