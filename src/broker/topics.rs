//! Topics: what concerns catalogue, logs and offsets together.

use std::{collections::BTreeMap, sync::Arc};

use tracing::{info, warn};

use crate::{
    catalog::{CatalogError, NewTopic, Topic, TopicConfigs},
    config::{TopicConfig, TopicConfigError},
    log::LogError,
    model::{TopicName, validate_topic_name},
};

use super::{Broker, PartitionError, TopicRef};

/// One topic of a CreateTopics request.
#[derive(Clone, Debug)]
pub struct NewTopicRequest {
    pub name: TopicName,
    /// -1 for the default (`num.partitions`).
    pub partitions: i32,
    /// -1 for the default; there is one broker, so nothing else but 1 can be had.
    pub replication_factor: i16,
    /// Replicas by partition index, when the client assigns them itself.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Names and values; a value of none is refused, as in Kafka.
    pub configs: Vec<(String, Option<String>)>,
}

/// Why a topic was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTopicError {
    #[error("Number of partitions was set to an invalid non-positive value.")]
    InvalidPartitions,
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    NonPositiveReplicationFactor,
    #[error(
        "Unable to replicate the partition {0} time(s): The target replication factor of {0} cannot be reached because only 1 broker(s) are registered."
    )]
    ReplicationFactorTooLarge(i16),
    #[error("{0}")]
    InvalidAssignment(String),
    #[error("A manual partition assignment was specified, but {0} was not set to -1.")]
    CountWithAssignment(&'static str),
    #[error(transparent)]
    Config(#[from] TopicConfigError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Why a topic was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    #[error("Topic deletion is disabled.")]
    DeletionDisabled,
    #[error("Topic deletion of records is not possible: the topic is compacted and not deleted.")]
    NotDeletable,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Broker {
    /// Creates topics; answers in the order of `requests`. With `validate_only` nothing is created.
    pub async fn create_topics(
        &self,
        requests: Vec<NewTopicRequest>,
        validate_only: bool,
    ) -> Vec<Result<Arc<Topic>, CreateTopicError>> {
        let mut results: Vec<Option<Result<Arc<Topic>, CreateTopicError>>> = Vec::with_capacity(requests.len());
        let mut wanted = Vec::new();
        for request in requests {
            match self.plan(request) {
                Ok(topic) if validate_only => results.push(Some(self.preview(topic))),
                Ok(topic) => {
                    wanted.push(topic);
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        let names = self.topic_names.lock().await;
        let mut created = self.catalog.create(wanted).await.into_iter();
        drop(names);
        results
            .into_iter()
            .map(|result| match result {
                Some(result) => result,
                None => {
                    let topic = created.next().unwrap_or(Err(CatalogError::UnknownTopic))?;
                    info!(topic = %topic.name, id = %topic.id, partitions = topic.partitions, "topic created");
                    Ok(topic)
                }
            })
            .collect()
    }

    /// Creates a topic with the defaults because a client asked for it (`auto.create.topics.enable`).
    pub async fn auto_create(&self, names: Vec<TopicName>) -> Vec<Result<Arc<Topic>, CreateTopicError>> {
        let requests = names
            .into_iter()
            .map(|name| NewTopicRequest {
                name,
                partitions: -1,
                replication_factor: -1,
                assignments: Vec::new(),
                configs: Vec::new(),
            })
            .collect();
        self.create_topics(requests, false).await
    }

    /// Deletes topics with their records and the offsets that groups committed for them; answers in the order of
    /// `topics`. Goes on to its end even if nobody waits for it any more.
    pub async fn delete_topics(self: &Arc<Self>, topics: Vec<TopicRef>) -> Vec<Result<Arc<Topic>, TopicsError>> {
        let broker = Arc::clone(self);
        let deletion = tokio::spawn(async move { broker.delete_in_turn(topics).await });
        deletion.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn delete_in_turn(self: Arc<Self>, topics: Vec<TopicRef>) -> Vec<Result<Arc<Topic>, TopicsError>> {
        let _names = self.topic_names.lock().await;
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            results.push(self.delete_records_of(&topic).await);
        }
        let deleted: Vec<_> = results.iter().flatten().map(|topic| (topic.name.clone(), topic.id)).collect();
        if !deleted.is_empty()
            && let Err(error) = self.coordinator.on_topics_deleted(deleted).await
        {
            warn!(%error, "offsets of a deleted topic stay until they expire");
        }
        results
    }

    async fn delete_records_of(self: &Arc<Self>, topic: &TopicRef) -> Result<Arc<Topic>, TopicsError> {
        if !self.settings.broker.delete_topic_enable {
            return Err(TopicsError::DeletionDisabled);
        }
        let topic = self.resolve(topic)?;
        let topic = self.catalog.delete(topic.id).await?;
        let (broker, deleted) = (Arc::clone(self), Arc::clone(&topic));
        off_thread(move || broker.logs.delete_topic(&deleted)).await;
        info!(topic = %topic.name, id = %topic.id, "topic deleted");
        Ok(topic)
    }

    /// Grows a topic to `partitions`; `assignments` are the client's replicas of the new ones, if it gave any.
    pub async fn create_partitions(
        &self,
        name: &str,
        partitions: i32,
        assignments: Option<Vec<Vec<i32>>>,
        validate_only: bool,
    ) -> Result<(), CreateTopicError> {
        let topic = self.topics().topic(name).cloned().ok_or(CatalogError::UnknownTopic)?;
        topic.check_growth(partitions)?;
        let current = topic.partitions;
        if let Some(assignments) = assignments {
            let added = usize::try_from(partitions - current).unwrap_or_default();
            if assignments.len() != added {
                return Err(CreateTopicError::InvalidAssignment(format!(
                    "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                )));
            }
            assignments.iter().try_for_each(|replicas| self.check_replicas(replicas))?;
        }
        if !validate_only {
            self.catalog.grow(name, partitions).await?;
            info!(topic = name, from = current, to = partitions, "partitions created");
        }
        Ok(())
    }

    /// Makes records below `before` unreachable; -1 stands for the high watermark. Answers the new log start.
    pub async fn delete_records(&self, topic: &TopicRef, partition: i32, before: i64) -> Result<i64, TopicsError> {
        let topic = self.resolve(topic)?;
        let log = self.logs.get(&topic, partition, &self.catalog)?;
        let config = log.config();
        if config.compact && !config.delete {
            return Err(TopicsError::NotDeletable);
        }
        let target = log.check_delete_records(before)?;
        // The catalogue first: a start that was acknowledged must not go back after a kill.
        self.catalog.set_log_start(topic.id, partition, target).await?;
        Ok(off_thread(move || log.delete_records(target)).await?)
    }

    fn plan(&self, request: NewTopicRequest) -> Result<NewTopic, CreateTopicError> {
        validate_topic_name(&request.name).map_err(CatalogError::from)?;
        let partitions = if request.assignments.is_empty() {
            self.check_counts(&request)?
        } else {
            self.check_assignments(&request)?
        };
        let configs = given_configs(request.configs)?;
        TopicConfig::resolve(&configs, &self.logs.defaults())?;
        Ok(NewTopic { name: request.name, partitions, configs })
    }

    fn check_counts(&self, request: &NewTopicRequest) -> Result<i32, CreateTopicError> {
        match request.replication_factor {
            -1 | 1 => {}
            factor if factor < 1 => return Err(CreateTopicError::NonPositiveReplicationFactor),
            factor => return Err(CreateTopicError::ReplicationFactorTooLarge(factor)),
        }
        match request.partitions {
            -1 => Ok(self.settings.broker.num_partitions),
            count if count < 1 => Err(CreateTopicError::InvalidPartitions),
            count => Ok(count),
        }
    }

    fn check_assignments(&self, request: &NewTopicRequest) -> Result<i32, CreateTopicError> {
        if request.replication_factor != -1 {
            return Err(CreateTopicError::CountWithAssignment("replication factor"));
        }
        if request.partitions != -1 {
            return Err(CreateTopicError::CountWithAssignment("numPartitions"));
        }
        let mut by_index: BTreeMap<i32, &Vec<i32>> = BTreeMap::new();
        for (index, replicas) in &request.assignments {
            if by_index.insert(*index, replicas).is_some() {
                let message = format!("Found multiple manual partition assignments for partition {index}");
                return Err(CreateTopicError::InvalidAssignment(message));
            }
            self.check_replicas(replicas)?;
        }
        if !by_index.keys().zip(0..).all(|(&index, expected)| index == expected) {
            return Err(CreateTopicError::InvalidAssignment(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            ));
        }
        Ok(i32::try_from(by_index.len()).unwrap_or(i32::MAX))
    }

    /// Whether a partition may have these replicas (`ReplicationControlManager.validateManualPartitionAssignment`).
    pub fn check_replicas(&self, replicas: &[i32]) -> Result<(), CreateTopicError> {
        let fault = match replicas {
            [] => "an empty replica list.".to_owned(),
            [only] if *only == self.node_id() => return Ok(()),
            _ => match replicas.iter().find(|broker| **broker != self.node_id()) {
                Some(other) => format!("broker {other}, but no such broker is registered."),
                None => format!("the broker {} more than once.", self.node_id()),
            },
        };
        Err(CreateTopicError::InvalidAssignment(format!("The manual partition assignment includes {fault}")))
    }

    fn preview(&self, topic: NewTopic) -> Result<Arc<Topic>, CreateTopicError> {
        self.catalog.check_new(&topic)?;
        Ok(Arc::new(Topic {
            name: topic.name,
            id: uuid::Uuid::nil(),
            partitions: topic.partitions,
            configs: topic.configs,
        }))
    }
}

fn given_configs(configs: Vec<(String, Option<String>)>) -> Result<TopicConfigs, TopicConfigError> {
    let nulls: Vec<_> = configs.iter().filter(|config| config.1.is_none()).map(|config| config.0.as_str()).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(TopicConfigError::InvalidConfig(message));
    }
    Ok(configs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// Runs what blocks for the disk away from the async threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
