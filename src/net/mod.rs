//! Listener and connections: bounded reads, ordered replies, back-pressure.

mod budget;
mod connection;
mod listener;
mod reader;
mod shutdown;
mod threads;
mod writer;

pub use listener::Listener;
pub use shutdown::{Shutdown, Stop};
pub use threads::Threads;
