//! The filer's listings.

use bytes::Bytes;
use serde::Deserialize;

use super::error::FilerError;

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    pub name: String,
    pub size_bytes: u64,
    pub is_folder: bool,
}

/// One page as JSON. Entries of others are listed like ours; names tell them apart.
pub(super) fn parse(page: &Bytes) -> Result<Vec<ListEntry>, FilerError> {
    let page: Page = serde_json::from_slice(page)
        .map_err(|error| FilerError::Corrupt(format!("a listing of the filer cannot be read: {error}")))?;
    let entries = page.entries.unwrap_or_default().into_iter().map(|entry| ListEntry {
        name: entry.path.rsplit('/').next().unwrap_or_default().to_owned(),
        size_bytes: entry.size_bytes,
        is_folder: entry.mode & FOLDER_MODE != 0,
    });
    Ok(entries.collect())
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "Entries")]
    entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "FullPath")]
    path: String,
    #[serde(rename = "FileSize", default)]
    size_bytes: u64,
    #[serde(rename = "Mode", default)]
    mode: u32,
}

/// Go's `fs.ModeDir`.
const FOLDER_MODE: u32 = 1 << 31;
