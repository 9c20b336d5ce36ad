//! Listener and connections: bounded reads, ordered replies, back-pressure.

mod budget;
mod connection;
mod listener;
mod reader;

pub use listener::{Listener, Shutdown};
