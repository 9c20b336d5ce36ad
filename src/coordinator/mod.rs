//! The group coordinator: groups are spread over shards, each of which drives a pure [`machine`].
//!
//! A shard drains its mailbox, steps the machine for each event, stores all records of the drained batch in one append
//! and then lets the replies out. Requests take their place in the [`mailbox`] in the moment of the call and not when the
//! returned future is first polled, so that requests pipelined on one connection keep their order.

mod gate;
pub mod machine;
mod mailbox;
mod reads;
mod report;
mod shard;
mod stats;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, sync::Arc};

use futures_util::future::{Either, JoinAll, join_all, ready};
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle};

use self::{
    gate::Gate,
    mailbox::Mailbox,
    shard::{Ask, Message, Shard},
    stats::Counters,
};
pub use self::{machine::*, stats::CoordinatorStats};
use crate::{
    clock::Clock,
    config::{GroupConfig, GroupSettings},
    metrics::GroupMetrics,
    model::{GroupId, TopicId, TopicName, Topics},
    storage::{CoordinatorStorage, ShardId, StorageError, shard_of},
};

/// All shards of the coordinator. Its methods return at once with a future that needs no further borrow.
pub struct Coordinator {
    shards: Vec<Arc<Mailbox>>,
    storage: Arc<dyn CoordinatorStorage>,
    /// One for each shard.
    timekeepers: Mutex<Vec<JoinHandle<()>>>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

impl Coordinator {
    /// Restores every group from `storage` and has the current tokio runtime keep the time of the shards. `configs` are
    /// what groups have of their own.
    pub async fn open(
        storage: Arc<dyn CoordinatorStorage>,
        settings: &GroupSettings,
        configs: Vec<(GroupId, GroupConfig)>,
        clock: Arc<dyn Clock>,
        metrics: &GroupMetrics,
    ) -> Result<Arc<Self>, StorageError> {
        let count = settings.shards.max(1);
        let mut stored: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for group in storage.list().await? {
            if let Some(shard) = stored.get_mut(usize::from(shard_of(&group.group_id, count))) {
                shard.push(group);
            }
        }
        let mut with_offsets: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for group_id in storage.list_groups().await? {
            if let Some(shard) = with_offsets.get_mut(usize::from(shard_of(&group_id, count))) {
                shard.push(group_id);
            }
        }
        let mut configured: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for (group_id, config) in configs {
            if let Some(shard) = configured.get_mut(usize::from(shard_of(&group_id, count))) {
                shard.push((group_id, overrides(config)));
            }
        }
        let counters = Arc::new(Counters::default());
        let (mut shards, mut timekeepers) = (Vec::new(), Vec::new());
        for (((index, stored), with_offsets), configured) in (0..count).zip(stored).zip(with_offsets).zip(configured) {
            let gate = Arc::new(Gate::default());
            let (storage, of_shard, counters) = (Arc::clone(&storage), Arc::clone(&clock), Arc::clone(&counters));
            let mut shard =
                Shard::new(index, settings, storage, of_shard, counters, metrics.clone(), Arc::clone(&gate));
            configured.into_iter().for_each(|(group_id, overrides)| shard.configure(group_id, overrides));
            shard.restore(stored, with_offsets);
            let mailbox = Arc::new(Mailbox::new(shard, gate, Arc::clone(&clock)));
            timekeepers.push(tokio::spawn(Arc::clone(&mailbox).keep_time()));
            shards.push(mailbox);
        }
        Ok(Arc::new(Self { shards, storage, timekeepers: Mutex::new(timekeepers), counters, clock }))
    }

    /// JoinGroup. Answers when the join phase ends; on an error with the member id to go on with.
    pub fn join(
        &self,
        request: JoinRequest,
        topics: Arc<dyn Topics>,
    ) -> impl Future<Output = Result<JoinReply, JoinError>> + Send + 'static + use<> {
        let member_id = Arc::clone(&request.member_id);
        // Only a member without an id needs one.
        let uuid = if member_id.is_empty() { self.clock.uuid() } else { uuid::Uuid::nil() };
        let reply = self.request(Request::Join(request, uuid, topics));
        async move {
            match reply.await {
                Ok(Reply::Join(result)) => result,
                Ok(_) => Err(JoinError { error: GroupError::NotCoordinator, member_id }),
                Err(error) => Err(JoinError { error, member_id }),
            }
        }
    }

    /// SyncGroup. Answers when the leader has assigned and the assignment is stored.
    pub fn sync(
        &self,
        request: SyncRequest,
    ) -> impl Future<Output = Result<SyncReply, GroupError>> + Send + 'static + use<> {
        let reply = self.request(Request::Sync(request));
        only(reply, |reply| if let Reply::Sync(result) = reply { Some(result) } else { None })
    }

    /// Heartbeat.
    pub fn heartbeat(
        &self,
        request: HeartbeatRequest,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let reply = self.request(Request::Heartbeat(request));
        only(reply, |reply| if let Reply::Heartbeat(result) = reply { Some(result) } else { None })
    }

    /// ConsumerGroupHeartbeat.
    pub fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeatRequest,
        topics: Arc<dyn Topics>,
    ) -> impl Future<Output = Result<ConsumerHeartbeatReply, Refusal>> + Send + 'static + use<> {
        let uuid = if request.member_id.is_empty() { self.clock.uuid() } else { uuid::Uuid::nil() };
        let reply = self.request(Request::ConsumerHeartbeat(Box::new(request), uuid, topics));
        async move {
            match reply.await? {
                Reply::ConsumerHeartbeat(result) => result,
                _ => Err(GroupError::NotCoordinator.into()),
            }
        }
    }

    /// ConsumerGroupDescribe, in the order asked.
    pub fn describe_consumer(
        &self,
        group_ids: Vec<GroupId>,
        topics: &Arc<dyn Topics>,
    ) -> impl Future<Output = Vec<(GroupId, Result<DescribedConsumerGroup, Refusal>)>> + Send + 'static + use<> {
        let one = |group_id: GroupId| {
            let request = Request::DescribeConsumer(vec![Arc::clone(&group_id)], Arc::clone(topics));
            let reply = ask(self.shard_of(&group_id), Ask::Request(request));
            let described =
                only(reply, |reply| if let Reply::DescribeConsumer(result) = reply { Some(result) } else { None });
            async move {
                let first = match described.await {
                    Ok(groups) => groups.into_iter().next(),
                    Err(error) => Some(Err(error.into())),
                };
                (group_id, first.unwrap_or_else(|| Err(GroupError::NotCoordinator.into())))
            }
        };
        join_all(group_ids.into_iter().map(one).collect::<Vec<_>>())
    }

    /// LeaveGroup; one result a member, in their order.
    pub fn leave(
        &self,
        request: LeaveRequest,
    ) -> impl Future<Output = Result<Vec<LeftMember>, GroupError>> + Send + 'static + use<> {
        let reply = self.request(Request::Leave(request));
        only(reply, |reply| if let Reply::Leave(result) = reply { Some(result) } else { None })
    }

    /// OffsetCommit. Answers when durable; one result a partition, in their order. GROUP_ID_NOT_FOUND is
    /// ILLEGAL_GENERATION to clients before version 9.
    pub fn commit_offsets(
        &self,
        request: CommitRequest,
    ) -> impl Future<Output = Result<PartitionResults, GroupError>> + Send + 'static + use<> {
        let reply = self.request(Request::Commit(request));
        only(reply, |reply| if let Reply::Commit(result) = reply { Some(result) } else { None })
    }

    /// OffsetFetch of one group; sees every commit and deletion that was asked for before it.
    pub fn fetch_offsets(
        &self,
        request: FetchOffsetsRequest,
    ) -> impl Future<Output = Result<FetchedOffsets, GroupError>> + Send + 'static + use<> {
        let shard = self.shard_of(&request.group_id);
        let at_hand = match shard {
            // Who says which member it is, is to be checked.
            Some(shard) if request.member.is_nobody() && shard.gate.lets_reads_pass() => {
                reads::at_hand(&*self.storage, request)
            }
            _ => Err(request),
        };
        match at_hand {
            Ok(fetched) => Either::Left(ready(Ok(fetched))),
            Err(request) => Either::Right(only(ask(shard, Ask::FetchOffsets(request)), |reply| {
                if let Reply::FetchOffsets(result) = reply { Some(result) } else { None }
            })),
        }
    }

    /// OffsetDelete; one result a partition, in their order.
    pub fn delete_offsets(
        &self,
        request: DeleteOffsetsRequest,
    ) -> impl Future<Output = Result<PartitionResults, GroupError>> + Send + 'static + use<> {
        let reply = self.request(Request::DeleteOffsets(request));
        only(reply, |reply| if let Reply::DeleteOffsets(result) = reply { Some(result) } else { None })
    }

    /// DescribeGroups, in the order asked; a group that does not exist is Dead.
    pub fn describe(
        &self,
        group_ids: Vec<GroupId>,
    ) -> impl Future<Output = Vec<(GroupId, Result<DescribedGroup, GroupError>)>> + Send + 'static + use<> {
        let one = |group_id: GroupId| {
            let shard = self.shard_of(&group_id);
            let reply = ask(shard, Ask::Request(Request::Describe(vec![Arc::clone(&group_id)])));
            let described = only(reply, |reply| if let Reply::Describe(result) = reply { Some(result) } else { None });
            async move {
                let described =
                    described.await.and_then(|groups| groups.into_iter().next().ok_or(GroupError::NotCoordinator));
                (group_id, described)
            }
        };
        join_all(group_ids.into_iter().map(one).collect::<Vec<_>>())
    }

    /// ListGroups over all shards, in no order.
    pub fn list(
        &self,
        request: ListRequest,
    ) -> impl Future<Output = Result<Vec<ListedGroup>, GroupError>> + Send + 'static + use<> {
        let replies = self.request_all(&Request::List(request));
        async move {
            let mut groups = Vec::new();
            for reply in replies.await {
                match reply? {
                    Reply::List(listed) => groups.extend(listed?),
                    _ => return Err(GroupError::NotCoordinator),
                }
            }
            Ok(groups)
        }
    }

    /// DeleteGroups, in the order asked.
    pub fn delete_groups(
        &self,
        group_ids: Vec<GroupId>,
    ) -> impl Future<Output = Vec<(GroupId, Result<(), GroupError>)>> + Send + 'static + use<> {
        let one = |group_id: GroupId| {
            let shard = self.shard_of(&group_id);
            let reply = ask(shard, Ask::DeleteGroup(Arc::clone(&group_id)));
            let deleted = only(reply, |reply| if let Reply::DeleteGroup(result) = reply { Some(result) } else { None });
            async move { (group_id, deleted.await) }
        };
        join_all(group_ids.into_iter().map(one).collect::<Vec<_>>())
    }

    /// Gives a group settings of its own, which its members have from their next heartbeats on; none set are those for
    /// all.
    pub fn configure(&self, group_id: GroupId, config: GroupConfig) {
        if let Some(shard) = self.shard_of(&group_id) {
            // A shard that is gone will be restored with the configs of then.
            shard.tell(Message::Configure { group_id, overrides: overrides(config) });
        }
    }

    /// Forgets every group's offsets of topics that were deleted, and not those of new topics of the same name.
    pub fn on_topics_deleted(
        &self,
        topics: Vec<(TopicName, TopicId)>,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let topics: Arc<[(TopicName, TopicId)]> = topics.into();
        let done = self.tell_all(|done| Message::TopicsDeleted { topics: Arc::clone(&topics), done });
        async move {
            for result in done.await {
                result.unwrap_or(Err(GroupError::NotCoordinator))?;
            }
            Ok(())
        }
    }

    /// How many groups are in each state now.
    pub fn state_counts(&self) -> impl Future<Output = Result<StateCounts, GroupError>> + Send + 'static + use<> {
        let replies = self.request_all(&Request::CountStates);
        async move {
            let mut counts = StateCounts::default();
            for reply in replies.await {
                match reply? {
                    Reply::CountStates(counted) => counts.add(counted?),
                    _ => return Err(GroupError::NotCoordinator),
                }
            }
            Ok(counts)
        }
    }

    /// Counters since the start.
    pub fn stats(&self) -> CoordinatorStats {
        self.counters.snapshot()
    }

    /// Answers joins and syncs that wait with NOT_COORDINATOR, now and from now on, so that connections can drain.
    /// Everything else goes on until [`shutdown`](Self::shutdown).
    pub fn begin_shutdown(&self) {
        self.shards.iter().for_each(|shard| shard.tell(Message::BeginShutdown));
    }

    /// Finishes what is in the mailboxes, answers what waits with NOT_COORDINATOR and ends the shards. Later requests
    /// get COORDINATOR_NOT_AVAILABLE.
    pub async fn shutdown(&self) {
        // Each says so by letting go of its end of the channel.
        self.tell_all(Message::Shutdown).await;
        let timekeepers = std::mem::take(&mut *self.timekeepers.lock());
        for ended in join_all(timekeepers).await {
            if let Err(error) = ended {
                tracing::error!(%error, "the timekeeper of a coordinator shard ended abnormally");
            }
        }
    }

    /// Tells every shard something, and hears from each; nothing from one that is gone.
    fn tell_all<T>(&self, message: impl Fn(oneshot::Sender<T>) -> Message) -> JoinAll<oneshot::Receiver<T>> {
        join_all(self.shards.iter().map(|shard| {
            let (sender, receiver) = oneshot::channel();
            shard.tell(message(sender));
            receiver
        }))
    }

    fn shard_of(&self, group_id: &str) -> Option<&Arc<Mailbox>> {
        let count = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        self.shards.get(usize::from(shard_of(group_id, count)))
    }

    fn request(&self, request: Request) -> impl Future<Output = Result<Reply, GroupError>> + Send + 'static + use<> {
        let shard = request.group_id().and_then(|group_id| self.shard_of(group_id));
        ask(shard, Ask::Request(request))
    }

    fn request_all(
        &self,
        request: &Request,
    ) -> impl Future<Output = Vec<Result<Reply, GroupError>>> + Send + 'static + use<> {
        let asked: Vec<_> = self.shards.iter().map(|shard| ask(Some(shard), Ask::Request(request.clone()))).collect();
        join_all(asked)
    }
}

/// Puts a request into a shard's mailbox at once; the future only waits for the answer.
fn ask(
    shard: Option<&Arc<Mailbox>>,
    ask: Ask,
) -> impl Future<Output = Result<Reply, GroupError>> + Send + 'static + use<> {
    let asked = shard.map_or(Err(GroupError::CoordinatorNotAvailable), |shard| shard.ask(ask));
    async move { asked?.await.unwrap_or(Err(GroupError::NotCoordinator)) }
}

/// The one kind of reply that a request has.
async fn only<T>(
    reply: impl Future<Output = Result<Reply, GroupError>>,
    pick: fn(Reply) -> Option<Result<T, GroupError>>,
) -> Result<T, GroupError> {
    pick(reply.await?).unwrap_or(Err(GroupError::NotCoordinator))
}

/// The machine's part of a group's configs.
fn overrides(config: GroupConfig) -> GroupOverrides {
    GroupOverrides {
        session_timeout_ms: config.session_timeout_ms.and_then(|ms| u64::try_from(ms).ok()),
        heartbeat_interval_ms: config.heartbeat_interval_ms,
    }
}

/// The machine's part of the settings.
fn machine_config(settings: &GroupSettings) -> Config {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        session_timeout_min_ms: millis(settings.session_timeout_min),
        session_timeout_max_ms: millis(settings.session_timeout_max),
        initial_rebalance_delay_ms: millis(settings.initial_rebalance_delay),
        size_max: settings.size_max,
        offset_metadata_max: settings.offset_metadata_bytes_max,
        offsets_retention_ms: i64::try_from(settings.offsets_retention.as_millis()).unwrap_or(i64::MAX),
        consumer: ConsumerConfig {
            session_timeout_ms: millis(settings.consumer.session_timeout),
            heartbeat_interval_ms: i32::try_from(settings.consumer.heartbeat_interval.as_millis()).unwrap_or(i32::MAX),
            size_max: settings.consumer.size_max,
            assignors: settings.consumer.assignors.iter().filter_map(|name| Assignor::named(name)).collect(),
            migration: Migration { upgrades: settings.consumer.upgrades, downgrades: settings.consumer.downgrades },
            of_groups: HashMap::new(),
        },
    }
}

/// The journal's name of a shard.
fn journal_shard(index: u16) -> ShardId {
    ShardId::group(index)
}
