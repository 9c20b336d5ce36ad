//! The range assignor (`org.apache.kafka.coordinator.group.assignor.RangeAssignor`).

use std::collections::BTreeMap;

use super::Subscriber;
use crate::model::{Partitions, TopicId};

/// Each topic's partitions in ranges over its subscribers, static members by instance id first, then the others by member
/// id; the first ones get one more where it does not come out even.
pub(super) fn assign(subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..subscribers.len()).collect();
    order.sort_by_key(|index| {
        let subscriber = subscribers.get(*index);
        let instance_id = subscriber.and_then(|subscriber| subscriber.group_instance_id);
        (instance_id.is_none(), instance_id, subscriber.map(|subscriber| subscriber.member_id))
    });
    let mut of_topic: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for index in order {
        for topic in subscribers.get(index).iter().flat_map(|subscriber| &subscriber.topics) {
            of_topic.entry(*topic).or_default().push(index);
        }
    }
    let mut targets = vec![Partitions::default(); subscribers.len()];
    for (topic, members) in of_topic {
        let partitions = sizes.get(&topic).copied().unwrap_or(0);
        let count = i32::try_from(members.len()).unwrap_or(i32::MAX);
        let (quota, mut extra) = (partitions / count, partitions % count);
        let mut next = 0;
        for index in members {
            let end = next + quota + i32::from(extra > 0);
            extra -= i32::from(extra > 0);
            if let Some(target) = targets.get_mut(index) {
                (next..end).for_each(|partition| target.insert(topic, partition));
            }
            next = end;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_topics_of_one_size_are_the_same() {
        let (first, second) = (TopicId::from_u128(1), TopicId::from_u128(2));
        let sizes = BTreeMap::from([(first, 5), (second, 5)]);
        let none = Partitions::default();
        let subscriber =
            |member_id, group_instance_id, topics| Subscriber { member_id, group_instance_id, topics, current: &none };
        let both = vec![first, second];
        let subscribers = [
            subscriber("a", None, both.clone()),
            subscriber("b", Some("z"), both.clone()),
            subscriber("c", Some("y"), both),
            subscriber("d", None, vec![second]),
        ];
        let targets = assign(&subscribers, &sizes);
        let of = |topic: TopicId, range: std::ops::Range<i32>| range.map(move |partition| (topic, partition));
        let expected = |of_first, of_second| of(first, of_first).chain(of(second, of_second)).collect::<Partitions>();
        // c, b, a of the first topic; c, b, a, d of the second.
        let wanted = [expected(4..5, 3..4), expected(2..4, 2..3), expected(0..2, 0..2), expected(0..0, 4..5)];
        assert_eq!(targets, wanted);
    }
}
