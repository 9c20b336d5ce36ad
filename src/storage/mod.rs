//! What the domains need of a backend: names, bytes, offsets and durability; never wire types.
//!
//! [`Journal`] keeps small state (offsets, groups, catalogue), [`segment::SegmentStore`] keeps records.
//! [`OffsetStorage`] and [`GroupStorage`] are what handlers and tests see of the former.

mod cached;
pub mod disk;
pub mod filer;
mod finding;
mod journaled;
pub mod memory;
mod projection;
mod records;
mod resharding;
pub mod segment;
pub(crate) mod stalls;

pub use self::{
    cached::CachedStorage,
    finding::{Finding, Severity},
    journaled::JournaledStorage,
    segment::{FileEntry, OpenMode, SegmentFile, SegmentStore, Volume},
    stalls::Stalls,
};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

pub use crate::model::CoordinatorRecord;
use crate::model::{GroupId, GroupMetadata, OffsetMetadata, TopicPartition};

/// Which part of the small state a journal record belongs to. Records of one shard are replayed in the order of
/// their appends; there is no order between shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Topics, their configs and log starts, broker configs.
    pub const CATALOG: Self = Self(0);
    /// The next block of producer ids.
    pub const PRODUCER_IDS: Self = Self(1);
    /// How many shards the coordinator has.
    pub const GROUP_SHARDS: Self = Self(2);
    /// First of the coordinator's shards.
    const FIRST_GROUP: u16 = 1000;

    /// The journal's name of coordinator shard `index`.
    pub fn group(index: u16) -> Self {
        Self(Self::FIRST_GROUP.saturating_add(index))
    }

    /// Which coordinator shard this is; none for the others.
    pub fn group_index(self) -> Option<u16> {
        self.0.checked_sub(Self::FIRST_GROUP)
    }
}

/// Which of `shards` coordinator shards a group belongs to, as Kafka chooses the partition of `__consumer_offsets`
/// (`GroupCoordinatorService.partitionFor`): Java's `String.hashCode`, its absolute value, modulo `shards`. 0 when
/// there are none.
pub fn shard_of(group: &str, shards: u16) -> u16 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's Utils.abs: the one number without an absolute value counts as 0.
    let hash = hash.checked_abs().unwrap_or_default();
    u16::try_from(hash.checked_rem(i32::from(shards)).unwrap_or_default()).unwrap_or_default()
}

/// Why a backend could not do what it was asked; the kinds say what the caller may do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The state of the last append is unknown or it failed; rebuild from the journal before the next.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// No room; what was stored is intact, a later attempt may succeed.
    #[error("storage is full: {0}")]
    Full(String),
    /// Stored bytes do not mean anything; never served.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
    /// The backend was shut down.
    #[error("storage is closed")]
    Closed,
}

/// Resolves when what was appended is as durable as the settings ask for.
pub type Durable = BoxFuture<'static, Result<(), StorageError>>;

/// One keyed change of small state: the latest value of a key wins, none deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A durable log of keyed changes, shared by all shards.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Appends `records` all or none. The place in the order is taken at the call, before the future is polled;
    /// everything that waits shares one sync. After an error the fate of the records is unknown until
    /// [`replay`](Self::replay) of the shard has answered; what was appended meanwhile may be stored without them.
    fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable;

    /// The latest value of each live key of `shard`, everything acknowledged before the call included; no order.
    async fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError>;

    /// The same for several shards at once and piece by piece: there may be more of it than should be in memory twice.
    async fn read(&self, shards: Vec<ShardId>, into: Arc<Mutex<dyn Reading>>) -> Result<(), StorageError> {
        into.lock().begin();
        for shard in shards {
            let entries = self.replay(shard).await?;
            let mut into = into.lock();
            entries.iter().try_for_each(|(key, value)| into.change(shard, key, Some(value)))?;
        }
        Ok(())
    }

    /// The gateway serves: work that was put off for the start may begin.
    fn started(&self) {}

    /// Why appends are refused at the moment; Ok when they are not.
    fn health(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Makes everything appended durable and refuses further appends.
    async fn close(&self) -> Result<(), StorageError>;
}

/// Takes what [`Journal::read`] finds.
pub trait Reading: Send + 'static {
    /// Forgets everything: the journal is read from its beginning.
    fn begin(&mut self);

    /// A change of a key, after all earlier ones of the same key that are still in the journal; none deletes it.
    fn change(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) -> Result<(), StorageError>;
}

/// Called once with the fate of an append.
pub type Completion = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A journal that tells the fates of a shard's appends in the order of the appends, whoever waits and whether anyone
/// does.
///
/// Projections are built on this: a change must reach them in the journal's order, and also when the request that made
/// it has gone away. Futures of [`Journal::append`] can be polled in any order, or dropped.
pub trait OrderedJournal: Journal {
    /// [`Journal::append`] with a completion in place of the future. `done` runs on a thread of the journal or within
    /// this call, before that of any later append of the same shard that succeeds; it must be quick and must not use the
    /// journal.
    fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion);
}

/// Committed offsets of consumer groups.
#[async_trait]
pub trait OffsetStorage: Send + Sync + 'static {
    /// Stores all of `offsets` or none; answers when durable. A later commit of a partition replaces an earlier one.
    async fn commit(&self, group: &GroupId, offsets: Vec<(TopicPartition, OffsetMetadata)>)
    -> Result<(), StorageError>;

    /// The committed offset of one partition; none when nothing was committed.
    async fn fetch(&self, group: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError>;

    /// All committed offsets of a group, ordered by topic and partition; empty for an unknown group.
    async fn fetch_all(&self, group: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, StorageError>;

    /// Forgets the offsets of some partitions of a group; those without one are passed over.
    async fn delete(&self, group: &GroupId, partitions: &[TopicPartition]) -> Result<(), StorageError>;

    /// Forgets all offsets of a group; an unknown group is no error.
    async fn delete_group(&self, group: &GroupId) -> Result<(), StorageError>;

    /// Every group that has at least one committed offset; no order.
    async fn list_groups(&self) -> Result<Vec<GroupId>, StorageError>;
}

/// Completed generations of groups.
#[async_trait]
pub trait GroupStorage: Send + Sync + 'static {
    /// Stores the group's state, replacing what was there; answers when durable.
    async fn save(&self, group: &GroupMetadata) -> Result<(), StorageError>;

    /// The stored state of a group.
    async fn get(&self, group: &str) -> Result<Option<GroupMetadata>, StorageError>;

    /// Forgets a group's state, not its offsets; an unknown group is no error.
    async fn delete(&self, group: &GroupId) -> Result<(), StorageError>;

    /// Every stored group, ordered by id.
    async fn list(&self) -> Result<Vec<GroupMetadata>, StorageError>;
}

/// What a coordinator shard writes to: both projections, changed by one append.
#[async_trait]
pub trait CoordinatorStorage: OffsetStorage + GroupStorage {
    /// Stores all of `records` or none and answers when durable; only then do the projections show them.
    async fn append(&self, shard: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError>;

    /// Rebuilds what the projections hold of `shard` from what is durable, after a failed append.
    async fn reload(&self, shard: ShardId) -> Result<(), StorageError>;

    /// The offsets of some partitions in their order, as [`fetch`](OffsetStorage::fetch) finds them, if nobody need be
    /// waited for; none otherwise.
    fn at_hand(&self, _group: &str, _partitions: &[TopicPartition]) -> Option<Vec<Option<OffsetMetadata>>> {
        None
    }

    /// The same for [`fetch_all`](OffsetStorage::fetch_all).
    fn all_at_hand(&self, _group: &str) -> Option<Vec<(TopicPartition, OffsetMetadata)>> {
        None
    }

    /// Entries and bytes held, for metrics.
    fn size(&self) -> StorageSize;

    /// What a cache in front of the backend does; none without one.
    fn cache(&self) -> Option<CacheStats> {
        None
    }

    /// Why appends are refused at the moment; Ok when they are not.
    fn health(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// How much small state a backend holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageSize {
    pub offset_entries: u64,
    pub offset_bytes: u64,
    pub group_entries: u64,
    pub group_bytes: u64,
}

/// What a cache of offsets holds, and what it did since the start. A read of one partition is a hit or a miss, and so
/// is a read of all of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    /// Groups that made room for others.
    pub evictions: u64,
    pub groups: u64,
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_has_them() {
        // From Kafka 4.1.0: Utils.abs(group.hashCode()) % 50. The second has the hash code i32::MIN.
        let placed = [
            ("", 0),
            ("polygenelubricants", 0),
            ("a", 47),
            ("schema-registry", 29),
            ("apicurio-registry", 6),
            ("group-über-😀", 1),
        ];
        for (group, shard) in placed {
            assert_eq!(shard_of(group, 50), shard, "{group}");
        }
        assert_eq!(shard_of("any", 0), 0);
    }

    #[test]
    fn shard_ids_of_groups_read_back() {
        assert_eq!(ShardId::group(7).group_index(), Some(7));
        assert_eq!(ShardId::CATALOG.group_index(), None);
    }
}
