//! Produce: the append is done in the caller's turn, so that pipelined requests keep their order.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    config::StorageKind,
    log::{AppendError, Appended, LogError, PartitionLog},
    model::batch::{Attributes, Codec},
};

use super::{Broker, PartitionError, TopicRef, in_place};

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    NotDurable(#[from] LogError),
}

/// A batch that was written and may not be durable yet.
pub struct Produced {
    pub appended: Appended,
    log: Arc<PartitionLog>,
}

impl Produced {
    /// Resolves when the batch is as durable as the settings ask for (acks=all).
    pub async fn durable(&self) -> Result<(), ProduceError> {
        Ok(self.log.wait_durable(self.appended.ticket).await?)
    }
}

impl Broker {
    /// Appends one batch to a partition; later appends come after it.
    pub fn append(&self, topic: &TopicRef, partition: i32, batch: Bytes) -> Result<Produced, ProduceError> {
        let log = self.partition(topic, partition)?;
        let bytes = batch.len() as u64;
        let takes_long = is_laborious(&batch, &log)
            || self.settings.storage == StorageKind::Filer
            || self.stalls.is_slow(&*self.clock);
        let append = || self.stalls.watch(&*self.clock, || log.append(batch, LEADER_EPOCH));
        let outcome = in_place(takes_long, append);
        self.note_append(log.partition(), outcome.as_ref().err());
        let appended = outcome?;
        if !appended.is_duplicate {
            self.metrics.produced_bytes.inc_by(bytes);
        }
        Ok(Produced { appended, log })
    }
}

/// Whether a batch is large, or compressed, when its records are checked by unpacking them, or to be compressed.
fn is_laborious(batch: &[u8], log: &PartitionLog) -> bool {
    let attributes = Attributes::peek(batch).unwrap_or_default();
    attributes.codec() != Some(Codec::None) || batch.len() > LARGE_BATCH_BYTES || log.compresses()
}

const LARGE_BATCH_BYTES: usize = 512 * 1024;

/// One broker leads every partition from its creation to its deletion.
pub const LEADER_EPOCH: i32 = 0;
