//! One immutable state of the catalogue.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::model::{TopicId, TopicName, TopicShape, Topics};

use super::CatalogError;

/// Configs that were set on a topic, by Kafka's names; what is not here has its default.
pub type TopicConfigs = BTreeMap<String, String>;

/// A topic as every request sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: TopicName,
    pub id: TopicId,
    /// How many partitions: they are numbered from 0.
    pub partitions: i32,
    pub configs: TopicConfigs,
}

impl Topic {
    pub fn has_partition(&self, partition: i32) -> bool {
        (0..self.partitions).contains(&partition)
    }

    /// Whether the topic can grow to `partitions`.
    pub fn check_growth(&self, partitions: i32) -> Result<(), CatalogError> {
        match partitions.cmp(&self.partitions) {
            Ordering::Greater => Ok(()),
            Ordering::Equal => Err(CatalogError::SameCount(self.partitions)),
            Ordering::Less => Err(CatalogError::NotAnIncrease {
                name: self.name.clone(),
                current: self.partitions,
                wanted: partitions,
            }),
        }
    }
}

/// All topics, by name and by id. Cloning copies the two maps, not the topics.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// Names that have a `.` or `_`, by what they become in a metric's name.
    by_metric_name: HashMap<String, TopicName>,
    partitions_total: i64,
    /// Counts changes.
    version: u64,
}

impl Snapshot {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub fn contains_id(&self, id: TopicId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// Topics whose name is not below `from`, in order: the cursor of DescribeTopicPartitions.
    pub fn topics_from(&self, from: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded)).map(|entry| entry.1)
    }

    /// The topic whose metrics would have the same name as those of `name` (`Topic.hasCollision`).
    pub fn colliding(&self, name: &str) -> Option<&TopicName> {
        metric_name(name).and_then(|metric_name| self.by_metric_name.get(&metric_name))
    }

    pub fn partitions_total(&self) -> i64 {
        self.partitions_total
    }

    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        self.version += 1;
        self.partitions_total += i64::from(topic.partitions);
        if let Some(metric_name) = metric_name(&topic.name) {
            self.by_metric_name.insert(metric_name, topic.name.clone());
        }
        self.by_id.insert(topic.id, Arc::clone(&topic));
        if let Some(replaced) = self.by_name.insert(topic.name.clone(), Arc::clone(&topic)) {
            self.partitions_total -= i64::from(replaced.partitions);
            if replaced.id != topic.id {
                self.by_id.remove(&replaced.id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.version += 1;
        self.by_name.remove(&topic.name);
        if let Some(metric_name) = metric_name(&topic.name) {
            self.by_metric_name.remove(&metric_name);
        }
        self.partitions_total -= i64::from(topic.partitions);
        Some(topic)
    }
}

impl Topics for Snapshot {
    fn version(&self) -> u64 {
        self.version
    }

    fn shape(&self, name: &str) -> Option<TopicShape> {
        self.topic(name).map(|topic| TopicShape { id: topic.id, partitions: topic.partitions })
    }

    fn name(&self, id: TopicId) -> Option<TopicName> {
        self.topic_by_id(id).map(|topic| topic.name.clone())
    }

    fn names(&self) -> Box<dyn Iterator<Item = &TopicName> + '_> {
        Box::new(self.by_name.keys())
    }
}

/// What becomes of a name in metrics; none for names that become no other.
fn metric_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
