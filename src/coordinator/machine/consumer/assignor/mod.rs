//! Assignors: who of a group's members shall have which partitions.

mod range;
mod uniform;

use std::{collections::BTreeMap, sync::Arc};

use super::subscription::Expressions;
use crate::model::{ConsumerGroupMetadata, ConsumerMember, Partitions, TopicId, TopicName, TopicShape};

/// A server-side assignor (`group.consumer.assignors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Spreads all partitions evenly and moves as few as it can.
    Uniform,
    /// Gives each member a range of every topic, so that equal partitions of several topics come together.
    Range,
}

impl Assignor {
    /// The assignor of a name that clients use.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor that most members prefer, of equal ones the one that comes first in `supported`; without a preference
    /// the first of `supported`.
    pub fn preferred(members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>, supported: &[Self]) -> Self {
        let votes = |assignor: &Self| {
            let prefers = |member: &&Arc<ConsumerMember>| member.assignor.as_deref() == Some(assignor.name());
            members.values().filter(prefers).count()
        };
        // `max_by_key` keeps the last of equals.
        supported.iter().rev().copied().max_by_key(votes).unwrap_or(Self::Uniform)
    }

    /// Gives every member of `group` a new target.
    pub fn assign(self, group: &mut ConsumerGroupMetadata) {
        let sizes: BTreeMap<TopicId, i32> = group.topics.values().map(|shape| (shape.id, shape.partitions)).collect();
        let expressions = Expressions::of(&group.members);
        let subscribers: Vec<_> =
            group.members.iter().map(|(id, member)| Subscriber::new(id, member, &group.topics, &expressions)).collect();
        let targets = match self {
            Self::Uniform => uniform::assign(&subscribers, &sizes),
            Self::Range => range::assign(&subscribers, &sizes),
        };
        for (member, target) in group.members.values_mut().zip(targets) {
            if member.target != target {
                Arc::make_mut(member).target = target;
            }
        }
    }
}

/// A member as assignors see it.
struct Subscriber<'a> {
    member_id: &'a str,
    group_instance_id: Option<&'a str>,
    /// In order, each once.
    topics: Vec<TopicId>,
    /// What the last assignment gave it.
    current: &'a Partitions,
}

impl<'a> Subscriber<'a> {
    fn new(
        id: &'a Arc<str>,
        member: &'a ConsumerMember,
        known: &BTreeMap<TopicName, TopicShape>,
        expressions: &Expressions<'_>,
    ) -> Self {
        let subscribed = known.iter().filter(|(name, _)| expressions.subscribes(member, name));
        let mut topics: Vec<_> = subscribed.map(|(_, shape)| shape.id).collect();
        topics.sort_unstable();
        let group_instance_id = member.group_instance_id.as_deref();
        Self { member_id: id, group_instance_id, topics, current: &member.target }
    }
}
