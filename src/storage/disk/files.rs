//! The file operations of the journal, in one place, so that tests can stop or fail before any one of them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::storage::StorageError;

/// Opens, renames and removes files. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Files {
    hook: Option<Hook>,
}

/// Called before each operation; an error is returned in place of the operation.
pub(super) type Hook = Arc<dyn Fn(FileOp, &Path) -> io::Result<()> + Send + Sync>;

/// What is about to be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileOp {
    Create,
    Open,
    Write,
    Sync,
    Truncate,
    Rename,
    SyncDir,
    Remove,
}

impl Files {
    #[cfg(test)]
    pub(super) fn hooked(hook: Hook) -> Self {
        Self { hook: Some(hook) }
    }

    /// A new file, open for reading and writing; replaces what was there.
    pub(super) fn create(&self, path: PathBuf) -> Result<DiskFile, StorageError> {
        self.before(FileOp::Create, &path)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        self.opened(path, file)
    }

    /// An existing file, open for reading and writing.
    pub(super) fn open(&self, path: PathBuf) -> Result<DiskFile, StorageError> {
        self.before(FileOp::Open, &path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        self.opened(path, file)
    }

    /// Gives a finished file, whose bytes are durable, its name: first the name, then the directory.
    pub(super) fn publish(&self, file: DiskFile, to: PathBuf) -> Result<DiskFile, StorageError> {
        self.before(FileOp::Rename, &to)?;
        fs::rename(file.path(), &to).map_err(|error| io_error("rename to", &to, &error))?;
        if let Some(dir) = to.parent() {
            self.sync_dir(dir)?;
        }
        Ok(DiskFile { path: Arc::new(to), ..file })
    }

    /// Makes creations, renames and removals in `dir` durable.
    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), StorageError> {
        self.before(FileOp::SyncDir, dir)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| io_error("sync", dir, &error))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.before(FileOp::Remove, path)?;
        fs::remove_file(path).map_err(|error| io_error("remove", path, &error))
    }

    fn opened(&self, path: PathBuf, file: io::Result<File>) -> Result<DiskFile, StorageError> {
        match file {
            Ok(file) => Ok(DiskFile { file: Arc::new(file), path: Arc::new(path), files: self.clone() }),
            Err(error) => Err(io_error("open", &path, &error)),
        }
    }

    fn before(&self, op: FileOp, path: &Path) -> Result<(), StorageError> {
        match &self.hook {
            None => Ok(()),
            Some(hook) => hook(op, path).map_err(|error| io_error("use", path, &error)),
        }
    }
}

/// An open file that knows its name. Clones share the descriptor.
#[derive(Clone)]
pub(super) struct DiskFile {
    file: Arc<File>,
    path: Arc<PathBuf>,
    files: Files,
}

impl DiskFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StorageError> {
        self.files.before(FileOp::Write, &self.path)?;
        self.file.write_all_at(bytes, offset).map_err(|error| io_error("write", &self.path, &error))
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StorageError> {
        self.file.read_exact_at(buffer, offset).map_err(|error| io_error("read", &self.path, &error))
    }

    /// fdatasync. After an error this descriptor must not be synced again: the kernel reports a lost page once.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.files.before(FileOp::Sync, &self.path)?;
        self.file.sync_data().map_err(|error| io_error("sync", &self.path, &error))
    }

    /// fsync: also the length after a truncation.
    pub(super) fn sync_all(&self) -> Result<(), StorageError> {
        self.files.before(FileOp::Sync, &self.path)?;
        self.file.sync_all().map_err(|error| io_error("sync", &self.path, &error))
    }

    pub(super) fn truncate(&self, length_bytes: u64) -> Result<(), StorageError> {
        self.files.before(FileOp::Truncate, &self.path)?;
        self.file.set_len(length_bytes).map_err(|error| io_error("truncate", &self.path, &error))
    }
}

/// What the caller may do about `error`, and which file it was about.
pub(super) fn io_error(action: &str, path: &Path, error: &io::Error) -> StorageError {
    let message = format!("cannot {action} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageError::Full(message)
        }
        _ => StorageError::Unavailable(message),
    }
}
