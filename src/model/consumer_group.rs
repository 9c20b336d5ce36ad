//! A group of the consumer protocol (KIP-848): what outlives the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    group::Base64Bytes,
    ids::{TopicId, TopicName},
};

/// What a group of the consumer protocol has beside the fields that it shares with a classic one
/// (`org.apache.kafka.coordinator.group.modern.consumer.ConsumerGroup`). Its epoch is the group's generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerGroupMetadata {
    /// The group's epoch that the members' targets were computed for; behind it, they are to be computed anew.
    pub assignment_epoch: i32,
    /// Topics that exist and a member subscribes to, as they were for the present epoch.
    pub topics: BTreeMap<TopicName, TopicShape>,
    /// By member id.
    pub members: BTreeMap<Arc<str>, Arc<ConsumerMember>>,
}

/// One member, with its way from the partitions that it has to those that it shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerMember {
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<Arc<str>>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub topics: BTreeSet<TopicName>,
    /// Subscribes to every topic whose whole name it matches; empty for none.
    pub regex: String,
    /// The server-side assignor that the member prefers.
    pub assignor: Option<String>,
    /// The epoch that the member knows; -2 for a static member that has left for a while.
    pub epoch: i32,
    /// The epoch before, in which its next heartbeat comes when the answer that told it the epoch was lost.
    pub previous_epoch: i32,
    pub state: MemberState,
    /// What the member may use.
    pub assigned: Partitions,
    /// What the member is to give back before it can go on to the next epoch.
    pub revoking: Partitions,
    /// What the member shall have in the end.
    pub target: Partitions,
    /// What a member that speaks the classic protocol, in a group under migration, said when it joined.
    pub classic: Option<ClassicMember>,
}

/// How far a member is on the way to its target (`org.apache.kafka.coordinator.group.modern.MemberState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// Has its target.
    #[default]
    Stable,
    /// Has not yet said that it gave back what it is to give back.
    UnrevokedPartitions,
    /// Waits for partitions that other members have not given back.
    UnreleasedPartitions,
}

/// A member that came with JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassicMember {
    pub session_timeout_ms: i32,
    /// Protocol name and its opaque metadata, in the member's order of preference.
    pub protocols: Vec<(String, Base64Bytes)>,
}

/// Which topic a name stands for, and how many partitions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicShape {
    pub id: TopicId,
    pub partitions: i32,
}

/// Partitions of topics; no topic is without any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partitions(BTreeMap<TopicId, BTreeSet<i32>>);

impl Partitions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions of all topics.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub fn insert(&mut self, topic: TopicId, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    /// Each topic with its partitions, in order.
    pub fn by_topic(&self) -> impl Iterator<Item = (TopicId, &BTreeSet<i32>)> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
    }

    pub fn is_subset(&self, of: &Self) -> bool {
        self.iter().all(|(topic, partition)| of.contains(topic, partition))
    }

    pub fn intersects(&self, other: &Self) -> bool {
        self.iter().any(|(topic, partition)| other.contains(topic, partition))
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(partitions: I) -> Self {
        let mut collected = Self::default();
        partitions.into_iter().for_each(|(topic, partition)| collected.insert(topic, partition));
        collected
    }
}

impl ConsumerMember {
    /// Whether the member has the target of `epoch`.
    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// What the member may use, or still uses.
    pub fn held(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.assigned.iter().chain(self.revoking.iter())
    }
}

/// The topics of one moment, for those who must know which exist without knowing where they are kept.
pub trait Topics: Send + Sync + std::fmt::Debug {
    /// Another number whenever a topic has come, gone or grown.
    fn version(&self) -> u64;

    /// The topic of a name.
    fn shape(&self, name: &str) -> Option<TopicShape>;

    /// The name of a topic.
    fn name(&self, id: TopicId) -> Option<TopicName>;

    /// Every topic's name.
    fn names(&self) -> Box<dyn Iterator<Item = &TopicName> + '_>;
}

#[cfg(test)]
impl Topics for BTreeMap<TopicName, TopicShape> {
    fn version(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.iter().for_each(|(name, shape)| (name, shape.id, shape.partitions).hash(&mut hasher));
        hasher.finish()
    }

    fn shape(&self, name: &str) -> Option<TopicShape> {
        self.get(name).copied()
    }

    fn name(&self, id: TopicId) -> Option<TopicName> {
        self.iter().find(|(_, shape)| shape.id == id).map(|(name, _)| Arc::clone(name))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &TopicName> + '_> {
        Box::new(self.keys())
    }
}
