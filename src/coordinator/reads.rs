//! Reads of committed offsets.

use std::sync::Arc;

use tracing::{debug, warn};

use super::{FetchOffsetsRequest, FetchedOffsets, GroupError};
use crate::{
    model::{OffsetMetadata, TopicPartition},
    storage::{CoordinatorStorage, StorageError},
};

/// What a request asks for, if storage has it at hand; else the request again.
pub(super) fn at_hand(
    storage: &dyn CoordinatorStorage,
    request: FetchOffsetsRequest,
) -> Result<FetchedOffsets, FetchOffsetsRequest> {
    let Some(partitions) = &request.partitions else {
        return storage.all_at_hand(&request.group_id).map(all).ok_or(request);
    };
    let Some(values) = storage.at_hand(&request.group_id, partitions) else { return Err(request) };
    let fetched: FetchedOffsets = request.partitions.into_iter().flatten().zip(values).collect();
    fetched.iter().for_each(|(partition, value)| log(&request.group_id, partition, value.as_ref()));
    Ok(fetched)
}

/// The same, and waits for what is not at hand.
pub(super) async fn fetch_offsets(
    storage: &dyn CoordinatorStorage,
    request: FetchOffsetsRequest,
) -> Result<FetchedOffsets, GroupError> {
    let FetchOffsetsRequest { group_id, partitions, member: _ } = match at_hand(storage, request) {
        Ok(fetched) => return Ok(fetched),
        Err(request) => request,
    };
    let failed = |error: StorageError| {
        warn!(group = %group_id, %error, "cannot read offsets");
        GroupError::NotCoordinator
    };
    let Some(partitions) = partitions else {
        return storage.fetch_all(&group_id).await.map(all).map_err(failed);
    };
    let mut fetched = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let value = storage.fetch(&group_id, &partition).await.map_err(failed)?;
        log(&group_id, &partition, value.as_ref());
        fetched.push((partition, value));
    }
    Ok(fetched)
}

fn all(offsets: Vec<(TopicPartition, OffsetMetadata)>) -> FetchedOffsets {
    offsets.into_iter().map(|(partition, value)| (partition, Some(value))).collect()
}

fn log(group: &Arc<str>, partition: &TopicPartition, value: Option<&OffsetMetadata>) {
    let TopicPartition { topic, partition } = partition;
    let offset = value.map_or(-1, |value| value.offset);
    debug!(group = %group, topic = %topic, partition, offset, "offset fetched");
}
