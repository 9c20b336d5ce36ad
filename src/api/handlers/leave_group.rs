//! LeaveGroup v0–5: members leave a classic group, or are removed from it. KIP-345 (v3: several members, by instance
//! id too), KIP-800 (v5: reason).

use kafka_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity, leave_group_response::MemberResponse,
};
use tracing::debug;

use crate::{
    api::{
        Handled, Request,
        errors::{KafkaError, code_of},
    },
    coordinator::{GroupError, LeaveRequest, LeavingMember, LeftMember},
};

use super::{shared, text};

pub fn handle(request: Request) -> Handled {
    let body: LeaveGroupRequest = request.decode()?;
    let version = request.version;
    let members = if version >= FIRST_WITH_MEMBERS {
        body.members
    } else {
        vec![MemberIdentity::default().with_member_id(body.member_id)]
    };
    let leaving = |member: MemberIdentity| {
        debug!(group = %*body.group_id, member = %member.member_id, reason = member.reason.as_deref(), "leave");
        let group_instance_id = member.group_instance_id.as_ref().map(shared);
        LeavingMember { member_id: shared(&member.member_id), group_instance_id }
    };
    let members = members.into_iter().map(leaving).collect();
    let left = request.broker().coordinator().leave(LeaveRequest { group_id: shared(&body.group_id), members });
    request.pending(async move { respond(version, left.await) })
}

fn respond(version: i16, left: Result<Vec<LeftMember>, GroupError>) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    match left {
        Ok(members) if version >= FIRST_WITH_MEMBERS => {
            response.with_members(members.into_iter().map(member).collect())
        }
        // The one member's error is the request's.
        Ok(members) => response.with_error_code(members.first().map_or(0, |member| code_of(&member.result))),
        Err(error) => response.with_error_code(error.code()),
    }
}

fn member(member: LeftMember) -> MemberResponse {
    MemberResponse::default()
        .with_error_code(code_of(&member.result))
        .with_member_id(text(&member.member_id))
        .with_group_instance_id(member.group_instance_id.map(text))
}

const FIRST_WITH_MEMBERS: i16 = 3;
