//! Looks for what lies in a data directory and belongs to nothing, and at the redo log; changes nothing.

use std::{fs, io, path::Path};

use super::{
    files::io_error,
    redo,
    segments::{DELETED, REDO, TOPICS, parse_directory},
};
use crate::storage::{Finding, StorageError};

/// Everything but the journal's files and the regular files of partitions: those two know their own. Of the redo log also
/// what is damaged in it.
pub fn strangers(data_dir: &Path) -> Result<Vec<Finding>, StorageError> {
    let mut findings = Vec::new();
    each(data_dir, &mut |name, _| {
        if !OURS.contains(&name) {
            findings.push(Finding::note(name, None, IS_NOT_OURS, PASSED_OVER));
        }
        Ok(())
    })?;
    findings.extend(redo::inspect(&data_dir.join(REDO), REDO)?);
    let root = data_dir.join(TOPICS);
    if !root.is_dir() {
        return Ok(findings);
    }
    each(&root, &mut |name, entry| {
        let file = format!("{TOPICS}/{name}");
        if name.starts_with(DELETED) {
            findings.push(Finding::note(file, None, "a deletion was cut short", "removed at the start"));
            return Ok(());
        }
        if parse_directory(name).is_none() || !entry.is_dir() {
            findings.push(Finding::note(file, None, IS_NOT_OURS, PASSED_OVER));
            return Ok(());
        }
        each(entry, &mut |name, entry| {
            if !entry.is_file() {
                findings.push(Finding::note(format!("{file}/{name}"), None, IS_NOT_OURS, PASSED_OVER));
            }
            Ok(())
        })
    })?;
    Ok(findings)
}

fn each(dir: &Path, visit: &mut dyn FnMut(&str, &Path) -> Result<(), StorageError>) -> Result<(), StorageError> {
    let unreadable = |error: io::Error| io_error("list", dir, &error);
    let mut entries = fs::read_dir(dir).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.iter().try_for_each(|entry| visit(&entry.file_name().to_string_lossy(), &entry.path()))
}

const OURS: &[&str] = &[".lock", "journal", REDO, TOPICS];
const IS_NOT_OURS: &str = "belongs to nothing";
const PASSED_OVER: &str = "passed over";
