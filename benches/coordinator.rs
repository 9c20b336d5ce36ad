//! The group coordinator: one step of its machine among 100, 1,000 and 10,000 groups of 10 members, and a round of
//! heartbeats of all of them.
//!
//! `heartbeats` is the time for one heartbeat of each of the 100,000 members through the shards and their mailboxes.
//! Members send one each 3 s, so what the round takes below 3 s is the share of one core that goes into it.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says so and ends")]

use std::{cell::Cell, collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use tidegate::{
    catalog::Snapshot,
    clock::SystemClock,
    config::{ConsumerGroupSettings, GroupSettings},
    coordinator::{
        Assignor, CommitRequest, Config, ConsumerConfig, Coordinator, Event, HeartbeatRequest, JoinRequest,
        LeaveRequest, LeavingMember, Machine, Migration, Now, Output, PartitionCommit, Reply, Request, SyncRequest,
        Token,
    },
    metrics::GroupMetrics,
    model::{
        CoordinatorRecord, GroupId, GroupMetadata, GroupState, MemberMetadata, TopicId, TopicPartition,
        group::Base64Bytes,
    },
    storage::{CoordinatorStorage, ShardId, memory::MemoryStorage, shard_of},
};
use uuid::Uuid;

fn group_id(number: usize) -> GroupId {
    format!("group-{number}").into()
}

fn member_id(number: usize) -> Arc<str> {
    format!("consumer-{number}-6e1e4a5c-0d2f-4f0f-9c3a-0e6b8f9d1c2b").into()
}

/// A stable group as it is stored.
fn stable(number: usize) -> GroupMetadata {
    let member = |number| MemberMetadata {
        member_id: member_id(number),
        group_instance_id: None,
        client_id: "consumer".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocols: vec![("range".into(), Base64Bytes(Bytes::from_static(b"subscription")))],
        assignment: Base64Bytes(Bytes::from_static(b"assignment")),
    };
    GroupMetadata {
        group_id: group_id(number),
        protocol_type: "consumer".into(),
        protocol: Some("range".into()),
        generation: 1,
        leader: Some(member_id(0)),
        state: GroupState::Stable,
        state_timestamp_ms: 0,
        members: (0..MEMBERS).map(member).map(Arc::new).collect(),
        consumer: None,
    }
}

fn heartbeat(group: &GroupId, member_id: &Arc<str>) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: Arc::clone(group),
        generation: 1,
        member_id: Arc::clone(member_id),
        group_instance_id: None,
    }
}

fn commit(group: &GroupId, member_id: &Arc<str>) -> CommitRequest {
    let topic: Arc<str> = "topic".into();
    let partition = |number| PartitionCommit {
        partition: TopicPartition::new(Arc::clone(&topic), number),
        topic_id: TopicId::nil(),
        offset: 1,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp_ms: None,
    };
    CommitRequest {
        group_id: Arc::clone(group),
        generation: 1,
        member_id: Arc::clone(member_id),
        group_instance_id: None,
        knows_member_epochs: true,
        retention_ms: None,
        partitions: (0..10).map(partition).collect(),
    }
}

/// One machine with all groups, its clock, and whose turn it is.
struct Driven {
    machine: Machine,
    groups: Vec<GroupId>,
    members: Vec<Arc<str>>,
    turn: Cell<usize>,
    now_ms: u64,
    token: u64,
}

impl Driven {
    fn new(groups: usize) -> Self {
        let config = Config {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 0,
            size_max: 10_000,
            offset_metadata_max: 4096,
            offsets_retention_ms: i64::MAX,
            consumer: ConsumerConfig {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5_000,
                size_max: 10_000,
                assignors: vec![Assignor::Uniform],
                migration: Migration { upgrades: true, downgrades: true },
                of_groups: HashMap::new(),
            },
        };
        let now = Now { wall_ms: 0, monotonic_ms: 0 };
        Self {
            machine: Machine::restore(config, (0..groups).map(stable).collect(), Vec::new(), now),
            groups: (0..groups).map(group_id).collect(),
            members: (0..MEMBERS).map(member_id).collect(),
            turn: Cell::new(0),
            now_ms: 0,
            token: 0,
        }
    }

    /// A member of some group; each has its turn.
    fn next(&self) -> (&GroupId, &Arc<str>) {
        self.turn.set(self.turn.get() + 7919);
        let at = |length: usize| self.turn.get() % length;
        (
            self.groups.get(at(self.groups.len())).expect("a group"),
            self.members.get(self.turn.get() / self.groups.len() % MEMBERS).expect("a member"),
        )
    }

    fn ask(&mut self, request: Request) -> Output {
        self.token += 1;
        self.machine.step(Event::Request(Token(self.token), request), self.now())
    }

    fn now(&self) -> Now {
        Now { wall_ms: 0, monotonic_ms: self.now_ms }
    }

    /// One member joins a group of its own, gets its assignment and leaves.
    fn rebalance(&mut self) {
        let group: GroupId = "rebalancing".into();
        let join = JoinRequest {
            group_id: Arc::clone(&group),
            member_id: "".into(),
            group_instance_id: None,
            client_id: "consumer".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 300_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"subscription"))],
            requires_known_member_id: false,
            supports_skipping_assignment: true,
        };
        let joined = self.ask(Request::Join(join, Uuid::from_u128(self.token.into()), Arc::new(Snapshot::default())));
        // A new group's first join phase ends with a timer, if after no time at all.
        let ended = self.machine.step(Event::Timers, self.now());
        let Some((_, Reply::Join(Ok(joined)))) = joined.replies.into_iter().chain(ended.replies).next() else {
            unreachable!("the join phase ends when the one member has joined")
        };
        let sync = SyncRequest {
            group_id: Arc::clone(&group),
            generation: joined.generation,
            member_id: Arc::clone(&joined.member_id),
            group_instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: vec![(Arc::clone(&joined.member_id), Bytes::from_static(b"assignment"))],
        };
        let synced = self.ask(Request::Sync(sync));
        assert!(matches!(synced.replies.first(), Some((_, Reply::Sync(Ok(_))))), "{synced:?}");
        let members = vec![LeavingMember { member_id: joined.member_id, group_instance_id: None }];
        let left = self.ask(Request::Leave(LeaveRequest { group_id: group, members }));
        assert!(matches!(left.replies.first(), Some((_, Reply::Leave(Ok(_))))), "{left:?}");
    }
}

fn step(criterion: &mut Criterion) {
    let mut step = criterion.benchmark_group("step");
    for groups in [100, 1_000, 10_000] {
        let mut driven = Driven::new(groups);
        step.bench_function(BenchmarkId::new("heartbeat", groups), |bencher| {
            bencher.iter(|| {
                let (group, member) = driven.next();
                let request = Request::Heartbeat(heartbeat(group, member));
                let out = driven.ask(request);
                assert!(matches!(out.replies.first(), Some((_, Reply::Heartbeat(Ok(()))))));
            });
        });
        step.bench_function(BenchmarkId::new("commit of 10", groups), |bencher| {
            bencher.iter(|| {
                let (group, member) = driven.next();
                let request = Request::Commit(commit(group, member));
                black_box(driven.ask(request)).records.len()
            });
        });
        step.bench_function(BenchmarkId::new("join, sync and leave", groups), |bencher| {
            bencher.iter(|| driven.rebalance());
        });
        // All heartbeats of 3 s at 100 moments, and the timers that come due between them.
        step.bench_function(BenchmarkId::new("3 s of heartbeats", groups), |bencher| {
            bencher.iter(|| {
                for _ in 0..100 {
                    driven.now_ms += 30;
                    for _ in 0..groups * MEMBERS / 100 {
                        let (group, member) = driven.next();
                        let request = Request::Heartbeat(heartbeat(group, member));
                        black_box(driven.ask(request));
                    }
                    if driven.machine.next_timer_ms().is_some_and(|at_ms| at_ms <= driven.now_ms) {
                        let expired = driven.machine.step(Event::Timers, driven.now());
                        assert_eq!(expired.notices, [], "nobody's session may expire");
                    }
                }
            });
        });
    }
}

fn heartbeats(criterion: &mut Criterion) {
    // One thread, so that time is processor time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut heartbeats = criterion.benchmark_group("heartbeats");
    heartbeats.sample_size(20).measurement_time(Duration::from_secs(10));
    for groups in [100, 1_000, 10_000] {
        let coordinator = runtime.block_on(coordinator(groups));
        let ids: Vec<_> = (0..groups).map(group_id).collect();
        let members: Vec<_> = (0..MEMBERS).map(member_id).collect();
        heartbeats.throughput(Throughput::Elements((groups * MEMBERS) as u64));
        heartbeats.bench_function(BenchmarkId::new("groups of 10", groups), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                for member in &members {
                    // As many at once as come in together, and not so many that a mailbox is full.
                    for some in ids.chunks(1000) {
                        let asked: Vec<_> =
                            some.iter().map(|group| coordinator.heartbeat(heartbeat(group, member))).collect();
                        assert!(join_all(asked).await.iter().all(Result::is_ok), "a heartbeat was refused");
                    }
                }
            });
        });
    }
}

/// A coordinator that was restarted with stable groups.
async fn coordinator(groups: usize) -> Arc<Coordinator> {
    let storage = MemoryStorage::new();
    for number in 0..groups {
        let group = group_id(number);
        let shard = ShardId::group(shard_of(&group, SHARDS));
        let record = CoordinatorRecord::Group { group, value: Some(stable(number)) };
        storage.append(shard, vec![record]).await.expect("a group stored");
    }
    let settings = GroupSettings {
        session_timeout_min: Duration::from_secs(6),
        session_timeout_max: Duration::from_secs(1800),
        initial_rebalance_delay: Duration::ZERO,
        size_max: 10_000,
        shards: SHARDS,
        offset_metadata_bytes_max: 4096,
        offsets_retention: Duration::from_secs(7 * 86_400),
        offsets_retention_check: Duration::from_secs(600),
        consumer: ConsumerGroupSettings {
            session_timeout: Duration::from_secs(45),
            session_timeout_bounds: Duration::from_secs(45)..=Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_interval_bounds: Duration::from_secs(5)..=Duration::from_secs(15),
            size_max: 10_000,
            assignors: vec!["uniform".into()],
            upgrades: true,
            downgrades: true,
        },
    };
    let metrics = GroupMetrics::new().expect("metrics");
    let opened =
        Coordinator::open(Arc::new(storage), &settings, Vec::new(), Arc::new(SystemClock::new()), &metrics).await;
    opened.expect("a coordinator")
}

const MEMBERS: usize = 10;
const SHARDS: u16 = 50;

criterion_group!(benches, step, heartbeats);
criterion_main!(benches);
