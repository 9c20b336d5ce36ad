//! SyncGroup v0–5: the leader gives the assignment, every member gets its own. KIP-345 (v3: static members), KIP-559
//! (v5: protocol type and name).

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse, sync_group_request::SyncGroupRequestAssignment};
use tracing::debug;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{GroupError, SyncReply, SyncRequest},
};

use super::{detached, shared, text};

pub fn handle(request: Request) -> Handled {
    let body: SyncGroupRequest = request.decode()?;
    debug!(group = %*body.group_id, member = %body.member_id, generation = body.generation_id, "sync");
    let version = request.version;
    if version >= FIRST_WITH_PROTOCOL && (body.protocol_type.is_none() || body.protocol_name.is_none()) {
        return request.ready(&respond(version, Err(GroupError::InconsistentGroupProtocol)));
    }
    let synced = request.broker().coordinator().sync(sync_request(body));
    request.pending(async move { respond(version, synced.await) })
}

fn sync_request(body: SyncGroupRequest) -> SyncRequest {
    let assignment = |one: SyncGroupRequestAssignment| (shared(&one.member_id), detached(&one.assignment));
    SyncRequest {
        group_id: shared(&body.group_id),
        generation: body.generation_id,
        member_id: shared(&body.member_id),
        group_instance_id: body.group_instance_id.as_ref().map(shared),
        protocol_type: body.protocol_type.map(|name| name.to_string()),
        protocol: body.protocol_name.map(|name| name.to_string()),
        assignments: body.assignments.into_iter().map(assignment).collect(),
    }
}

fn respond(version: i16, synced: Result<SyncReply, GroupError>) -> SyncGroupResponse {
    match synced {
        Ok(reply) if version >= FIRST_WITH_PROTOCOL => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&reply.protocol_type)))
            .with_protocol_name(reply.protocol.map(text))
            .with_assignment(reply.assignment),
        Ok(reply) => SyncGroupResponse::default().with_assignment(reply.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

const FIRST_WITH_PROTOCOL: i16 = 5;
