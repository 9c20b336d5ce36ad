//! The topics that a member of protocol type `consumer` subscribes to, read from its opaque metadata.

use std::collections::HashSet;

use super::group::{Group, Member};
use crate::model::GroupState;

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
        let mut topics = HashSet::new();
        let mut read = |member: &Member| subscribed_topics(&member.metadata(self.protocol.as_deref()), &mut topics);
        let all_read = self.members.values().all(|member| read(member).is_some());
        if all_read { Subscription::Topics(topics) } else { Subscription::Unknown }
    }
}

/// Adds the topics of a `ConsumerProtocolSubscription` to `topics`. Its version 0 (a version, then an array of
/// strings) is the beginning of every later version. None when the bytes are something else.
fn subscribed_topics(metadata: &[u8], topics: &mut HashSet<String>) -> Option<()> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(())
}

const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(metadata: &[u8]) -> Option<Vec<String>> {
        let mut topics = HashSet::new();
        subscribed_topics(metadata, &mut topics)?;
        let mut topics: Vec<_> = topics.into_iter().collect();
        topics.sort();
        Some(topics)
    }

    #[test]
    fn topics_of_a_subscription_of_any_version_are_read() {
        assert_eq!(parse(b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff"), Some(vec!["a".into(), "bc".into()]));
        assert_eq!(parse(b"\0\x03\0\0\0\x01\0\x01a\0\0\0\0\0\0\0\0\0\0\0\x01"), Some(vec!["a".into()]));
        assert_eq!(parse(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn bytes_that_are_no_subscription_are_refused() {
        let lies: [&[u8]; 8] = [
            b"",
            b"\0",
            b"\0\0\0\0\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\x7f\xffa",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ];
        for lie in lies {
            assert_eq!(parse(lie), None, "{lie:?}");
        }
    }
}
