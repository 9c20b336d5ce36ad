//! Everything in the heap: for tests and throw-away gateways.

mod journal;
mod storage;

pub use journal::MemoryJournal;
pub use storage::MemoryStorage;
