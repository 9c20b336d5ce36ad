//! Heartbeat v0–4: keeps a member of a classic group alive and tells it when to rejoin. KIP-345 (v3: static members).

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::{
    api::{Handled, Request, errors::code_of},
    coordinator,
};

use super::shared;

pub fn handle(request: Request) -> Handled {
    let body: HeartbeatRequest = request.decode()?;
    let beat = request.broker().coordinator().heartbeat(coordinator::HeartbeatRequest {
        group_id: shared(&body.group_id),
        generation: body.generation_id,
        member_id: shared(&body.member_id),
        group_instance_id: body.group_instance_id.as_ref().map(shared),
    });
    request.pending(async move { HeartbeatResponse::default().with_error_code(code_of(&beat.await)) })
}
