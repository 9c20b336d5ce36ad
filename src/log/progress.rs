//! A second, cheap checkpoint: what a restart of the process need not look at again, as long as the machine stays up.
//!
//! What a killed process had written is in the page cache, synced or not. So the state at some point is noted together with
//! the boot of the machine, without any sync; after a power cut the boot is another one, and the note counts for nothing.

use bytes::{Buf, BufMut};

use super::{
    checkpoint::{Checkpoint, Point},
    files::PROGRESS,
    partition::{PartitionLog, State, Status},
};
use crate::{
    model::TopicPartition,
    storage::{StorageError, segment::SegmentStore},
};

impl PartitionLog {
    /// Notes how far the log has come when it is further by `bytes_min` than the last note says; blocks for the disk.
    pub fn note_progress(&self, bytes_min: u64) -> Result<(), StorageError> {
        let Some(boot_id) = self.store.boot_id() else { return Ok(()) };
        // Whoever repairs or deletes the log waits: the note must not appear again behind that. Appends do not wait.
        let _noting = self.noting.lock();
        let mut state = self.state.lock();
        let is_due = matches!(state.status, Status::Open) && unnoted_bytes(&state) >= bytes_min.max(1);
        let Some(active) = state.segments.last().filter(|_| is_due) else { return Ok(()) };
        let index = active.flush_indexes(&*self.store, &self.partition)?;
        let point = state.end;
        let checkpoint = Checkpoint { point, index, producers: state.producers.clone() };
        // Also when the note fails: it only spares a start some work, and the next one comes.
        state.noted = point;
        drop(state);
        self.store.write_whole(&self.partition, PROGRESS, &encode(boot_id, &checkpoint), false)
    }
}

/// Bytes of records that a restart of the process would look at.
pub(super) fn unnoted_bytes(state: &State) -> u64 {
    let latest = if state.noted.offset > state.last_checkpoint.offset { state.noted } else { state.last_checkpoint };
    latest.bytes_to(state.end)
}

/// What was noted last, if the machine has been up since.
pub(super) fn read(store: &dyn SegmentStore, partition: &TopicPartition) -> Result<Option<Checkpoint>, StorageError> {
    let Some(contents) = store.read_whole(partition, PROGRESS)? else { return Ok(None) };
    Ok(store.boot_id().and_then(|boot_id| parse(boot_id, &contents)))
}

fn encode(boot_id: &str, checkpoint: &Checkpoint) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u16(u16::try_from(boot_id.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(boot_id.as_bytes());
    out.extend_from_slice(&checkpoint.encode());
    out
}

fn parse(boot_id: &str, mut contents: &[u8]) -> Option<Checkpoint> {
    let length = usize::from(contents.try_get_u16().ok()?);
    let (noted, checkpoint) = contents.split_at_checked(length)?;
    if noted != boot_id.as_bytes() {
        return None;
    }
    Checkpoint::parse(checkpoint)
}

impl Point {
    /// Bytes of the segment of `end` that lie between.
    pub(super) fn bytes_to(self, end: Self) -> u64 {
        match self.segment == end.segment {
            true => end.position.saturating_sub(self.position),
            false => end.position,
        }
    }
}

/// With `os` durability a note follows whenever so much was written: a start reads some 2 GiB a second.
pub(super) const PROGRESS_BYTES: u64 = 16 << 20;
