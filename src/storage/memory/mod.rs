//! Everything in the heap: for tests and throw-away gateways.

mod segments;

pub use segments::MemorySegments;
