//! Everything in the heap: for tests and throw-away gateways.

mod journal;
mod segments;
mod storage;

pub use journal::MemoryJournal;
pub use segments::MemorySegments;
pub use storage::MemoryStorage;
