//! Requests of members of consumer groups (KIP-848), good unless a scenario changes them.

use std::{thread, time::Duration};

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicName,
    consumer_group_heartbeat_request::TopicPartitions,
};
use uuid::Uuid;

use crate::{
    requests::group_id,
    support::{StrBytes, eventually, str_bytes},
    talk::Talk,
};

/// A topic that the coordinators have heard of, which in Kafka is a moment after it is there.
pub fn topic_of(talk: &mut Talk, name: &str, partitions: i32) -> (StrBytes, Uuid) {
    let (topic, id) = talk.topic(name, partitions);
    let probe = talk.group(&format!("probe-{name}"));
    let mut client = talk.unrecorded();
    eventually("the coordinator knows the topic", Duration::from_secs(10), || {
        let reply = client.call(1, &joining(&probe, "probe", &[&topic]));
        (!partitions_of(&reply).is_empty()).then_some(())
    });
    thread::sleep(Duration::from_millis(100));
    (topic, id)
}

pub fn joining(group: &str, member: &str, topics: &[&StrBytes]) -> ConsumerGroupHeartbeatRequest {
    heartbeat(group, member, 0)
        .with_rebalance_timeout_ms(5000)
        .with_subscribed_topic_names(Some(topics.iter().map(|topic| TopicName((*topic).clone())).collect()))
        .with_topic_partitions(Some(vec![]))
}

/// One that says nothing new.
pub fn heartbeat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(str_bytes(member))
        .with_member_epoch(epoch)
        .with_instance_id(None)
        .with_rack_id(None)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(None)
        .with_server_assignor(None)
        .with_topic_partitions(None)
}

pub fn owned(topic_id: Uuid, partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
    let topic = TopicPartitions::default().with_topic_id(topic_id).with_partitions(partitions.to_vec());
    Some(if partitions.is_empty() { vec![] } else { vec![topic] })
}

/// What a reply assigns of its only topic.
pub fn partitions_of(reply: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let assigned = reply.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    assigned.flat_map(|topic| topic.partitions.clone()).collect()
}

pub fn describe(talk: &mut Talk, version: i16, group: &StrBytes) {
    talk.call_sorted("observer", version, "the group now", &describe_request(group));
}

pub fn describe_request(group: &StrBytes) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)])
}

pub fn await_epoch(talk: &Talk, group: &StrBytes, epoch: i32) {
    let mut client = talk.unrecorded();
    eventually("the group's epoch", Duration::from_secs(10), || {
        (client.call(1, &describe_request(group)).groups[0].group_epoch >= epoch).then_some(())
    });
}
