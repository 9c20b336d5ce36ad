//! DeleteGroups v0–2: deletes empty groups with their offsets (KIP-229).

use std::collections::HashSet;

use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, GroupId, delete_groups_response::DeletableGroupResult,
};

use crate::api::{Handled, Request, errors::code_of};

use super::{shared, text};

pub fn handle(request: Request) -> Handled {
    let body: DeleteGroupsRequest = request.decode()?;
    let mut seen = HashSet::new();
    let group_ids = body.groups_names.iter().map(|group_id| shared(group_id));
    // A name that comes twice is deleted and answered once, as in Kafka.
    let group_ids = group_ids.filter(|group_id| seen.insert(group_id.clone())).collect();
    let deleted = request.broker().coordinator().delete_groups(group_ids);
    request.pending(async move {
        let results = deleted.await.into_iter().map(|(group_id, result)| {
            DeletableGroupResult::default().with_group_id(GroupId(text(&group_id))).with_error_code(code_of(&result))
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    })
}
