//! What the integration tests share: the gateway as its own process, a client that speaks the raw protocol, record
//! batches, and the programs of others.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod batch;
pub mod certificates;
pub mod client;
pub mod frames;
pub mod gateway;
pub mod groups;
pub mod http;
pub mod kafka;
pub mod legacy;
pub mod offsets;
pub mod process;
pub mod proxy;
pub mod seaweed;
pub mod tools;
pub mod topics;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub use client::Client;
pub use gateway::Gateway;
pub use kafka_protocol::protocol::StrBytes;

/// A name that no other test uses, so that tests can share a broker (see [`gateway::Gateway::start`]).
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed), fastrand::u32(..))
}

pub fn str_bytes(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// Waits until `check` gives a value.
pub fn eventually<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
