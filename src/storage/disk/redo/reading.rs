//! What several files of the redo log say together, and what of it is damaged.
//!
//! Damage costs what was noted in the frames that it hit. What is behind it is as good as before: it says which bytes are
//! where, and nothing rests on an earlier frame, but for one thing: a frame that was hit may have revoked what is noted before
//! it, and that would be written over another file's bytes. So frames count revocations, and when one is missing nothing
//! that was noted before the damage is believed. Revocations are noted twice, which makes that rare.

use std::{collections::BTreeMap, path::Path};

use super::frame::{Entry, FRAMES_AT, Frame, Frames, Header, Step, is_within};
use crate::storage::StorageError;

/// What is noted, by path, and the damage met on the way. Files are [`add`](Self::add)ed in their order.
#[derive(Default)]
pub(super) struct Reading<'a> {
    pub(super) noted: BTreeMap<&'a str, Vec<Extent<'a>>>,
    pub(super) damages: Vec<Damage>,
    /// Where the last file's frames end, with bytes behind it that are no whole frame.
    pub(super) torn_at: Option<u64>,
    /// Where the file before ends, and the sequence that comes next; none at the first one.
    end: Option<(&'a Path, usize, u64)>,
    revocations: u64,
}

/// Bytes that lie one behind the other.
pub(super) struct Extent<'a> {
    pub(super) position: u64,
    pub(super) pieces: Vec<&'a [u8]>,
    pub(super) end: u64,
}

/// A place where frames were, and are none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The name of the file.
    pub(super) file: String,
    pub(super) at: u64,
    pub(super) what: String,
}

impl<'a> Reading<'a> {
    /// Files that were read, in their order.
    pub(super) fn of(files: &[(&'a Path, &'a [u8])]) -> Result<Self, StorageError> {
        let mut reading = Self::default();
        files.iter().try_for_each(|(path, contents)| reading.add(path, contents))?;
        Ok(reading)
    }

    fn add(&mut self, path: &'a Path, contents: &'a [u8]) -> Result<(), StorageError> {
        self.torn_at = None;
        let header = Header::read(contents)
            .map_err(|what| StorageError::Corrupt(format!("{} at byte 0: {what}", path.display())))?;
        let Some(header) = header else {
            // The header is durable before anything is noted behind it.
            if contents.get(FRAMES_AT..).is_some_and(|frames| frames.iter().any(|byte| *byte != 0)) {
                self.damaged(
                    path,
                    0,
                    "neither copy of the header reads, and all that was noted there is lost".to_owned(),
                );
                self.distrust(path, 0);
                self.end = None;
            }
            return Ok(());
        };
        if let Some((before, at, sequence)) = self.end
            && header.sequence != sequence
        {
            let lost = header.sequence.saturating_sub(sequence);
            self.damaged(before, at, format!("{} to the end of the file", in_words(lost)));
        }
        if self.end.is_none() && self.noted.is_empty() {
            self.revocations = header.revocations;
        }
        self.expect(path, FRAMES_AT, header.revocations);
        let mut frames = Frames::new(contents, &header);
        let mut at = FRAMES_AT;
        loop {
            match frames.step() {
                Step::Frame(frame) => {
                    self.expect(path, at, frame.revocations);
                    self.take(&frame);
                }
                Step::Lost { from, to, frames } => {
                    at = from;
                    self.damaged(path, from, format!("{} up to byte {to}", in_words(frames)));
                }
                Step::End { at, sequence, is_torn } => {
                    self.torn_at = is_torn.then_some(at as u64);
                    self.end = Some((path, at, sequence));
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, frame: &Frame<'a>) {
        let mut revoked = 0;
        for entry in frame.entries() {
            match entry {
                Entry::Bytes { path, position, bytes } => note(self.noted.entry(path).or_default(), position, bytes),
                Entry::Revoked { path } => {
                    revoked += 1;
                    self.noted.retain(|noted, _| !is_within(noted, path));
                }
            }
        }
        self.revocations = frame.revocations + revoked;
    }

    /// What comes next was written when there had been so many revocations; what damage before it began `at`.
    fn expect(&mut self, path: &Path, at: usize, revocations: u64) {
        if revocations > self.revocations {
            self.revocations = revocations;
            self.distrust(path, at);
        }
    }

    /// Something may have been revoked that nobody knows of.
    fn distrust(&mut self, path: &Path, at: usize) {
        if !self.noted.is_empty() {
            let files = self.noted.len();
            self.noted.clear();
            let what = format!("a revocation is lost, and with it all that was noted before, for {files} files");
            self.damaged(path, at, what);
        }
    }

    fn damaged(&mut self, path: &Path, at: usize, what: String) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.damages.push(Damage { file, at: at as u64, what });
    }
}

fn note<'a>(extents: &mut Vec<Extent<'a>>, position: u64, bytes: &'a [u8]) {
    let end = position + bytes.len() as u64;
    match extents.last_mut() {
        Some(last) if last.end == position => {
            last.pieces.push(bytes);
            last.end = end;
        }
        _ => extents.push(Extent { position, pieces: vec![bytes], end }),
    }
}

fn in_words(frames: u64) -> String {
    match frames {
        1 => "what one sync made durable is lost,".to_owned(),
        _ => format!("what {frames} syncs made durable is lost,"),
    }
}
