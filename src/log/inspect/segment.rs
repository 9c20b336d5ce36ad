//! One segment: every batch's frame, checksum and offsets.

use super::{Inspection, in_words, indexes::Indexes, missing};
use crate::{
    log::{
        checkpoint::Checkpoint,
        files::log_name,
        scan::{Expected, Scanner, Step},
    },
    model::batch::BatchHeader,
    storage::{
        Finding, StorageError,
        segment::{OpenMode, SegmentFile},
    },
};

/// A walk through a segment, and what it has met.
struct Walk {
    name: String,
    base: i64,
    upper: Option<i64>,
    indexes: Indexes,
    /// The offset behind the last good batch; none before the first batch of the log.
    expected: Option<i64>,
    /// Bytes that are no batch, until the next good one tells which offsets they had.
    damaged: Option<(u64, u64)>,
    is_whole: bool,
}

impl Inspection<'_> {
    /// Checks the segment at `base`, which should begin with offset `expected`; answers the offset behind it.
    pub(super) fn segment(
        &mut self,
        base: i64,
        upper: Option<i64>,
        expected: Option<i64>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<i64, StorageError> {
        let name = log_name(base);
        let file = self.store.open(self.partition, &name, OpenMode::Existing)?;
        self.done.segments += 1;
        self.done.bytes += file.size_bytes();
        if let Some(from) = expected.filter(|expected| *expected < base && !self.is_compacted) {
            self.damage(&name, None, missing(&(from..=base - 1)), "reads go on with this segment");
        }
        // What the start reads again it makes new indexes for; before that, they are used as they are.
        let vouched = match checkpoint {
            Some(checkpoint) if checkpoint.point.segment == base => checkpoint.point.position,
            Some(checkpoint) if base < checkpoint.point.segment => file.size_bytes(),
            _ => 0,
        };
        let mark = checkpoint.filter(|checkpoint| checkpoint.point.segment == base).map(|checkpoint| &checkpoint.index);
        let indexes = if vouched > 0 { Indexes::open(self, base, mark)? } else { Indexes::none(base) };
        let expected = expected.map(|expected| expected.max(base));
        let mut walk = Walk { name, base, upper, indexes, expected, damaged: None, is_whole: true };
        let mut position = 0;
        if vouched > 0 {
            let end = self.walk(&mut walk, &*file, 0..vouched)?;
            if end < vouched {
                walk.damaged = Some((walk.damaged.map_or(end, |(from, _)| from), vouched));
            }
            if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.point.segment == base) {
                self.settle(&mut walk, checkpoint.point.offset);
            }
            position = vouched;
        }
        let end =
            if position < file.size_bytes() { self.walk(&mut walk, &*file, position..u64::MAX)? } else { position };
        self.end_of(&mut walk, &*file, end);
        let next = walk.expected.unwrap_or(base);
        walk.indexes.finish(self, upper.is_some() && walk.is_whole && mark.is_none())?;
        Ok(next)
    }

    /// Meets every batch in `range`; answers where the last one ends.
    fn walk(
        &mut self,
        walk: &mut Walk,
        file: &dyn SegmentFile,
        range: std::ops::Range<u64>,
    ) -> Result<u64, StorageError> {
        let first = walk.expected.unwrap_or(walk.base).max(walk.base);
        let mut scanner = Scanner::verifying(file, range, Expected { first, upper: walk.upper });
        loop {
            match scanner.step()? {
                Step::Batch { header, position } => self.batch(walk, &header, position)?,
                Step::Damage { from, to } => {
                    walk.damaged = Some((walk.damaged.map_or(from, |(from, _)| from), to));
                }
                Step::End { position } => return Ok(position),
            }
        }
    }

    fn batch(&mut self, walk: &mut Walk, header: &BatchHeader, position: u64) -> Result<(), StorageError> {
        self.done.batches += 1;
        if walk.damaged.is_some() {
            self.settle(walk, header.base_offset);
        } else if let Some(from) = walk.expected.filter(|from| *from < header.base_offset && !self.is_compacted) {
            let what = missing(&(from..=header.base_offset - 1));
            self.damage(&walk.name, Some(position), what, "reads go on with the next offset");
        }
        let epoch = self.epochs.as_ref().and_then(|epochs| epochs.at(header.base_offset));
        if let Some(epoch) = epoch.filter(|epoch| *epoch != header.partition_leader_epoch) {
            let offsets = in_words(&(header.base_offset..=header.last_offset()));
            let what = format!("{offsets} said to be of leader epoch {}, not {epoch}", header.partition_leader_epoch);
            self.damage(&walk.name, Some(position), what, IS_NOT_SERVED);
        }
        walk.expected = Some(header.next_offset());
        walk.indexes.batch(header, position)
    }

    /// Reports damage that ends before offset `next`.
    fn settle(&mut self, walk: &mut Walk, next: i64) {
        let Some((from, to)) = walk.damaged.take() else { return };
        walk.indexes.pass(to);
        walk.is_whole = false;
        let first = walk.expected.unwrap_or(walk.base);
        let what = match next > first {
            true => format!("{} damaged ({} bytes)", in_words(&(first..=next - 1)), to - from),
            false => format!("{} bytes are no batch, and no offset is missing", to - from),
        };
        self.damage(&walk.name, Some(from), what, IS_NOT_SERVED);
        walk.expected = Some(first.max(next));
    }

    /// What lies behind the last batch.
    fn end_of(&mut self, walk: &mut Walk, file: &dyn SegmentFile, end: u64) {
        let size_bytes = file.size_bytes();
        match walk.upper {
            _ if end >= size_bytes && walk.damaged.is_none() => {}
            Some(upper) => {
                walk.damaged = Some((walk.damaged.map_or(end, |(from, _)| from), size_bytes));
                self.settle(walk, upper);
            }
            None => {
                let next = walk.expected.unwrap_or(walk.base);
                self.settle(walk, next);
                if end >= size_bytes {
                    return;
                }
                let what = format!("{} bytes behind offset {} are no whole batch", size_bytes - end, next - 1);
                let finding = Finding::note(self.path(&walk.name), Some(end), what, "will be cut at start");
                (self.report)(finding);
            }
        }
    }
}

const IS_NOT_SERVED: &str = "a fetch there is answered with CORRUPT_MESSAGE; everything else is served";
