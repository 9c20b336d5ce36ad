//! Versions that left Kafka's schemas with 4.0 (KIP-896) and kafka-protocol with them, but not every client:
//! OffsetCommit v0–1 and OffsetFetch v0.
//!
//! Their responses, and the request of OffsetFetch v0, have the bytes of the next version that kafka-protocol knows.

mod offset_commit;
mod offset_fetch;

pub use offset_commit::{LegacyOffsetCommit, decode_offset_commit, encode_offset_commit_response};
pub use offset_fetch::{decode_offset_fetch, encode_offset_fetch_response};
