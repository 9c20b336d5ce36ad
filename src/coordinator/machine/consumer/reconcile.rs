//! One step of a member towards its target (`org.apache.kafka.coordinator.group.modern.consumer.CurrentAssignmentBuilder`).

use crate::model::{ConsumerMember, MemberState, Partitions, TopicId};

/// The member after its heartbeat: what is not in its target is taken from it first, then it goes to the epoch of the target
/// and gets what of that is free. `owned` is what the member says that it uses; none when it does not say.
pub(super) fn reconcile(
    member: &ConsumerMember,
    target_epoch: i32,
    owned: Option<&Partitions>,
    is_free: impl Fn(TopicId, i32) -> bool,
) -> ConsumerMember {
    let epoch = match member.state {
        MemberState::Stable if member.epoch == target_epoch => return member.clone(),
        MemberState::Stable | MemberState::UnreleasedPartitions => member.epoch,
        MemberState::UnrevokedPartitions if uses(owned, &member.revoking) => return member.clone(),
        // What it had to give back is given back: the member is through with the epoch.
        MemberState::UnrevokedPartitions => member.epoch.saturating_add(1),
    };
    let (kept, revoking): (Vec<_>, Vec<_>) =
        member.assigned.iter().partition(|(topic, partition)| member.target.contains(*topic, *partition));
    let revoking: Partitions = revoking.into_iter().collect();
    if !revoking.is_empty() && uses(owned, &revoking) {
        return ConsumerMember {
            state: MemberState::UnrevokedPartitions,
            assigned: kept.into_iter().collect(),
            revoking,
            ..at_epoch(member, epoch)
        };
    }
    let mut assigned: Partitions = kept.into_iter().collect();
    let mut state = MemberState::Stable;
    for (topic, partition) in
        member.target.iter().filter(|(topic, partition)| !member.assigned.contains(*topic, *partition))
    {
        if is_free(topic, partition) {
            assigned.insert(topic, partition);
        } else {
            state = MemberState::UnreleasedPartitions;
        }
    }
    ConsumerMember { state, assigned, revoking: Partitions::default(), ..at_epoch(member, target_epoch) }
}

/// Whether the member may still use any of `partitions`: it does until it names what it has, without them.
fn uses(owned: Option<&Partitions>, partitions: &Partitions) -> bool {
    owned.is_none_or(|owned| owned.intersects(partitions))
}

fn at_epoch(member: &ConsumerMember, epoch: i32) -> ConsumerMember {
    ConsumerMember { epoch, previous_epoch: member.epoch, ..member.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId::from_u128(1);

    fn partitions(of: &[i32]) -> Partitions {
        of.iter().map(|partition| (TOPIC, *partition)).collect()
    }

    /// A stable member of epoch 1.
    fn member(assigned: &[i32], target: &[i32]) -> ConsumerMember {
        ConsumerMember {
            epoch: 1,
            previous_epoch: 0,
            assigned: partitions(assigned),
            target: partitions(target),
            ..ConsumerMember::default()
        }
    }

    #[test]
    fn a_member_at_its_target_stays_as_it_is() {
        let at_target = member(&[0], &[0]);
        assert_eq!(reconcile(&at_target, 1, None, |_, _| true), at_target);
    }

    #[test]
    fn free_partitions_are_given_at_once() {
        let after = reconcile(&member(&[], &[0, 1]), 2, None, |_, _| true);
        let expected = ConsumerMember { epoch: 2, previous_epoch: 1, ..member(&[0, 1], &[0, 1]) };
        assert_eq!(after, expected);
    }

    #[test]
    fn partitions_that_others_hold_are_waited_for() {
        let waiting = reconcile(&member(&[0], &[0, 1, 2]), 2, None, |_, partition| partition == 2);
        assert_eq!((waiting.epoch, waiting.state), (2, MemberState::UnreleasedPartitions));
        assert_eq!(waiting.assigned, partitions(&[0, 2]));
        let done = reconcile(&waiting, 2, None, |_, _| true);
        assert_eq!((done.epoch, done.state), (2, MemberState::Stable));
        assert_eq!(done.assigned, partitions(&[0, 1, 2]));
    }

    #[test]
    fn what_is_not_in_the_target_is_given_back_before_the_epoch_moves() {
        let before = member(&[0, 1, 2], &[2, 3]);
        let revoking = reconcile(&before, 2, None, |_, _| true);
        assert_eq!((revoking.epoch, revoking.previous_epoch), (1, 1));
        assert_eq!(revoking.state, MemberState::UnrevokedPartitions);
        assert_eq!((&revoking.assigned, &revoking.revoking), (&partitions(&[2]), &partitions(&[0, 1])));
        // Neither silence nor half of it is enough.
        assert_eq!(reconcile(&revoking, 2, None, |_, _| true), revoking);
        assert_eq!(reconcile(&revoking, 2, Some(&partitions(&[1, 2])), |_, _| true), revoking);
        let done = reconcile(&revoking, 2, Some(&partitions(&[2])), |_, _| true);
        assert_eq!((done.epoch, done.state), (2, MemberState::Stable));
        assert_eq!((&done.assigned, &done.revoking), (&partitions(&[2, 3]), &partitions(&[])));
    }

    #[test]
    fn a_newer_target_may_ask_for_more_to_be_given_back() {
        let revoking = reconcile(&member(&[0, 1, 2], &[1, 2]), 2, None, |_, _| true);
        let newer = ConsumerMember { target: partitions(&[2]), ..revoking };
        let again = reconcile(&newer, 3, Some(&partitions(&[1, 2])), |_, _| true);
        assert_eq!((again.epoch, again.state), (2, MemberState::UnrevokedPartitions));
        assert_eq!((&again.assigned, &again.revoking), (&partitions(&[2]), &partitions(&[1])));
    }

    #[test]
    fn a_member_that_owns_nothing_has_nothing_to_give_back() {
        let after = reconcile(&member(&[0, 1], &[5]), 2, Some(&partitions(&[])), |_, _| true);
        assert_eq!((after.epoch, after.state), (2, MemberState::Stable));
        assert_eq!(after.assigned, partitions(&[5]));
    }
}
