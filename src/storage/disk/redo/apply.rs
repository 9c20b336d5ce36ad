//! Writing into files what the redo log has noted for them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use tracing::{error, info};

use super::{
    EXTENSION, EXTENSION_DAMAGED,
    reading::{Extent, Reading},
};
use crate::storage::{
    StorageError,
    disk::files::{DiskFile, Files, io_error},
};

/// Applies every generation in `dir`, in their order, and removes them; those with damage stay under another name. Answers
/// at how many places there was some.
pub(super) fn apply_all(dir: &Path, root: &Path, files: &Files) -> Result<u64, StorageError> {
    let generations = generations(dir)?;
    if generations.is_empty() {
        return Ok(0);
    }
    let contents = read(&generations)?;
    let reading = Reading::of(&borrow(&generations, &contents))?;
    for damage in &reading.damages {
        error!(
            file = damage.file,
            at = damage.at,
            what = damage.what,
            "the redo log is damaged: records that were acknowledged may be missing"
        );
    }
    write_all(&reading, root, files, |_| true)?;
    let is_damaged = |path: &Path| reading.damages.iter().any(|damage| path.ends_with(&damage.file));
    // The oldest first, and durably: what a later one revokes must stay revoked.
    for path in &generations {
        match is_damaged(path) {
            true => {
                let kept = path.with_extension(EXTENSION_DAMAGED);
                fs::rename(path, &kept).map_err(|error| io_error("rename to", &kept, &error))?;
            }
            false => files.remove(path)?,
        }
        files.sync_dir(dir)?;
    }
    Ok(reading.damages.len() as u64)
}

/// Applies `generations` to the files that are `wanted`, and makes those durable. An error when something is damaged, for
/// it may be theirs.
pub(super) fn apply(
    generations: &[PathBuf],
    root: &Path,
    files: &Files,
    wanted: impl Fn(&Path) -> bool,
) -> Result<(), StorageError> {
    let contents = read(generations)?;
    let reading = Reading::of(&borrow(generations, &contents))?;
    if let Some(damage) = reading.damages.first() {
        return Err(StorageError::Corrupt(format!("{} at byte {}: {}", damage.file, damage.at, damage.what)));
    }
    write_all(&reading, root, files, wanted)
}

/// The files of a redo log in their order.
pub(super) fn generations(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut generations = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io_error("list", dir, &error))? {
        let path = entry.map_err(|error| io_error("list", dir, &error))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            generations.push(path);
        }
    }
    generations.sort_unstable();
    Ok(generations)
}

pub(super) fn read(generations: &[PathBuf]) -> Result<Vec<Vec<u8>>, StorageError> {
    generations.iter().map(|path| fs::read(path).map_err(|error| io_error("read", path, &error))).collect()
}

pub(super) fn borrow<'a>(paths: &'a [PathBuf], contents: &'a [Vec<u8>]) -> Vec<(&'a Path, &'a [u8])> {
    paths.iter().map(PathBuf::as_path).zip(contents.iter().map(Vec::as_slice)).collect()
}

fn write_all(
    reading: &Reading<'_>,
    root: &Path,
    files: &Files,
    wanted: impl Fn(&Path) -> bool,
) -> Result<(), StorageError> {
    let mut lost_bytes = 0;
    for (path, extents) in &reading.noted {
        let path = root.join(path);
        if wanted(&path) {
            lost_bytes += write_extents(&path, extents, files)?;
        }
    }
    if lost_bytes > 0 {
        info!(lost_bytes, "wrote from the redo log what files had lost");
    }
    Ok(())
}

/// Answers how many bytes the file did not have.
fn write_extents(path: &Path, extents: &[Extent<'_>], files: &Files) -> Result<u64, StorageError> {
    let mut size_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        // Its creation was durable before anything was noted for it: it was deleted since.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io_error("look at", path, &error)),
    };
    let file = files.open(path.to_owned())?;
    let mut lost_bytes = 0;
    for extent in extents {
        if extent.position > size_bytes {
            // Zeros are no batch: what is missing is told, and its offsets are not given out again.
            error!(
                path = %path.display(), from = size_bytes, to = extent.position,
                "bytes that were durable are missing in the middle of a file"
            );
        }
        let bytes = extent.pieces.concat();
        if extent.end > size_bytes || !holds(&file, extent.position, &bytes)? {
            lost_bytes += bytes.len() as u64;
            size_bytes = size_bytes.max(extent.end);
        }
        // Also what is there: after a failed sync the page cache has bytes that the disk has not, and takes them for written.
        file.write_at(&bytes, extent.position)?;
    }
    file.sync()?;
    Ok(lost_bytes)
}

fn holds(file: &DiskFile, position: u64, bytes: &[u8]) -> Result<bool, StorageError> {
    let mut there = vec![0; bytes.len()];
    file.read_at(&mut there, position)?;
    Ok(there == bytes)
}
