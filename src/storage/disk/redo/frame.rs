//! What one sync made durable, and the files that hold it.
//!
//! ```text
//! file    header · the same header again · frames · zeros
//! header  magic "TIDEREDO" · version u16 · salt u32 · first sequence u64 · revocations u64 · CRC-32C u32
//! frame   length u32 · CRC-32C u32 · sequence u64 · revocations u64 · entries
//! entry   kind u8 (1: bytes) · path length u16 · path · position u64 · length u32 · bytes
//!         kind u8 (2: revoked) · path length u16 · path
//! ```
//!
//! Big-endian. `length` counts what follows the checksum. The checksum of a frame covers length and rest and begins with the
//! file's random salt, so that neither bytes of a client inside a record nor blocks of an older file can pass for a frame.
//!
//! A frame is begun when the one before it is durable, and sequences run on from file to file. So bytes that are no frame end
//! the last file, and were promised to nobody; but with a frame behind them, or another file, they are damage to what was
//! promised. `revocations` counts those that were noted before: it tells whether one is among what is damaged.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};

use crate::storage::StorageError;

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u32,
    /// Of the first frame.
    pub(super) sequence: u64,
    pub(super) revocations: u64,
}

impl Header {
    /// Both copies.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAMES_AT);
        bytes.put_slice(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u32(self.salt);
        bytes.put_u64(self.sequence);
        bytes.put_u64(self.revocations);
        let checksum = crc_fast::crc32_iscsi(&bytes);
        bytes.put_u32(checksum);
        bytes.extend_from_within(..);
        bytes
    }

    /// From whichever copy is whole; none when neither is. A file of a newer release is an error.
    pub(super) fn read(contents: &[u8]) -> Result<Option<Self>, &'static str> {
        contents.chunks_exact(HEADER_BYTES).take(2).find_map(|copy| Self::parse(copy).transpose()).transpose()
    }

    fn parse(copy: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some((covered, mut checksum)) = copy.split_at_checked(HEADER_BYTES - 4) else { return Ok(None) };
        let Some(mut rest) = covered.strip_prefix(MAGIC) else { return Ok(None) };
        if checksum.try_get_u32() != Ok(crc_fast::crc32_iscsi(covered)) {
            return Ok(None);
        }
        if rest.get_u16() != VERSION {
            return Err("the file has a format version that this program does not know");
        }
        Ok(Some(Self { salt: rest.get_u32(), sequence: rest.get_u64(), revocations: rest.get_u64() }))
    }
}

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

    /// The frame with its place in the order; may be sealed anew for another.
    pub(super) fn seal(&mut self, salt: u32, sequence: u64, revocations: u64) -> Result<&[u8], StorageError> {
        let length = u32::try_from(self.buffer.len() - CHECKED_AT).map_err(|_| too_long())?;
        if let Some(mut head) = self.buffer.get_mut(CHECKED_AT..HEAD_BYTES) {
            head.put_u64(sequence);
            head.put_u64(revocations);
        }
        let checksum = checksum(salt, length, self.buffer.get(CHECKED_AT..).unwrap_or_default());
        if let Some(mut head) = self.buffer.get_mut(..CHECKED_AT) {
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

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    pub(super) revocations: u64,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut body = self.body;
        std::iter::from_fn(move || take_entry(&mut body))
    }

    /// The frame that `bytes` begin with, and how long it is.
    fn parse(bytes: &'a [u8], salt: u32) -> Option<(Self, usize)> {
        let mut rest = bytes;
        let length = rest.try_get_u32().ok()?;
        let expected = rest.try_get_u32().ok()?;
        let mut checked = rest.get(..usize::try_from(length).ok()?)?;
        if checksum(salt, length, checked) != expected {
            return None;
        }
        let size_bytes = CHECKED_AT + checked.len();
        let sequence = checked.try_get_u64().ok()?;
        let revocations = checked.try_get_u64().ok()?;
        Some((Self { sequence, revocations, body: checked }, size_bytes))
    }
}

/// The frames of a file in their order.
pub(super) struct Frames<'a> {
    contents: &'a [u8],
    /// Only zeros are behind it.
    written: usize,
    salt: u32,
    at: usize,
    next_sequence: u64,
}

/// What comes next in a file.
pub(super) enum Step<'a> {
    Frame(Frame<'a>),
    /// So many frames were between the two positions, and are none any more.
    Lost {
        from: usize,
        to: usize,
        frames: u64,
    },
    /// No frame is behind `at`, and the next would have the sequence. What `is_torn` has bytes there all the same.
    End {
        at: usize,
        sequence: u64,
        is_torn: bool,
    },
}

impl<'a> Frames<'a> {
    pub(super) fn new(contents: &'a [u8], header: &Header) -> Self {
        let written = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { contents, written, salt: header.salt, at: FRAMES_AT, next_sequence: header.sequence }
    }

    pub(super) fn step(&mut self) -> Step<'a> {
        if let Some((frame, size_bytes)) = self.parse(self.at).filter(|(frame, _)| frame.sequence == self.next_sequence)
        {
            self.at += size_bytes;
            self.next_sequence += 1;
            return Step::Frame(frame);
        }
        match self.find_behind() {
            Some((to, sequence)) => {
                let lost = Step::Lost { from: self.at, to, frames: sequence - self.next_sequence };
                self.at = to;
                self.next_sequence = sequence;
                lost
            }
            None => {
                let is_torn = self.written > self.at;
                Step::End { at: self.at, sequence: self.next_sequence, is_torn }
            }
        }
    }

    /// Where a later frame begins, and its sequence. The checksum is only computed where the sequence could be one.
    fn find_behind(&self) -> Option<(usize, u64)> {
        let end = self.contents.len().min(self.written + HEAD_BYTES);
        self.contents.get(self.at..end)?.windows(HEAD_BYTES).enumerate().skip(1).find_map(|(skipped, head)| {
            let claimed = head.get(CHECKED_AT..)?.try_get_u64().ok()?;
            let frames_between = claimed.checked_sub(self.next_sequence)?;
            // A frame has a head at least.
            if frames_between == 0 || frames_between > (skipped / HEAD_BYTES) as u64 {
                return None;
            }
            let at = self.at + skipped;
            self.parse(at).map(|(frame, _)| (at, frame.sequence))
        })
    }

    fn parse(&self, at: usize) -> Option<(Frame<'a>, usize)> {
        Frame::parse(self.contents.get(at..)?, self.salt)
    }
}

/// Whether `path` is `place` or a file in it.
pub(super) fn is_within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

fn checksum(salt: u32, length: u32, checked: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_be_bytes());
    digest.update(&length.to_be_bytes());
    digest.update(checked);
    digest.finalize() as u32
}

fn too_long() -> StorageError {
    StorageError::Unavailable("too much for one frame of the redo log".to_owned())
}

const MAGIC: &[u8] = b"TIDEREDO";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 8 + 2 + 4 + 8 + 8 + 4;
/// Where the first frame begins.
pub(super) const FRAMES_AT: usize = 2 * HEADER_BYTES;
/// Where in a frame that begins which the checksum covers.
const CHECKED_AT: usize = 8;
const HEAD_BYTES: usize = CHECKED_AT + 8 + 8;
const BYTES: u8 = 1;
const REVOKED: u8 = 2;
/// The buffer is given back down to this after a larger frame.
const KEPT_BYTES: usize = 256 << 10;
