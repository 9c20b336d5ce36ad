//! Files under the data directory: the default backend.

mod descriptors;
mod files;
mod inspect;
pub mod journal;
pub mod lock;
mod redo;
mod segments;

pub use inspect::strangers;
pub use journal::{DiskJournal, JournalOptions, JournalStats};
pub use lock::{DataDirLock, LockError};
pub use segments::DiskSegments;
