//! ListGroups v0–5: every group. KIP-518 (v4: by state), KIP-848 (v5: by type).

use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    coordinator::{GroupError, ListRequest, ListedGroup},
};

use super::text;

pub fn handle(request: Request) -> Handled {
    let body: ListGroupsRequest = request.decode()?;
    let listed = request.broker().coordinator().list(ListRequest {
        states: body.states_filter.iter().map(|state| state.to_string()).collect(),
        types: body.types_filter.iter().map(|kind| kind.to_string()).collect(),
    });
    request.pending(async move { respond(listed.await) })
}

fn respond(listed: Result<Vec<ListedGroup>, GroupError>) -> ListGroupsResponse {
    match listed {
        Ok(groups) => ListGroupsResponse::default().with_groups(groups.into_iter().map(group).collect()),
        Err(error) => ListGroupsResponse::default().with_error_code(error.code()),
    }
}

fn group(group: ListedGroup) -> list_groups_response::ListedGroup {
    list_groups_response::ListedGroup::default()
        .with_group_id(GroupId(text(&group.group_id)))
        .with_protocol_type(text(&group.protocol_type))
        .with_group_state(text(group.state))
        .with_group_type(text(group.group_type))
}
