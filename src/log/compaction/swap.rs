//! Putting a cleaned segment in the place of those that it was made of, so that a crash at any moment leaves the old ones or
//! the new one.
//!
//! The new segment is written to `<base>.log.cleaned` and synced. Then a manifest says what it replaces: from the moment
//! that this is durable the exchange is finished, by the next start if need be; before it, the new file is thrown away.

use bytes::{Buf, BufMut};

use crate::{
    log::{
        files::{index_name, log_name, snapshot_name, time_index_name},
        sealed::Seal,
    },
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, SegmentStore},
    },
};

/// An exchange under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct Manifest {
    /// Base offset of the new segment, and of the first that it replaces.
    pub(super) base_offset: i64,
    pub(super) size_bytes: u64,
    /// Base offsets of the others.
    pub(super) others: Vec<i64>,
}

impl Manifest {
    /// The one that is stored; none when there is none, or when it is damaged.
    pub(super) fn load(store: &dyn SegmentStore, partition: &TopicPartition) -> Result<Option<Self>, StorageError> {
        let Some(contents) = store.read_whole(partition, MANIFEST)? else { return Ok(None) };
        let manifest = Self::parse(&contents);
        if manifest.is_none() {
            tracing::error!(%partition, "the record of an exchange of segments is damaged and passed over");
        }
        Ok(manifest)
    }

    /// From here on the exchange is finished whatever happens. The new segment is synced.
    pub(super) fn store(&self, store: &dyn SegmentStore, partition: &TopicPartition) -> Result<(), StorageError> {
        // A manifest must not outlive the file that it speaks of.
        store.sync_directory(partition)?;
        store.write_whole(partition, MANIFEST, &self.encode(), true)?;
        store.sync_directory(partition)
    }

    /// Removes what was replaced. The new segment has its name, and no index yet.
    pub(super) fn remove_replaced(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<(), StorageError> {
        store.delete(partition, &index_name(self.base_offset))?;
        store.delete(partition, &time_index_name(self.base_offset))?;
        for base in &self.others {
            store.delete(partition, &log_name(*base))?;
            store.delete(partition, &index_name(*base))?;
            store.delete(partition, &time_index_name(*base))?;
            store.delete(partition, &snapshot_name(*base))?;
        }
        store.sync_directory(partition)
    }

    /// Gives up before the new segment has its name: the manifest goes first, for it would be believed.
    pub(super) fn undo(&self, store: &dyn SegmentStore, partition: &TopicPartition) -> Result<(), StorageError> {
        forget(store, partition)?;
        store.delete(partition, &cleaned_name(self.base_offset))
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(self.base_offset);
        body.put_u64(self.size_bytes);
        body.put_u32(u32::try_from(self.others.len()).unwrap_or(u32::MAX));
        self.others.iter().for_each(|base| body.put_i64(*base));
        SEAL.put_on(&body)
    }

    fn parse(file: &[u8]) -> Option<Self> {
        let mut rest = SEAL.open(file)?;
        let base_offset = rest.try_get_i64().ok()?;
        let size_bytes = rest.try_get_u64().ok()?;
        let count = rest.try_get_u32().ok()?;
        let others = (0..count).map(|_| rest.try_get_i64().ok()).collect::<Option<_>>()?;
        rest.is_empty().then_some(Self { base_offset, size_bytes, others })
    }
}

/// Finishes the exchange that a stop has cut short, and removes what was not finished before it. `files` are those of
/// the partition; whether they have changed.
pub(in crate::log) fn recover(
    store: &dyn SegmentStore,
    partition: &TopicPartition,
    files: &[FileEntry],
) -> Result<bool, StorageError> {
    let size_of = |name: &str| files.iter().find(|file| file.name == name).map(|file| file.size_bytes);
    if size_of(MANIFEST).is_none() {
        return Ok(false);
    }
    if let Some(manifest) = Manifest::load(store, partition)? {
        let (cleaned, log) = (cleaned_name(manifest.base_offset), log_name(manifest.base_offset));
        let is_written = size_of(&cleaned) == Some(manifest.size_bytes);
        // Retention may have deleted the new segment since.
        let is_there = size_of(&log).is_none_or(|size_bytes| size_bytes == manifest.size_bytes);
        let is_renamed = size_of(&cleaned).is_none() && is_there;
        if is_written {
            store.rename(partition, &cleaned, &log)?;
        }
        if is_written || is_renamed {
            tracing::info!(%partition, base_offset = manifest.base_offset, "finishing an exchange of segments");
            manifest.remove_replaced(store, partition)?;
        } else {
            tracing::error!(%partition, base_offset = manifest.base_offset, "an exchange of segments makes no sense");
        }
    }
    forget(store, partition)?;
    Ok(true)
}

/// Removes the manifest: the exchange is over.
pub(super) fn forget(store: &dyn SegmentStore, partition: &TopicPartition) -> Result<(), StorageError> {
    store.delete(partition, MANIFEST)?;
    store.sync_directory(partition)
}

/// Name of a segment that is being written.
pub(super) fn cleaned_name(base_offset: i64) -> String {
    format!("{}{CLEANED}", log_name(base_offset))
}

/// Ending of the names of segments that are being written (`UnifiedLog.CLEANED_FILE_SUFFIX`).
pub(in crate::log) const CLEANED: &str = ".cleaned";
pub(in crate::log) const MANIFEST: &str = "segments-being-replaced";
const SEAL: Seal = Seal { magic: b"TGSW", version: 1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_with_any_flipped_bit_is_not_read() {
        let manifest = Manifest { base_offset: 10, size_bytes: 4_000, others: vec![20, 30] };
        let bytes = manifest.encode();
        assert_eq!(Manifest::parse(&bytes), Some(manifest));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::parse(&damaged), None, "bit {bit}");
        }
    }
}
