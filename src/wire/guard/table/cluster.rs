//! The shapes of what administrators ask of a cluster: replicas, the quorum, users, quotas, ACLs, transactions.

use kafka_protocol::messages::{
    ApiKey, ProducerId, TransactionalId,
    alter_partition_reassignments_request::{
        AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
    },
    create_acls_request::{AclCreation, CreateAclsRequest},
    delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest},
    describe_acls_request::DescribeAclsRequest,
    describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest},
    describe_producers_request::{DescribeProducersRequest, TopicRequest},
    describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData},
    describe_transactions_request::DescribeTransactionsRequest,
    describe_user_scram_credentials_request::{DescribeUserScramCredentialsRequest, UserName},
    elect_leaders_request::{ElectLeadersRequest, TopicPartitions},
    list_config_resources_request::ListConfigResourcesRequest,
    list_partition_reassignments_request::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics},
    list_transactions_request::ListTransactionsRequest,
};

use super::{BROKER_IDS, STRINGS, request};
use crate::wire::guard::shape::{
    ALL, BOOLEAN, Field, INT8, INT32, INT32_ARRAY, INT64,
    Kind::{Array, FixedArray, String, StringArray},
    Request, Shape, between, field, field_in, from,
};

pub(super) static DESCRIBE_ACLS: Request =
    request(ApiKey::DescribeAcls, between(1, 3), 2, Shape::of::<DescribeAclsRequest>(ACL_FILTER));

pub(super) static CREATE_ACLS: Request = request(
    ApiKey::CreateAcls,
    between(1, 3),
    2,
    Shape::of::<CreateAclsRequest>(&[field("creations", Array(&CREATE_ACLS_CREATION))]),
);

static CREATE_ACLS_CREATION: Shape = Shape::of::<AclCreation>(&[
    field("resource_type", INT8),
    field("resource_name", String),
    field("resource_pattern_type", INT8),
    field("principal", String),
    field("host", String),
    field("operation", INT8),
    field("permission_type", INT8),
]);

pub(super) static DELETE_ACLS: Request = request(
    ApiKey::DeleteAcls,
    between(1, 3),
    2,
    Shape::of::<DeleteAclsRequest>(&[field("filters", Array(&DELETE_ACLS_FILTER))]),
);

static DELETE_ACLS_FILTER: Shape = Shape::of::<DeleteAclsFilter>(ACL_FILTER);

/// Which ACLs are meant.
const ACL_FILTER: &[Field] = &[
    field("resource_type_filter", INT8),
    field("resource_name_filter", String).nullable(ALL),
    field("pattern_type_filter", INT8),
    field("principal_filter", String).nullable(ALL),
    field("host_filter", String).nullable(ALL),
    field("operation", INT8),
    field("permission_type", INT8),
];

pub(super) static ELECT_LEADERS: Request = request(
    ApiKey::ElectLeaders,
    between(0, 2),
    2,
    Shape::of::<ElectLeadersRequest>(&[
        field_in("election_type", from(1), INT8),
        field("topic_partitions", Array(&ELECT_LEADERS_TOPIC)).nullable(ALL),
        field("timeout_ms", INT32),
    ]),
);

static ELECT_LEADERS_TOPIC: Shape =
    Shape::of::<TopicPartitions>(&[field("topic", String), field("partitions", INT32_ARRAY)]);

pub(super) static ALTER_PARTITION_REASSIGNMENTS: Request = request(
    ApiKey::AlterPartitionReassignments,
    between(0, 1),
    0,
    Shape::of::<AlterPartitionReassignmentsRequest>(&[
        field("timeout_ms", INT32),
        field_in("allow_replication_factor_change", from(1), BOOLEAN),
        field("topics", Array(&ALTER_PARTITION_REASSIGNMENTS_TOPIC)),
    ]),
);

static ALTER_PARTITION_REASSIGNMENTS_TOPIC: Shape = Shape::of::<ReassignableTopic>(&[
    field("name", String),
    field("partitions", Array(&ALTER_PARTITION_REASSIGNMENTS_PARTITION)),
]);

static ALTER_PARTITION_REASSIGNMENTS_PARTITION: Shape =
    Shape::of::<ReassignablePartition>(&[field("partition_index", INT32), field("replicas", BROKER_IDS).nullable(ALL)]);

pub(super) static LIST_PARTITION_REASSIGNMENTS: Request = request(
    ApiKey::ListPartitionReassignments,
    between(0, 0),
    0,
    Shape::of::<ListPartitionReassignmentsRequest>(&[
        field("timeout_ms", INT32),
        field("topics", Array(&LIST_PARTITION_REASSIGNMENTS_TOPIC)).nullable(ALL),
    ]),
);

static LIST_PARTITION_REASSIGNMENTS_TOPIC: Shape =
    Shape::of::<ListPartitionReassignmentsTopics>(&[field("name", String), field("partition_indexes", INT32_ARRAY)]);

pub(super) static DESCRIBE_CLIENT_QUOTAS: Request = request(
    ApiKey::DescribeClientQuotas,
    between(0, 1),
    1,
    Shape::of::<DescribeClientQuotasRequest>(&[
        field("components", Array(&DESCRIBE_CLIENT_QUOTAS_COMPONENT)),
        field("strict", BOOLEAN),
    ]),
);

static DESCRIBE_CLIENT_QUOTAS_COMPONENT: Shape = Shape::of::<ComponentData>(&[
    field("entity_type", String),
    field("match_type", INT8),
    field("match", String).nullable(ALL),
]);

pub(super) static DESCRIBE_USER_SCRAM_CREDENTIALS: Request = request(
    ApiKey::DescribeUserScramCredentials,
    between(0, 0),
    0,
    Shape::of::<DescribeUserScramCredentialsRequest>(&[
        field("users", Array(&DESCRIBE_USER_SCRAM_CREDENTIALS_USER)).nullable(ALL)
    ]),
);

static DESCRIBE_USER_SCRAM_CREDENTIALS_USER: Shape = Shape::of::<UserName>(&[field("name", String)]);

pub(super) static DESCRIBE_QUORUM: Request = request(
    ApiKey::DescribeQuorum,
    between(0, 2),
    0,
    Shape::of::<DescribeQuorumRequest>(&[field("topics", Array(&DESCRIBE_QUORUM_TOPIC))]),
);

static DESCRIBE_QUORUM_TOPIC: Shape =
    Shape::of::<TopicData>(&[field("topic_name", String), field("partitions", Array(&DESCRIBE_QUORUM_PARTITION))]);

static DESCRIBE_QUORUM_PARTITION: Shape = Shape::of::<PartitionData>(&[field("partition_index", INT32)]);

pub(super) static DESCRIBE_PRODUCERS: Request = request(
    ApiKey::DescribeProducers,
    between(0, 0),
    0,
    Shape::of::<DescribeProducersRequest>(&[field("topics", Array(&DESCRIBE_PRODUCERS_TOPIC))]),
);

static DESCRIBE_PRODUCERS_TOPIC: Shape =
    Shape::of::<TopicRequest>(&[field("name", String), field("partition_indexes", INT32_ARRAY)]);

pub(super) static DESCRIBE_TRANSACTIONS: Request = request(
    ApiKey::DescribeTransactions,
    between(0, 0),
    0,
    Shape::of::<DescribeTransactionsRequest>(&[field("transactional_ids", StringArray(size_of::<TransactionalId>()))]),
);

pub(super) static LIST_TRANSACTIONS: Request = request(
    ApiKey::ListTransactions,
    between(0, 2),
    0,
    Shape::of::<ListTransactionsRequest>(&[
        field("state_filters", STRINGS),
        field("producer_id_filters", FixedArray(size_of::<ProducerId>())),
        field_in("duration_filter", from(1), INT64),
        field_in("transactional_id_pattern", from(2), String).nullable(ALL),
    ]),
);

pub(super) static LIST_CONFIG_RESOURCES: Request = request(
    ApiKey::ListConfigResources,
    between(0, 1),
    0,
    Shape::of::<ListConfigResourcesRequest>(&[field_in("resource_types", from(1), FixedArray(1))]),
);
