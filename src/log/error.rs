//! What can go wrong with a log; the kinds map one to one to Kafka's errors.

use crate::{
    model::{TopicPartition, batch::Codec},
    storage::StorageError,
};

/// Why a log cannot be opened, closed, waited for or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// KAFKA_STORAGE_ERROR
    #[error("{partition}: {source}")]
    Storage { partition: TopicPartition, source: StorageError },
    /// The topic was deleted, or the broker is stopping: NOT_LEADER_OR_FOLLOWER or UNKNOWN_TOPIC_OR_PARTITION.
    #[error("{0} is closed")]
    Closed(TopicPartition),
    /// OFFSET_OUT_OF_RANGE
    #[error("{partition}: offset {offset} is not within {log_start} and {high_watermark}")]
    OffsetOutOfRange { partition: TopicPartition, offset: i64, log_start: i64, high_watermark: i64 },
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// CORRUPT_MESSAGE
    #[error("the batch is corrupt: {0}")]
    Corrupt(String),
    /// INVALID_RECORD, with the records that are to blame where they are known (KIP-467).
    #[error("{message}")]
    InvalidRecord { message: String, records: Vec<RecordErrorAt> },
    /// INVALID_TIMESTAMP
    #[error("one or more records have been rejected due to invalid timestamp")]
    InvalidTimestamp { records: Vec<RecordErrorAt> },
    /// MESSAGE_TOO_LARGE
    #[error("the batch has {size_bytes} bytes, the topic takes {max_bytes}")]
    TooLarge { size_bytes: u64, max_bytes: u64 },
    /// RECORD_LIST_TOO_LARGE
    #[error("the batch has {size_bytes} bytes, a segment takes {max_bytes}")]
    LargerThanSegment { size_bytes: u64, max_bytes: u64 },
    /// UNSUPPORTED_COMPRESSION_TYPE
    #[error("compression {0:?} is not supported")]
    UnsupportedCompression(Option<Codec>),
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    #[error("producer {producer_id} sent sequence {sequence} after {last_sequence}")]
    OutOfOrderSequence { producer_id: i64, sequence: i32, last_sequence: i32 },
    /// INVALID_PRODUCER_EPOCH
    #[error("producer {producer_id} sent epoch {epoch}, the last was {current_epoch}")]
    InvalidProducerEpoch { producer_id: i64, epoch: i16, current_epoch: i16 },
    /// The offsets of the partition are used up: KAFKA_STORAGE_ERROR.
    #[error("the partition has no offsets left")]
    OffsetsExhausted,
    /// The topic was deleted, or the broker is stopping: NOT_LEADER_OR_FOLLOWER or UNKNOWN_TOPIC_OR_PARTITION.
    #[error("the log is closed")]
    Closed,
    /// KAFKA_STORAGE_ERROR
    #[error("{0}")]
    Storage(StorageError),
}

/// One record of a batch that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordErrorAt {
    pub batch_index: i32,
    pub message: String,
}

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE: the records were deleted.
    #[error("offset {offset} is below the log start {log_start}")]
    BelowStart { offset: i64, log_start: i64 },
    /// OFFSET_OUT_OF_RANGE, or empty with `fetch.past-end = "empty"`.
    #[error("offset {offset} is beyond the log end {log_end}")]
    BeyondEnd { offset: i64, log_end: i64 },
    /// CORRUPT_MESSAGE: the stored bytes at the offset are damaged. What follows can be read from `next_offset` on.
    #[error("the records from offset {offset} up to {next_offset} are damaged")]
    Corrupt { offset: i64, next_offset: i64 },
    /// The topic was deleted, or the broker is stopping.
    #[error("the log is closed")]
    Closed,
    /// KAFKA_STORAGE_ERROR
    #[error("{0}")]
    Storage(StorageError),
}
