//! Reads a journal file frame by frame, in bounded memory whatever its bytes are.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    frame::{Claim, FRAME_BYTES_MIN, Frame, FrameHead, HEAD_BYTES},
    header::{FileKind, HEADER_BYTES, Header, parse_name},
};
use crate::storage::{StorageError, disk::files::io_error};

/// A file under reading, from behind its header to `end`.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    pub(super) salt: u32,
    /// Of a log its first append, of a snapshot its last.
    pub(super) sequence: u64,
    file: File,
    window: Window,
    /// Where the next frame begins, in bytes from the start of the file.
    offset: u64,
    end: u64,
}

/// What stands at a place of a file.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Frame(Frame<'a>),
    /// No frame begins at [`Reader::offset`]; nothing more can be read in order.
    Broken(&'static str),
    End,
}

impl Reader {
    /// Opens a file and checks its header against the name; `end` limits how far is read.
    pub(super) fn open(path: &Path, end: Option<u64>) -> Result<Self, StorageError> {
        let unreadable = |error: io::Error| io_error("read", path, &error);
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut bytes = [0; HEADER_BYTES];
        let header = match file.read_exact(&mut bytes) {
            Ok(()) => Header::parse(&bytes).map_err(|what| corrupt(path, 0, what))?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(corrupt(path, 0, "the file's header is cut off"));
            }
            Err(error) => return Err(unreadable(error)),
        };
        let sequence = match (parse_name(path), header) {
            (Some((FileKind::Log, sequence)), Header { kind: FileKind::Log, .. }) => sequence,
            (Some(name), Header { kind: FileKind::Snapshot, sequence, .. }) if name == (header.kind, sequence) => {
                sequence
            }
            _ => return Err(corrupt(path, 0, "the file's header and its name do not agree")),
        };
        Ok(Self {
            path: path.to_owned(),
            salt: header.salt,
            sequence,
            file,
            window: Window::default(),
            offset: HEADER_BYTES as u64,
            end: end.map_or(length, |end| end.min(length)),
        })
    }

    /// Where the next frame begins; where nothing can be read after [`Item::Broken`].
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame. Once broken, always broken.
    pub(super) fn next(&mut self) -> Result<Item<'_>, StorageError> {
        let room_bytes = self.end.saturating_sub(self.offset);
        if room_bytes == 0 {
            return Ok(Item::End);
        }
        if room_bytes < FRAME_BYTES_MIN as u64 {
            return Ok(Item::Broken("the frame is cut off"));
        }
        let Self { path, file, window, offset, end, salt, .. } = self;
        let unreadable = |error: io::Error| io_error("read", path, &error);
        window.fill(file, HEAD_BYTES).map_err(unreadable)?;
        let head = window.ahead(HEAD_BYTES).first_chunk().and_then(|head| FrameHead::parse(*head, room_bytes));
        let Some(head) = head else {
            *end = *offset + 1;
            return Ok(Item::Broken("the length of a frame is impossible"));
        };
        let frame_bytes = HEAD_BYTES + head.length as usize;
        window.fill(file, frame_bytes).map_err(unreadable)?;
        match Frame::parse(head, window.take(frame_bytes).get(HEAD_BYTES..).unwrap_or_default(), *salt) {
            Ok(frame) => {
                *offset += frame_bytes as u64;
                Ok(Item::Frame(frame))
            }
            Err(what) => {
                *end = *offset + 1;
                Ok(Item::Broken(what))
            }
        }
    }

    /// The error for what is wrong at [`offset`](Self::offset).
    pub(super) fn corrupt(&self, what: &str) -> StorageError {
        corrupt(&self.path, self.offset, what)
    }
}

/// The part of a file that was read and not taken yet. Frames lie in it and are not copied out.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Window {
    /// Reads on until `count` bytes are there.
    fn fill(&mut self, file: &mut File, count: usize) -> io::Result<()> {
        if self.end - self.begin >= count {
            return Ok(());
        }
        self.bytes.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.bytes.len() < count.max(READ_BUFFER_BYTES) {
            self.bytes.resize(count.max(READ_BUFFER_BYTES), 0);
        }
        while self.end < count {
            match file.read(self.bytes.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next bytes, of those that are there.
    fn ahead(&self, count: usize) -> &[u8] {
        self.bytes.get(self.begin..self.begin + count).unwrap_or_default()
    }

    /// The same, and goes on behind them.
    fn take(&mut self, count: usize) -> &[u8] {
        let begin = self.begin;
        self.begin += count;
        self.bytes.get(begin..self.begin).unwrap_or_default()
    }
}

/// What lies behind a place where no frame begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where a frame begins that could only be written after `sequence` was durable.
    pub(super) proof_at: Option<u64>,
    /// Bytes up to and with the last one that is not zero.
    pub(super) written_bytes: u64,
}

/// Looks through the bytes from `offset` to the end of the file for a frame that vouches for `sequence`. The cost is
/// that of reading, because the checksum is only computed where length, version and sequence could be those of such a
/// frame.
pub(super) fn examine_tail(path: &Path, salt: u32, offset: u64, sequence: u64) -> Result<Tail, StorageError> {
    let unreadable = |error: io::Error| io_error("read", path, &error);
    let file = File::open(path).map_err(unreadable)?;
    let end = file.metadata().map_err(unreadable)?.len();
    let mut tail = Tail::default();
    let mut window = Vec::new();
    let mut window_at = offset;
    while window_at < end {
        // Windows overlap by what a frame needs to be recognised.
        let window_bytes = (end - window_at).min((TAIL_WINDOW_BYTES + FRAME_BYTES_MIN) as u64);
        window.resize(usize::try_from(window_bytes).unwrap_or(TAIL_WINDOW_BYTES), 0);
        file.read_exact_at(&mut window, window_at).map_err(unreadable)?;
        if let Some(last) = window.iter().rposition(|byte| *byte != 0) {
            tail.written_bytes = window_at - offset + last as u64 + 1;
        }
        for (at, candidate) in (window_at..).zip(window.windows(FRAME_BYTES_MIN)) {
            let frames_before = (at - offset) / FRAME_BYTES_MIN as u64;
            let Some(head) = plausible(candidate, end - at, sequence, frames_before) else { continue };
            let mut body = vec![0; head.length as usize];
            file.read_exact_at(&mut body, at + HEAD_BYTES as u64).map_err(unreadable)?;
            if Frame::parse(head, &body, salt).is_ok_and(|frame| frame.durable >= sequence) {
                tail.proof_at = Some(at);
                return Ok(tail);
            }
        }
        window_at += TAIL_WINDOW_BYTES as u64;
    }
    Ok(tail)
}

pub(super) fn corrupt(path: &Path, offset: u64, what: &str) -> StorageError {
    StorageError::Corrupt(format!("{} at byte {offset}: {what}", path.display()))
}

/// Whether `bytes` could begin a frame that was written after `sequence` was durable, with at most `frames_before`
/// frames between the two.
fn plausible(bytes: &[u8], room_bytes: u64, sequence: u64, frames_before: u64) -> Option<FrameHead> {
    let (head, body) = bytes.split_first_chunk()?;
    let head = FrameHead::parse(*head, room_bytes)?;
    let claim = Claim::peek(body)?;
    (claim.durable >= sequence && claim.durable < claim.sequence && claim.sequence - sequence <= frames_before)
        .then_some(head)
}

const READ_BUFFER_BYTES: usize = 256 << 10;
const TAIL_WINDOW_BYTES: usize = 1 << 20;
