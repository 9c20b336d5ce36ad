//! Where records are kept: one directory of files for each partition. Bytes and names only; what they mean, and how far
//! they are durable, `log` alone knows.

use std::{io::IoSlice, sync::Arc};

use bytes::Bytes;

use super::StorageError;
use crate::model::{FileRange, TopicPartition};

/// Partition directories and the files in them. Calls block.
///
/// Two kinds of file: those that grow (segments, indexes: [`open`](Self::open)) and small ones that are replaced whole
/// (snapshots, metadata, checkpoints: [`read_whole`](Self::read_whole), [`write_whole`](Self::write_whole)).
pub trait SegmentStore: Send + Sync + 'static {
    /// The files of a partition in the order of their names; none when it has no directory.
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError>;

    /// A file that grows. Nothing is held open before the first use.
    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError>;

    /// A small file's contents; none when there is no such file.
    fn read_whole(&self, partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError>;

    /// Replaces a small file, the directory created when missing: a reader, and a crash of the process, sees the
    /// old or the new contents. With `durable` a power cut does so too; which of the two, only
    /// [`sync_directory`](Self::sync_directory) settles.
    fn write_whole(
        &self,
        partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        durable: bool,
    ) -> Result<(), StorageError>;

    /// Removes a file; one that is not there is no error. Handles that are open go on reading.
    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError>;

    /// Gives the file `from` the name `to`, in place of the file that has it, and answers a handle under the new name: a
    /// reader, and a crash, sees the one or the other. Handles of the file that is replaced were
    /// [retired](SegmentFile::retire) before; those of `from` are of no more use.
    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError>;

    /// Makes creations and removals of files in the partition's directory durable, and the directory itself.
    fn sync_directory(&self, partition: &TopicPartition) -> Result<(), StorageError>;

    /// Removes the directory with everything in it; one that is not there is no error. After a crash it is there
    /// whole or not at all.
    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError>;

    /// Makes the ends of several files durable, which costs about as much as one sync when they are small. After an error
    /// none of it is durable as far as anybody knows, and each file's own [`sync`](SegmentFile::sync) may be tried.
    fn sync_tails(&self, tails: &[Tail<'_>]) -> Result<(), StorageError> {
        tails.iter().try_for_each(|tail| tail.file.sync())
    }

    /// Syncs what [`sync_tails`](Self::sync_tails) made durable elsewhere, so that the next start finds it in its place.
    fn settle(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// At how many places what [`sync_tails`](Self::sync_tails) had made durable could not be read when the store was opened:
    /// ends of files may be missing.
    fn damages(&self) -> u64 {
        0
    }

    /// Every partition that has a directory; no order.
    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError>;

    /// Bytes of all files; the heap's for the memory backend, which has a cap.
    fn size_bytes(&self) -> Result<u64, StorageError>;

    /// Names the stretch of time in which what was written stays readable though it was not synced: until the machine goes
    /// down. None where that cannot be told.
    fn boot_id(&self) -> Option<&str> {
        None
    }

    /// Room of the volume that holds the files; none where there is none.
    fn volume(&self) -> Option<Volume> {
        None
    }
}

/// Room of a volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub total_bytes: u64,
    pub usable_bytes: u64,
}

/// The end of a file, from a position that is durable already.
#[derive(Clone, Copy)]
pub struct Tail<'a> {
    pub partition: &'a TopicPartition,
    pub name: &'a str,
    pub file: &'a Arc<dyn SegmentFile>,
    pub from: u64,
    pub to: u64,
}

impl Tail<'_> {
    pub fn read(&self) -> Result<Bytes, StorageError> {
        let length = usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let bytes = self.file.read(self.from, length)?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(StorageError::Corrupt(format!("{}/{} ends too early", self.partition, self.name))),
        }
    }
}

/// One file that grows at its end.
pub trait SegmentFile: Send + Sync + 'static {
    fn size_bytes(&self) -> u64;

    /// Writes `parts` one behind the other at the end and answers where they begin. All or nothing: after an error the
    /// file is as long as before; [`StorageError::Unavailable`] when even that could not be had, and until
    /// [`truncate`](Self::truncate) worked.
    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError>;

    /// Up to `length` bytes from `position` on, fewer only at the end of the file.
    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError>;

    /// The same into a buffer that can be used again and again, its former contents replaced.
    fn read_into(&self, position: u64, length: usize, buffer: &mut Vec<u8>) -> Result<(), StorageError> {
        let bytes = self.read(position, length)?;
        buffer.clear();
        buffer.extend_from_slice(&bytes);
        Ok(())
    }

    /// The same bytes as a part of a file that can be sent as it is; none where there is no file.
    fn range(&self, position: u64, length: usize) -> Result<Option<FileRange>, StorageError> {
        let _ = (position, length);
        Ok(None)
    }

    /// Makes everything appended before the call durable. After an error nothing is known of what was not durable
    /// before, the descriptor is given up, and appends and syncs are refused until [`truncate`](Self::truncate) worked.
    fn sync(&self) -> Result<(), StorageError>;

    /// Cuts the file to `size_bytes` through a new descriptor and makes that durable; appends may go on.
    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError>;

    /// Tells that nothing will be appended any more: gives up what only appends need.
    fn seal(&self) {}

    /// Tells that the file's name is about to become another file's: from now on the handle reads the file that it has,
    /// for as long as it lives, and never looks for it by name.
    fn retire(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A file in a partition's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    pub name: String,
    pub size_bytes: u64,
}

/// Whether a file that grows is expected to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It exists; not being there is [`StorageError::Corrupt`].
    Existing,
    /// As `Existing`, and no descriptor is kept between calls: for indexes, which are touched once in a while.
    ExistingTransient,
    /// It is created when missing, its directory too.
    Create,
    /// As `Create`, and no descriptor is kept between calls.
    CreateTransient,
}

impl OpenMode {
    pub fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateTransient)
    }

    pub fn is_transient(self) -> bool {
        matches!(self, Self::ExistingTransient | Self::CreateTransient)
    }
}

#[cfg(test)]
mod tests;
