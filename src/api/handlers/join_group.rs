//! JoinGroup v0–9: a member joins a classic group and waits for its generation. KIP-62 (v1: rebalance timeout),
//! KIP-394 (v4: MEMBER_ID_REQUIRED), KIP-345 (v5: static members), KIP-559 (v7: protocol type), KIP-800 (v8: reason),
//! KIP-814 (v9: skip assignment).

use kafka_protocol::{
    messages::{
        JoinGroupRequest, JoinGroupResponse, join_group_request::JoinGroupRequestProtocol,
        join_group_response::JoinGroupResponseMember,
    },
    protocol::StrBytes,
};
use tracing::debug;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{JoinError, JoinReply, JoinRequest, JoinedMember},
};

use super::{detached, shared, text};

pub fn handle(request: Request) -> Handled {
    let body: JoinGroupRequest = request.decode()?;
    debug!(
        group = %*body.group_id,
        member = %body.member_id,
        instance = body.group_instance_id.as_deref(),
        reason = body.reason.as_deref(),
        "join"
    );
    let version = request.version;
    let broker = request.broker();
    let joined = broker.coordinator().join(join_request(&request, body), broker.topics_of_groups());
    request.pending(async move { respond(version, joined.await) })
}

fn join_request(request: &Request, body: JoinGroupRequest) -> JoinRequest {
    let version = request.version;
    let protocol = |protocol: JoinGroupRequestProtocol| (protocol.name.to_string(), detached(&protocol.metadata));
    JoinRequest {
        group_id: shared(&body.group_id),
        member_id: shared(&body.member_id),
        group_instance_id: body.group_instance_id.as_ref().map(shared),
        client_id: request.client_id().to_owned(),
        client_host: request.client_host(),
        session_timeout_ms: body.session_timeout_ms,
        rebalance_timeout_ms: if version == 0 { body.session_timeout_ms } else { body.rebalance_timeout_ms },
        protocol_type: body.protocol_type.to_string(),
        protocols: body.protocols.into_iter().map(protocol).collect(),
        requires_known_member_id: version >= FIRST_WITH_REQUIRED_MEMBER_ID,
        supports_skipping_assignment: version >= FIRST_WITH_SKIPPED_ASSIGNMENT,
    }
}

fn respond(version: i16, joined: Result<JoinReply, JoinError>) -> JoinGroupResponse {
    match joined {
        Ok(reply) => JoinGroupResponse::default()
            .with_generation_id(reply.generation)
            .with_protocol_type((version >= FIRST_WITH_PROTOCOL_TYPE).then(|| text(&reply.protocol_type)))
            .with_protocol_name(protocol_name(version, reply.protocol.as_deref().unwrap_or_default()))
            .with_leader(text(&reply.leader))
            .with_skip_assignment(reply.skip_assignment)
            .with_member_id(text(&reply.member_id))
            .with_members(reply.members.into_iter().map(member).collect()),
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.error.code())
            .with_protocol_name(protocol_name(version, ""))
            .with_member_id(text(&refused.member_id)),
    }
}

/// Kafka makes an empty name null in versions that have null.
fn protocol_name(version: i16, name: &str) -> Option<StrBytes> {
    (version < FIRST_WITH_PROTOCOL_TYPE || !name.is_empty()).then(|| text(name))
}

fn member(member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember::default()
        .with_member_id(text(&member.member_id))
        .with_group_instance_id(member.group_instance_id.map(text))
        .with_metadata(member.metadata)
}

const FIRST_WITH_REQUIRED_MEMBER_ID: i16 = 4;
const FIRST_WITH_PROTOCOL_TYPE: i16 = 7;
const FIRST_WITH_SKIPPED_ASSIGNMENT: i16 = 9;
