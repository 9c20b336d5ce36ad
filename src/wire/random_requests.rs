//! Random requests of every API and version that is served, encoded and decoded by kafka-protocol.

// Tests beside the crate include this file, too.
#[path = "random_requests/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        alter_configs_request, consumer_group_heartbeat_request as consumer_heartbeat,
        create_partitions_request as create_partitions, create_topics_request as create_topics,
        delete_records_request as delete_records, delete_topics_request::DeleteTopicState, describe_configs_request,
        describe_log_dirs_request, describe_topic_partitions_request as describe_topic_partitions,
        fetch_request as fetch, incremental_alter_configs_request as incremental,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        list_offsets_request as list_offsets, metadata_request::MetadataRequestTopic,
        offset_commit_request as offset_commit, offset_delete_request as offset_delete,
        offset_fetch_request as offset_fetch, offset_for_leader_epoch_request as leader_epoch,
        produce_request as produce, sync_group_request::SyncGroupRequestAssignment, *,
    },
    protocol::{Encodable, StrBytes},
};
use uuid::Uuid;

/// What kafka-protocol decodes of what is served; its `VERSIONS` say more for some.
pub const SERVED: [(ApiKey, i16, i16); 43] = [
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 18),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeTopicPartitions, 0, 0),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
    (ApiKey::DescribeAcls, 1, 3),
    (ApiKey::CreateAcls, 1, 3),
    (ApiKey::DeleteAcls, 1, 3),
    (ApiKey::ElectLeaders, 0, 2),
    (ApiKey::AlterPartitionReassignments, 0, 1),
    (ApiKey::ListPartitionReassignments, 0, 0),
    (ApiKey::DescribeClientQuotas, 0, 1),
    (ApiKey::DescribeUserScramCredentials, 0, 0),
    (ApiKey::DescribeQuorum, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 2),
    (ApiKey::ListConfigResources, 0, 1),
];

/// Each API with each version that kafka-protocol decodes.
pub fn served() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.into_iter().flat_map(|(api_key, min, max)| (min..=max).map(move |version| (api_key, version)))
}

/// Evaluates an expression with the request type of an API.
macro_rules! with_request_type {
    ($api_key:expr, $request:ident => $body:expr) => {
        match $api_key {
            ApiKey::Produce => {
                type $request = kafka_protocol::messages::ProduceRequest;
                $body
            }
            ApiKey::Fetch => {
                type $request = kafka_protocol::messages::FetchRequest;
                $body
            }
            ApiKey::ListOffsets => {
                type $request = kafka_protocol::messages::ListOffsetsRequest;
                $body
            }
            ApiKey::Metadata => {
                type $request = kafka_protocol::messages::MetadataRequest;
                $body
            }
            ApiKey::OffsetCommit => {
                type $request = kafka_protocol::messages::OffsetCommitRequest;
                $body
            }
            ApiKey::OffsetFetch => {
                type $request = kafka_protocol::messages::OffsetFetchRequest;
                $body
            }
            ApiKey::FindCoordinator => {
                type $request = kafka_protocol::messages::FindCoordinatorRequest;
                $body
            }
            ApiKey::JoinGroup => {
                type $request = kafka_protocol::messages::JoinGroupRequest;
                $body
            }
            ApiKey::Heartbeat => {
                type $request = kafka_protocol::messages::HeartbeatRequest;
                $body
            }
            ApiKey::LeaveGroup => {
                type $request = kafka_protocol::messages::LeaveGroupRequest;
                $body
            }
            ApiKey::SyncGroup => {
                type $request = kafka_protocol::messages::SyncGroupRequest;
                $body
            }
            ApiKey::ConsumerGroupHeartbeat => {
                type $request = kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
                $body
            }
            ApiKey::ConsumerGroupDescribe => {
                type $request = kafka_protocol::messages::ConsumerGroupDescribeRequest;
                $body
            }
            ApiKey::DescribeGroups => {
                type $request = kafka_protocol::messages::DescribeGroupsRequest;
                $body
            }
            ApiKey::ListGroups => {
                type $request = kafka_protocol::messages::ListGroupsRequest;
                $body
            }
            ApiKey::ApiVersions => {
                type $request = kafka_protocol::messages::ApiVersionsRequest;
                $body
            }
            ApiKey::CreateTopics => {
                type $request = kafka_protocol::messages::CreateTopicsRequest;
                $body
            }
            ApiKey::DeleteTopics => {
                type $request = kafka_protocol::messages::DeleteTopicsRequest;
                $body
            }
            ApiKey::DeleteRecords => {
                type $request = kafka_protocol::messages::DeleteRecordsRequest;
                $body
            }
            ApiKey::InitProducerId => {
                type $request = kafka_protocol::messages::InitProducerIdRequest;
                $body
            }
            ApiKey::OffsetForLeaderEpoch => {
                type $request = kafka_protocol::messages::OffsetForLeaderEpochRequest;
                $body
            }
            ApiKey::DescribeConfigs => {
                type $request = kafka_protocol::messages::DescribeConfigsRequest;
                $body
            }
            ApiKey::AlterConfigs => {
                type $request = kafka_protocol::messages::AlterConfigsRequest;
                $body
            }
            ApiKey::IncrementalAlterConfigs => {
                type $request = kafka_protocol::messages::IncrementalAlterConfigsRequest;
                $body
            }
            ApiKey::DescribeLogDirs => {
                type $request = kafka_protocol::messages::DescribeLogDirsRequest;
                $body
            }
            ApiKey::CreatePartitions => {
                type $request = kafka_protocol::messages::CreatePartitionsRequest;
                $body
            }
            ApiKey::DeleteGroups => {
                type $request = kafka_protocol::messages::DeleteGroupsRequest;
                $body
            }
            ApiKey::OffsetDelete => {
                type $request = kafka_protocol::messages::OffsetDeleteRequest;
                $body
            }
            ApiKey::DescribeCluster => {
                type $request = kafka_protocol::messages::DescribeClusterRequest;
                $body
            }
            ApiKey::DescribeTopicPartitions => {
                type $request = kafka_protocol::messages::DescribeTopicPartitionsRequest;
                $body
            }
            ApiKey::DescribeAcls => {
                type $request = kafka_protocol::messages::DescribeAclsRequest;
                $body
            }
            ApiKey::CreateAcls => {
                type $request = kafka_protocol::messages::CreateAclsRequest;
                $body
            }
            ApiKey::DeleteAcls => {
                type $request = kafka_protocol::messages::DeleteAclsRequest;
                $body
            }
            ApiKey::ElectLeaders => {
                type $request = kafka_protocol::messages::ElectLeadersRequest;
                $body
            }
            ApiKey::AlterPartitionReassignments => {
                type $request = kafka_protocol::messages::AlterPartitionReassignmentsRequest;
                $body
            }
            ApiKey::ListPartitionReassignments => {
                type $request = kafka_protocol::messages::ListPartitionReassignmentsRequest;
                $body
            }
            ApiKey::DescribeClientQuotas => {
                type $request = kafka_protocol::messages::DescribeClientQuotasRequest;
                $body
            }
            ApiKey::DescribeUserScramCredentials => {
                type $request = kafka_protocol::messages::DescribeUserScramCredentialsRequest;
                $body
            }
            ApiKey::DescribeQuorum => {
                type $request = kafka_protocol::messages::DescribeQuorumRequest;
                $body
            }
            ApiKey::DescribeProducers => {
                type $request = kafka_protocol::messages::DescribeProducersRequest;
                $body
            }
            ApiKey::DescribeTransactions => {
                type $request = kafka_protocol::messages::DescribeTransactionsRequest;
                $body
            }
            ApiKey::ListTransactions => {
                type $request = kafka_protocol::messages::ListTransactionsRequest;
                $body
            }
            ApiKey::ListConfigResources => {
                type $request = kafka_protocol::messages::ListConfigResourcesRequest;
                $body
            }
            other => panic!("{other:?} is not served"),
        }
    };
}
pub(crate) use with_request_type;

/// A random request, encoded with kafka-protocol.
pub fn random_body(api_key: ApiKey, version: i16, r: &mut Random) -> Bytes {
    r.version = version;
    r.flexible = api_key.request_header_version(version) >= 2;
    match api_key {
        ApiKey::Produce => r.produce(),
        ApiKey::Fetch => r.fetch(),
        ApiKey::ListOffsets => r.list_offsets(),
        ApiKey::Metadata => r.metadata(),
        ApiKey::OffsetCommit => r.offset_commit(),
        ApiKey::OffsetFetch => r.offset_fetch(),
        ApiKey::FindCoordinator => r.find_coordinator(),
        ApiKey::JoinGroup => r.join_group(),
        ApiKey::Heartbeat => r.heartbeat(),
        ApiKey::LeaveGroup => r.leave_group(),
        ApiKey::SyncGroup => r.sync_group(),
        ApiKey::ConsumerGroupHeartbeat => r.consumer_group_heartbeat(),
        ApiKey::ConsumerGroupDescribe => r.consumer_group_describe(),
        ApiKey::DescribeGroups => r.describe_groups(),
        ApiKey::ListGroups => r.list_groups(),
        ApiKey::ApiVersions => r.api_versions(),
        ApiKey::CreateTopics => r.create_topics(),
        ApiKey::DeleteTopics => r.delete_topics(),
        ApiKey::DeleteRecords => r.delete_records(),
        ApiKey::InitProducerId => r.init_producer_id(),
        ApiKey::OffsetForLeaderEpoch => r.offset_for_leader_epoch(),
        ApiKey::DescribeConfigs => r.describe_configs(),
        ApiKey::AlterConfigs => r.alter_configs(),
        ApiKey::IncrementalAlterConfigs => r.incremental_alter_configs(),
        ApiKey::DescribeLogDirs => r.describe_log_dirs(),
        ApiKey::CreatePartitions => r.create_partitions(),
        ApiKey::DeleteGroups => r.delete_groups(),
        ApiKey::OffsetDelete => r.offset_delete(),
        ApiKey::DescribeCluster => r.describe_cluster(),
        ApiKey::DescribeTopicPartitions => r.describe_topic_partitions(),
        ApiKey::DescribeAcls => r.describe_acls(),
        ApiKey::CreateAcls => r.create_acls(),
        ApiKey::DeleteAcls => r.delete_acls(),
        ApiKey::ElectLeaders => r.elect_leaders(),
        ApiKey::AlterPartitionReassignments => r.alter_partition_reassignments(),
        ApiKey::ListPartitionReassignments => r.list_partition_reassignments(),
        ApiKey::DescribeClientQuotas => r.describe_client_quotas(),
        ApiKey::DescribeUserScramCredentials => r.describe_user_scram_credentials(),
        ApiKey::DescribeQuorum => r.describe_quorum(),
        ApiKey::DescribeProducers => r.describe_producers(),
        ApiKey::DescribeTransactions => r.describe_transactions(),
        ApiKey::ListTransactions => r.list_transactions(),
        ApiKey::ListConfigResources => r.list_config_resources(),
        _ => panic!("{api_key:?} is not served"),
    }
}

/// Random values for the fields of one version.
pub struct Random {
    rng: fastrand::Rng,
    version: i16,
    flexible: bool,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), version: 0, flexible: false }
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.rng.usize(..len)
    }

    pub fn byte(&mut self) -> u8 {
        self.rng.u8(..)
    }

    fn i8(&mut self) -> i8 {
        self.rng.i8(..)
    }

    fn i16(&mut self) -> i16 {
        self.rng.i16(..)
    }

    fn i32(&mut self) -> i32 {
        self.rng.i32(..)
    }

    fn i64(&mut self) -> i64 {
        self.rng.i64(..)
    }

    fn bool(&mut self) -> bool {
        self.rng.bool()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.u128(..))
    }

    fn bytes(&mut self) -> Bytes {
        let len = if self.rng.u8(..8) == 0 { self.rng.usize(100..20_000) } else { self.rng.usize(..20) };
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        bytes.into()
    }

    fn text(&mut self) -> StrBytes {
        let len = if self.rng.u8(..16) == 0 { self.rng.usize(100..300) } else { self.rng.usize(..12) };
        let text: String =
            (0..len).map(|_| if self.bool() { self.rng.alphanumeric() } else { self.rng.char(..) }).collect();
        StrBytes::from_string(text)
    }

    fn topic(&mut self) -> TopicName {
        TopicName(self.text())
    }

    fn group(&mut self) -> GroupId {
        GroupId(self.text())
    }

    fn maybe<T>(&mut self, mut value: impl FnMut(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| value(self))
    }

    /// A nullable field that exists from a version on.
    fn maybe_from<T>(&mut self, version: i16, value: impl FnMut(&mut Self) -> T) -> Option<T> {
        if self.version >= version { self.maybe(value) } else { None }
    }

    /// A field that exists from a version on, else what kafka-protocol takes for its absence.
    fn from<T>(&mut self, version: i16, absent: T, mut value: impl FnMut(&mut Self) -> T) -> T {
        if self.version >= version { value(self) } else { absent }
    }

    fn list<T>(&mut self, mut value: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.rng.usize(..4);
        (0..count).map(|_| value(self)).collect()
    }

    /// Unknown tagged fields, with tags from `first` on.
    fn tags(&mut self, first: i32) -> BTreeMap<i32, Bytes> {
        if !self.flexible || self.bool() {
            return BTreeMap::new();
        }
        let far = self.bool();
        let fields = self.list(|r| (r.rng.i32(first..if far { i32::MAX } else { first + 4 }), r.bytes()));
        fields.into_iter().collect()
    }

    fn encode(&self, request: &impl Encodable) -> Bytes {
        let mut out = BytesMut::new();
        request.encode(&mut out, self.version).unwrap_or_else(|error| panic!("version {}: {error}", self.version));
        out.freeze()
    }

    fn produce(&mut self) -> Bytes {
        let topic_data = self.list(|r| {
            let partition_data = r.list(|r| {
                produce::PartitionProduceData::default()
                    .with_index(r.i32())
                    .with_records(r.maybe(Self::bytes))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            let topic = produce::TopicProduceData::default()
                .with_partition_data(partition_data)
                .with_unknown_tagged_fields(r.tags(0));
            if r.version >= 13 { topic.with_topic_id(r.uuid()) } else { topic.with_name(r.topic()) }
        });
        let request = ProduceRequest::default()
            .with_transactional_id(self.maybe(Self::text).map(TransactionalId))
            .with_acks(self.i16())
            .with_timeout_ms(self.i32())
            .with_topic_data(topic_data)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn fetch(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let topic = fetch::FetchTopic::default()
                .with_partitions(r.list(Self::fetch_partition))
                .with_unknown_tagged_fields(r.tags(0));
            if r.version >= 13 { topic.with_topic_id(r.uuid()) } else { topic.with_topic(r.topic()) }
        });
        let forgotten = self.from(7, Vec::new(), |r| {
            r.list(|r| {
                let topic = fetch::ForgottenTopic::default()
                    .with_partitions(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0));
                if r.version >= 13 { topic.with_topic_id(r.uuid()) } else { topic.with_topic(r.topic()) }
            })
        });
        let replica_state = self.from(15, fetch::ReplicaState::default(), |r| {
            fetch::ReplicaState::default()
                .with_replica_id(BrokerId(r.i32()))
                .with_replica_epoch(r.i64())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = FetchRequest::default()
            .with_cluster_id(self.maybe_from(12, Self::text))
            .with_replica_id(BrokerId(if self.version <= 14 { self.i32() } else { -1 }))
            .with_replica_state(replica_state)
            .with_max_wait_ms(self.i32())
            .with_min_bytes(self.i32())
            .with_max_bytes(self.i32())
            .with_isolation_level(self.i8())
            .with_session_id(self.from(7, 0, Self::i32))
            .with_session_epoch(self.from(7, -1, Self::i32))
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten)
            .with_rack_id(self.from(11, StrBytes::new(), Self::text))
            .with_unknown_tagged_fields(self.tags(2));
        self.encode(&request)
    }

    fn fetch_partition(&mut self) -> fetch::FetchPartition {
        fetch::FetchPartition::default()
            .with_partition(self.i32())
            .with_current_leader_epoch(self.from(9, -1, Self::i32))
            .with_fetch_offset(self.i64())
            .with_last_fetched_epoch(self.from(12, -1, Self::i32))
            .with_log_start_offset(self.from(5, -1, Self::i64))
            .with_partition_max_bytes(self.i32())
            .with_replica_directory_id(self.from(17, Uuid::nil(), |r| r.maybe(Self::uuid).unwrap_or_default()))
            .with_high_watermark(self.from(18, i64::MAX, |r| r.maybe(Self::i64).unwrap_or(i64::MAX)))
            .with_unknown_tagged_fields(self.tags(2))
    }

    fn list_offsets(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                list_offsets::ListOffsetsPartition::default()
                    .with_partition_index(r.i32())
                    .with_current_leader_epoch(r.from(4, -1, Self::i32))
                    .with_timestamp(r.i64())
                    .with_unknown_tagged_fields(r.tags(0))
            });
            list_offsets::ListOffsetsTopic::default()
                .with_name(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(self.i32()))
            .with_isolation_level(self.from(2, 0, Self::i8))
            .with_topics(topics)
            .with_timeout_ms(self.from(10, 0, Self::i32))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn metadata(&mut self) -> Bytes {
        let mut topics = self.maybe(|r| {
            r.list(|r| {
                MetadataRequestTopic::default()
                    .with_topic_id(r.from(10, Uuid::nil(), Self::uuid))
                    .with_name(if r.version >= 10 { r.maybe(Self::topic) } else { Some(r.topic()) })
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        if self.version == 0 {
            topics = topics.or_else(|| Some(Vec::new()));
        }
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(self.from(4, true, Self::bool))
            .with_include_cluster_authorized_operations((8..=10).contains(&self.version) && self.bool())
            .with_include_topic_authorized_operations(self.from(8, false, Self::bool))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn offset_commit(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                offset_commit::OffsetCommitRequestPartition::default()
                    .with_partition_index(r.i32())
                    .with_committed_offset(r.i64())
                    .with_committed_leader_epoch(r.from(6, -1, Self::i32))
                    .with_committed_metadata(r.maybe(Self::text))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            offset_commit::OffsetCommitRequestTopic::default()
                .with_name(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group())
            .with_generation_id_or_member_epoch(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.maybe_from(7, Self::text))
            .with_retention_time_ms(if self.version <= 4 { self.i64() } else { -1 })
            .with_topics(topics)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn offset_fetch(&mut self) -> Bytes {
        if self.version >= 8 {
            let groups = self.list(Self::offset_fetch_group);
            let request = OffsetFetchRequest::default()
                .with_groups(groups)
                .with_require_stable(self.bool())
                .with_unknown_tagged_fields(self.tags(0));
            return self.encode(&request);
        }
        let mut topics = self.maybe(|r| {
            r.list(|r| {
                offset_fetch::OffsetFetchRequestTopic::default()
                    .with_name(r.topic())
                    .with_partition_indexes(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        if self.version < 2 {
            topics = topics.or_else(|| Some(Vec::new()));
        }
        let request = OffsetFetchRequest::default()
            .with_group_id(self.group())
            .with_topics(topics)
            .with_require_stable(self.from(7, false, Self::bool))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn offset_fetch_group(&mut self) -> offset_fetch::OffsetFetchRequestGroup {
        let topics = self.maybe(|r| {
            r.list(|r| {
                offset_fetch::OffsetFetchRequestTopics::default()
                    .with_name(r.topic())
                    .with_partition_indexes(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        offset_fetch::OffsetFetchRequestGroup::default()
            .with_group_id(self.group())
            .with_member_id(self.maybe_from(9, Self::text))
            .with_member_epoch(self.from(9, -1, Self::i32))
            .with_topics(topics)
            .with_unknown_tagged_fields(self.tags(0))
    }

    fn find_coordinator(&mut self) -> Bytes {
        let request = FindCoordinatorRequest::default()
            .with_key(if self.version <= 3 { self.text() } else { StrBytes::new() })
            .with_key_type(self.from(1, 0, Self::i8))
            .with_coordinator_keys(self.from(4, Vec::new(), |r| r.list(Self::text)))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn join_group(&mut self) -> Bytes {
        let protocols = self.list(|r| {
            JoinGroupRequestProtocol::default()
                .with_name(r.text())
                .with_metadata(r.bytes())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = JoinGroupRequest::default()
            .with_group_id(self.group())
            .with_session_timeout_ms(self.i32())
            .with_rebalance_timeout_ms(self.from(1, -1, Self::i32))
            .with_member_id(self.text())
            .with_group_instance_id(self.maybe_from(5, Self::text))
            .with_protocol_type(self.text())
            .with_protocols(protocols)
            .with_reason(self.maybe_from(8, Self::text))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn heartbeat(&mut self) -> Bytes {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.maybe_from(3, Self::text))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn leave_group(&mut self) -> Bytes {
        let members = self.from(3, Vec::new(), |r| {
            r.list(|r| {
                MemberIdentity::default()
                    .with_member_id(r.text())
                    .with_group_instance_id(r.maybe(Self::text))
                    .with_reason(r.maybe_from(5, Self::text))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = LeaveGroupRequest::default()
            .with_group_id(self.group())
            .with_member_id(if self.version <= 2 { self.text() } else { StrBytes::new() })
            .with_members(members)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn sync_group(&mut self) -> Bytes {
        let assignments = self.list(|r| {
            SyncGroupRequestAssignment::default()
                .with_member_id(r.text())
                .with_assignment(r.bytes())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.maybe_from(3, Self::text))
            .with_protocol_type(self.maybe_from(5, Self::text))
            .with_protocol_name(self.maybe_from(5, Self::text))
            .with_assignments(assignments)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn consumer_group_heartbeat(&mut self) -> Bytes {
        let owned = self.maybe(|r| {
            r.list(|r| {
                consumer_heartbeat::TopicPartitions::default()
                    .with_topic_id(r.uuid())
                    .with_partitions(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group())
            .with_member_id(self.text())
            .with_member_epoch(self.i32())
            .with_instance_id(self.maybe(Self::text))
            .with_rack_id(self.maybe(Self::text))
            .with_rebalance_timeout_ms(self.i32())
            .with_subscribed_topic_names(self.maybe(|r| r.list(Self::topic)))
            .with_subscribed_topic_regex(self.maybe_from(1, Self::text))
            .with_server_assignor(self.maybe(Self::text))
            .with_topic_partitions(owned)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn consumer_group_describe(&mut self) -> Bytes {
        let request = ConsumerGroupDescribeRequest::default()
            .with_group_ids(self.list(Self::group))
            .with_include_authorized_operations(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn describe_groups(&mut self) -> Bytes {
        let request = DescribeGroupsRequest::default()
            .with_groups(self.list(Self::group))
            .with_include_authorized_operations(self.from(3, false, Self::bool))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn list_groups(&mut self) -> Bytes {
        let request = ListGroupsRequest::default()
            .with_states_filter(self.from(4, Vec::new(), |r| r.list(Self::text)))
            .with_types_filter(self.from(5, Vec::new(), |r| r.list(Self::text)))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn api_versions(&mut self) -> Bytes {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(self.from(3, StrBytes::new(), Self::text))
            .with_client_software_version(self.from(3, StrBytes::new(), Self::text))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn create_topics(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let assignments = r.list(|r| {
                create_topics::CreatableReplicaAssignment::default()
                    .with_partition_index(r.i32())
                    .with_broker_ids(r.list(|r| BrokerId(r.i32())))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            let configs = r.list(|r| {
                create_topics::CreatableTopicConfig::default()
                    .with_name(r.text())
                    .with_value(r.maybe(Self::text))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            create_topics::CreatableTopic::default()
                .with_name(r.topic())
                .with_num_partitions(r.i32())
                .with_replication_factor(r.i16())
                .with_assignments(assignments)
                .with_configs(configs)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(self.i32())
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn delete_topics(&mut self) -> Bytes {
        let topics = self.from(6, Vec::new(), |r| {
            r.list(|r| {
                DeleteTopicState::default()
                    .with_name(r.maybe(Self::topic))
                    .with_topic_id(r.uuid())
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = DeleteTopicsRequest::default()
            .with_topics(topics)
            .with_topic_names(if self.version <= 5 { self.list(Self::topic) } else { Vec::new() })
            .with_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn delete_records(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                delete_records::DeleteRecordsPartition::default()
                    .with_partition_index(r.i32())
                    .with_offset(r.i64())
                    .with_unknown_tagged_fields(r.tags(0))
            });
            delete_records::DeleteRecordsTopic::default()
                .with_name(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DeleteRecordsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn init_producer_id(&mut self) -> Bytes {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(self.maybe(Self::text).map(TransactionalId))
            .with_transaction_timeout_ms(self.i32())
            .with_producer_id(ProducerId(self.from(3, -1, Self::i64)))
            .with_producer_epoch(self.from(3, -1, Self::i16))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn offset_for_leader_epoch(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                leader_epoch::OffsetForLeaderPartition::default()
                    .with_partition(r.i32())
                    .with_current_leader_epoch(r.i32())
                    .with_leader_epoch(r.i32())
                    .with_unknown_tagged_fields(r.tags(0))
            });
            leader_epoch::OffsetForLeaderTopic::default()
                .with_topic(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(self.from(3, -2, Self::i32)))
            .with_topics(topics)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn describe_configs(&mut self) -> Bytes {
        let resources = self.list(|r| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(r.i8())
                .with_resource_name(r.text())
                .with_configuration_keys(r.maybe(|r| r.list(Self::text)))
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DescribeConfigsRequest::default()
            .with_resources(resources)
            .with_include_synonyms(self.bool())
            .with_include_documentation(self.from(3, false, Self::bool))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn alter_configs(&mut self) -> Bytes {
        let resources = self.list(|r| {
            let configs = r.list(|r| {
                alter_configs_request::AlterableConfig::default()
                    .with_name(r.text())
                    .with_value(r.maybe(Self::text))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(r.i8())
                .with_resource_name(r.text())
                .with_configs(configs)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = AlterConfigsRequest::default()
            .with_resources(resources)
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn incremental_alter_configs(&mut self) -> Bytes {
        let resources = self.list(|r| {
            let configs = r.list(|r| {
                incremental::AlterableConfig::default()
                    .with_name(r.text())
                    .with_config_operation(r.i8())
                    .with_value(r.maybe(Self::text))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            incremental::AlterConfigsResource::default()
                .with_resource_type(r.i8())
                .with_resource_name(r.text())
                .with_configs(configs)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(resources)
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn describe_log_dirs(&mut self) -> Bytes {
        let topics = self.maybe(|r| {
            r.list(|r| {
                describe_log_dirs_request::DescribableLogDirTopic::default()
                    .with_topic(r.topic())
                    .with_partitions(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = DescribeLogDirsRequest::default().with_topics(topics).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn create_partitions(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let assignments = r.maybe(|r| {
                r.list(|r| {
                    create_partitions::CreatePartitionsAssignment::default()
                        .with_broker_ids(r.list(|r| BrokerId(r.i32())))
                        .with_unknown_tagged_fields(r.tags(0))
                })
            });
            create_partitions::CreatePartitionsTopic::default()
                .with_name(r.topic())
                .with_count(r.i32())
                .with_assignments(assignments)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(self.i32())
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn delete_groups(&mut self) -> Bytes {
        let request = DeleteGroupsRequest::default()
            .with_groups_names(self.list(Self::group))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn offset_delete(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions =
                r.list(|r| offset_delete::OffsetDeleteRequestPartition::default().with_partition_index(r.i32()));
            offset_delete::OffsetDeleteRequestTopic::default().with_name(r.topic()).with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default().with_group_id(self.group()).with_topics(topics);
        self.encode(&request)
    }

    fn describe_cluster(&mut self) -> Bytes {
        let request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(self.bool())
            .with_endpoint_type(self.from(1, 1, Self::i8))
            .with_include_fenced_brokers(self.from(2, false, Self::bool))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    fn describe_topic_partitions(&mut self) -> Bytes {
        let topics = self.list(|r| {
            describe_topic_partitions::TopicRequest::default()
                .with_name(r.topic())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let cursor = self.maybe(|r| {
            describe_topic_partitions::Cursor::default()
                .with_topic_name(r.topic())
                .with_partition_index(r.i32())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics)
            .with_response_partition_limit(self.i32())
            .with_cursor(cursor)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }
}
