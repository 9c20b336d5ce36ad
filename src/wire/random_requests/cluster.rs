//! What administrators ask of a cluster.

use bytes::Bytes;
use kafka_protocol::messages::{
    alter_partition_reassignments_request as reassignments, create_acls_request::AclCreation,
    delete_acls_request::DeleteAclsFilter, describe_client_quotas_request::ComponentData,
    describe_producers_request::TopicRequest, describe_quorum_request as quorum,
    describe_user_scram_credentials_request::UserName, elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics, *,
};

use super::Random;

impl Random {
    pub(super) fn describe_acls(&mut self) -> Bytes {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(self.i8())
            .with_resource_name_filter(self.maybe(Self::text))
            .with_pattern_type_filter(self.i8())
            .with_principal_filter(self.maybe(Self::text))
            .with_host_filter(self.maybe(Self::text))
            .with_operation(self.i8())
            .with_permission_type(self.i8())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn create_acls(&mut self) -> Bytes {
        let creations = self.list(|r| {
            AclCreation::default()
                .with_resource_type(r.i8())
                .with_resource_name(r.text())
                .with_resource_pattern_type(r.i8())
                .with_principal(r.text())
                .with_host(r.text())
                .with_operation(r.i8())
                .with_permission_type(r.i8())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = CreateAclsRequest::default().with_creations(creations).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn delete_acls(&mut self) -> Bytes {
        let filters = self.list(|r| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(r.i8())
                .with_resource_name_filter(r.maybe(Self::text))
                .with_pattern_type_filter(r.i8())
                .with_principal_filter(r.maybe(Self::text))
                .with_host_filter(r.maybe(Self::text))
                .with_operation(r.i8())
                .with_permission_type(r.i8())
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DeleteAclsRequest::default().with_filters(filters).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn elect_leaders(&mut self) -> Bytes {
        let topics = self.maybe(|r| {
            r.list(|r| {
                TopicPartitions::default()
                    .with_topic(r.topic())
                    .with_partitions(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = ElectLeadersRequest::default()
            .with_election_type(self.from(1, 0, Self::i8))
            .with_topic_partitions(topics)
            .with_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn alter_partition_reassignments(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                reassignments::ReassignablePartition::default()
                    .with_partition_index(r.i32())
                    .with_replicas(r.maybe(|r| r.list(|r| BrokerId(r.i32()))))
                    .with_unknown_tagged_fields(r.tags(0))
            });
            reassignments::ReassignableTopic::default()
                .with_name(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(self.i32())
            .with_allow_replication_factor_change(self.from(1, true, Self::bool))
            .with_topics(topics)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn list_partition_reassignments(&mut self) -> Bytes {
        let topics = self.maybe(|r| {
            r.list(|r| {
                ListPartitionReassignmentsTopics::default()
                    .with_name(r.topic())
                    .with_partition_indexes(r.list(Self::i32))
                    .with_unknown_tagged_fields(r.tags(0))
            })
        });
        let request = ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(self.i32())
            .with_topics(topics)
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn describe_client_quotas(&mut self) -> Bytes {
        let components = self.list(|r| {
            ComponentData::default()
                .with_entity_type(r.text())
                .with_match_type(r.i8())
                .with_match(r.maybe(Self::text))
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DescribeClientQuotasRequest::default()
            .with_components(components)
            .with_strict(self.bool())
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn describe_user_scram_credentials(&mut self) -> Bytes {
        let users =
            self.maybe(|r| r.list(|r| UserName::default().with_name(r.text()).with_unknown_tagged_fields(r.tags(0))));
        let request =
            DescribeUserScramCredentialsRequest::default().with_users(users).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn describe_quorum(&mut self) -> Bytes {
        let topics = self.list(|r| {
            let partitions = r.list(|r| {
                quorum::PartitionData::default().with_partition_index(r.i32()).with_unknown_tagged_fields(r.tags(0))
            });
            quorum::TopicData::default()
                .with_topic_name(r.topic())
                .with_partitions(partitions)
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DescribeQuorumRequest::default().with_topics(topics).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn describe_producers(&mut self) -> Bytes {
        let topics = self.list(|r| {
            TopicRequest::default()
                .with_name(r.topic())
                .with_partition_indexes(r.list(Self::i32))
                .with_unknown_tagged_fields(r.tags(0))
        });
        let request = DescribeProducersRequest::default().with_topics(topics).with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn describe_transactions(&mut self) -> Bytes {
        let request = DescribeTransactionsRequest::default()
            .with_transactional_ids(self.list(|r| TransactionalId(r.text())))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn list_transactions(&mut self) -> Bytes {
        let request = ListTransactionsRequest::default()
            .with_state_filters(self.list(Self::text))
            .with_producer_id_filters(self.list(|r| ProducerId(r.i64())))
            .with_duration_filter(self.from(1, -1, Self::i64))
            .with_transactional_id_pattern(self.maybe_from(2, Self::text))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }

    pub(super) fn list_config_resources(&mut self) -> Bytes {
        let request = ListConfigResourcesRequest::default()
            .with_resource_types(self.from(1, Vec::new(), |r| r.list(Self::i8)))
            .with_unknown_tagged_fields(self.tags(0));
        self.encode(&request)
    }
}
