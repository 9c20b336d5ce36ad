//! Writing into files what the redo log has noted for them.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use tracing::{info, warn};

use super::{
    EXTENSION,
    frame::{Entry, entries, is_within},
};
use crate::storage::{
    StorageError,
    disk::files::{DiskFile, Files, io_error},
};

/// Applies every generation in `dir`, in their order, and removes them.
pub(super) fn apply_all(dir: &Path, root: &Path, files: &Files) -> Result<(), StorageError> {
    fs::create_dir_all(dir).map_err(|error| io_error("create", dir, &error))?;
    let mut generations = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io_error("list", dir, &error))? {
        let path = entry.map_err(|error| io_error("list", dir, &error))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            generations.push(path);
        }
    }
    if generations.is_empty() {
        return Ok(());
    }
    generations.sort_unstable();
    apply(&generations, root, files, |_| true)?;
    // The oldest first, and durably: what a later one revokes must stay revoked.
    generations.iter().try_for_each(|path| files.remove(path).and_then(|()| files.sync_dir(dir)))
}

/// Applies `generations` to the files that are `wanted`, and makes those durable.
pub(super) fn apply(
    generations: &[PathBuf],
    root: &Path,
    files: &Files,
    wanted: impl Fn(&Path) -> bool,
) -> Result<(), StorageError> {
    let contents = generations
        .iter()
        .map(|path| fs::read(path).map_err(|error| io_error("read", path, &error)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut extents: BTreeMap<&str, Vec<Extent>> = BTreeMap::new();
    for entry in contents.iter().flat_map(|contents| entries(contents)) {
        match entry {
            Entry::Bytes { path, position, bytes } => note(extents.entry(path).or_default(), position, bytes),
            Entry::Revoked { path } => extents.retain(|noted, _| !is_within(noted, path)),
        }
    }
    let mut lost_bytes = 0;
    for (path, extents) in extents {
        let path = root.join(path);
        if !wanted(&path) {
            continue;
        }
        lost_bytes += write_extents(&path, &extents, files)?;
    }
    if lost_bytes > 0 {
        info!(lost_bytes, "wrote from the redo log what files had lost");
    }
    Ok(())
}

/// Bytes that lie one behind the other.
struct Extent {
    position: u64,
    bytes: Vec<u8>,
}

fn note(extents: &mut Vec<Extent>, position: u64, bytes: &[u8]) {
    match extents.last_mut() {
        Some(last) if last.position + last.bytes.len() as u64 == position => last.bytes.extend_from_slice(bytes),
        _ => extents.push(Extent { position, bytes: bytes.to_vec() }),
    }
}

/// Answers how many bytes the file did not have.
fn write_extents(path: &Path, extents: &[Extent], files: &Files) -> Result<u64, StorageError> {
    let mut size_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        // Its creation was durable before anything was noted for it: it was deleted since.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io_error("look at", path, &error)),
    };
    let file = files.open(path.to_owned())?;
    let mut lost_bytes = 0;
    for Extent { position, bytes } in extents {
        let end = position + bytes.len() as u64;
        if *position > size_bytes {
            warn!(path = %path.display(), size_bytes, position, "the redo log begins behind the end of a file");
            continue;
        }
        if end > size_bytes || !holds(&file, *position, bytes)? {
            lost_bytes += bytes.len() as u64;
            size_bytes = size_bytes.max(end);
        }
        // Also what is there: after a failed sync the page cache has bytes that the disk has not, and takes them for written.
        file.write_at(bytes, *position)?;
    }
    file.sync()?;
    Ok(lost_bytes)
}

fn holds(file: &DiskFile, position: u64, bytes: &[u8]) -> Result<bool, StorageError> {
    let mut there = vec![0; bytes.len()];
    file.read_at(&mut there, position)?;
    Ok(there == bytes)
}
