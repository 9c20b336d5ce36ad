//! Files under the data directory: the default backend.

mod descriptors;
mod files;
pub mod journal;
pub mod lock;
mod redo;
mod segments;

pub use journal::{DiskJournal, JournalOptions, JournalStats};
pub use lock::{DataDirLock, LockError};
pub use segments::DiskSegments;
