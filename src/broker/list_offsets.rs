//! ListOffsets and OffsetForLeaderEpoch.

use super::{Broker, PartitionError, TopicRef, produce::LEADER_EPOCH};
use crate::log::ReadError;

/// What is asked of a partition, by the special timestamps of `ListOffsetsRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// -1: the high watermark, or the last stable offset for read_committed.
    Latest,
    /// -2: the log start.
    Earliest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -4: the first offset on local disk (KIP-405); the same as the earliest here.
    EarliestLocal,
    /// -5: the last offset in remote storage (KIP-1005); there is none.
    LatestTiered,
    /// The first record at or after a time, in milliseconds since the epoch.
    At(i64),
}

impl OffsetQuery {
    /// The query behind a wire timestamp; none for a negative one that has no meaning in this version of ListOffsets.
    pub fn from_timestamp(timestamp: i64, version: i16) -> Option<Self> {
        match timestamp {
            -1 => Some(Self::Latest),
            -2 => Some(Self::Earliest),
            -3 if version >= 7 => Some(Self::MaxTimestamp),
            -4 if version >= 8 => Some(Self::EarliestLocal),
            -5 if version >= 9 => Some(Self::LatestTiered),
            at if at >= 0 => Some(Self::At(at)),
            _ => None,
        }
    }
}

/// An offset found; -1 for what is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
}

impl FoundOffset {
    const NONE: Self = Self { offset: -1, timestamp_ms: -1, leader_epoch: -1 };

    fn at(offset: i64) -> Self {
        Self { offset, timestamp_ms: -1, leader_epoch: LEADER_EPOCH }
    }
}

/// Why a partition cannot be read, or no offset of it told.
#[derive(Debug, thiserror::Error)]
pub enum ReadPartitionError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The client's leader epoch is not ours (KIP-320).
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    #[error("The leader epoch in the request is older than the epoch on the broker.")]
    Fenced,
    #[error("The leader epoch in the request is newer than the epoch on the broker.")]
    Unknown,
}

/// Checks the epoch that a client believes in; -1 is none.
pub(super) fn check_leader_epoch(epoch: i32) -> Result<(), EpochError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        newer if newer > LEADER_EPOCH => Err(EpochError::Unknown),
        _ => Err(EpochError::Fenced),
    }
}

impl Broker {
    /// Finds an offset of a partition. Looks into segments: call it off the async threads for a search by time.
    pub fn find_offset(
        &self,
        topic: &TopicRef,
        partition: i32,
        leader_epoch: i32,
        query: OffsetQuery,
        read_committed: bool,
    ) -> Result<FoundOffset, ReadPartitionError> {
        let log = self.partition(topic, partition)?;
        check_leader_epoch(leader_epoch)?;
        let offsets = log.offsets();
        let end = if read_committed { offsets.last_stable } else { offsets.high_watermark };
        Ok(match query {
            OffsetQuery::Latest => FoundOffset::at(end),
            OffsetQuery::Earliest | OffsetQuery::EarliestLocal => FoundOffset::at(offsets.log_start),
            OffsetQuery::LatestTiered => FoundOffset::NONE,
            OffsetQuery::MaxTimestamp => log.offset_of_max_timestamp()?.map_or(FoundOffset::NONE, found),
            OffsetQuery::At(timestamp) => {
                log.offset_for_timestamp(timestamp)?.filter(|entry| entry.offset < end).map_or(FoundOffset::NONE, found)
            }
        })
    }

    /// The largest epoch that is not above `epoch` and its end offset, for consumers that check for truncation; -1 and
    /// -1 when the epoch is unknown.
    pub fn end_offset_of_epoch(
        &self,
        topic: &TopicRef,
        partition: i32,
        current_leader_epoch: i32,
        epoch: i32,
    ) -> Result<(i32, i64), ReadPartitionError> {
        let log = self.partition(topic, partition)?;
        check_leader_epoch(current_leader_epoch)?;
        Ok(match log.end_offset_for_epoch(epoch) {
            Some(found) => found,
            // The log notes an epoch with its first batch, Kafka when the leader begins.
            None if epoch == LEADER_EPOCH && log.latest_epoch().is_none() => (LEADER_EPOCH, log.offsets().log_end),
            None => (-1, -1),
        })
    }
}

fn found(entry: crate::log::TimestampOffset) -> FoundOffset {
    FoundOffset { offset: entry.offset, timestamp_ms: entry.timestamp_ms, leader_epoch: entry.leader_epoch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_timestamp_has_a_meaning_from_its_version_on() {
        for (timestamp, since) in [(-3, 7), (-4, 8), (-5, 9)] {
            assert_eq!(OffsetQuery::from_timestamp(timestamp, since - 1), None);
            assert!(OffsetQuery::from_timestamp(timestamp, since).is_some());
        }
        assert_eq!(OffsetQuery::from_timestamp(-7, 10), None);
        assert_eq!(OffsetQuery::from_timestamp(-1, 1), Some(OffsetQuery::Latest));
        assert_eq!(OffsetQuery::from_timestamp(0, 1), Some(OffsetQuery::At(0)));
    }
}
