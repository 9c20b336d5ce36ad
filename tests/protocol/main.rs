//! The protocol as a client sees it, request by request, against the real binary.
//!
//! `TEST_BOOTSTRAP=HOST:PORT cargo test --test protocol` asks a broker that runs already: what these tests expect must
//! be what Apache Kafka 4.1 answers, but for what it dropped in version 4 and for what is ours alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by a panic, and owns no clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod compaction;
mod fetch;
mod fetch_sessions;
mod groups;
mod hostile;
mod idempotence;
mod list_offsets;
mod log;
mod offset_commit;
mod offset_fetch;
mod pipelining;
mod topics;
mod versions;
