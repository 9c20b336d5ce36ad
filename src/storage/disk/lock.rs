//! One process a data directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Exclusive use of a data directory, from [`acquire`](Self::acquire) until it is dropped or the process ends, however
/// it ends: the kernel releases the lock, and a left-over `.lock` file means nothing.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Creates `dir` when it is missing, locks `<dir>/.lock` and writes this process's id into it. Does not wait.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(failed)?;
        lock(dir, &mut file, FlockOperation::NonBlockingLockExclusive)?;
        // Only for the message to a second gateway: a full disk must not keep this one from serving what there is.
        let _ = file.set_len(0);
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }

    /// For those who only look: keeps gateways out, and changes nothing. None where no gateway ever was.
    pub fn hold(dir: &Path) -> Result<Option<Self>, LockError> {
        let mut file = match File::open(dir.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { dir: dir.to_owned(), source }),
        };
        lock(dir, &mut file, FlockOperation::NonBlockingLockShared)?;
        Ok(Some(Self { _file: file }))
    }
}

fn lock(dir: &Path, file: &mut File, operation: FlockOperation) -> Result<(), LockError> {
    match flock(&*file, operation) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::InUse { dir: dir.to_owned(), holder: holder(file) }),
        Err(errno) => Err(LockError::Io { dir: dir.to_owned(), source: errno.into() }),
    }
}

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another gateway in this one, holds it. `holder` is the process id, when it could be read.
    #[error("data directory {} is in use by another process{}", dir.display(), in_words(*holder))]
    InUse { dir: PathBuf, holder: Option<u32> },
    /// The directory or its lock file could not be created or opened.
    #[error("cannot lock data directory {}: {source}", dir.display())]
    Io { dir: PathBuf, source: io::Error },
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_DIGITS_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn in_words(holder: Option<u32>) -> String {
    holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

const LOCK_FILE: &str = ".lock";
const PID_DIGITS_MAX: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = DataDirLock::acquire(&data).unwrap();
        let refused = DataDirLock::acquire(&data).unwrap_err();
        assert!(matches!(refused, LockError::InUse { holder: Some(pid), .. } if pid == std::process::id()));
        assert!(refused.to_string().contains("is in use by another process"), "{refused}");
        drop(first);
        DataDirLock::acquire(&data).unwrap();
    }

    #[test]
    fn who_looks_keeps_gateways_out_and_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDirLock::hold(dir.path()).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let gateway = DataDirLock::acquire(dir.path()).unwrap();
        assert!(matches!(DataDirLock::hold(dir.path()), Err(LockError::InUse { .. })));
        drop(gateway);
        let (first, second) = (DataDirLock::hold(dir.path()).unwrap(), DataDirLock::hold(dir.path()).unwrap());
        assert!(matches!(DataDirLock::acquire(dir.path()), Err(LockError::InUse { .. })));
        drop((first, second));
        DataDirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_left_over_lock_file_does_not_lock() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "not a number, and longer than any process id").unwrap();
        let lock = DataDirLock::acquire(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap(), format!("{}\n", std::process::id()));
        drop(lock);
    }

    #[test]
    fn a_path_that_is_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(DataDirLock::acquire(&file), Err(LockError::Io { .. })));
    }
}
