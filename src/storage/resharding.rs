//! Another number of coordinator shards (`offsets.topic.num.partitions`) than the journal was written with.
//!
//! Kafka says that the number must not change after the deployment, and loses sight of offsets when it does. Here
//! groups are moved when the storage is opened: copies first, then the number, then what is left over. A crash before
//! the number is written leaves the old places right, after it the new ones; what is in neither is removed.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::{Journal, JournalRecord, ShardId, StorageError, records::group_of, shard_of};

/// Makes every group be in the shard that [`shard_of`] gives for `shards`.
pub(super) async fn ensure(journal: &dyn Journal, shards: u16) -> Result<(), StorageError> {
    let (before, leftovers) = match stored(journal).await? {
        Some(stored) if stored == (Stored { shards, leftovers_to: 0 }) => return Ok(()),
        None => return store(journal, Stored { shards, leftovers_to: 0 }).await,
        Some(stored) => (stored.shards, stored.leftovers_to),
    };
    let end = shards.max(before).max(leftovers);
    if before != shards {
        tracing::info!(before, now = shards, "moving groups to another number of coordinator shards");
        store(journal, Stored { shards: before, leftovers_to: end }).await?;
        for index in 0..before {
            copy(journal, index, before, shards).await?;
        }
    }
    store(journal, Stored { shards, leftovers_to: end }).await?;
    for index in 0..end {
        remove_leftovers(journal, index, shards).await?;
    }
    store(journal, Stored { shards, leftovers_to: 0 }).await
}

/// The number of shards, and up to which shard (exclusive) there may be records of groups that have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    shards: u16,
    leftovers_to: u16,
}

/// Appends what belongs to shard `index` of `before` shards to its shards among `shards`.
async fn copy(journal: &dyn Journal, index: u16, before: u16, shards: u16) -> Result<(), StorageError> {
    let mut moving: BTreeMap<u16, Vec<JournalRecord>> = BTreeMap::new();
    for (key, value) in journal.replay(ShardId::group(index)).await? {
        let group = group_of(&key)?;
        let to = shard_of(&group, shards);
        // What does not belong here by the old number was copied here by an attempt that did not finish.
        if to != index && shard_of(&group, before) == index {
            moving.entry(to).or_default().push(JournalRecord { key, value: Some(value) });
        }
    }
    for (to, records) in moving {
        append(journal, to, records).await?;
    }
    Ok(())
}

async fn remove_leftovers(journal: &dyn Journal, index: u16, shards: u16) -> Result<(), StorageError> {
    let mut gone = Vec::new();
    for (key, _) in journal.replay(ShardId::group(index)).await? {
        if shard_of(&group_of(&key)?, shards) != index {
            gone.push(JournalRecord { key, value: None });
        }
    }
    append(journal, index, gone).await
}

async fn append(journal: &dyn Journal, index: u16, records: Vec<JournalRecord>) -> Result<(), StorageError> {
    for chunk in records.chunks(RECORDS_AT_ONCE) {
        journal.append(ShardId::group(index), chunk.to_vec()).await?;
    }
    Ok(())
}

async fn stored(journal: &dyn Journal) -> Result<Option<Stored>, StorageError> {
    let entries = journal.replay(ShardId::GROUP_SHARDS).await?;
    let Some((_, mut value)) = entries.into_iter().find(|(key, _)| key == KEY) else { return Ok(None) };
    match (value.try_get_u8(), value.try_get_u16(), value.try_get_u16()) {
        (Ok(VERSION), Ok(shards), Ok(leftovers_to)) if shards > 0 => Ok(Some(Stored { shards, leftovers_to })),
        _ => Err(StorageError::Corrupt("the number of coordinator shards in the journal is malformed".to_owned())),
    }
}

async fn store(journal: &dyn Journal, Stored { shards, leftovers_to }: Stored) -> Result<(), StorageError> {
    let mut value = vec![VERSION];
    value.extend_from_slice(&shards.to_be_bytes());
    value.extend_from_slice(&leftovers_to.to_be_bytes());
    let record = JournalRecord { key: Bytes::from_static(KEY), value: Some(value.into()) };
    journal.append(ShardId::GROUP_SHARDS, vec![record]).await
}

const KEY: &[u8] = b"shards";
const VERSION: u8 = 1;
/// Few enough for one append, whatever the records are: the journal's limit is 256 MiB.
const RECORDS_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use async_trait::async_trait;

    use super::*;
    use crate::{
        model::{OffsetMetadata, TopicPartition},
        storage::{
            Completion, CoordinatorStorage, Durable, JournaledStorage, OffsetStorage, OrderedJournal,
            memory::MemoryJournal,
        },
    };

    /// Refuses every append after some.
    struct Failing {
        journal: Arc<MemoryJournal>,
        left: AtomicUsize,
    }

    impl Failing {
        fn fails(&self) -> bool {
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        }
    }

    impl OrderedJournal for Failing {
        fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion) {
            if self.fails() { done(Err(StorageError::Closed)) } else { self.journal.append_then(shard, records, done) }
        }
    }

    #[async_trait]
    impl Journal for Failing {
        fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable {
            if self.fails() {
                return Box::pin(std::future::ready(Err(StorageError::Closed)));
            }
            self.journal.append(shard, records)
        }

        async fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
            self.journal.replay(shard).await
        }

        async fn close(&self) -> Result<(), StorageError> {
            self.journal.close().await
        }
    }

    async fn commit_all(storage: &JournaledStorage, offset: i64) {
        for number in 0..GROUPS {
            let offsets = vec![(TopicPartition::new("t", 0), OffsetMetadata::at(offset + number))];
            storage.commit(&format!("group {number}").into(), offsets).await.unwrap();
        }
    }

    async fn assert_all(storage: &JournaledStorage, offset: i64) {
        assert_eq!(storage.size().offset_entries, GROUPS as u64);
        for number in 0..GROUPS {
            let found = storage.fetch(&format!("group {number}"), &TopicPartition::new("t", 0)).await.unwrap();
            assert_eq!(found.unwrap().offset, offset + number);
        }
    }

    const GROUPS: i64 = 100;

    #[tokio::test]
    async fn groups_are_found_with_any_number_of_shards() {
        let journal = Arc::new(MemoryJournal::new());
        for (round, shards) in (0..).zip([50, 50, 7, 1, 0, 64, 50]) {
            let storage = JournaledStorage::open(journal.clone(), shards).await.unwrap();
            if round > 0 {
                assert_all(&storage, round - 1).await;
            }
            commit_all(&storage, round).await;
        }
    }

    #[tokio::test]
    async fn a_crash_in_the_middle_of_moving_loses_nothing_and_brings_nothing_back() {
        for appends in 0..200 {
            let journal = Arc::new(MemoryJournal::new());
            commit_all(&JournaledStorage::open(journal.clone(), 10).await.unwrap(), 0).await;
            let failing = Arc::new(Failing { journal: journal.clone(), left: AtomicUsize::new(appends) });
            let finished = JournaledStorage::open(failing, 13).await.is_ok();
            // With the old number again, written to, and then the new one after all.
            let storage = JournaledStorage::open(journal.clone(), 10).await.unwrap();
            assert_all(&storage, 0).await;
            commit_all(&storage, 1000).await;
            let storage = JournaledStorage::open(journal.clone(), 13).await.unwrap();
            assert_all(&storage, 1000).await;
            if finished {
                assert!(appends > 20);
                return;
            }
        }
        panic!("moving never finished");
    }
}
