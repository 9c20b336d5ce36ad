//! The file that a pass writes.

use std::{io::IoSlice, sync::Arc};

use crate::{
    log::segment::Segment,
    model::batch::BatchHeader,
    storage::{StorageError, segment::SegmentFile},
};

/// A segment that grows in large pieces, its indexes with it.
pub(super) struct Output {
    segment: Segment,
    index_interval_bytes: u32,
    position: u64,
    buffer: Vec<u8>,
    unsynced_bytes: usize,
}

impl Output {
    pub(super) fn new(base_offset: i64, file: Arc<dyn SegmentFile>, index_interval_bytes: u32) -> Self {
        let segment = Segment::unplaced(base_offset, file);
        Self { segment, index_interval_bytes, position: 0, buffer: Vec::new(), unsynced_bytes: 0 }
    }

    /// Bytes written.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn write(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), StorageError> {
        self.segment.note(header, self.position, self.index_interval_bytes);
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(payload);
        self.position += header.size_bytes() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// The segment, complete and durable, without its name yet.
    pub(super) fn finish(mut self) -> Result<Segment, StorageError> {
        self.flush()?;
        self.segment.file.seal();
        self.segment.file.sync()?;
        Ok(self.segment)
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.segment.file.append(&[IoSlice::new(&self.buffer)])?;
        self.unsynced_bytes += self.buffer.len();
        self.buffer.clear();
        // One sync of a whole segment would hold up everybody else's.
        if self.unsynced_bytes >= SYNC_BYTES {
            self.segment.file.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }
}

const WRITE_BYTES: usize = 256 << 10;
const SYNC_BYTES: usize = 8 << 20;
