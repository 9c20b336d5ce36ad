//! ConsumerGroupHeartbeat v0–1: a member of the consumer protocol joins, stays, tells what it uses, or leaves, and hears what it
//! is assigned (KIP-848). v1: regular expressions, and members make their own id (KIP-1082).

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, consumer_group_heartbeat_request,
    consumer_group_heartbeat_response::{Assignment, TopicPartitions},
};
use tracing::debug;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{ConsumerHeartbeatReply, ConsumerHeartbeatRequest, Refusal},
    model::Partitions,
};

use super::{domain_name, shared, text};

pub fn handle(request: Request) -> Handled {
    let body: ConsumerGroupHeartbeatRequest = request.decode()?;
    debug!(
        group = %*body.group_id,
        member = %body.member_id,
        instance = body.instance_id.as_deref(),
        epoch = body.member_epoch,
        "consumer heartbeat"
    );
    let broker = request.broker();
    let beat = broker.coordinator().consumer_heartbeat(heartbeat_request(&request, body), broker.topics_of_groups());
    request.pending(async move { respond(beat.await) })
}

fn heartbeat_request(request: &Request, body: ConsumerGroupHeartbeatRequest) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        group_id: shared(&body.group_id),
        requires_member_id: request.version >= FIRST_WITH_OWN_MEMBER_ID,
        member_id: shared(&body.member_id),
        member_epoch: body.member_epoch,
        group_instance_id: body.instance_id.as_ref().map(shared),
        rack_id: body.rack_id.map(|rack_id| rack_id.to_string()),
        rebalance_timeout_ms: (body.rebalance_timeout_ms != UNCHANGED).then_some(body.rebalance_timeout_ms),
        topics: body.subscribed_topic_names.map(|names| names.iter().map(domain_name).collect()),
        regex: body.subscribed_topic_regex.map(|regex| regex.to_string()),
        assignor: body.server_assignor.map(|assignor| assignor.to_string()),
        owned: body.topic_partitions.map(partitions),
        client_id: request.client_id().to_owned(),
        client_host: request.client_host(),
    }
}

fn partitions(topics: Vec<consumer_group_heartbeat_request::TopicPartitions>) -> Partitions {
    topics
        .into_iter()
        .flat_map(|topic| topic.partitions.into_iter().map(move |index| (topic.topic_id, index)))
        .collect()
}

fn respond(beat: Result<ConsumerHeartbeatReply, Refusal>) -> ConsumerGroupHeartbeatResponse {
    match beat {
        Ok(reply) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text(&reply.member_id)))
            .with_member_epoch(reply.member_epoch)
            .with_heartbeat_interval_ms(reply.heartbeat_interval_ms)
            .with_assignment(reply.assignment.as_ref().map(assignment)),
        Err(refusal) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(refusal.error.code())
            .with_error_message(Some(text(&refusal.message))),
    }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topic = |(id, partitions): (_, &std::collections::BTreeSet<i32>)| {
        TopicPartitions::default().with_topic_id(id).with_partitions(partitions.iter().copied().collect())
    };
    Assignment::default().with_topic_partitions(partitions.by_topic().map(topic).collect())
}

const FIRST_WITH_OWN_MEMBER_ID: i16 = 1;
const UNCHANGED: i32 = -1;
