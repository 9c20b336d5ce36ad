//! The machine under explicit time: every test says what goes in, when, and what must come out.

mod consumer;
mod crash;
mod join;
mod lifecycle;
mod migration;
mod offsets;
mod static_members;
mod sync;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::model::{
    CoordinatorRecord, GroupMetadata, GroupState, OffsetMetadata, Partitions, TopicId, TopicName, TopicPartition,
    TopicShape,
};

const SESSION_MS: u64 = 10_000;
const REBALANCE_MS: u64 = 60_000;

/// A machine, its clock, what was stored so far and what was answered.
struct Harness {
    machine: Machine,
    now: Now,
    tokens: u64,
    stored: Stored,
    replies: BTreeMap<Token, Reply>,
    /// Records of the last step.
    records: Vec<CoordinatorRecord>,
    topics: Arc<BTreeMap<TopicName, TopicShape>>,
}

/// What a store has after replaying records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    groups: BTreeMap<GroupId, GroupMetadata>,
    offsets: BTreeMap<(GroupId, TopicPartition), OffsetMetadata>,
}

impl Stored {
    fn apply(&mut self, record: &CoordinatorRecord) {
        match record.clone() {
            CoordinatorRecord::Group { group, value: Some(value) } => drop(self.groups.insert(group, value)),
            CoordinatorRecord::Group { group, value: None } => drop(self.groups.remove(&group)),
            CoordinatorRecord::Offset { group, partition, value: Some(value) } => {
                self.offsets.insert((group, partition), value);
            }
            CoordinatorRecord::Offset { group, partition, value: None } => {
                self.offsets.remove(&(group, partition));
            }
        }
    }

    fn offsets_of(&self, group: &str) -> Vec<(TopicPartition, OffsetMetadata)> {
        let of_group = self.offsets.iter().filter(|((id, _), _)| id.as_ref() == group);
        of_group.map(|((_, partition), value)| (partition.clone(), value.clone())).collect()
    }

    fn restore(&self, config: Config, now: Now) -> Machine {
        let mut with_offsets: Vec<GroupId> = self.offsets.keys().map(|(group, _)| group.clone()).collect();
        with_offsets.dedup();
        Machine::restore(config, self.groups.values().cloned().collect(), with_offsets, now)
    }
}

impl Harness {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let now = Now { wall_ms: 1_000_000, monotonic_ms: 0 };
        Self {
            machine: Machine::restore(config, Vec::new(), Vec::new(), now),
            now,
            tokens: 0,
            stored: Stored::default(),
            replies: BTreeMap::new(),
            records: Vec::new(),
            topics: Arc::default(),
        }
    }

    fn step(&mut self, event: Event) {
        let out = self.machine.step(event, self.now);
        out.records.iter().for_each(|record| self.stored.apply(record));
        for (token, reply) in out.replies {
            assert!(self.replies.insert(token, reply).is_none(), "{token:?} was answered twice");
        }
        self.records = out.records;
        for (group, value) in self.machine.durable() {
            let stored = self.stored.groups.get(&group).cloned().map(|stored| match stored.consumer {
                Some(_) => GroupMetadata { state_timestamp_ms: 0, ..stored },
                None => stored,
            });
            assert_eq!(Some(value), stored, "the machine and the store disagree");
        }
    }

    fn ask(&mut self, request: Request) -> Token {
        let token = Token(self.tokens);
        self.tokens += 1;
        self.step(Event::Request(token, request));
        token
    }

    /// The answer that must be there by now.
    fn reply(&mut self, token: Token) -> Reply {
        self.replies.remove(&token).unwrap_or_else(|| panic!("{token:?} still waits"))
    }

    fn waits(&self, token: Token) -> bool {
        !self.replies.contains_key(&token)
    }

    /// Moves the time and lets timers run, as often as the machine asks for it.
    fn advance(&mut self, by_ms: u64) {
        let end_ms = self.now.monotonic_ms + by_ms;
        let mut records = Vec::new();
        loop {
            let next_ms = self.machine.next_timer_ms().map_or(end_ms, |at_ms| at_ms.min(end_ms));
            let step_ms = next_ms.saturating_sub(self.now.monotonic_ms);
            self.now.monotonic_ms += step_ms;
            self.now.wall_ms += step_ms as i64;
            self.step(Event::Timers);
            records.append(&mut self.records);
            if self.now.monotonic_ms == end_ms && self.machine.next_timer_ms().is_none_or(|at_ms| at_ms > end_ms) {
                break;
            }
        }
        self.records = records;
    }

    /// Ends the process and starts it again.
    fn restart(&mut self) {
        let config = self.machine.config.clone();
        self.machine = self.stored.restore(config, self.now);
        self.replies.clear();
    }

    fn join(&mut self, request: JoinRequest) -> Token {
        let uuid = Uuid::from_u128(u128::from(self.tokens) + 1);
        self.ask(Request::Join(request, uuid, Arc::clone(&self.topics) as _))
    }

    fn joined(&mut self, token: Token) -> JoinReply {
        match self.reply(token) {
            Reply::Join(Ok(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn join_error(&mut self, token: Token) -> GroupError {
        match self.reply(token) {
            Reply::Join(Err(refused)) => refused.error,
            other => panic!("{other:?}"),
        }
    }

    fn sync(&mut self, reply: &JoinReply, assignments: &[(&str, &str)]) -> Token {
        self.ask(Request::Sync(sync(reply, assignments)))
    }

    fn synced(&mut self, token: Token) -> Bytes {
        match self.reply(token) {
            Reply::Sync(Ok(reply)) => reply.assignment,
            other => panic!("{other:?}"),
        }
    }

    fn sync_error(&mut self, token: Token) -> GroupError {
        match self.reply(token) {
            Reply::Sync(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), GroupError> {
        let token = self.ask(Request::Heartbeat(HeartbeatRequest {
            group_id: "g".into(),
            generation,
            member_id: member_id.into(),
            group_instance_id: None,
        }));
        match self.reply(token) {
            Reply::Heartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<Result<(), GroupError>> {
        let leaving = |(member_id, instance): &(&str, Option<&str>)| LeavingMember {
            member_id: (*member_id).into(),
            group_instance_id: instance.map(Arc::from),
        };
        let members = members.iter().map(leaving).collect();
        let token = self.ask(Request::Leave(LeaveRequest { group_id: "g".into(), members }));
        match self.reply(token) {
            Reply::Leave(Ok(left)) => left.into_iter().map(|member| member.result).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, request: CommitRequest) -> Result<PartitionResults, GroupError> {
        let token = self.ask(Request::Commit(request));
        match self.reply(token) {
            Reply::Commit(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn delete_offsets(&mut self, topics: &[&str]) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let partitions = topics.iter().map(|topic| TopicPartition::new(*topic, 0)).collect();
        let token = self.ask(Request::DeleteOffsets(DeleteOffsetsRequest { group_id: "g".into(), partitions }));
        match self.reply(token) {
            Reply::DeleteOffsets(result) => {
                result.map(|results| results.into_iter().map(|(_, result)| result).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn delete_group(&mut self) -> Result<(), GroupError> {
        let partitions = self.stored.offsets_of("g").into_iter().map(|(partition, _)| partition).collect();
        let token = self.ask(Request::DeleteGroup("g".into(), partitions));
        match self.reply(token) {
            Reply::DeleteGroup(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// What the shard does now and then for each group.
    fn expire(&mut self) {
        let offsets = self.stored.offsets_of("g");
        self.step(Event::ExpireOffsets("g".into(), offsets));
    }

    fn describe(&mut self) -> DescribedGroup {
        let token = self.ask(Request::Describe(vec!["g".into()]));
        match self.reply(token) {
            Reply::Describe(Ok(mut groups)) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> GroupState {
        self.describe().state
    }

    /// A stable group of dynamic members in one generation; the join replies in the order of the ids, leader first.
    fn stable(&mut self, size: usize) -> Vec<JoinReply> {
        let tokens: Vec<_> = (0..size).map(|_| self.join(join(""))).collect();
        self.advance(self.machine.config.initial_rebalance_delay_ms * 2 + 1);
        let mut replies: Vec<_> = tokens.into_iter().map(|token| self.joined(token)).collect();
        replies.sort_by_key(|reply| reply.leader != reply.member_id);
        self.assign(&replies);
        replies
    }

    /// Every member syncs; each gets its own id as assignment.
    fn assign(&mut self, replies: &[JoinReply]) {
        let ids: Vec<_> = replies.iter().map(|reply| (reply.member_id.as_ref(), reply.member_id.as_ref())).collect();
        let tokens: Vec<_> = replies.iter().map(|reply| self.sync(reply, &ids)).collect();
        for (token, reply) in tokens.into_iter().zip(replies) {
            assert_eq!(self.synced(token), reply.member_id.as_bytes());
        }
        assert_eq!(self.state(), GroupState::Stable);
    }
}

fn config() -> Config {
    Config {
        session_timeout_min_ms: 6_000,
        session_timeout_max_ms: 1_800_000,
        initial_rebalance_delay_ms: 0,
        size_max: 1_000,
        offset_metadata_max: 16,
        offsets_retention_ms: 100_000,
        consumer: ConsumerConfig {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            size_max: 1_000,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            migration: Migration { upgrades: true, downgrades: true },
            of_groups: HashMap::new(),
        },
    }
}

/// A join of a dynamic member of the consumer protocol, as versions before 4 send it.
fn join(member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS as i32,
        rebalance_timeout_ms: REBALANCE_MS as i32,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["t"]))],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    }
}

fn static_join(instance: &str) -> JoinRequest {
    JoinRequest { group_instance_id: Some(instance.into()), ..join("") }
}

fn sync(reply: &JoinReply, assignments: &[(&str, &str)]) -> SyncRequest {
    let assignments = if reply.leader == reply.member_id { assignments } else { &[] };
    SyncRequest {
        group_id: "g".into(),
        generation: reply.generation,
        member_id: reply.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some(reply.protocol_type.clone()),
        protocol: reply.protocol.clone(),
        assignments: assignments
            .iter()
            .map(|(member, assignment)| (Arc::from(*member), Bytes::copy_from_slice(assignment.as_bytes())))
            .collect(),
    }
}

/// Commits offset 7 of partition 0 of each topic.
fn commit(member_id: &str, generation: i32, topics: &[&str]) -> CommitRequest {
    let partition = |topic: &&str| PartitionCommit {
        partition: TopicPartition::new(*topic, 0),
        topic_id: TopicId::nil(),
        offset: 7,
        leader_epoch: 3,
        metadata: "".into(),
        commit_timestamp_ms: None,
    };
    CommitRequest {
        group_id: "g".into(),
        generation,
        member_id: member_id.into(),
        group_instance_id: None,
        knows_member_epochs: true,
        retention_ms: None,
        partitions: topics.iter().map(partition).collect(),
    }
}

/// A `ConsumerProtocolSubscription` of version 0.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}
