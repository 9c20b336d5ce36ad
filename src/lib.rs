//! Tidegate: one small daemon that speaks the Kafka wire protocol.
//!
//! ```text
//! net → wire → api → broker → log | catalog | coordinator → storage
//! ```
//!
//! A lower layer never imports a higher one, and domains never import each other; `tests/tidy.rs` checks it.

pub mod admin;
pub mod api;
pub mod broker;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod log;
pub mod metrics;
pub mod model;
pub mod net;
pub mod server;
pub mod storage;
pub mod wire;
