//! Stock clients against the real binary: Java's, librdkafka, those of Go, Python and Node, kcat and Kafka's command-line tools;
//! and files of partitions, which Kafka and the gateway read of each other.

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

mod cli;
mod java;
mod librdkafka;
mod segments;
mod takeover;
