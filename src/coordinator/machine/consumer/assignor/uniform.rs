//! The uniform assignor (`org.apache.kafka.coordinator.group.assignor.UniformAssignor`): even, and sticky.

use std::collections::{BTreeMap, BTreeSet};

use super::Subscriber;
use crate::model::{Partitions, TopicId};

/// Nobody has two partitions more than another member that could have one of them. What a member had it keeps, as far as
/// that allows.
pub(super) fn assign(subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let mut holders = Holders::new(subscribers, sizes);
    let first = subscribers.first().map(|subscriber| &subscriber.topics);
    if subscribers.iter().all(|subscriber| Some(&subscriber.topics) == first) {
        holders.trim_to_quota();
        holders.hand_out_evenly();
    } else {
        holders.hand_out_to_least_loaded();
        holders.balance();
    }
    holders.into_targets()
}

/// Who has what, while it is worked out.
struct Holders {
    /// Indexes of subscribers by topic.
    of_topic: BTreeMap<TopicId, Vec<usize>>,
    held: Vec<BTreeSet<(TopicId, i32)>>,
    unassigned: BTreeSet<(TopicId, i32)>,
}

impl Holders {
    /// Everyone has what it had, where it still exists and is subscribed to.
    fn new(subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Self {
        let mut of_topic: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (index, subscriber) in subscribers.iter().enumerate() {
            subscriber.topics.iter().for_each(|topic| of_topic.entry(*topic).or_default().push(index));
        }
        let all = |topic: &TopicId| {
            let topic = *topic;
            (0..sizes.get(&topic).copied().unwrap_or(0)).map(move |partition| (topic, partition))
        };
        let mut unassigned: BTreeSet<_> = of_topic.keys().flat_map(all).collect();
        let kept = |subscriber: &Subscriber<'_>| {
            let may_have = |topic: &TopicId| subscriber.topics.binary_search(topic).is_ok();
            let current = subscriber.current.iter().filter(|(topic, _)| may_have(topic));
            current.filter(|partition| unassigned.remove(partition)).collect()
        };
        let held = subscribers.iter().map(kept).collect();
        Self { of_topic, held, unassigned }
    }

    /// With equal subscriptions everyone may have the quota, and as many as the division leaves one more.
    fn trim_to_quota(&mut self) {
        let (quota, extra) = self.quota();
        let mut rich: Vec<_> = self.held.iter_mut().filter(|held| held.len() > quota).collect();
        // Who has but one more keeps it first: nothing moves there then.
        rich.sort_by_key(|held| held.len());
        for (index, held) in rich.into_iter().enumerate() {
            let keep = quota + usize::from(index < extra);
            while held.len() > keep {
                self.unassigned.extend(held.pop_last());
            }
        }
    }

    fn hand_out_evenly(&mut self) {
        let (quota, extra) = self.quota();
        let mut extra = extra - self.held.iter().filter(|held| held.len() > quota).count();
        for upto in [quota, quota + 1] {
            for held in &mut self.held {
                if upto > quota && (held.len() > quota || extra == 0) {
                    continue;
                }
                extra -= usize::from(upto > quota);
                while held.len() < upto
                    && let Some(partition) = self.unassigned.pop_first()
                {
                    held.insert(partition);
                }
            }
        }
    }

    fn quota(&self) -> (usize, usize) {
        let total = self.unassigned.len() + self.held.iter().map(BTreeSet::len).sum::<usize>();
        let members = self.held.len().max(1);
        (total / members, total % members)
    }

    /// First what few can have.
    fn hand_out_to_least_loaded(&mut self) {
        let mut left: Vec<_> = std::mem::take(&mut self.unassigned).into_iter().collect();
        left.sort_by_key(|(topic, _)| self.of_topic.get(topic).map_or(0, Vec::len));
        for (topic, partition) in left {
            let least = self.least_loaded(topic);
            if let Some(held) = least.and_then(|index| self.held.get_mut(index)) {
                held.insert((topic, partition));
            }
        }
    }

    /// Moves partitions from members that have more to those that have at least two less. Each move makes the sum of
    /// the squares of the loads smaller, so it ends.
    fn balance(&mut self) {
        let topics: Vec<TopicId> = self.of_topic.keys().copied().collect();
        loop {
            let mut moved = false;
            for topic in &topics {
                while self.move_one(*topic) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn move_one(&mut self, topic: TopicId) -> bool {
        let Some(least) = self.least_loaded(topic) else { return false };
        let last_of_topic = |index: &usize| {
            let of_topic = self.held.get(*index)?.range((topic, i32::MIN)..=(topic, i32::MAX));
            of_topic.last().copied().map(|partition| (*index, partition))
        };
        let holders = self.of_topic.get(&topic).into_iter().flatten().filter_map(last_of_topic);
        let Some((most, partition)) = holders.max_by_key(|(index, _)| self.load(*index)) else { return false };
        if self.load(most) < self.load(least) + 2 {
            return false;
        }
        if let Some(held) = self.held.get_mut(most) {
            held.remove(&partition);
        }
        if let Some(held) = self.held.get_mut(least) {
            held.insert(partition);
        }
        true
    }

    fn least_loaded(&self, topic: TopicId) -> Option<usize> {
        self.of_topic.get(&topic)?.iter().copied().min_by_key(|index| self.load(*index))
    }

    fn load(&self, index: usize) -> usize {
        self.held.get(index).map_or(0, BTreeSet::len)
    }

    fn into_targets(self) -> Vec<Partitions> {
        self.held.into_iter().map(Partitions::from_iter).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Who subscribes to which of the topics 0, 1, …, and what it had.
    type Given = (Vec<u128>, Partitions);

    fn run(given: &[Given], sizes: &[i32]) -> Vec<Partitions> {
        let names: Vec<String> = (0..given.len()).map(|index| format!("m{index:03}")).collect();
        let subscribers: Vec<_> = names
            .iter()
            .zip(given)
            .map(|(name, (topics, current))| Subscriber {
                member_id: name,
                group_instance_id: None,
                topics: topics.iter().map(|topic| TopicId::from_u128(*topic)).collect(),
                current,
            })
            .collect();
        let sizes = (0..).zip(sizes).map(|(topic, size)| (TopicId::from_u128(topic), *size)).collect();
        assign(&subscribers, &sizes)
    }

    fn again(given: &[Given], targets: Vec<Partitions>) -> Vec<Given> {
        given.iter().zip(targets).map(|((topics, _), target)| (topics.clone(), target)).collect()
    }

    fn moved(before: &[Given], after: &[Partitions]) -> usize {
        let lost = |(given, after): (&Given, &Partitions)| given.1.iter().filter(|p| !after.contains(p.0, p.1)).count();
        before.iter().zip(after).map(lost).sum()
    }

    #[test]
    fn a_member_that_comes_takes_no_more_than_its_share() {
        let alone = run(&[(vec![0], Partitions::default())], &[7]);
        let two = vec![(vec![0], alone[0].clone()), (vec![0], Partitions::default())];
        let shared = run(&two, &[7]);
        assert_eq!(shared.iter().map(Partitions::len).collect::<Vec<_>>(), [4, 3]);
        assert_eq!(moved(&two, &shared), 3);
    }

    #[test]
    fn what_a_member_leaves_behind_goes_to_the_others_and_nothing_else_moves() {
        let none = || (vec![0, 1], Partitions::default());
        let three = run(&[none(), none(), none()], &[5, 6]);
        let left = vec![(vec![0, 1], three[0].clone()), (vec![0, 1], three[2].clone())];
        let after = run(&left, &[5, 6]);
        assert_eq!(moved(&left, &after), 0);
        assert_eq!(after.iter().map(Partitions::len).sum::<usize>(), 11);
    }

    fn subscriptions() -> impl Strategy<Value = Vec<Given>> {
        let topics = proptest::collection::btree_set(0..5_u128, 0..5).prop_map(|topics| topics.into_iter().collect());
        proptest::collection::vec(topics.prop_map(|topics| (topics, Partitions::default())), 1..9)
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_loads_are_even(
            given in subscriptions(), same in any::<bool>(), sizes in proptest::collection::vec(0..12_i32, 5),
        ) {
            let mut given = given;
            if same {
                let topics = given[0].0.clone();
                given.iter_mut().for_each(|(of, _)| of.clone_from(&topics));
            }
            let targets = run(&given, &sizes);
            let mut owners = BTreeMap::new();
            for (index, target) in targets.iter().enumerate() {
                for partition in target.iter() {
                    prop_assert!(given[index].0.contains(&partition.0.as_u128()));
                    prop_assert_eq!(owners.insert(partition, index), None);
                }
            }
            let wanted: BTreeSet<u128> = given.iter().flat_map(|(topics, _)| topics.iter().copied()).collect();
            let total: i32 = wanted.iter().map(|topic| sizes[*topic as usize]).sum();
            prop_assert_eq!(owners.len(), total as usize);
            for (partition, owner) in &owners {
                for (index, target) in targets.iter().enumerate() {
                    let could = given[index].0.contains(&partition.0.as_u128());
                    prop_assert!(!could || targets[*owner].len() < target.len() + 2);
                }
            }
            // Nothing moves without a reason.
            let settled = again(&given, targets);
            prop_assert_eq!(moved(&settled, &run(&settled, &sizes)), 0);
        }
    }
}
