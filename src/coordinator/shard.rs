//! One shard: what is around a [`Machine`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{
    Config, Counters, Event, FetchOffsetsRequest, GroupError, GroupOverrides, Machine, Now, Output, Reply, Request,
    Token,
    gate::{Change, Gate},
    journal_shard,
    machine::{RECORDS_BYTES_MAX, record_bytes},
    machine_config,
    reads::fetch_offsets,
    report::{AskedCommit, Reporter},
};
use crate::{
    clock::{Clock, monotonic_ms},
    config::GroupSettings,
    metrics::GroupMetrics,
    model::{CoordinatorRecord, GroupId, GroupMetadata, OffsetMetadata, TopicId, TopicName, TopicPartition},
    storage::{CoordinatorStorage, ShardId, StorageError, shard_of},
};

/// Where the answer to a request goes.
pub(super) struct Answer {
    sender: oneshot::Sender<Result<Reply, GroupError>>,
    /// Of a request that changes offsets, until it was answered.
    change: Option<Change>,
}

impl Answer {
    pub fn new(sender: oneshot::Sender<Result<Reply, GroupError>>, change: Option<Change>) -> Self {
        Self { sender, change }
    }

    fn send(self, reply: Result<Reply, GroupError>) {
        drop(self.change);
        // The client may have gone.
        let _ = self.sender.send(reply);
    }
}

/// What comes into the mailbox.
pub(super) enum Message {
    Ask {
        ask: Ask,
        answer: Answer,
    },
    Configure {
        group_id: GroupId,
        overrides: GroupOverrides,
    },
    TopicsDeleted {
        topics: Arc<[(TopicName, TopicId)]>,
        done: oneshot::Sender<Result<(), GroupError>>,
    },
    /// Joins and syncs are to wait no more.
    BeginShutdown,
    /// The sender is dropped when the shard is gone.
    Shutdown(oneshot::Sender<()>),
}

/// What a client asks for.
pub(super) enum Ask {
    /// Something that the machine decides alone.
    Request(Request),
    /// A read of storage.
    FetchOffsets(FetchOffsetsRequest),
    /// A decision of the machine for which storage must be read first.
    DeleteGroup(GroupId),
}

impl Ask {
    pub fn changes_offsets(&self) -> bool {
        match self {
            Self::Request(request) => {
                matches!(request, Request::Commit(_) | Request::DeleteOffsets(_) | Request::DeleteGroup(..))
            }
            Self::FetchOffsets(_) => false,
            Self::DeleteGroup(_) => true,
        }
    }
}

/// One shard of the coordinator.
pub(super) struct Shard {
    index: u16,
    shard_count: u16,
    id: ShardId,
    config: Config,
    storage: Arc<dyn CoordinatorStorage>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    reporter: Reporter,
    gate: Arc<Gate>,
    /// None while it could not be rebuilt.
    machine: Option<Machine>,
    rebuild: Rebuild,
    waiting: HashMap<Token, Answer>,
    next_token: u64,
    batch: Batch,
    sweep: Sweep,
    is_stopping: bool,
    /// Of the one who waits for the end, which has come then.
    end: Option<oneshot::Sender<()>>,
}

/// What the events since the last append led to.
#[derive(Default)]
struct Batch {
    records: Vec<CoordinatorRecord>,
    /// About the size of `records`.
    bytes: usize,
    /// Go out when the records are stored.
    replies: Vec<(Token, Reply)>,
    /// Are read when the records are stored.
    reads: Vec<(FetchOffsetsRequest, Answer)>,
    /// Groups whose state is not stored yet.
    changed: HashSet<GroupId>,
    /// Groups in `reads`.
    read: HashSet<GroupId>,
}

/// When to try again after failed appends.
#[derive(Default)]
struct Rebuild {
    failures: u32,
    at_ms: u64,
}

/// The periodic look for expired offsets, a few groups at a time.
struct Sweep {
    interval_ms: u64,
    at_ms: u64,
    queue: Vec<GroupId>,
}

impl Shard {
    pub fn new(
        index: u16,
        settings: &GroupSettings,
        storage: Arc<dyn CoordinatorStorage>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        metrics: GroupMetrics,
        gate: Arc<Gate>,
    ) -> Self {
        let interval_ms = u64::try_from(settings.offsets_retention_check.as_millis()).unwrap_or(u64::MAX).max(1);
        let at_ms = now(clock.as_ref()).monotonic_ms.saturating_add(interval_ms);
        Self {
            index,
            shard_count: settings.shards.max(1),
            id: journal_shard(index),
            config: machine_config(settings),
            storage,
            reporter: Reporter::new(index, Arc::clone(&counters), metrics, Arc::clone(&clock)),
            clock,
            counters,
            gate,
            machine: None,
            rebuild: Rebuild::default(),
            waiting: HashMap::new(),
            next_token: 0,
            batch: Batch::default(),
            sweep: Sweep { interval_ms, at_ms, queue: Vec::new() },
            is_stopping: false,
            end: None,
        }
    }

    /// Takes over what storage has of the shard's groups.
    pub fn restore(&mut self, stored: Vec<GroupMetadata>, with_offsets: Vec<GroupId>) {
        if !stored.is_empty() || !with_offsets.is_empty() {
            debug!(shard = self.index, groups = stored.len(), with_offsets = with_offsets.len(), "restoring groups");
        }
        self.machine = Some(Machine::restore(self.config.clone(), stored, with_offsets, self.now()));
        self.gate.set_open(true);
    }

    /// Gives a group settings of its own.
    pub fn configure(&mut self, group_id: GroupId, overrides: GroupOverrides) {
        self.config.consumer.configure(Arc::clone(&group_id), overrides);
        if let Some(machine) = &mut self.machine {
            machine.configure(group_id, overrides);
        }
    }

    /// Handles what is in `inbox` and what time has brought, and stores what came of it in one append. False when the
    /// shard has ended.
    pub async fn round(&mut self, inbox: &mut Vec<Message>) -> bool {
        // One time for the whole round, taken before it: a heartbeat that waited here is seen before its session is found
        // to have expired.
        let now = self.now();
        if self.machine.as_ref().is_some_and(Machine::is_empty) {
            self.sweep.at_ms = now.monotonic_ms.saturating_add(self.sweep.interval_ms);
        }
        for message in inbox.drain(..) {
            self.handle(message, now).await;
        }
        self.tick(now).await;
        self.flush().await;
        if self.is_stopping {
            self.refuse_waiting();
        }
        !self.has_ended()
    }

    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    async fn handle(&mut self, message: Message, now: Now) {
        match message {
            Message::Ask { ask: Ask::Request(request), answer } => self.request(request, answer, now).await,
            Message::Ask { ask: Ask::FetchOffsets(request), answer } => {
                let Some(machine) = &self.machine else {
                    return answer.send(Err(GroupError::CoordinatorLoadInProgress));
                };
                if let Err(error) = machine.validate_fetch(&request) {
                    return answer.send(Err(error));
                }
                self.batch.read.insert(Arc::clone(&request.group_id));
                self.batch.reads.push((request, answer));
            }
            Message::Ask { ask: Ask::DeleteGroup(group_id), answer } => self.delete_group(group_id, answer, now).await,
            Message::Configure { group_id, overrides } => self.configure(group_id, overrides),
            Message::TopicsDeleted { topics, done } => {
                let forgotten = self.forget_topics(&topics, now).await;
                // The caller may have gone.
                let _ = done.send(forgotten);
            }
            Message::BeginShutdown => self.is_stopping = true,
            Message::Shutdown(end) => {
                self.is_stopping = true;
                self.end = Some(end);
            }
        }
    }

    async fn request(&mut self, request: Request, answer: Answer, now: Now) {
        // A read answers as of its place in the mailbox: what comes later and changes the group's offsets waits for it.
        let writes_offsets =
            matches!(request, Request::Commit(_) | Request::DeleteOffsets(_) | Request::DeleteGroup(..));
        if writes_offsets && request.group_id().is_some_and(|group_id| self.batch.read.contains(group_id)) {
            self.flush().await;
        }
        let Some(machine) = &mut self.machine else {
            // Kafka answers heartbeats as if all were well while a group loads: the member is to go on.
            let loading = match request {
                Request::Heartbeat(_) => Ok(Reply::Heartbeat(Ok(()))),
                _ => Err(GroupError::CoordinatorLoadInProgress),
            };
            answer.send(loading);
            return;
        };
        let group_id = request.group_id().cloned();
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.waiting.insert(token, answer);
        // A member's reply that shows nothing unstored need not wait for the records of other groups.
        let of_member = matches!(
            request,
            Request::Join(..)
                | Request::Sync(_)
                | Request::Heartbeat(_)
                | Request::Leave(_)
                | Request::ConsumerHeartbeat(..)
        );
        let stored = group_id.as_ref().is_some_and(|group_id| !self.batch.changed.contains(group_id));
        let shows_stored_state = self.batch.records.is_empty() || (of_member && stored);
        let commit = if let Request::Commit(commit) = &request { AskedCommit::of(commit) } else { None };
        let out = machine.step(Event::Request(token, request), now);
        let reply = out.replies.iter().find(|(of, _)| *of == token).map(|(_, reply)| reply);
        if let (Some(commit), Some(Reply::Commit(Ok(results)))) = (commit, reply) {
            self.reporter.committed(&commit, results);
        }
        let refused = reply.and_then(Reply::error);
        if let (Some(error), Some(group)) = (refused, &group_id) {
            debug!(shard = self.index, group = %group, %error, "request refused");
        }
        self.absorb(out, shows_stored_state);
        self.flush_if_large().await;
    }

    async fn delete_group(&mut self, group_id: GroupId, answer: Answer, now: Now) {
        self.flush().await;
        match self.storage.fetch_all(&group_id).await {
            Ok(offsets) => {
                let partitions = offsets.into_iter().map(|(partition, _)| partition).collect();
                self.request(Request::DeleteGroup(group_id, partitions), answer, now).await;
            }
            Err(error) => {
                warn!(shard = self.index, group = %group_id, %error, "cannot read the offsets of a group to delete");
                answer.send(Err(GroupError::CoordinatorNotAvailable));
            }
        }
    }

    async fn forget_topics(&mut self, topics: &[(TopicName, TopicId)], now: Now) -> Result<(), GroupError> {
        self.flush().await;
        let Some(machine) = &self.machine else { return Err(GroupError::CoordinatorLoadInProgress) };
        let mut deleted: HashMap<&str, Vec<TopicId>> = HashMap::new();
        for (name, id) in topics {
            deleted.entry(name).or_default().push(*id);
        }
        // The name may be in use again: an offset with the id of another topic is that topic's.
        let is_gone = |(partition, value): &(TopicPartition, OffsetMetadata)| {
            let ids = deleted.get(&*partition.topic);
            ids.is_some_and(|ids| value.topic_id.is_nil() || ids.contains(&value.topic_id))
        };
        let group_ids: Vec<GroupId> = machine.group_ids().cloned().collect();
        for (index, group_id) in group_ids.into_iter().enumerate() {
            if index % GROUPS_IN_A_ROW == GROUPS_IN_A_ROW - 1 {
                tokio::task::yield_now().await;
            }
            let offsets = self.storage.fetch_all(&group_id).await.map_err(|error| {
                warn!(shard = self.index, group = %group_id, %error, "cannot read offsets of deleted topics");
                GroupError::CoordinatorNotAvailable
            })?;
            let gone: Vec<_> = offsets.into_iter().filter(is_gone).map(|(partition, _)| partition).collect();
            if let (false, Some(machine)) = (gone.is_empty(), &mut self.machine) {
                let out = machine.step(Event::ForgetOffsets(group_id, gone), now);
                self.absorb(out, false);
            }
            let failures = self.rebuild.failures;
            self.flush_if_large().await;
            if self.rebuild.failures > failures {
                return Err(GroupError::CoordinatorNotAvailable);
            }
        }
        let failures = self.rebuild.failures;
        self.flush().await;
        if self.rebuild.failures > failures { Err(GroupError::CoordinatorNotAvailable) } else { Ok(()) }
    }

    /// What time alone brings: sessions that expire, rebalances that end, offsets that are too old, a rebuild.
    async fn tick(&mut self, now: Now) {
        let Some(machine) = &mut self.machine else {
            if self.rebuild.at_ms <= now.monotonic_ms {
                self.load().await;
            }
            return;
        };
        if machine.next_timer_ms().is_some_and(|at_ms| at_ms <= now.monotonic_ms) {
            let out = machine.step(Event::Timers, now);
            let shows_stored_state = self.batch.records.is_empty();
            self.absorb(out, shows_stored_state);
            self.flush_if_large().await;
        }
        self.sweep(now).await;
    }

    async fn sweep(&mut self, now: Now) {
        let Some(machine) = &self.machine else { return };
        if self.sweep.at_ms <= now.monotonic_ms {
            self.sweep.at_ms = now.monotonic_ms.saturating_add(self.sweep.interval_ms);
            self.sweep.queue = machine.group_ids().filter(|group_id| machine.may_expire(group_id)).cloned().collect();
        }
        if self.sweep.queue.is_empty() {
            return;
        }
        self.flush().await;
        let rest = self.sweep.queue.len().saturating_sub(GROUPS_IN_A_ROW);
        for group_id in self.sweep.queue.split_off(rest) {
            match self.storage.fetch_all(&group_id).await {
                Ok(offsets) => {
                    let Some(machine) = &mut self.machine else { return };
                    let out = machine.step(Event::ExpireOffsets(group_id, offsets), now);
                    self.absorb(out, false);
                    self.flush_if_large().await;
                }
                Err(error) => warn!(shard = self.index, group = %group_id, %error, "cannot read offsets to expire"),
            }
        }
    }

    /// Takes what a step led to into the batch; replies that show nothing unstored go out at once.
    fn absorb(&mut self, out: Output, shows_stored_state: bool) {
        out.notices.iter().for_each(|notice| self.reporter.notice(notice));
        if out.records.is_empty() && shows_stored_state {
            out.replies.into_iter().for_each(|(token, reply)| self.answer(token, Ok(reply)));
            return;
        }
        for record in &out.records {
            self.reporter.record(record);
            self.batch.bytes = self.batch.bytes.saturating_add(record_bytes(record));
            if let CoordinatorRecord::Group { group, .. } = record {
                self.batch.changed.insert(Arc::clone(group));
            }
        }
        put_behind(&mut self.batch.records, out.records);
        put_behind(&mut self.batch.replies, out.replies);
    }

    /// Stores a batch that has grown large, so that no append comes near what the journal takes at once: it would fail
    /// for every group of the shard.
    async fn flush_if_large(&mut self) {
        if self.batch.bytes >= RECORDS_BYTES_MAX {
            self.flush().await;
        }
    }

    /// Stores the batch, then lets its replies out and does its reads.
    async fn flush(&mut self) {
        let Batch { mut records, replies, reads, .. } = std::mem::take(&mut self.batch);
        keep_last_states(&mut records);
        if !records.is_empty() {
            let is_commit =
                |record: &&CoordinatorRecord| matches!(record, CoordinatorRecord::Offset { value: Some(_), .. });
            let commits = records.iter().filter(is_commit).count();
            if let Err(error) = self.storage.append(self.id, records).await {
                warn!(shard = self.index, %error, "cannot store what groups did; the shard begins anew");
                self.gate.set_open(false);
                Counters::add(&self.counters.appends_failed, 1);
                for (token, _) in replies {
                    self.answer(token, Err(GroupError::CoordinatorNotAvailable));
                }
                for (_, answer) in reads {
                    // Consumers before 3.9 give up on COORDINATOR_NOT_AVAILABLE in an OffsetFetch.
                    answer.send(Err(GroupError::NotCoordinator));
                }
                return self.begin_anew().await;
            }
            self.rebuild.failures = 0;
            Counters::add(&self.counters.offsets_committed, commits);
        }
        for (token, reply) in replies {
            self.answer(token, Ok(reply));
        }
        let storage = &self.storage;
        join_all(reads.into_iter().map(|(request, answer)| async move {
            answer.send(Ok(Reply::FetchOffsets(fetch_offsets(storage.as_ref(), request).await)));
        }))
        .await;
    }

    /// Drops the machine, which has seen records that were not stored, and all that waits in it.
    async fn begin_anew(&mut self) {
        self.machine = None;
        self.reporter.forget_rebalances();
        self.sweep.queue.clear();
        self.refuse_waiting();
        // The first failure is mended at once; when appends go on failing, groups are not read again for each of them.
        if self.rebuild.failures == 0 {
            self.load().await;
        } else {
            self.back_off();
        }
        self.rebuild.failures = self.rebuild.failures.saturating_add(1);
    }

    async fn load(&mut self) {
        match self.read_groups().await {
            Ok((stored, with_offsets)) => {
                info!(shard = self.index, groups = stored.len(), "coordinator shard rebuilt from storage");
                self.restore(stored, with_offsets);
            }
            Err(error) => {
                warn!(shard = self.index, %error, "cannot rebuild a coordinator shard; trying again");
                self.rebuild.failures = self.rebuild.failures.saturating_add(1);
                self.back_off();
            }
        }
    }

    fn back_off(&mut self) {
        let delay_ms = REBUILD_DELAY_MS << self.rebuild.failures.min(REBUILD_DOUBLINGS_MAX);
        self.rebuild.at_ms = self.now().monotonic_ms.saturating_add(delay_ms);
    }

    async fn read_groups(&self) -> Result<(Vec<GroupMetadata>, Vec<GroupId>), StorageError> {
        self.storage.reload(self.id).await?;
        let mut stored = self.storage.list().await?;
        stored.retain(|group| shard_of(&group.group_id, self.shard_count) == self.index);
        let mut with_offsets = self.storage.list_groups().await?;
        with_offsets.retain(|group_id| shard_of(group_id, self.shard_count) == self.index);
        Ok((stored, with_offsets))
    }

    fn answer(&mut self, token: Token, reply: Result<Reply, GroupError>) {
        if let Some(answer) = self.waiting.remove(&token) {
            answer.send(reply);
        }
    }

    /// Sends joins and syncs that wait for the rest of their group elsewhere.
    fn refuse_waiting(&mut self) {
        for (_, answer) in self.waiting.drain() {
            answer.send(Err(GroupError::NotCoordinator));
        }
    }

    /// When time alone has something to do for the shard; [`NEVER_MS`] when it has not.
    pub fn wake_at_ms(&self) -> u64 {
        match &self.machine {
            None => self.rebuild.at_ms,
            Some(_) if !self.sweep.queue.is_empty() => 0,
            Some(machine) if machine.is_empty() => NEVER_MS,
            Some(machine) => machine.next_timer_ms().unwrap_or(NEVER_MS).min(self.sweep.at_ms),
        }
    }

    fn now(&self) -> Now {
        now(self.clock.as_ref())
    }
}

/// Puts `more` behind `all`, which mostly is empty.
fn put_behind<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() { *all = more } else { all.extend(more) }
}

/// Of the states that a group went through in one batch only the last is stored.
fn keep_last_states(records: &mut Vec<CoordinatorRecord>) {
    let is_state = |record: &&CoordinatorRecord| matches!(record, CoordinatorRecord::Group { .. });
    if records.iter().filter(is_state).nth(1).is_none() {
        return;
    }
    let mut seen: HashSet<GroupId> = HashSet::new();
    records.reverse();
    records.retain(|record| match record {
        CoordinatorRecord::Group { group, .. } => seen.insert(Arc::clone(group)),
        CoordinatorRecord::Offset { .. } => true,
    });
    records.reverse();
}

fn now(clock: &dyn Clock) -> Now {
    Now { wall_ms: clock.wall_ms(), monotonic_ms: monotonic_ms(clock) }
}

/// No time.
pub(super) const NEVER_MS: u64 = u64::MAX;

/// Groups looked at, for offsets that have expired or lost their topic, before others have the thread.
const GROUPS_IN_A_ROW: usize = 64;

/// First pause before groups are read again when appends or reads go on failing; doubles to 3.2 s.
const REBUILD_DELAY_MS: u64 = 100;
const REBUILD_DOUBLINGS_MAX: u32 = 5;
