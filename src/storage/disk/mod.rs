//! Files under the data directory: the default backend.

mod files;
pub mod journal;
pub mod lock;

pub use journal::{DiskJournal, JournalOptions, JournalStats};
pub use lock::{DataDirLock, LockError};
