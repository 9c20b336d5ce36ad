//! Domain errors → Kafka's error codes. Each match is exhaustive: a new kind of error does not compile before it has
//! its code here.

use kafka_protocol::{ResponseError, protocol::StrBytes};

use crate::{
    broker::{
        AlterConfigsError, CreateTopicError, EpochError, OffsetError, PartitionError, ProduceError, ReadPartitionError,
        SessionError, TopicsError,
    },
    catalog::CatalogError,
    config::TopicConfigError,
    coordinator::GroupError,
    log::{AppendError, LogError, ReadError},
    storage::StorageError,
};

/// What a domain error is to a Kafka client.
pub(super) trait KafkaError: std::fmt::Display {
    fn kafka(&self) -> ResponseError;

    fn code(&self) -> i16 {
        self.kafka().code()
    }

    /// The text for responses that carry one.
    fn message(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.to_string()))
    }
}

/// The code of a result: 0 is NONE.
pub(super) fn code_of<T, E: KafkaError>(result: &Result<T, E>) -> i16 {
    result.as_ref().err().map_or(0, KafkaError::code)
}

/// The message of a result, if it failed.
pub(super) fn message_of<T, E: KafkaError>(result: &Result<T, E>) -> Option<StrBytes> {
    result.as_ref().err().and_then(KafkaError::message)
}

impl KafkaError for StorageError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Unavailable(_) | Self::Full(_) | Self::Corrupt(_) | Self::Closed => ResponseError::KafkaStorageError,
        }
    }
}

impl KafkaError for CatalogError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::TopicExists(_) => ResponseError::TopicAlreadyExists,
            Self::NameCollision { .. } | Self::InvalidName(_) => ResponseError::InvalidTopicException,
            Self::UnknownTopic => ResponseError::UnknownTopicOrPartition,
            Self::UnknownTopicId => ResponseError::UnknownTopicId,
            Self::SameCount(_) | Self::NotAnIncrease { .. } | Self::TooManyPartitions { .. } => {
                ResponseError::InvalidPartitions
            }
            Self::TooManyGroupConfigs => ResponseError::PolicyViolation,
            Self::Storage(error) => error.kafka(),
        }
    }
}

impl KafkaError for TopicConfigError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::InvalidConfig(_) => ResponseError::InvalidConfig,
            Self::InvalidRequest(_) => ResponseError::InvalidRequest,
        }
    }
}

impl KafkaError for CreateTopicError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::InvalidPartitions => ResponseError::InvalidPartitions,
            Self::NonPositiveReplicationFactor | Self::ReplicationFactorTooLarge(_) => {
                ResponseError::InvalidReplicationFactor
            }
            Self::InvalidAssignment(_) => ResponseError::InvalidReplicaAssignment,
            Self::CountWithAssignment(_) => ResponseError::InvalidRequest,
            Self::Config(error) => error.kafka(),
            Self::Catalog(error) => error.kafka(),
        }
    }
}

impl KafkaError for TopicsError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::DeletionDisabled => ResponseError::TopicDeletionDisabled,
            Self::NotDeletable => ResponseError::PolicyViolation,
            Self::Catalog(error) => error.kafka(),
            Self::Partition(error) => error.kafka(),
            Self::Log(error) => error.kafka(),
        }
    }
}

impl KafkaError for AlterConfigsError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Config(error) => error.kafka(),
            Self::Catalog(error) => error.kafka(),
        }
    }
}

impl KafkaError for PartitionError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::UnknownTopicOrPartition => ResponseError::UnknownTopicOrPartition,
            Self::UnknownTopicId => ResponseError::UnknownTopicId,
            Self::Log(error) => error.kafka(),
        }
    }
}

impl KafkaError for EpochError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Fenced => ResponseError::FencedLeaderEpoch,
            Self::Unknown => ResponseError::UnknownLeaderEpoch,
        }
    }
}

impl KafkaError for SessionError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::NotFound => ResponseError::FetchSessionIdNotFound,
            Self::InvalidEpoch => ResponseError::InvalidFetchSessionEpoch,
            Self::TopicIdMismatch => ResponseError::FetchSessionTopicIdError,
        }
    }
}

impl KafkaError for ReadPartitionError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Partition(error) => error.kafka(),
            Self::Epoch(error) => error.kafka(),
            Self::Read(error) => error.kafka(),
        }
    }
}

impl KafkaError for ProduceError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Partition(error) => error.kafka(),
            Self::Append(error) => error.kafka(),
            Self::NotDurable(error) => error.kafka(),
        }
    }
}

impl KafkaError for GroupError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::CoordinatorLoadInProgress => ResponseError::CoordinatorLoadInProgress,
            Self::CoordinatorNotAvailable => ResponseError::CoordinatorNotAvailable,
            Self::NotCoordinator => ResponseError::NotCoordinator,
            Self::InvalidGroupId => ResponseError::InvalidGroupId,
            Self::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
            Self::InconsistentGroupProtocol => ResponseError::InconsistentGroupProtocol,
            Self::GroupMaxSizeReached => ResponseError::GroupMaxSizeReached,
            Self::MemberIdRequired => ResponseError::MemberIdRequired,
            Self::UnknownMemberId => ResponseError::UnknownMemberId,
            Self::FencedInstanceId => ResponseError::FencedInstanceId,
            Self::IllegalGeneration => ResponseError::IllegalGeneration,
            Self::RebalanceInProgress => ResponseError::RebalanceInProgress,
            Self::GroupIdNotFound => ResponseError::GroupIdNotFound,
            Self::NonEmptyGroup => ResponseError::NonEmptyGroup,
            Self::GroupSubscribedToTopic => ResponseError::GroupSubscribedToTopic,
            Self::OffsetMetadataTooLarge => ResponseError::OffsetMetadataTooLarge,
            Self::InvalidRequest => ResponseError::InvalidRequest,
            Self::UnsupportedVersion => ResponseError::UnsupportedVersion,
            Self::FencedMemberEpoch => ResponseError::FencedMemberEpoch,
            Self::UnreleasedInstanceId => ResponseError::UnreleasedInstanceId,
            Self::UnsupportedAssignor => ResponseError::UnsupportedAssignor,
            Self::StaleMemberEpoch => ResponseError::StaleMemberEpoch,
            Self::InvalidRegularExpression => ResponseError::InvalidRegularExpression,
        }
    }
}

impl KafkaError for OffsetError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::UnknownTopicOrPartition => ResponseError::UnknownTopicOrPartition,
            Self::Group(error) => error.kafka(),
        }
    }
}

impl KafkaError for LogError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Storage { .. } => ResponseError::KafkaStorageError,
            // Clients refresh their metadata and find out what became of the topic.
            Self::Closed(_) => ResponseError::NotLeaderOrFollower,
            Self::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
        }
    }
}

impl KafkaError for AppendError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::Corrupt(_) => ResponseError::CorruptMessage,
            Self::InvalidRecord { .. } => ResponseError::InvalidRecord,
            Self::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
            Self::TooLarge { .. } => ResponseError::MessageTooLarge,
            Self::LargerThanSegment { .. } => ResponseError::RecordListTooLarge,
            Self::UnsupportedCompression(_) => ResponseError::UnsupportedCompressionType,
            Self::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            Self::Closed => ResponseError::NotLeaderOrFollower,
            Self::OffsetsExhausted | Self::Storage(_) => ResponseError::KafkaStorageError,
        }
    }
}

impl KafkaError for ReadError {
    fn kafka(&self) -> ResponseError {
        match self {
            Self::BelowStart { .. } | Self::BeyondEnd { .. } => ResponseError::OffsetOutOfRange,
            Self::Corrupt { .. } => ResponseError::CorruptMessage,
            Self::Closed => ResponseError::NotLeaderOrFollower,
            Self::Storage(_) => ResponseError::KafkaStorageError,
        }
    }
}
