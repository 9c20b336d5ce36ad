//! ListPartitionReassignments v0: none, since there is no other broker to move a partition to (KIP-455).

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::api::{Handled, Request};

pub fn handle(request: Request) -> Handled {
    let _: ListPartitionReassignmentsRequest = request.decode()?;
    request.ready(&ListPartitionReassignmentsResponse::default().with_error_message(None))
}
