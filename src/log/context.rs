//! What all logs of a broker, which are in one store, share.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::flush_queue::FlushQueue;
use crate::{clock::Clock, config::Durability};

/// Clock, durability and the queue of partitions that wait for a sync.
pub struct LogContext {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) durability: Durability,
    pub(super) producer_expiration_ms: i64,
    pub(super) flushes: FlushQueue,
    /// Where what comes later is waited for; none in a tool.
    pub(super) runtime: Option<Handle>,
}

impl LogContext {
    /// `producer_id_expiration`: how long the sequences of an idempotent producer are remembered after its last batch.
    pub fn new(clock: Arc<dyn Clock>, durability: Durability, producer_id_expiration: Duration) -> Arc<Self> {
        let producer_expiration_ms = i64::try_from(producer_id_expiration.as_millis()).unwrap_or(i64::MAX);
        let (flushes, runtime) = (FlushQueue::default(), Handle::try_current().ok());
        Arc::new(Self { clock, durability, producer_expiration_ms, flushes, runtime })
    }
}
