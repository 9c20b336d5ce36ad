//! The API table, dispatch and one handler a file.
//!
//! The table below is the only list of what the gateway speaks: ApiVersions, docs/protocol.md and the tests that walk
//! every version come from it.

mod dispatch;
pub mod docs;
mod errors;
pub mod handlers;
mod request;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use kafka_protocol::messages::ApiKey;

use crate::{
    broker::Broker,
    metrics::{Histogram, Metrics, RequestTimer},
};

pub use dispatch::dispatch;
pub use request::{Handled, Outcome, Reply, Request, RequestError};

/// What every handler can reach.
pub struct Gateway {
    pub broker: Arc<Broker>,
    pub metrics: Arc<Metrics>,
    /// One for each row of [`APIS`], from its first request on: to look it up by name would cost each request a lock.
    request_seconds: Vec<OnceLock<Histogram>>,
}

impl Gateway {
    pub fn new(broker: Arc<Broker>, metrics: Arc<Metrics>) -> Self {
        let request_seconds = APIS.iter().map(|_| OnceLock::new()).collect();
        Self { broker, metrics, request_seconds }
    }

    /// Starts the clock of a request to the API in this row of the table.
    fn request_timer(&self, row: usize, api: &Api) -> Option<RequestTimer> {
        let seconds = self.request_seconds.get(row)?;
        Some(seconds.get_or_init(|| self.metrics.request_seconds(api.name)).start_timer())
    }
}

/// What is known of the client behind a connection.
pub struct Session {
    pub peer: SocketAddr,
    /// [`Request::client_host`], once it was asked for.
    host: OnceLock<String>,
}

impl Session {
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, host: OnceLock::new() }
    }
}

/// One API as this gateway speaks it.
pub struct Api {
    pub key: ApiKey,
    pub name: &'static str,
    /// Lowest version in ApiVersions; below [`min`](Self::min) only where clients depend on it.
    pub advertised_min: i16,
    /// Lowest version that is handled.
    pub min: i16,
    /// Highest version, advertised and handled.
    pub max: i16,
    pub handle: fn(Request) -> Handled,
}

impl Api {
    const fn new(key: ApiKey, name: &'static str, min: i16, max: i16, handle: fn(Request) -> Handled) -> Self {
        Self { key, name, advertised_min: min, min, max, handle }
    }

    const fn advertised_from(self, version: i16) -> Self {
        Self { advertised_min: version, ..self }
    }

    pub fn handles(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// The row of `key`, and its place in the table.
pub fn find(key: ApiKey) -> Option<(usize, &'static Api)> {
    let row = APIS.binary_search_by_key(&(key as i16), |api| api.key as i16).ok()?;
    Some((row, APIS.get(row)?))
}

/// Largest frame of an API. Only Produce carries records; where a short name asks for a long answer, little is enough.
pub fn frame_bytes_max(api_key: i16, request_bytes_max: u32) -> u32 {
    let limit = match ApiKey::try_from(api_key) {
        Ok(ApiKey::Produce) => request_bytes_max,
        Ok(
            ApiKey::Metadata
            | ApiKey::DescribeConfigs
            | ApiKey::DescribeGroups
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::FindCoordinator
            | ApiKey::CreateAcls
            | ApiKey::DeleteAcls
            | ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::DescribeUserScramCredentials
            | ApiKey::DescribeQuorum
            | ApiKey::DescribeProducers
            | ApiKey::DescribeTransactions,
        ) => ASKING_FRAME_BYTES_MAX,
        _ => CONTROL_FRAME_BYTES_MAX,
    };
    limit.min(request_bytes_max)
}

/// Everything the gateway speaks, ordered by key.
pub static APIS: &[Api] = &[
    // librdkafka turns compression off unless Produce is advertised from version 0 (KAFKA-18659, librdkafka#4956);
    // versions below 3 are refused as Kafka 4 refuses them.
    Api::new(ApiKey::Produce, "Produce", 3, 13, handlers::produce::handle).advertised_from(0),
    Api::new(ApiKey::Fetch, "Fetch", 4, 18, handlers::fetch::handle),
    Api::new(ApiKey::ListOffsets, "ListOffsets", 1, 10, handlers::list_offsets::handle),
    Api::new(ApiKey::Metadata, "Metadata", 0, 13, handlers::metadata::handle),
    Api::new(ApiKey::OffsetCommit, "OffsetCommit", 0, 9, handlers::offset_commit::handle),
    Api::new(ApiKey::OffsetFetch, "OffsetFetch", 0, 9, handlers::offset_fetch::handle),
    Api::new(ApiKey::FindCoordinator, "FindCoordinator", 0, 6, handlers::find_coordinator::handle),
    Api::new(ApiKey::JoinGroup, "JoinGroup", 0, 9, handlers::join_group::handle),
    Api::new(ApiKey::Heartbeat, "Heartbeat", 0, 4, handlers::heartbeat::handle),
    Api::new(ApiKey::LeaveGroup, "LeaveGroup", 0, 5, handlers::leave_group::handle),
    Api::new(ApiKey::SyncGroup, "SyncGroup", 0, 5, handlers::sync_group::handle),
    Api::new(ApiKey::DescribeGroups, "DescribeGroups", 0, 6, handlers::describe_groups::handle),
    Api::new(ApiKey::ListGroups, "ListGroups", 0, 5, handlers::list_groups::handle),
    Api::new(ApiKey::ApiVersions, "ApiVersions", 0, 4, handlers::api_versions::handle),
    Api::new(ApiKey::CreateTopics, "CreateTopics", 2, 7, handlers::create_topics::handle),
    Api::new(ApiKey::DeleteTopics, "DeleteTopics", 1, 6, handlers::delete_topics::handle),
    Api::new(ApiKey::DeleteRecords, "DeleteRecords", 0, 2, handlers::delete_records::handle),
    Api::new(ApiKey::InitProducerId, "InitProducerId", 0, 5, handlers::init_producer_id::handle),
    Api::new(ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, handlers::offset_for_leader_epoch::handle),
    Api::new(ApiKey::DescribeAcls, "DescribeAcls", 1, 3, handlers::describe_acls::handle),
    Api::new(ApiKey::CreateAcls, "CreateAcls", 1, 3, handlers::create_acls::handle),
    Api::new(ApiKey::DeleteAcls, "DeleteAcls", 1, 3, handlers::delete_acls::handle),
    Api::new(ApiKey::DescribeConfigs, "DescribeConfigs", 1, 4, handlers::describe_configs::handle),
    Api::new(ApiKey::AlterConfigs, "AlterConfigs", 0, 2, handlers::alter_configs::handle),
    Api::new(ApiKey::DescribeLogDirs, "DescribeLogDirs", 1, 4, handlers::describe_log_dirs::handle),
    Api::new(ApiKey::CreatePartitions, "CreatePartitions", 0, 3, handlers::create_partitions::handle),
    Api::new(ApiKey::DeleteGroups, "DeleteGroups", 0, 2, handlers::delete_groups::handle),
    Api::new(ApiKey::ElectLeaders, "ElectLeaders", 0, 2, handlers::elect_leaders::handle),
    Api::new(
        ApiKey::IncrementalAlterConfigs,
        "IncrementalAlterConfigs",
        0,
        1,
        handlers::incremental_alter_configs::handle,
    ),
    Api::new(
        ApiKey::AlterPartitionReassignments,
        "AlterPartitionReassignments",
        0,
        1,
        handlers::alter_partition_reassignments::handle,
    ),
    Api::new(
        ApiKey::ListPartitionReassignments,
        "ListPartitionReassignments",
        0,
        0,
        handlers::list_partition_reassignments::handle,
    ),
    Api::new(ApiKey::OffsetDelete, "OffsetDelete", 0, 0, handlers::offset_delete::handle),
    Api::new(ApiKey::DescribeClientQuotas, "DescribeClientQuotas", 0, 1, handlers::describe_client_quotas::handle),
    Api::new(
        ApiKey::DescribeUserScramCredentials,
        "DescribeUserScramCredentials",
        0,
        0,
        handlers::describe_user_scram_credentials::handle,
    ),
    Api::new(ApiKey::DescribeQuorum, "DescribeQuorum", 0, 2, handlers::describe_quorum::handle),
    Api::new(ApiKey::DescribeCluster, "DescribeCluster", 0, 2, handlers::describe_cluster::handle),
    Api::new(ApiKey::DescribeProducers, "DescribeProducers", 0, 0, handlers::describe_producers::handle),
    Api::new(ApiKey::DescribeTransactions, "DescribeTransactions", 0, 0, handlers::describe_transactions::handle),
    Api::new(ApiKey::ListTransactions, "ListTransactions", 0, 2, handlers::list_transactions::handle),
    Api::new(
        ApiKey::ConsumerGroupHeartbeat,
        "ConsumerGroupHeartbeat",
        0,
        1,
        handlers::consumer_group_heartbeat::handle,
    ),
    Api::new(ApiKey::ConsumerGroupDescribe, "ConsumerGroupDescribe", 0, 1, handlers::consumer_group_describe::handle),
    Api::new(ApiKey::ListConfigResources, "ListConfigResources", 0, 1, handlers::list_config_resources::handle),
    Api::new(
        ApiKey::DescribeTopicPartitions,
        "DescribeTopicPartitions",
        0,
        0,
        handlers::describe_topic_partitions::handle,
    ),
];

/// A JoinGroup of a thousand members or a CreateTopics of ten thousand topics stays well below.
const CONTROL_FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Forty thousand names of average length.
const ASKING_FRAME_BYTES_MAX: u32 = 2 * 1024 * 1024;
