//! The shapes of all requests that are served: what Kafka 4.1's `*RequestData.SCHEMAS` say, and 3.9's for OffsetCommit
//! 0–1 and OffsetFetch 0. The tests hold them against kafka-protocol's encoder.

mod cluster;
mod groups;

use kafka_protocol::{
    messages::{
        ApiKey, BrokerId, TopicName,
        alter_configs_request::{self, AlterConfigsRequest},
        api_versions_request::ApiVersionsRequest,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic},
        create_topics_request::{
            CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
        },
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic},
        delete_topics_request::{DeleteTopicState, DeleteTopicsRequest},
        describe_cluster_request::DescribeClusterRequest,
        describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource},
        describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest},
        describe_topic_partitions_request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest},
        fetch_request,
        find_coordinator_request::FindCoordinatorRequest,
        incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest},
        init_producer_id_request::InitProducerIdRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
        metadata_request::{MetadataRequest, MetadataRequestTopic},
        offset_for_leader_epoch_request::{
            OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
        },
        produce_request,
    },
    protocol::StrBytes,
};

use self::{cluster::*, groups::*};
use super::shape::{
    ALL, BOOLEAN, INT8, INT16, INT32, INT32_ARRAY, INT64,
    Kind::{Array, Bytes, Optional, String, StringArray, Structure},
    Request, Shape, Tag, UUID, Versions, between, field, field_in, from, up_to,
};
use crate::wire::{fetch, produce};

/// The most frequent first: the search goes from the front.
pub(super) static REQUESTS: [&Request; 43] = [
    &PRODUCE,
    &FETCH,
    &OFFSET_COMMIT,
    &HEARTBEAT,
    &CONSUMER_GROUP_HEARTBEAT,
    &METADATA,
    &OFFSET_FETCH,
    &LIST_OFFSETS,
    &API_VERSIONS,
    &FIND_COORDINATOR,
    &JOIN_GROUP,
    &SYNC_GROUP,
    &LEAVE_GROUP,
    &INIT_PRODUCER_ID,
    &OFFSET_FOR_LEADER_EPOCH,
    &DESCRIBE_GROUPS,
    &LIST_GROUPS,
    &CREATE_TOPICS,
    &DELETE_TOPICS,
    &DELETE_RECORDS,
    &DESCRIBE_CONFIGS,
    &ALTER_CONFIGS,
    &INCREMENTAL_ALTER_CONFIGS,
    &DESCRIBE_LOG_DIRS,
    &CREATE_PARTITIONS,
    &DELETE_GROUPS,
    &OFFSET_DELETE,
    &DESCRIBE_CLUSTER,
    &DESCRIBE_TOPIC_PARTITIONS,
    &CONSUMER_GROUP_DESCRIBE,
    &DESCRIBE_ACLS,
    &CREATE_ACLS,
    &DELETE_ACLS,
    &ELECT_LEADERS,
    &ALTER_PARTITION_REASSIGNMENTS,
    &LIST_PARTITION_REASSIGNMENTS,
    &DESCRIBE_CLIENT_QUOTAS,
    &DESCRIBE_USER_SCRAM_CREDENTIALS,
    &DESCRIBE_QUORUM,
    &DESCRIBE_PRODUCERS,
    &DESCRIBE_TRANSACTIONS,
    &LIST_TRANSACTIONS,
    &LIST_CONFIG_RESOURCES,
];

const fn request(api_key: ApiKey, versions: Versions, flexible_from: i16, body: Shape) -> Request {
    Request { api_key, versions, flexible_from, body }
}

const fn tag(tag: u32, field: super::shape::Field) -> Tag {
    Tag { tag, field }
}

static PRODUCE: Request = request(
    ApiKey::Produce,
    between(3, 13),
    9,
    Shape::of_either::<produce_request::ProduceRequest, produce::ProduceRequest>(&[
        field("transactional_id", String).nullable(ALL),
        field("acks", INT16),
        field("timeout_ms", INT32),
        field("topic_data", Array(&PRODUCE_TOPIC)),
    ]),
);

static PRODUCE_TOPIC: Shape = Shape::of_either::<produce_request::TopicProduceData, produce::ProduceTopic>(&[
    field_in("name", up_to(12), String),
    field_in("topic_id", from(13), UUID),
    field("partition_data", Array(&PRODUCE_PARTITION)),
]);

static PRODUCE_PARTITION: Shape =
    Shape::of_either::<produce_request::PartitionProduceData, produce::ProducePartition>(&[
        field("index", INT32),
        field("records", Bytes).nullable(ALL),
    ]);

static FETCH: Request = request(
    ApiKey::Fetch,
    between(4, 18),
    12,
    Shape::of_either::<fetch_request::FetchRequest, fetch::FetchRequest>(&[
        field_in("replica_id", up_to(14), INT32),
        field("max_wait_ms", INT32),
        field("min_bytes", INT32),
        field("max_bytes", INT32),
        field("isolation_level", INT8),
        field_in("session_id", from(7), INT32),
        field_in("session_epoch", from(7), INT32),
        field("topics", Array(&FETCH_TOPIC)),
        field_in("forgotten_topics_data", from(7), Array(&FETCH_FORGOTTEN_TOPIC)),
        field_in("rack_id", from(11), String),
    ])
    .with_tags(&[
        tag(0, field("cluster_id", String).nullable(ALL)),
        tag(1, field_in("replica_state", from(15), Structure(&FETCH_REPLICA_STATE))),
    ]),
);

static FETCH_TOPIC: Shape = Shape::of_either::<fetch_request::FetchTopic, fetch::FetchTopic>(&[
    field_in("topic", up_to(12), String),
    field_in("topic_id", from(13), UUID),
    field("partitions", Array(&FETCH_PARTITION)),
]);

static FETCH_PARTITION: Shape = Shape::of_either::<fetch_request::FetchPartition, fetch::FetchPartition>(&[
    field("partition", INT32),
    field_in("current_leader_epoch", from(9), INT32),
    field("fetch_offset", INT64),
    field_in("last_fetched_epoch", from(12), INT32),
    field_in("log_start_offset", from(5), INT64),
    field("partition_max_bytes", INT32),
])
.with_tags(&[
    tag(0, field_in("replica_directory_id", from(17), UUID)),
    tag(1, field_in("high_watermark", from(18), INT64)),
]);

static FETCH_FORGOTTEN_TOPIC: Shape = Shape::of_either::<fetch_request::ForgottenTopic, fetch::ForgottenTopic>(&[
    field_in("topic", up_to(12), String),
    field_in("topic_id", from(13), UUID),
    field("partitions", INT32_ARRAY),
]);

static FETCH_REPLICA_STATE: Shape =
    Shape::of::<fetch_request::ReplicaState>(&[field("replica_id", INT32), field("replica_epoch", INT64)]);

static LIST_OFFSETS: Request = request(
    ApiKey::ListOffsets,
    between(1, 10),
    6,
    Shape::of::<ListOffsetsRequest>(&[
        field("replica_id", INT32),
        field_in("isolation_level", from(2), INT8),
        field("topics", Array(&LIST_OFFSETS_TOPIC)),
        field_in("timeout_ms", from(10), INT32),
    ]),
);

static LIST_OFFSETS_TOPIC: Shape =
    Shape::of::<ListOffsetsTopic>(&[field("name", String), field("partitions", Array(&LIST_OFFSETS_PARTITION))]);

static LIST_OFFSETS_PARTITION: Shape = Shape::of::<ListOffsetsPartition>(&[
    field("partition_index", INT32),
    field_in("current_leader_epoch", from(4), INT32),
    field("timestamp", INT64),
]);

static METADATA: Request = request(
    ApiKey::Metadata,
    between(0, 13),
    9,
    Shape::of::<MetadataRequest>(&[
        field("topics", Array(&METADATA_TOPIC)).nullable(from(1)),
        field_in("allow_auto_topic_creation", from(4), BOOLEAN),
        field_in("include_cluster_authorized_operations", between(8, 10), BOOLEAN),
        field_in("include_topic_authorized_operations", from(8), BOOLEAN),
    ]),
);

static METADATA_TOPIC: Shape = Shape::of::<MetadataRequestTopic>(&[
    field_in("topic_id", from(10), UUID),
    field("name", String).nullable(from(10)),
]);

static FIND_COORDINATOR: Request = request(
    ApiKey::FindCoordinator,
    between(0, 6),
    3,
    Shape::of::<FindCoordinatorRequest>(&[
        field_in("key", up_to(3), String),
        field_in("key_type", from(1), INT8),
        field_in("coordinator_keys", from(4), STRINGS),
    ]),
);

static API_VERSIONS: Request = request(
    ApiKey::ApiVersions,
    between(0, 4),
    3,
    Shape::of::<ApiVersionsRequest>(&[
        field_in("client_software_name", from(3), String),
        field_in("client_software_version", from(3), String),
    ]),
);

static CREATE_TOPICS: Request = request(
    ApiKey::CreateTopics,
    between(2, 7),
    5,
    Shape::of::<CreateTopicsRequest>(&[
        field("topics", Array(&CREATE_TOPICS_TOPIC)),
        field("timeout_ms", INT32),
        field("validate_only", BOOLEAN),
    ]),
);

static CREATE_TOPICS_TOPIC: Shape = Shape::of::<CreatableTopic>(&[
    field("name", String),
    field("num_partitions", INT32),
    field("replication_factor", INT16),
    field("assignments", Array(&CREATE_TOPICS_ASSIGNMENT)),
    field("configs", Array(&CREATE_TOPICS_CONFIG)),
]);

static CREATE_TOPICS_ASSIGNMENT: Shape =
    Shape::of::<CreatableReplicaAssignment>(&[field("partition_index", INT32), field("broker_ids", BROKER_IDS)]);

static CREATE_TOPICS_CONFIG: Shape =
    Shape::of::<CreatableTopicConfig>(&[field("name", String), field("value", String).nullable(ALL)]);

static DELETE_TOPICS: Request = request(
    ApiKey::DeleteTopics,
    between(1, 6),
    4,
    Shape::of::<DeleteTopicsRequest>(&[
        field_in("topics", from(6), Array(&DELETE_TOPICS_TOPIC)),
        field_in("topic_names", up_to(5), StringArray(size_of::<TopicName>())),
        field("timeout_ms", INT32),
    ]),
);

static DELETE_TOPICS_TOPIC: Shape =
    Shape::of::<DeleteTopicState>(&[field("name", String).nullable(ALL), field("topic_id", UUID)]);

static DELETE_RECORDS: Request = request(
    ApiKey::DeleteRecords,
    between(0, 2),
    2,
    Shape::of::<DeleteRecordsRequest>(&[field("topics", Array(&DELETE_RECORDS_TOPIC)), field("timeout_ms", INT32)]),
);

static DELETE_RECORDS_TOPIC: Shape =
    Shape::of::<DeleteRecordsTopic>(&[field("name", String), field("partitions", Array(&DELETE_RECORDS_PARTITION))]);

static DELETE_RECORDS_PARTITION: Shape =
    Shape::of::<DeleteRecordsPartition>(&[field("partition_index", INT32), field("offset", INT64)]);

static INIT_PRODUCER_ID: Request = request(
    ApiKey::InitProducerId,
    between(0, 5),
    2,
    Shape::of::<InitProducerIdRequest>(&[
        field("transactional_id", String).nullable(ALL),
        field("transaction_timeout_ms", INT32),
        field_in("producer_id", from(3), INT64),
        field_in("producer_epoch", from(3), INT16),
    ]),
);

static OFFSET_FOR_LEADER_EPOCH: Request = request(
    ApiKey::OffsetForLeaderEpoch,
    between(2, 4),
    4,
    Shape::of::<OffsetForLeaderEpochRequest>(&[
        field_in("replica_id", from(3), INT32),
        field("topics", Array(&OFFSET_FOR_LEADER_EPOCH_TOPIC)),
    ]),
);

static OFFSET_FOR_LEADER_EPOCH_TOPIC: Shape = Shape::of::<OffsetForLeaderTopic>(&[
    field("topic", String),
    field("partitions", Array(&OFFSET_FOR_LEADER_EPOCH_PARTITION)),
]);

static OFFSET_FOR_LEADER_EPOCH_PARTITION: Shape = Shape::of::<OffsetForLeaderPartition>(&[
    field("partition", INT32),
    field("current_leader_epoch", INT32),
    field("leader_epoch", INT32),
]);

static DESCRIBE_CONFIGS: Request = request(
    ApiKey::DescribeConfigs,
    between(1, 4),
    4,
    Shape::of::<DescribeConfigsRequest>(&[
        field("resources", Array(&DESCRIBE_CONFIGS_RESOURCE)),
        field("include_synonyms", BOOLEAN),
        field_in("include_documentation", from(3), BOOLEAN),
    ]),
);

static DESCRIBE_CONFIGS_RESOURCE: Shape = Shape::of::<DescribeConfigsResource>(&[
    field("resource_type", INT8),
    field("resource_name", String),
    field("configuration_keys", STRINGS).nullable(ALL),
]);

static ALTER_CONFIGS: Request = request(
    ApiKey::AlterConfigs,
    between(0, 2),
    2,
    Shape::of::<AlterConfigsRequest>(&[
        field("resources", Array(&ALTER_CONFIGS_RESOURCE)),
        field("validate_only", BOOLEAN),
    ]),
);

static ALTER_CONFIGS_RESOURCE: Shape = Shape::of::<alter_configs_request::AlterConfigsResource>(&[
    field("resource_type", INT8),
    field("resource_name", String),
    field("configs", Array(&ALTER_CONFIGS_CONFIG)),
]);

static ALTER_CONFIGS_CONFIG: Shape =
    Shape::of::<alter_configs_request::AlterableConfig>(&[field("name", String), field("value", String).nullable(ALL)]);

static INCREMENTAL_ALTER_CONFIGS: Request = request(
    ApiKey::IncrementalAlterConfigs,
    between(0, 1),
    1,
    Shape::of::<IncrementalAlterConfigsRequest>(&[
        field("resources", Array(&INCREMENTAL_ALTER_CONFIGS_RESOURCE)),
        field("validate_only", BOOLEAN),
    ]),
);

static INCREMENTAL_ALTER_CONFIGS_RESOURCE: Shape =
    Shape::of::<incremental_alter_configs_request::AlterConfigsResource>(&[
        field("resource_type", INT8),
        field("resource_name", String),
        field("configs", Array(&INCREMENTAL_ALTER_CONFIGS_CONFIG)),
    ]);

static INCREMENTAL_ALTER_CONFIGS_CONFIG: Shape = Shape::of::<incremental_alter_configs_request::AlterableConfig>(&[
    field("name", String),
    field("config_operation", INT8),
    field("value", String).nullable(ALL),
]);

static DESCRIBE_LOG_DIRS: Request = request(
    ApiKey::DescribeLogDirs,
    between(1, 4),
    2,
    Shape::of::<DescribeLogDirsRequest>(&[field("topics", Array(&DESCRIBE_LOG_DIRS_TOPIC)).nullable(ALL)]),
);

static DESCRIBE_LOG_DIRS_TOPIC: Shape =
    Shape::of::<DescribableLogDirTopic>(&[field("topic", String), field("partitions", INT32_ARRAY)]);

static CREATE_PARTITIONS: Request = request(
    ApiKey::CreatePartitions,
    between(0, 3),
    2,
    Shape::of::<CreatePartitionsRequest>(&[
        field("topics", Array(&CREATE_PARTITIONS_TOPIC)),
        field("timeout_ms", INT32),
        field("validate_only", BOOLEAN),
    ]),
);

static CREATE_PARTITIONS_TOPIC: Shape = Shape::of::<CreatePartitionsTopic>(&[
    field("name", String),
    field("count", INT32),
    field("assignments", Array(&CREATE_PARTITIONS_ASSIGNMENT)).nullable(ALL),
]);

static CREATE_PARTITIONS_ASSIGNMENT: Shape =
    Shape::of::<CreatePartitionsAssignment>(&[field("broker_ids", BROKER_IDS)]);

static DESCRIBE_CLUSTER: Request = request(
    ApiKey::DescribeCluster,
    between(0, 2),
    0,
    Shape::of::<DescribeClusterRequest>(&[
        field("include_cluster_authorized_operations", BOOLEAN),
        field_in("endpoint_type", from(1), INT8),
        field_in("include_fenced_brokers", from(2), BOOLEAN),
    ]),
);

static DESCRIBE_TOPIC_PARTITIONS: Request = request(
    ApiKey::DescribeTopicPartitions,
    between(0, 0),
    0,
    Shape::of::<DescribeTopicPartitionsRequest>(&[
        field("topics", Array(&DESCRIBE_TOPIC_PARTITIONS_TOPIC)),
        field("response_partition_limit", INT32),
        field("cursor", Optional(&DESCRIBE_TOPIC_PARTITIONS_CURSOR)).nullable(ALL),
    ]),
);

static DESCRIBE_TOPIC_PARTITIONS_TOPIC: Shape = Shape::of::<TopicRequest>(&[field("name", String)]);

static DESCRIBE_TOPIC_PARTITIONS_CURSOR: Shape =
    Shape::of::<Cursor>(&[field("topic_name", String), field("partition_index", INT32)]);

const STRINGS: super::shape::Kind = StringArray(size_of::<StrBytes>());
/// `BrokerId` is an i32 in memory as on the wire.
const BROKER_IDS: super::shape::Kind = INT32_ARRAY;
const _: () = assert!(size_of::<BrokerId>() == size_of::<i32>());
