//! The topics that a member of protocol type `consumer` subscribes to, read from its opaque metadata.

use std::collections::HashSet;

use super::{
    consumer_protocol,
    group::{Group, Member},
};
use crate::model::{GroupState, group::CONSUMER_PROTOCOL_TYPE};

/// What is known of a group's subscription.
pub(super) enum Subscription {
    /// The group has no members that consume: no topic is in use.
    None,
    Topics(HashSet<String>),
    /// Consumers whose metadata cannot be read: any topic may be in use.
    Unknown,
}

impl Subscription {
    pub fn contains(&self, topic: &str) -> bool {
        match self {
            Self::None => false,
            Self::Topics(topics) => topics.contains(topic),
            Self::Unknown => true,
        }
    }
}

impl Group {
    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type == CONSUMER_PROTOCOL_TYPE
    }

    /// What the members subscribe to (`ClassicGroup.computeSubscribedTopics`).
    pub fn subscription(&self) -> Subscription {
        if !self.uses_consumer_protocol() || self.state == GroupState::Empty {
            return Subscription::None;
        }
        let topics =
            |member: &Member| consumer_protocol::Subscription::parse_topics(&member.metadata(self.protocol.as_deref()));
        let read: Option<Vec<_>> = self.members.values().map(topics).collect();
        read.map_or(Subscription::Unknown, |topics| Subscription::Topics(topics.into_iter().flatten().collect()))
    }
}
