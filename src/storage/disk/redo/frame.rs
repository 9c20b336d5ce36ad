//! What one sync made durable.
//!
//! ```text
//! frame  length u32 · CRC-32C u32 · entries
//! entry  kind u8 (1: bytes) · path length u16 · path · position u64 · length u32 · bytes
//!        kind u8 (2: revoked) · path length u16 · path
//! ```
//!
//! Big-endian. `length` counts what follows the checksum, which covers both. The first bytes that are no frame end the
//! file: they were promised to nobody.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};

use crate::storage::StorageError;

/// Builds one frame after the other in one buffer.
#[derive(Default)]
pub(super) struct FrameBuilder {
    buffer: Vec<u8>,
}

impl FrameBuilder {
    pub(super) fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        self.buffer.put_bytes(0, HEAD_BYTES);
    }

    pub(super) fn push(&mut self, path: &str, position: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.put_path(BYTES, path)?;
        self.buffer.put_u64(position);
        self.buffer.put_u32(u32::try_from(bytes.len()).map_err(|_| too_long())?);
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn push_revocation(&mut self, path: &str) -> Result<(), StorageError> {
        self.put_path(REVOKED, path)
    }

    pub(super) fn finish(&mut self) -> Result<&[u8], StorageError> {
        let length = u32::try_from(self.buffer.len() - HEAD_BYTES).map_err(|_| too_long())?;
        let checksum = checksum(length, self.buffer.get(HEAD_BYTES..).unwrap_or_default());
        if let Some((head, _)) = self.buffer.split_at_mut_checked(HEAD_BYTES) {
            let mut head = head;
            head.put_u32(length);
            head.put_u32(checksum);
        }
        Ok(&self.buffer)
    }

    fn put_path(&mut self, kind: u8, path: &str) -> Result<(), StorageError> {
        self.buffer.put_u8(kind);
        self.buffer.put_u16(u16::try_from(path.len()).map_err(|_| too_long())?);
        self.buffer.extend_from_slice(path.as_bytes());
        Ok(())
    }
}

/// One thing that a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Bytes { path: &'a str, position: u64, bytes: &'a [u8] },
    Revoked { path: &'a str },
}

/// The entries of all whole frames in `contents`, in order.
pub(super) fn entries(mut contents: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    while let Some(mut body) = take_frame(&mut contents) {
        while let Some(entry) = take_entry(&mut body) {
            entries.push(entry);
        }
    }
    entries
}

/// Whether `path` is `place` or a file in it.
pub(super) fn is_within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn take_frame<'a>(contents: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = contents.try_get_u32().ok()?;
    let expected = contents.try_get_u32().ok()?;
    let (body, rest) = contents.split_at_checked(usize::try_from(length).ok()?)?;
    *contents = rest;
    (length > 0 && checksum(length, body) == expected).then_some(body)
}

fn take_entry<'a>(body: &mut &'a [u8]) -> Option<Entry<'a>> {
    let kind = body.try_get_u8().ok()?;
    let path_length = usize::from(body.try_get_u16().ok()?);
    let path = std::str::from_utf8(take(body, path_length)?).ok()?;
    match kind {
        BYTES => {
            let position = body.try_get_u64().ok()?;
            let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
            Some(Entry::Bytes { path, position, bytes: take(body, length)? })
        }
        REVOKED => Some(Entry::Revoked { path }),
        _ => None,
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn checksum(length: u32, body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&length.to_be_bytes());
    digest.update(body);
    digest.finalize() as u32
}

fn too_long() -> StorageError {
    StorageError::Unavailable("too much for one frame of the redo log".to_owned())
}

const HEAD_BYTES: usize = 8;
const BYTES: u8 = 1;
const REVOKED: u8 = 2;
/// The buffer is given back down to this after a larger frame.
const KEPT_BYTES: usize = 256 << 10;
