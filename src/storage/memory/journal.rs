//! A journal that ends with the process.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{Completion, Durable, Journal, JournalRecord, OrderedJournal, ShardId, StorageError};

/// The latest value of each key, in the heap: the catalogue works on it as on disk.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shards: HashMap<ShardId, HashMap<Bytes, Bytes>>,
    closed: bool,
}

impl MemoryJournal {
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn append(&mut self, shard: ShardId, records: Vec<JournalRecord>) -> Result<(), StorageError> {
        if self.closed {
            return Err(StorageError::Closed);
        }
        let shard = self.shards.entry(shard).or_default();
        for JournalRecord { key, value } in records {
            // Copies, because a slice would keep the whole request alive that it is part of.
            match value {
                Some(value) => shard.insert(Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)),
                None => shard.remove(&key),
            };
        }
        Ok(())
    }
}

impl OrderedJournal for MemoryJournal {
    fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion) {
        let mut state = self.state.lock();
        let outcome = state.append(shard, records);
        // Under the lock: completions keep the order of the appends.
        done(outcome);
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable {
        let outcome = self.state.lock().append(shard, records);
        Box::pin(std::future::ready(outcome))
    }

    async fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let state = self.state.lock();
        let entries = state.shards.get(&shard).into_iter().flatten();
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.state.lock().closed = true;
        Ok(())
    }
}
