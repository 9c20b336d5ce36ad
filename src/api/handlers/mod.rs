//! One handler a file, named after its API. A handler decodes, makes its broker call and encodes.

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{BrokerId, TopicName},
    protocol::StrBytes,
};

use crate::{broker::TopicRef, model::validate_topic_name, wire::topic::TopicKey};

/// A string of the domain on the wire.
fn text(value: impl AsRef<str>) -> StrBytes {
    StrBytes::from_string(value.as_ref().to_owned())
}

/// A topic's name on the wire.
fn topic_name(name: &Arc<str>) -> TopicName {
    TopicName(text(name))
}

/// A topic's name in the domain.
fn domain_name(name: &TopicName) -> Arc<str> {
    Arc::from(name.as_str())
}

/// A string of the wire in the domain: a copy, because what groups keep must not hold on to whole frames. The empty one,
/// which most offsets have for their metadata, takes no memory.
fn shared(value: &StrBytes) -> Arc<str> {
    match value.as_str() {
        "" => Arc::default(),
        text => Arc::from(text),
    }
}

/// The topic that a request names, for the broker.
fn topic_ref(topic: &TopicKey) -> TopicRef {
    match topic {
        TopicKey::Name(name) => TopicRef::Name(shared(name)),
        TopicKey::Id(id) => TopicRef::Id(*id),
    }
}

/// As much of a name as messages quote: what the longest name of a topic has.
fn excerpt(name: &str) -> String {
    name.chars().take(EXCERPT_CHARS_MAX).collect()
}

/// The error of a name that no topic has.
fn why_unknown(name: &str) -> ResponseError {
    match validate_topic_name(name) {
        Ok(()) => ResponseError::UnknownTopicOrPartition,
        Err(_) => ResponseError::InvalidTopicException,
    }
}

/// Opaque bytes for the domain, copied for the same reason.
fn detached(value: &Bytes) -> Bytes {
    Bytes::copy_from_slice(value)
}

fn broker_ids(id: i32) -> Vec<BrokerId> {
    vec![BrokerId(id)]
}

/// The items that `key` tells apart, where they are first met, and those that were met more than once: Kafka refuses the
/// latter as a whole.
fn split_repeated<T, K: std::hash::Hash + Eq>(items: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<T>) {
    let mut times: HashMap<K, usize> = HashMap::new();
    for item in &items {
        *times.entry(key(item)).or_default() += 1;
    }
    items.into_iter().partition(|item| times.get(&key(item)).is_none_or(|&times| times == 1))
}

/// What Kafka says with `Errors.INVALID_REQUEST` when it says nothing else.
const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the client library or \
    the message was sent to an incompatible broker. See the broker logs for more details.";

const EXCERPT_CHARS_MAX: usize = 249;

/// `Errors.UNKNOWN_TOPIC_OR_PARTITION`
const UNKNOWN_TOPIC_OR_PARTITION: &str = "This server does not host this topic-partition.";

/// `AclControlManager`, when it has no authorizer.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// For clients that did not ask which operations they may do.
const AUTHORIZED_OPERATIONS_OMITTED: i32 = i32::MIN;

/// Without an authorizer everything is allowed: one bit for each operation that a topic knows (`AclEntry`).
const AUTHORIZED_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// The same for the cluster.
const AUTHORIZED_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// The same for a group: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
const AUTHORIZED_GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// What a response says of operations, which only clients that ask are told.
fn operations_if(asked: bool, allowed: i32) -> i32 {
    if asked { allowed } else { AUTHORIZED_OPERATIONS_OMITTED }
}
