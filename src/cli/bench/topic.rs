//! The topic that a workload runs on: created, waited for, counted, deleted.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest, TopicName,
        create_topics_request::CreatableTopic,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};
use tokio::time::sleep;

use super::{Target, connection::Connection, reader::broker_error};

pub struct Topic {
    pub name: TopicName,
    pub partitions: i32,
    ours: bool,
}

impl Topic {
    /// Does the work on the topic that the command line names, made where it is missing; else on a fresh one, which is
    /// deleted at the end, also when the work fails.
    pub async fn with<T>(
        target: &Target,
        partitions: usize,
        work: impl AsyncFnOnce(&Self, &mut Connection) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut admin = target.connect().await?;
        let topic = Self::prepare(target, &mut admin, i32::try_from(partitions)?).await?;
        let result = work(&topic, &mut admin).await;
        let deleted = topic.delete(&mut admin).await;
        result.and_then(|value| deleted.map(|()| value))
    }

    async fn prepare(target: &Target, connection: &mut Connection, partitions: i32) -> anyhow::Result<Self> {
        let mut topic = Self::planned(target, partitions);
        if topic.ours || !topic.find(connection).await? {
            topic.create(connection).await?;
        }
        topic.wait_until_served(connection).await?;
        Ok(topic)
    }

    /// The same before it is created.
    pub fn planned(target: &Target, partitions: i32) -> Self {
        let name = target.topic.clone().unwrap_or_else(|| format!("tidegate-bench-{:08x}", fastrand::u32(..)));
        Self { name: TopicName(StrBytes::from_string(name)), partitions, ours: target.topic.is_none() }
    }

    pub async fn create(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let topic = CreatableTopic::default()
            .with_name(self.name.clone())
            .with_num_partitions(self.partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(ADMIN_TIMEOUT_MS);
        for topic in connection.call(5, &request).await?.topics {
            if topic.error_code != 0 {
                return Err(broker_error(topic.error_code, &format!("create topic {}", self.name.as_str())));
            }
        }
        Ok(())
    }

    /// A topic that has its name from outside stays.
    pub async fn delete(&self, connection: &mut Connection) -> anyhow::Result<()> {
        if !self.ours {
            return Ok(());
        }
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![self.name.clone()]).with_timeout_ms(ADMIN_TIMEOUT_MS);
        for topic in connection.call(5, &request).await?.responses {
            if topic.error_code != 0 {
                return Err(broker_error(topic.error_code, &format!("delete topic {}", self.name.as_str())));
            }
        }
        Ok(())
    }

    /// The sum over all partitions.
    pub async fn record_count(&self, connection: &mut Connection) -> anyhow::Result<i64> {
        let begins: i64 = self.offsets(connection, EARLIEST).await?.iter().sum();
        let ends: i64 = self.offsets(connection, LATEST).await?.iter().sum();
        Ok(ends - begins)
    }

    pub async fn first_offsets(&self, connection: &mut Connection) -> anyhow::Result<Vec<i64>> {
        self.offsets(connection, EARLIEST).await
    }

    pub async fn end_offsets(&self, connection: &mut Connection) -> anyhow::Result<Vec<i64>> {
        self.offsets(connection, LATEST).await
    }

    /// Whether Metadata shows every partition with a leader.
    pub async fn is_visible(&self, connection: &mut Connection) -> anyhow::Result<bool> {
        let topics = connection.call(METADATA_VERSION, &self.metadata_request()).await?.topics;
        Ok(topics.iter().any(|topic| {
            let led =
                topic.partitions.iter().filter(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0);
            topic.error_code == 0 && i32::try_from(led.count()) == Ok(self.partitions)
        }))
    }

    fn metadata_request(&self) -> MetadataRequest {
        let topic = MetadataRequestTopic::default().with_name(Some(self.name.clone()));
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false)
    }

    /// Whether it exists; takes over how many partitions it has.
    async fn find(&mut self, connection: &mut Connection) -> anyhow::Result<bool> {
        let topics = connection.call(METADATA_VERSION, &self.metadata_request()).await?.topics;
        let topic = topics.into_iter().next().context("Metadata without the topic that it was asked for")?;
        if topic.error_code == ResponseError::UnknownTopicOrPartition.code() {
            return Ok(false);
        }
        if topic.error_code != 0 {
            return Err(broker_error(topic.error_code, &format!("topic {}", self.name.as_str())));
        }
        self.partitions = i32::try_from(topic.partitions.len())?;
        Ok(true)
    }

    /// Kafka shows a new partition before its log is there: only a ListOffsets that works says that it is served.
    pub async fn wait_until_served(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let begin = Instant::now();
        while let Err(error) = self.offsets(connection, EARLIEST).await {
            ensure!(begin.elapsed() < PATIENCE, "topic {} is not served: {error:#}", self.name.as_str());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn offsets(&self, connection: &mut Connection, timestamp: i64) -> anyhow::Result<Vec<i64>> {
        let partition = |index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(self.name.clone())
            .with_partitions((0..self.partitions).map(partition).collect());
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let mut offsets = Vec::new();
        for mut partition in connection.call(6, &request).await?.topics.into_iter().flat_map(|topic| topic.partitions) {
            if partition.error_code != 0 {
                let what = format!("offsets of {}-{}", self.name.as_str(), partition.partition_index);
                return Err(broker_error(std::mem::take(&mut partition.error_code), &what));
            }
            offsets.push((partition.partition_index, partition.offset));
        }
        ensure!(i32::try_from(offsets.len()) == Ok(self.partitions), "ListOffsets left partitions out");
        offsets.sort_unstable();
        Ok(offsets.into_iter().map(|(_, offset)| offset).collect())
    }
}

const METADATA_VERSION: i16 = 9;
const ADMIN_TIMEOUT_MS: i32 = 60_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// ListOffsetsRequest.EARLIEST_TIMESTAMP and LATEST_TIMESTAMP.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
