//! Partition log over a segment store: validate, append, offsets and high watermark, indexes, producer state,
//! retention, compaction, recovery.
//!
//! [`PartitionLog`] is one partition's log. Its log end runs ahead of its high watermark, which is the durable end with
//! `sync` durability and the log end with `os`; readers see what lies below the high watermark.

mod append;
mod checkpoint;
mod compaction;
mod compress;
mod config;
mod context;
mod decompress;
mod epochs;
mod error;
mod files;
mod flush;
mod flush_queue;
mod holes;
mod index;
mod inspect;
mod partition;
mod producers;
mod progress;
mod read;
mod recovery;
mod retention;
mod scan;
mod sealed;
mod segment;
mod segments;
mod spans;
mod timestamps;
mod validate;
mod waiter;

pub use compaction::{Cleanable, CompactError, CompactStats, Pace, StopFlag};
pub use compress::Compression;
pub use config::LogConfig;
pub use context::LogContext;
pub use error::{AppendError, LogError, ReadError, RecordErrorAt};
pub use flush::DurableTicket;
pub use inspect::{Inspected, InspectedTopic, inspect};
pub use partition::{Appended, LogOffsets, PartitionInfo, PartitionLog, VisibleEnd};
pub use producers::ProducerInfo;
pub use read::{Isolation, ReadResult};
pub use timestamps::TimestampOffset;
pub use waiter::Waiter;

#[cfg(test)]
mod tests;
