//! ConsumerGroupDescribe and the state that ListGroups shows.

use std::sync::Arc;

use super::super::{Config, ConsumerGroupState, DescribedConsumerGroup, DescribedConsumerMember, NamedPartitions};
use super::{Assignor, ConsumerGroup};
use crate::model::{ConsumerMember, Partitions, Topics};

impl ConsumerGroup {
    /// `ConsumerGroup.maybeUpdateGroupState`.
    pub fn state(&self) -> ConsumerGroupState {
        let members = &self.data.members;
        if members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.data.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if members.values().all(|member| member.is_reconciled_to(self.data.assignment_epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    pub fn describe(&self, topics: &dyn Topics, config: &Config) -> DescribedConsumerGroup {
        let member = |(member_id, member): (&Arc<str>, &Arc<ConsumerMember>)| DescribedConsumerMember {
            member_id: Arc::clone(member_id),
            group_instance_id: member.group_instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: member.topics.iter().cloned().collect(),
            regex: member.regex.clone(),
            assigned: self.named(&member.assigned, topics),
            target: self.named(&member.target, topics),
            is_classic: member.classic.is_some(),
        };
        DescribedConsumerGroup {
            group_id: Arc::clone(&self.id),
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.data.assignment_epoch,
            assignor: Assignor::preferred(&self.data.members, &config.consumer.assignors).name(),
            members: self.data.members.iter().map(member).collect(),
        }
    }

    /// Partitions with the names of their topics; those of topics that are gone are left out.
    fn named(&self, partitions: &Partitions, topics: &dyn Topics) -> NamedPartitions {
        let named = partitions.by_topic();
        named.filter_map(|(id, of)| Some((id, topics.name(id)?, of.iter().copied().collect()))).collect()
    }
}
