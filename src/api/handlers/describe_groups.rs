//! DescribeGroups v0–6: state and members of classic groups. KIP-430 (v3: authorized operations), KIP-345 (v4: static
//! members), KIP-1043 (v6: GROUP_ID_NOT_FOUND; before, a group that does not exist is Dead).
//!
//! A group that comes twice is described once: repetitions would make a huge answer of a small request.

use indexmap::IndexSet;
use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup as ResponseGroup, DescribedGroupMember},
    },
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{DescribedGroup, DescribedMember, GroupError},
    model::GroupState,
};

use super::{AUTHORIZED_GROUP_OPERATIONS, AUTHORIZED_OPERATIONS_OMITTED, shared, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeGroupsRequest = request.decode()?;
    let version = request.version;
    let operations = if version >= FIRST_WITH_OPERATIONS && body.include_authorized_operations {
        AUTHORIZED_GROUP_OPERATIONS
    } else {
        AUTHORIZED_OPERATIONS_OMITTED
    };
    let group_ids: IndexSet<_> = body.groups.iter().map(|group_id| shared(group_id)).collect();
    let described = request.broker().coordinator().describe(group_ids.into_iter().collect());
    request.pending(async move {
        let groups = described
            .await
            .into_iter()
            .map(|(group_id, described)| respond(version, GroupId(text(&group_id)), described, operations));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    })
}

fn respond(
    version: i16,
    group_id: GroupId,
    described: Result<DescribedGroup, GroupError>,
    operations: i32,
) -> ResponseGroup {
    let response = ResponseGroup::default().with_authorized_operations(AUTHORIZED_OPERATIONS_OMITTED);
    match described {
        Err(error) => response.with_group_id(group_id).with_error_code(error.code()),
        Ok(group) if group.state == GroupState::Dead && version >= FIRST_WITH_NOT_FOUND => response
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(text(why_not_found(&group))))
            .with_group_state(text(group.state.as_str()))
            .with_group_id(group_id),
        Ok(group) => response
            .with_group_id(group_id)
            .with_group_state(text(group.state.as_str()))
            .with_protocol_type(text(&group.protocol_type))
            .with_protocol_data(text(&group.protocol))
            .with_members(group.members.into_iter().map(member).collect())
            .with_authorized_operations(operations),
    }
}

fn why_not_found(group: &DescribedGroup) -> String {
    match group.is_consumer {
        true => format!("Group {} is not a classic group.", group.group_id),
        false => format!("Group {} not found.", group.group_id),
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(&member.member_id))
        .with_group_instance_id(member.group_instance_id.map(text))
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

const FIRST_WITH_OPERATIONS: i16 = 3;
const FIRST_WITH_NOT_FOUND: i16 = 6;
