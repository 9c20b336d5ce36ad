//! Looks at a journal that nobody has open, and changes nothing.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    DIRECTORY,
    contents::{Fold, check, fold_frame, visit_log},
    frame::Frame,
    reader::{corrupt, examine_tail},
    recover::{Listing, contradiction},
};
use crate::storage::{Finding, ShardId, StorageError};

/// What a journal holds.
#[derive(Debug, Default)]
pub struct JournalInspection {
    pub findings: Vec<Finding>,
    /// The latest values of the shard that was asked for; none when a gateway would refuse to start.
    pub entries: Option<Vec<(Bytes, Bytes)>>,
    pub appends: u64,
}

/// Reads every file of the journal in `data_dir` and keeps what it says of `shard`. The caller holds the directory's
/// lock. Damage is a finding; an error means that the files could not be read.
pub fn inspect(data_dir: &Path, shard: ShardId) -> Result<JournalInspection, StorageError> {
    let mut inspection = JournalInspection::default();
    let dir = data_dir.join(DIRECTORY);
    if !dir.exists() {
        inspection.entries = Some(Vec::new());
        return Ok(inspection);
    }
    let mut fold = Fold::new();
    match inspection.read(&dir, shard, &mut fold) {
        Ok(()) => inspection.entries = Some(fold.remove(&shard).unwrap_or_default().into_iter().collect()),
        Err(StorageError::Corrupt(what)) => {
            inspection.findings.push(Finding::damage(DIRECTORY, None, what, "the gateway refuses to start"));
        }
        Err(error) => return Err(error),
    }
    Ok(inspection)
}

/// Whether a journal was ever begun in `data_dir`. The first start does that before anything else is stored.
pub fn is_begun(data_dir: &Path) -> Result<bool, StorageError> {
    let dir = data_dir.join(DIRECTORY);
    Ok(dir.exists() && Listing::of(&dir)?.has_files())
}

impl JournalInspection {
    fn read(&mut self, dir: &Path, shard: ShardId, fold: &mut Fold) -> Result<(), StorageError> {
        let mut listing = Listing::of(dir)?;
        let active = listing.supersede();
        self.note_all(&listing.unfinished, "is not complete", "removed at the start");
        self.note_all(&listing.foreign, "is no file of the journal", "passed over");
        self.note_all(&listing.superseded, "is replaced by a snapshot", "removed at the start");
        let Some(set) = active? else { return Ok(()) };
        let mut appends = 0;
        let mut visit = |frame: &Frame<'_>| {
            appends += 1;
            if frame.shard == shard { fold_frame(fold, frame) } else { check(frame) }
        };
        let mut next_sequence = set.visit(&mut visit)?;
        let path = &listing.active;
        let log = visit_log(path, None, &mut next_sequence, &mut visit)?;
        self.appends = appends;
        let Some(what) = log.broken else { return Ok(()) };
        let tail = examine_tail(path, log.salt, log.offset, next_sequence)?;
        if let Some(proof_at) = tail.proof_at {
            return Err(corrupt(path, log.offset, &contradiction(what, proof_at)));
        }
        if tail.written_bytes > 0 {
            let what = format!("the last {} bytes are no whole append ({what})", tail.written_bytes);
            self.findings.push(Finding::note(name(path), Some(log.offset), what, "will be cut at start"));
        }
        Ok(())
    }

    fn note_all(&mut self, paths: &[PathBuf], what: &'static str, outcome: &'static str) {
        self.findings.extend(paths.iter().map(|path| Finding::note(name(path), None, what, outcome)));
    }
}

fn name(path: &Path) -> String {
    format!("{DIRECTORY}/{}", path.file_name().unwrap_or_default().to_string_lossy())
}
