//! The shards over a storage that can be held back and made to fail.

mod mailbox;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::{
    clock::{MockClock, SystemClock},
    config::ConsumerGroupSettings,
    model::{CoordinatorRecord, GroupMetadata, GroupState, OffsetMetadata, TopicId, TopicPartition, TopicShape},
    storage::{GroupStorage, OffsetStorage, StorageSize},
};

#[derive(Default)]
struct FakeStorage {
    groups: Mutex<BTreeMap<GroupId, GroupMetadata>>,
    offsets: Mutex<BTreeMap<(GroupId, TopicPartition), OffsetMetadata>>,
    fails: AtomicBool,
    reload_fails: AtomicBool,
    panics: AtomicBool,
    appends: AtomicU64,
    lists: AtomicU64,
    /// Appends wait while someone holds the gate.
    gate: Gate,
    /// Each append needs a permit of its own from `steps`.
    stepping: AtomicBool,
    steps: Gate,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

#[async_trait]
impl CoordinatorStorage for FakeStorage {
    async fn append(&self, _: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        let _open = self.gate.0.acquire().await.unwrap();
        if self.stepping.load(Ordering::SeqCst) {
            self.steps.0.acquire().await.unwrap().forget();
        }
        self.appends.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants it");
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::Full("no room".into()));
        }
        for record in records {
            match record {
                CoordinatorRecord::Group { group, value: Some(value) } => drop(self.groups.lock().insert(group, value)),
                CoordinatorRecord::Group { group, value: None } => drop(self.groups.lock().remove(&group)),
                CoordinatorRecord::Offset { group, partition, value: Some(value) } => {
                    self.offsets.lock().insert((group, partition), value);
                }
                CoordinatorRecord::Offset { group, partition, value: None } => {
                    self.offsets.lock().remove(&(group, partition));
                }
            }
        }
        Ok(())
    }

    async fn reload(&self, _: ShardId) -> Result<(), StorageError> {
        if self.reload_fails.load(Ordering::SeqCst) { Err(StorageError::Unavailable("away".into())) } else { Ok(()) }
    }

    fn at_hand(&self, group: &str, partitions: &[TopicPartition]) -> Option<Vec<Option<OffsetMetadata>>> {
        let offsets = self.offsets.lock();
        Some(partitions.iter().map(|partition| offsets.get(&(group.into(), partition.clone())).cloned()).collect())
    }

    fn size(&self) -> StorageSize {
        StorageSize::default()
    }
}

#[async_trait]
impl OffsetStorage for FakeStorage {
    async fn commit(&self, _: &GroupId, _: Vec<(TopicPartition, OffsetMetadata)>) -> Result<(), StorageError> {
        unreachable!("the coordinator appends")
    }

    async fn fetch(&self, group: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError> {
        Ok(self.offsets.lock().get(&(group.into(), partition.clone())).cloned())
    }

    async fn fetch_all(&self, group: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, StorageError> {
        let offsets = self.offsets.lock();
        let of_group = offsets.iter().filter(|((id, _), _)| id.as_ref() == group);
        Ok(of_group.map(|((_, partition), value)| (partition.clone(), value.clone())).collect())
    }

    async fn delete(&self, _: &GroupId, _: &[TopicPartition]) -> Result<(), StorageError> {
        unreachable!("the coordinator appends")
    }

    async fn delete_group(&self, _: &GroupId) -> Result<(), StorageError> {
        unreachable!("the coordinator appends")
    }

    async fn list_groups(&self) -> Result<Vec<GroupId>, StorageError> {
        Ok(self.offsets.lock().keys().map(|(group, _)| group.clone()).collect())
    }
}

#[async_trait]
impl GroupStorage for FakeStorage {
    async fn save(&self, _: &GroupMetadata) -> Result<(), StorageError> {
        unreachable!("the coordinator appends")
    }

    async fn get(&self, group: &str) -> Result<Option<GroupMetadata>, StorageError> {
        Ok(self.groups.lock().get(group).cloned())
    }

    async fn delete(&self, _: &GroupId) -> Result<(), StorageError> {
        unreachable!("the coordinator appends")
    }

    async fn list(&self) -> Result<Vec<GroupMetadata>, StorageError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        Ok(self.groups.lock().values().cloned().collect())
    }
}

fn settings() -> GroupSettings {
    GroupSettings {
        session_timeout_min: Duration::from_millis(1),
        session_timeout_max: Duration::from_secs(1800),
        initial_rebalance_delay: Duration::ZERO,
        size_max: 100,
        shards: 4,
        offset_metadata_bytes_max: 4096,
        offsets_retention: Duration::from_secs(1000),
        offsets_retention_check: Duration::from_secs(10),
        consumer: ConsumerGroupSettings {
            session_timeout: Duration::from_secs(45),
            session_timeout_bounds: Duration::from_secs(45)..=Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_interval_bounds: Duration::from_secs(5)..=Duration::from_secs(15),
            size_max: 100,
            assignors: vec!["uniform".to_owned()],
            upgrades: true,
            downgrades: true,
        },
    }
}

async fn open(storage: &Arc<FakeStorage>) -> Arc<Coordinator> {
    let storage: Arc<dyn CoordinatorStorage> = storage.clone();
    Coordinator::open(storage, &settings(), Vec::new(), Arc::new(SystemClock::new()), &GroupMetrics::new().unwrap())
        .await
        .unwrap()
}

async fn start() -> (Arc<FakeStorage>, Arc<Coordinator>) {
    let storage = Arc::new(FakeStorage::default());
    let coordinator = open(&storage).await;
    (storage, coordinator)
}

fn join(group: &str, member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: group.into(),
        member_id: member_id.into(),
        group_instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "sr".into(),
        protocols: vec![("v0".into(), Bytes::from_static(b"{}"))],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    }
}

fn sync(group: &str, joined: &JoinReply) -> SyncRequest {
    SyncRequest {
        group_id: group.into(),
        generation: joined.generation,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some("sr".into()),
        protocol: Some("v0".into()),
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
    }
}

fn heartbeat(group: &str, member_id: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.into(), generation, member_id: member_id.into(), group_instance_id: None }
}

fn no_topics() -> Arc<dyn Topics> {
    Arc::new(BTreeMap::<TopicName, TopicShape>::new())
}

fn commit(group: &str, member_id: &str, generation: i32, offset: i64) -> CommitRequest {
    let partition = PartitionCommit {
        partition: TopicPartition::new("t", 0),
        topic_id: TopicId::nil(),
        offset,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp_ms: None,
    };
    CommitRequest {
        group_id: group.into(),
        generation,
        member_id: member_id.into(),
        group_instance_id: None,
        knows_member_epochs: true,
        retention_ms: None,
        partitions: vec![partition],
    }
}

fn fetch(group: &str) -> FetchOffsetsRequest {
    FetchOffsetsRequest {
        group_id: group.into(),
        partitions: Some(vec![TopicPartition::new("t", 0)]),
        member: MemberEpoch::default(),
    }
}

/// The one offset that the tests commit.
fn offset(fetched: Result<FetchedOffsets, GroupError>) -> Option<i64> {
    fetched.unwrap().first().and_then(|(_, value)| value.as_ref().map(|value| value.offset))
}

fn deleted(topic: &str, id: u128) -> (TopicName, TopicId) {
    (topic.into(), Uuid::from_u128(id))
}

async fn stable(coordinator: &Coordinator, group: &str) -> JoinReply {
    let joined = coordinator.join(join(group, ""), no_topics()).await.unwrap();
    assert_eq!(coordinator.sync(sync(group, &joined)).await.unwrap().assignment, "all");
    joined
}

#[tokio::test]
async fn a_group_lives_through_join_sync_heartbeat_commit_and_leave() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    assert_eq!(coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await, Ok(()));
    coordinator.commit_offsets(commit("g", &joined.member_id, 1, 5)).await.unwrap();
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(5));
    let all = FetchOffsetsRequest { group_id: "g".into(), partitions: None, member: MemberEpoch::default() };
    assert_eq!(coordinator.fetch_offsets(all).await.unwrap().len(), 1);
    let members = vec![LeavingMember { member_id: joined.member_id, group_instance_id: None }];
    let left = coordinator.leave(LeaveRequest { group_id: "g".into(), members }).await.unwrap();
    assert_eq!(left[0].result, Ok(()));
    assert_eq!(storage.groups.lock()["g"].state, GroupState::Empty);
    let stats = coordinator.stats();
    assert_eq!((stats.rebalances_completed, stats.offsets_committed, stats.members_removed), (1, 1, 1));
}

#[tokio::test]
async fn a_group_that_has_nothing_has_no_offsets_and_no_error() {
    let (_, coordinator) = start().await;
    assert_eq!(coordinator.fetch_offsets(fetch("g")).await, Ok(vec![(TopicPartition::new("t", 0), None)]));
    let all = FetchOffsetsRequest { group_id: "g".into(), partitions: None, member: MemberEpoch::default() };
    assert_eq!(coordinator.fetch_offsets(all).await, Ok(vec![]));
}

#[tokio::test]
async fn requests_keep_the_order_of_the_calls_however_they_are_polled() {
    let (storage, coordinator) = start().await;
    let held = storage.gate.0.acquire().await.unwrap();
    let first = coordinator.commit_offsets(commit("g", "", -1, 1));
    let before = coordinator.fetch_offsets(fetch("g"));
    let second = coordinator.commit_offsets(commit("g", "", -1, 2));
    let after = coordinator.fetch_offsets(fetch("g"));
    drop(held);
    assert_eq!(offset(after.await), Some(2));
    second.await.unwrap();
    assert_eq!(offset(before.await), Some(1), "what was asked for before the second commit does not see it");
    first.await.unwrap();
}

#[tokio::test]
async fn a_fetch_waits_for_nothing_but_changes_of_its_shard() {
    let (storage, coordinator) = start().await;
    let fetch_now = || coordinator.fetch_offsets(fetch("g")).now_or_never().map(offset);
    assert_eq!(fetch_now(), Some(None));
    let held = storage.gate.0.acquire().await.unwrap();
    let waiting = coordinator.commit_offsets(commit("g", "", -1, 1));
    let deletion = coordinator.delete_groups(vec!["g".into()]);
    assert_eq!(fetch_now(), None);
    drop(held);
    waiting.await.unwrap();
    assert_eq!(deletion.await[0].1, Ok(()));
    assert_eq!(fetch_now(), Some(None));
    // A change that nobody waits for counts until it is made.
    let held = storage.gate.0.acquire().await.unwrap();
    drop(coordinator.commit_offsets(commit("g", "", -1, 2)));
    assert_eq!(fetch_now(), None);
    drop(held);
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(2));
    // One that fails, and a shard that is not there.
    storage.fails.store(true, Ordering::SeqCst);
    storage.reload_fails.store(true, Ordering::SeqCst);
    coordinator.commit_offsets(commit("g", "", -1, 3)).await.unwrap_err();
    assert_eq!(coordinator.fetch_offsets(fetch("g")).await, Err(GroupError::CoordinatorLoadInProgress));
    coordinator.shutdown().await;
    assert_eq!(coordinator.fetch_offsets(fetch("g")).await, Err(GroupError::CoordinatorNotAvailable));
}

#[tokio::test]
async fn a_dropped_future_does_not_take_its_request_back() {
    let (_, coordinator) = start().await;
    drop(coordinator.commit_offsets(commit("g", "", -1, 9)));
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(9));
}

#[tokio::test]
async fn what_waits_is_stored_in_one_append() {
    let (storage, coordinator) = start().await;
    let held = storage.gate.0.acquire().await.unwrap();
    let first = coordinator.commit_offsets(commit("g", "", -1, 0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let rest: Vec<_> = (1..100).map(|offset| coordinator.commit_offsets(commit("g", "", -1, offset))).collect();
    drop(held);
    first.await.unwrap();
    for result in join_all(rest).await {
        result.unwrap();
    }
    assert_eq!(storage.appends.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_assignment_is_answered_when_it_is_stored() {
    let (storage, coordinator) = start().await;
    let joined = coordinator.join(join("g", ""), no_topics()).await.unwrap();
    assert_eq!(storage.groups.lock()["g"].state, GroupState::CompletingRebalance, "stored before the join's answer");
    let held = storage.gate.0.acquire().await.unwrap();
    let mut answer = Box::pin(coordinator.sync(sync("g", &joined)));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut answer).await.is_err());
    drop(held);
    answer.await.unwrap();
    assert_eq!(storage.groups.lock()["g"].state, GroupState::Stable);
}

#[tokio::test]
async fn after_a_restart_a_stable_group_goes_on() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    coordinator.commit_offsets(commit("g", &joined.member_id, 1, 5)).await.unwrap();
    coordinator.commit_offsets(commit("simple", "", -1, 6)).await.unwrap();
    coordinator.shutdown().await;
    let coordinator = open(&storage).await;
    assert_eq!(coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await, Ok(()));
    coordinator.commit_offsets(commit("g", &joined.member_id, 1, 7)).await.unwrap();
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(7));
    assert_eq!(offset(coordinator.fetch_offsets(fetch("simple")).await), Some(6));
    let counts = coordinator.state_counts().await.unwrap();
    assert_eq!(counts, StateCounts { stable: 1, empty: 1, members: 1, ..StateCounts::default() });
}

#[tokio::test]
async fn a_failed_append_is_an_error_to_retry_and_changes_nothing() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    coordinator.commit_offsets(commit("g", &joined.member_id, 1, 5)).await.unwrap();
    storage.fails.store(true, Ordering::SeqCst);
    let refused = coordinator.commit_offsets(commit("g", &joined.member_id, 1, 6)).await;
    assert_eq!(refused, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(5));
    assert_eq!(coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await, Ok(()));
    storage.fails.store(false, Ordering::SeqCst);
    coordinator.commit_offsets(commit("g", &joined.member_id, 1, 7)).await.unwrap();
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(7));
    assert_eq!(coordinator.stats().appends_failed, 1);
}

#[tokio::test]
async fn a_generation_that_could_not_be_stored_was_never_given_out() {
    let (storage, coordinator) = start().await;
    storage.fails.store(true, Ordering::SeqCst);
    let refused = coordinator.join(join("g", ""), no_topics()).await.unwrap_err();
    assert_eq!(refused.error, GroupError::CoordinatorNotAvailable);
    storage.fails.store(false, Ordering::SeqCst);
    let group = coordinator.describe(vec!["g".into()]).await.remove(0).1.unwrap();
    assert_eq!(group.state, GroupState::Dead);
}

#[tokio::test]
async fn joins_that_wait_when_a_shard_begins_anew_are_sent_back() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    let waiting = coordinator.join(join("g", ""), no_topics());
    storage.fails.store(true, Ordering::SeqCst);
    let _ = coordinator.commit_offsets(commit("g", &joined.member_id, 1, 6)).await.unwrap_err();
    assert_eq!(waiting.await.unwrap_err().error, GroupError::NotCoordinator);
    assert_eq!(coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await, Ok(()), "no rebalance any more");
}

#[tokio::test]
async fn while_storage_is_away_requests_are_told_to_come_back() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    storage.fails.store(true, Ordering::SeqCst);
    storage.reload_fails.store(true, Ordering::SeqCst);
    let _ = coordinator.commit_offsets(commit("g", &joined.member_id, 1, 6)).await.unwrap_err();
    let loading = GroupError::CoordinatorLoadInProgress;
    assert_eq!(coordinator.commit_offsets(commit("g", &joined.member_id, 1, 6)).await, Err(loading));
    assert_eq!(coordinator.fetch_offsets(fetch("g")).await, Err(loading));
    assert_eq!(coordinator.list(ListRequest::default()).await, Err(loading));
    assert_eq!(coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await, Ok(()), "as Kafka while it loads");
    storage.fails.store(false, Ordering::SeqCst);
    storage.reload_fails.store(false, Ordering::SeqCst);
    let back = async {
        while coordinator.commit_offsets(commit("g", &joined.member_id, 1, 7)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), back).await.unwrap();
    assert_eq!(offset(coordinator.fetch_offsets(fetch("g")).await), Some(7));
}

#[tokio::test]
async fn appends_that_go_on_failing_do_not_read_all_groups_each_time() {
    let (storage, coordinator) = start().await;
    storage.fails.store(true, Ordering::SeqCst);
    let lists = storage.lists.load(Ordering::SeqCst);
    for _ in 0..200 {
        coordinator.commit_offsets(commit("g", "", -1, 1)).await.unwrap_err();
    }
    assert!(storage.lists.load(Ordering::SeqCst) - lists <= 3);
}

#[tokio::test]
async fn a_heartbeat_does_not_wait_for_the_records_of_another_group() {
    let (storage, coordinator) = start().await;
    let ids: Vec<String> = (0..200).map(|i| format!("g{i}")).collect();
    let same: Vec<_> = ids.iter().filter(|id| shard_of(id, 4) == 0).take(3).collect();
    let joined = stable(&coordinator, same[0]).await;
    storage.steps.0.forget_permits(1);
    storage.stepping.store(true, Ordering::SeqCst);
    let first = coordinator.commit_offsets(commit(same[1], "", -1, 1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Both are taken from the mailbox in one round, when the first append is done.
    let mut second = Box::pin(coordinator.commit_offsets(commit(same[2], "", -1, 1)));
    let beat = coordinator.heartbeat(heartbeat(same[0], &joined.member_id, 1));
    storage.steps.0.add_permits(1);
    first.await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), beat).await.unwrap(), Ok(()));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
    storage.steps.0.add_permits(1);
    second.await.unwrap();
}

#[tokio::test]
async fn sessions_expire_by_the_clock_alone() {
    let (storage, coordinator) = start().await;
    let joined = coordinator.join(JoinRequest { session_timeout_ms: 50, ..join("g", "") }, no_topics()).await.unwrap();
    coordinator.sync(sync("g", &joined)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while storage.groups.lock()["g"].state != GroupState::Empty {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn offsets_expire_and_empty_groups_go() {
    let storage = Arc::new(FakeStorage::default());
    let clock = MockClock::at(1_000_000);
    let as_storage: Arc<dyn CoordinatorStorage> = storage.clone();
    let metrics = GroupMetrics::new().unwrap();
    let coordinator =
        Coordinator::open(as_storage, &settings(), Vec::new(), Arc::new(clock.clone()), &metrics).await.unwrap();
    coordinator.commit_offsets(commit("g", "", -1, 1)).await.unwrap();
    clock.advance(Duration::from_secs(999));
    coordinator.state_counts().await.unwrap();
    assert_eq!(storage.offsets.lock().len(), 1);
    clock.advance(Duration::from_secs(11));
    coordinator.state_counts().await.unwrap();
    // The look for expired offsets comes after the requests of its round.
    coordinator.state_counts().await.unwrap();
    assert_eq!(storage.offsets.lock().len(), 0);
    assert_eq!(coordinator.list(ListRequest::default()).await, Ok(vec![]));
    assert_eq!(coordinator.stats().offsets_expired, 1);
    assert_eq!(coordinator.stats().groups_deleted, 1);
}

#[tokio::test]
async fn groups_are_deleted_listed_and_described_over_all_shards() {
    let (storage, coordinator) = start().await;
    for group in ["a", "b", "c", "d", "e"] {
        coordinator.commit_offsets(commit(group, "", -1, 1)).await.unwrap();
    }
    stable(&coordinator, "live").await;
    assert_eq!(coordinator.list(ListRequest::default()).await.unwrap().len(), 6);
    let described = coordinator.describe(vec!["live".into(), "none".into(), "a".into()]).await;
    let states: Vec<_> = described.into_iter().map(|(id, group)| (id.to_string(), group.unwrap().state)).collect();
    let expected = [("live", GroupState::Stable), ("none", GroupState::Dead), ("a", GroupState::Empty)];
    assert_eq!(states, expected.map(|(id, state)| (id.to_owned(), state)));
    let deleted = coordinator.delete_groups(vec!["a".into(), "live".into(), "none".into()]).await;
    let results: Vec<_> = deleted.into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Ok(()), Err(GroupError::NonEmptyGroup), Err(GroupError::GroupIdNotFound)]);
    assert!(!storage.offsets.lock().keys().any(|(group, _)| &**group == "a"));
    assert_eq!(coordinator.list(ListRequest::default()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn deleted_topics_take_their_offsets_in_every_group() {
    let (storage, coordinator) = start().await;
    for group in ["a", "b", "c", "d", "e"] {
        coordinator.commit_offsets(commit(group, "", -1, 1)).await.unwrap();
    }
    coordinator.on_topics_deleted(vec![deleted("other", 1)]).await.unwrap();
    assert_eq!(storage.offsets.lock().len(), 5);
    coordinator.on_topics_deleted(vec![deleted("other", 1), deleted("t", 2)]).await.unwrap();
    assert_eq!(storage.offsets.lock().len(), 0);
    storage.fails.store(true, Ordering::SeqCst);
    storage.offsets.lock().insert(("a".into(), TopicPartition::new("t", 0)), OffsetMetadata::at(3));
    let failed = coordinator.on_topics_deleted(vec![deleted("t", 2)]).await;
    assert_eq!(failed, Err(GroupError::CoordinatorNotAvailable));
}

#[tokio::test]
async fn a_deleted_topic_leaves_the_offsets_of_its_successor() {
    let (storage, coordinator) = start().await;
    for (group, topic_id) in [("nil", 0), ("old", 1), ("new", 2)] {
        let mut request = commit(group, "", -1, 1);
        request.partitions[0].topic_id = Uuid::from_u128(topic_id);
        coordinator.commit_offsets(request).await.unwrap();
    }
    coordinator.on_topics_deleted(vec![deleted("t", 1)]).await.unwrap();
    let left: Vec<_> = storage.offsets.lock().keys().map(|(group, _)| group.to_string()).collect();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn a_batch_is_stored_before_it_grows_too_large() {
    let (storage, coordinator) = start().await;
    let held = storage.gate.0.acquire().await.unwrap();
    let first = coordinator.commit_offsets(commit("g", "", -1, 0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let metadata: Arc<str> = "m".repeat(4096).into();
    let large = |offset| {
        let mut request = commit("g", "", -1, offset);
        let one = PartitionCommit { metadata: Arc::clone(&metadata).into(), ..request.partitions.remove(0) };
        request.partitions = vec![one; 1024];
        coordinator.commit_offsets(request)
    };
    let rest: Vec<_> = (1..=10).map(large).collect();
    drop(held);
    first.await.unwrap();
    for result in join_all(rest).await {
        result.unwrap();
    }
    assert_eq!(storage.appends.load(Ordering::SeqCst), 4, "the first, then batches of 4, 4 and 2");
}

#[tokio::test]
async fn offsets_are_deleted_one_by_one() {
    let (storage, coordinator) = start().await;
    coordinator.commit_offsets(commit("g", "", -1, 1)).await.unwrap();
    let request = DeleteOffsetsRequest { group_id: "g".into(), partitions: vec![TopicPartition::new("t", 0)] };
    let deleted = coordinator.delete_offsets(request).await.unwrap();
    assert_eq!(deleted, [(TopicPartition::new("t", 0), Ok(()))]);
    assert_eq!(storage.offsets.lock().len(), 0);
}

#[tokio::test]
async fn a_full_mailbox_answers_at_once() {
    let (storage, coordinator) = start().await;
    let held = storage.gate.0.acquire().await.unwrap();
    let first = coordinator.commit_offsets(commit("g", "", -1, 0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut waiting: Vec<_> =
        (0..super::mailbox::SIZE_MAX).map(|i| coordinator.commit_offsets(commit("g", "", -1, i as i64))).collect();
    let refused = coordinator.commit_offsets(commit("g", "", -1, -1)).await;
    assert_eq!(refused, Err(GroupError::CoordinatorLoadInProgress));
    drop(held);
    first.await.unwrap();
    waiting.pop().unwrap().await.unwrap();
}

#[tokio::test]
async fn shutdown_stores_what_was_asked_and_sends_waiting_joins_away() {
    let (storage, coordinator) = start().await;
    let joined = stable(&coordinator, "g").await;
    let waiting = coordinator.join(join("g", ""), no_topics());
    coordinator.begin_shutdown();
    assert_eq!(waiting.await.unwrap_err().error, GroupError::NotCoordinator);
    let late = coordinator.join(join("g", ""), no_topics()).await.unwrap_err();
    assert_eq!(late.error, GroupError::NotCoordinator);
    let committed = coordinator.commit_offsets(commit("g", &joined.member_id, 1, 5));
    coordinator.shutdown().await;
    committed.await.unwrap();
    assert_eq!(storage.offsets.lock().len(), 1);
    let refused = coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).await;
    assert_eq!(refused, Err(GroupError::CoordinatorNotAvailable));
}
