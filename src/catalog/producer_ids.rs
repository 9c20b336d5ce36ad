//! Producer ids that are never given out twice (KIP-730: ids are taken in durable blocks).

use std::sync::Arc;

use bytes::Bytes;

use crate::storage::{Journal, JournalRecord, ShardId, StorageError};

/// Hands out producer ids from a block that is durable before its first id is used.
pub struct ProducerIds {
    journal: Arc<dyn Journal>,
    block: tokio::sync::Mutex<Block>,
}

impl ProducerIds {
    /// Starts after the last block that any earlier run took, and above `highest_known`: the records of a partition that
    /// was copied here from another broker are of producers that this one never gave an id.
    pub async fn open(journal: Arc<dyn Journal>, highest_known: Option<i64>) -> Result<Self, StorageError> {
        // A client can write any id, and must not use them up.
        let mut next = highest_known.filter(|id| *id < IMPLAUSIBLE_ID).map_or(0, |id| id + 1);
        for (key, value) in journal.replay(ShardId::PRODUCER_IDS).await? {
            let Ok(end) = <[u8; 8]>::try_from(value.as_ref()) else {
                return Err(StorageError::Corrupt(format!("producer id block with key {key:02x?}")));
            };
            next = next.max(i64::from_be_bytes(end));
        }
        Ok(Self { journal, block: tokio::sync::Mutex::new(Block { next, end: next }) })
    }

    /// An id that no producer had before.
    pub async fn next(&self) -> Result<i64, StorageError> {
        let mut block = self.block.lock().await;
        if block.next == block.end {
            let end = block.end + BLOCK_SIZE;
            let record = JournalRecord {
                key: Bytes::from_static(b"next"),
                value: Some(Bytes::copy_from_slice(&end.to_be_bytes())),
            };
            self.journal.append(ShardId::PRODUCER_IDS, vec![record]).await?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}

struct Block {
    next: i64,
    /// First id beyond the durable block.
    end: i64,
}

const BLOCK_SIZE: i64 = 1000;
/// No broker that counts up gets here.
const IMPLAUSIBLE_ID: i64 = 1 << 62;
