//! The shapes of the requests of consumer groups.

use kafka_protocol::messages::{
    ApiKey, GroupId, TopicName,
    consumer_group_describe_request::ConsumerGroupDescribeRequest,
    consumer_group_heartbeat_request::{ConsumerGroupHeartbeatRequest, TopicPartitions},
    delete_groups_request::DeleteGroupsRequest,
    describe_groups_request::DescribeGroupsRequest,
    heartbeat_request::HeartbeatRequest,
    join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol},
    leave_group_request::{LeaveGroupRequest, MemberIdentity},
    list_groups_request::ListGroupsRequest,
    offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
    sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment},
};

use super::{STRINGS, request};
use crate::wire::guard::shape::{
    ALL, BOOLEAN, INT32, INT32_ARRAY, INT64,
    Kind::{Array, Bytes, String, StringArray},
    Request, Shape, UUID, between, field, field_in, from, up_to,
};

pub(super) static OFFSET_COMMIT: Request = request(
    ApiKey::OffsetCommit,
    between(0, 9),
    8,
    Shape::of::<OffsetCommitRequest>(&[
        field("group_id", String),
        field_in("generation_id_or_member_epoch", from(1), INT32),
        field_in("member_id", from(1), String),
        field_in("group_instance_id", from(7), String).nullable(ALL),
        field_in("retention_time_ms", between(2, 4), INT64),
        field("topics", Array(&OFFSET_COMMIT_TOPIC)),
    ]),
);

/// With a list of timestamps beside it (v1).
static OFFSET_COMMIT_TOPIC: Shape = Shape::of::<(OffsetCommitRequestTopic, Vec<i64>)>(&[
    field("name", String),
    field("partitions", Array(&OFFSET_COMMIT_PARTITION)),
]);

static OFFSET_COMMIT_PARTITION: Shape = Shape::of::<(OffsetCommitRequestPartition, i64)>(&[
    field("partition_index", INT32),
    field("committed_offset", INT64),
    field_in("committed_leader_epoch", from(6), INT32),
    field_in("commit_timestamp", between(1, 1), INT64),
    field("committed_metadata", String).nullable(ALL),
]);

pub(super) static OFFSET_FETCH: Request = request(
    ApiKey::OffsetFetch,
    between(0, 9),
    6,
    Shape::of::<OffsetFetchRequest>(&[
        field_in("group_id", up_to(7), String),
        field_in("topics", up_to(7), Array(&OFFSET_FETCH_TOPIC)).nullable(from(2)),
        field_in("groups", from(8), Array(&OFFSET_FETCH_GROUP)),
        field_in("require_stable", from(7), BOOLEAN),
    ]),
);

static OFFSET_FETCH_TOPIC: Shape =
    Shape::of::<OffsetFetchRequestTopic>(&[field("name", String), field("partition_indexes", INT32_ARRAY)]);

static OFFSET_FETCH_GROUP: Shape = Shape::of::<OffsetFetchRequestGroup>(&[
    field("group_id", String),
    field_in("member_id", from(9), String).nullable(ALL),
    field_in("member_epoch", from(9), INT32),
    field("topics", Array(&OFFSET_FETCH_GROUP_TOPIC)).nullable(ALL),
]);

static OFFSET_FETCH_GROUP_TOPIC: Shape =
    Shape::of::<OffsetFetchRequestTopics>(&[field("name", String), field("partition_indexes", INT32_ARRAY)]);

pub(super) static JOIN_GROUP: Request = request(
    ApiKey::JoinGroup,
    between(0, 9),
    6,
    Shape::of::<JoinGroupRequest>(&[
        field("group_id", String),
        field("session_timeout_ms", INT32),
        field_in("rebalance_timeout_ms", from(1), INT32),
        field("member_id", String),
        field_in("group_instance_id", from(5), String).nullable(ALL),
        field("protocol_type", String),
        field("protocols", Array(&JOIN_GROUP_PROTOCOL)),
        field_in("reason", from(8), String).nullable(ALL),
    ]),
);

static JOIN_GROUP_PROTOCOL: Shape =
    Shape::of::<JoinGroupRequestProtocol>(&[field("name", String), field("metadata", Bytes)]);

pub(super) static HEARTBEAT: Request = request(
    ApiKey::Heartbeat,
    between(0, 4),
    4,
    Shape::of::<HeartbeatRequest>(&[
        field("group_id", String),
        field("generation_id", INT32),
        field("member_id", String),
        field_in("group_instance_id", from(3), String).nullable(ALL),
    ]),
);

pub(super) static CONSUMER_GROUP_HEARTBEAT: Request = request(
    ApiKey::ConsumerGroupHeartbeat,
    between(0, 1),
    0,
    Shape::of::<ConsumerGroupHeartbeatRequest>(&[
        field("group_id", String),
        field("member_id", String),
        field("member_epoch", INT32),
        field("instance_id", String).nullable(ALL),
        field("rack_id", String).nullable(ALL),
        field("rebalance_timeout_ms", INT32),
        field("subscribed_topic_names", StringArray(size_of::<TopicName>())).nullable(ALL),
        field_in("subscribed_topic_regex", from(1), String).nullable(ALL),
        field("server_assignor", String).nullable(ALL),
        field("topic_partitions", Array(&CONSUMER_GROUP_HEARTBEAT_TOPIC)).nullable(ALL),
    ]),
);

static CONSUMER_GROUP_HEARTBEAT_TOPIC: Shape =
    Shape::of::<TopicPartitions>(&[field("topic_id", UUID), field("partitions", INT32_ARRAY)]);

pub(super) static CONSUMER_GROUP_DESCRIBE: Request = request(
    ApiKey::ConsumerGroupDescribe,
    between(0, 1),
    0,
    Shape::of::<ConsumerGroupDescribeRequest>(&[
        field("group_ids", StringArray(size_of::<GroupId>())),
        field("include_authorized_operations", BOOLEAN),
    ]),
);

pub(super) static LEAVE_GROUP: Request = request(
    ApiKey::LeaveGroup,
    between(0, 5),
    4,
    Shape::of::<LeaveGroupRequest>(&[
        field("group_id", String),
        field_in("member_id", up_to(2), String),
        field_in("members", from(3), Array(&LEAVE_GROUP_MEMBER)),
    ]),
);

static LEAVE_GROUP_MEMBER: Shape = Shape::of::<MemberIdentity>(&[
    field("member_id", String),
    field("group_instance_id", String).nullable(ALL),
    field_in("reason", from(5), String).nullable(ALL),
]);

pub(super) static SYNC_GROUP: Request = request(
    ApiKey::SyncGroup,
    between(0, 5),
    4,
    Shape::of::<SyncGroupRequest>(&[
        field("group_id", String),
        field("generation_id", INT32),
        field("member_id", String),
        field_in("group_instance_id", from(3), String).nullable(ALL),
        field_in("protocol_type", from(5), String).nullable(ALL),
        field_in("protocol_name", from(5), String).nullable(ALL),
        field("assignments", Array(&SYNC_GROUP_ASSIGNMENT)),
    ]),
);

static SYNC_GROUP_ASSIGNMENT: Shape =
    Shape::of::<SyncGroupRequestAssignment>(&[field("member_id", String), field("assignment", Bytes)]);

pub(super) static DESCRIBE_GROUPS: Request = request(
    ApiKey::DescribeGroups,
    between(0, 6),
    5,
    Shape::of::<DescribeGroupsRequest>(&[
        field("groups", StringArray(size_of::<GroupId>())),
        field_in("include_authorized_operations", from(3), BOOLEAN),
    ]),
);

pub(super) static LIST_GROUPS: Request = request(
    ApiKey::ListGroups,
    between(0, 5),
    3,
    Shape::of::<ListGroupsRequest>(&[
        field_in("states_filter", from(4), STRINGS),
        field_in("types_filter", from(5), STRINGS),
    ]),
);

pub(super) static DELETE_GROUPS: Request = request(
    ApiKey::DeleteGroups,
    between(0, 2),
    2,
    Shape::of::<DeleteGroupsRequest>(&[field("groups_names", StringArray(size_of::<GroupId>()))]),
);

pub(super) static OFFSET_DELETE: Request = request(
    ApiKey::OffsetDelete,
    between(0, 0),
    i16::MAX,
    Shape::of::<OffsetDeleteRequest>(&[field("group_id", String), field("topics", Array(&OFFSET_DELETE_TOPIC))]),
);

static OFFSET_DELETE_TOPIC: Shape = Shape::of::<OffsetDeleteRequestTopic>(&[
    field("name", String),
    field("partitions", Array(&OFFSET_DELETE_PARTITION)),
]);

static OFFSET_DELETE_PARTITION: Shape = Shape::of::<OffsetDeleteRequestPartition>(&[field("partition_index", INT32)]);
