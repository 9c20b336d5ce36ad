//! ConsumerGroupDescribe v0–1: state, epochs, members and assignments of groups of the consumer protocol (KIP-848). v1: which
//! protocol each member speaks.
//!
//! A group that comes twice is described once: repetitions would make a huge answer of a small request.

use indexmap::IndexSet;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId,
    consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{DescribedConsumerGroup, DescribedConsumerMember, NamedPartitions, Refusal},
};

use super::{AUTHORIZED_GROUP_OPERATIONS, AUTHORIZED_OPERATIONS_OMITTED, operations_if, shared, text, topic_name};

pub fn handle(request: Request) -> Handled {
    let body: ConsumerGroupDescribeRequest = request.decode()?;
    let version = request.version;
    let operations = operations_if(body.include_authorized_operations, AUTHORIZED_GROUP_OPERATIONS);
    let group_ids: IndexSet<_> = body.group_ids.iter().map(|group_id| shared(group_id)).collect();
    let broker = request.broker();
    let topics = broker.topics_of_groups();
    let described = broker.coordinator().describe_consumer(group_ids.into_iter().collect(), &topics);
    request.pending(async move {
        let groups = described.await.into_iter();
        let groups =
            groups.map(|(group_id, described)| respond(version, GroupId(text(&group_id)), described, operations));
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    })
}

fn respond(
    version: i16,
    group_id: GroupId,
    described: Result<DescribedConsumerGroup, Refusal>,
    operations: i32,
) -> DescribedGroup {
    let response = DescribedGroup::default().with_group_id(group_id);
    match described {
        Err(refusal) => response
            .with_error_code(refusal.error.code())
            .with_error_message(Some(text(&refusal.message)).filter(|message| !message.is_empty()))
            .with_authorized_operations(AUTHORIZED_OPERATIONS_OMITTED),
        Ok(group) => response
            .with_group_state(text(group.state.as_str()))
            .with_group_epoch(group.epoch)
            .with_assignment_epoch(group.assignment_epoch)
            .with_assignor_name(text(group.assignor))
            .with_members(group.members.into_iter().map(|one| member(version, one)).collect())
            .with_authorized_operations(operations),
    }
}

fn member(version: i16, member: DescribedConsumerMember) -> Member {
    let member_type = match version {
        ..FIRST_WITH_MEMBER_TYPE => Member::default().member_type,
        _ => i8::from(!member.is_classic),
    };
    Member::default()
        .with_member_id(text(&member.member_id))
        .with_instance_id(member.group_instance_id.map(text))
        .with_rack_id(member.rack_id.map(text))
        .with_member_epoch(member.member_epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(member.topics.iter().map(topic_name).collect())
        .with_subscribed_topic_regex(Some(text(&member.regex)))
        .with_assignment(assignment(member.assigned))
        .with_target_assignment(assignment(member.target))
        .with_member_type(member_type)
}

fn assignment(partitions: NamedPartitions) -> Assignment {
    let topic = |(id, name, partitions)| {
        TopicPartitions::default().with_topic_id(id).with_topic_name(topic_name(&name)).with_partitions(partitions)
    };
    Assignment::default().with_topic_partitions(partitions.into_iter().map(topic).collect())
}

const FIRST_WITH_MEMBER_TYPE: i16 = 1;
