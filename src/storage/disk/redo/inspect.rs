//! Offline check of a redo log: changes nothing.

use std::{fs, path::Path};

use super::{
    EXTENSION, EXTENSION_DAMAGED,
    apply::{borrow, generations, read},
    reading::Reading,
};
use crate::storage::{Finding, StorageError, disk::files::io_error};

/// What is wrong with the files in `dir`, named as in `folder`.
pub(super) fn inspect(dir: &Path, folder: &str) -> Result<Vec<Finding>, StorageError> {
    let mut findings = Vec::new();
    if !dir.is_dir() {
        return Ok(findings);
    }
    for entry in fs::read_dir(dir).map_err(|error| io_error("list", dir, &error))? {
        let name = entry.map_err(|error| io_error("list", dir, &error))?.file_name().to_string_lossy().into_owned();
        let file = format!("{folder}/{name}");
        match Path::new(&name).extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => {}
            Some(EXTENSION_DAMAGED) => findings.push(Finding::damage(
                file,
                None,
                "was damaged when a start needed it, and records may be missing since",
                "kept to be looked at; remove it",
            )),
            _ => findings.push(Finding::note(file, None, "belongs to nothing", "passed over")),
        }
    }
    findings.sort_by(|a, b| a.file.cmp(&b.file));
    let generations = generations(dir)?;
    let contents = read(&generations)?;
    let reading = match Reading::of(&borrow(&generations, &contents)) {
        Ok(reading) => reading,
        Err(error) => {
            findings.push(Finding::damage(folder, None, error.to_string(), "the gateway refuses to start"));
            return Ok(findings);
        }
    };
    for damage in reading.damages {
        let outcome = "the start applies what is sound, and keeps the file";
        findings.push(Finding::damage(format!("{folder}/{}", damage.file), Some(damage.at), damage.what, outcome));
    }
    if let (Some(at), Some(last)) = (reading.torn_at, generations.last()) {
        let file = format!("{folder}/{}", last.file_name().unwrap_or_default().to_string_lossy());
        findings.push(Finding::note(file, Some(at), "bytes at the end are no whole frame", "passed over at the start"));
    }
    Ok(findings)
}
