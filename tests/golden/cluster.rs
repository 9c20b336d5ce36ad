//! What an administrator asks of a cluster: replicas, the quorum, users, quotas, ACLs, producers, transactions.

use std::time::Duration;

use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, DescribeProducersRequest, DescribeQuorumRequest, DescribeQuorumResponse,
    DescribeTransactionsRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest, FindCoordinatorRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, ListTransactionsRequest, ProduceRequest, ProducerId,
    TransactionalId,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    create_acls_request::AclCreation,
    delete_acls_request::DeleteAclsFilter,
    describe_client_quotas_request::ComponentData,
    describe_producers_request::TopicRequest,
    describe_quorum_request::{PartitionData, TopicData},
    describe_user_scram_credentials_request::UserName,
    elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;

use crate::{
    requests::versions,
    support::{StrBytes, batch::Batch, eventually, str_bytes, topics::topic_name},
    talk::Talk,
};

pub fn listed_reassignments(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let of = |name: &str, partitions: &[i32]| {
        ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(name))
            .with_partition_indexes(partitions.to_vec())
    };
    let request = |topics: Option<Vec<ListPartitionReassignmentsTopics>>| {
        ListPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(5000)
    };
    let mut ask = |step: &str, request: &ListPartitionReassignmentsRequest| {
        talk.call("one", 0, step, request);
    };
    ask("all", &request(None));
    ask("none", &request(Some(vec![])));
    ask("of a topic", &request(Some(vec![of(&topic, &[0, 1])])));
    ask("of a partition that is not there", &request(Some(vec![of(&topic, &[2, -1])])));
    ask("of an unknown topic", &request(Some(vec![of(&unknown, &[0])])));
    ask("of an impossible topic", &request(Some(vec![of("a b", &[0])])));
    ask("of a topic twice", &request(Some(vec![of(&topic, &[0, 0]), of(&topic, &[0])])));
    ask("of no partitions", &request(Some(vec![of(&topic, &[])])));
    ask("timeout -1", &request(None).with_timeout_ms(-1));
}

pub fn altered_reassignments(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let to = |partition: i32, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
        ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas)
    };
    let of = |name: &str, partitions: Vec<ReassignablePartition>| {
        ReassignableTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    };
    let request = |topics: Vec<ReassignableTopic>| {
        AlterPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(5000)
    };
    for version in versions::<AlterPartitionReassignmentsRequest>() {
        let mut ask = |step: &str, request: &AlterPartitionReassignmentsRequest| {
            talk.call("one", version, step, request);
        };
        let one = |replicas: Option<&[i32]>| request(vec![of(&topic, vec![to(0, replicas)])]);
        ask("to where it is", &one(Some(&[1])));
        ask("to another broker", &one(Some(&[2])));
        ask("to this and another broker", &one(Some(&[1, 2])));
        ask("to a broker twice", &one(Some(&[1, 1])));
        ask("to broker -1", &one(Some(&[-1])));
        ask("to none", &one(Some(&[])));
        ask("back", &one(None));
        if version >= 1 {
            let strictly = |replicas| one(Some(replicas)).with_allow_replication_factor_change(false);
            ask("to where it is, as often", &strictly(&[1]));
            ask("to another broker, as often", &strictly(&[2]));
            ask("to two brokers, as often", &strictly(&[1, 2]));
        }
        ask("of nothing", &request(vec![]));
        ask("of no partitions", &request(vec![of(&topic, vec![])]));
        ask("of a partition that is not there", &request(vec![of(&topic, vec![to(2, Some(&[1])), to(-1, None)])]));
        ask("of an unknown topic", &request(vec![of(&unknown, vec![to(0, Some(&[1])), to(1, None)])]));
        ask("of an impossible topic", &request(vec![of("a b", vec![to(0, Some(&[1]))])]));
        ask("of a partition twice", &request(vec![of(&topic, vec![to(0, Some(&[1])), to(0, None)])]));
        ask("of a topic twice", &request(vec![of(&topic, vec![to(0, None)]), of(&topic, vec![to(1, None)])]));
        ask("timeout -1", &one(None).with_timeout_ms(-1));
    }
}

pub fn elections(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let of = |name: &str, partitions: &[i32]| {
        TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec())
    };
    let request = |topics: Option<Vec<TopicPartitions>>| {
        ElectLeadersRequest::default().with_topic_partitions(topics).with_timeout_ms(5000)
    };
    for version in versions::<ElectLeadersRequest>() {
        let mut ask = |step: &str, request: &ElectLeadersRequest| {
            talk.send("one", version, step, request);
            talk.receive_with::<ElectLeadersRequest>("one", true, |reply| {
                // Other scenarios have topics, too.
                reply
                    .replica_election_results
                    .retain(|found| *found.topic == topic || [&*unknown, "a b"].contains(&found.topic.as_str()));
            });
        };
        ask("of a topic", &request(Some(vec![of(&topic, &[0, 1])])));
        ask("of all", &request(None));
        ask("of none", &request(Some(vec![])));
        ask("of no partitions", &request(Some(vec![of(&topic, &[])])));
        ask("of partitions that are not there", &request(Some(vec![of(&topic, &[1, 2, -1])])));
        ask("of an unknown topic", &request(Some(vec![of(&unknown, &[0, 1])])));
        ask("of an impossible topic", &request(Some(vec![of("a b", &[0])])));
        ask("of a partition twice", &request(Some(vec![of(&topic, &[0, 0])])));
        ask("timeout -1", &request(Some(vec![of(&topic, &[0])])).with_timeout_ms(-1));
        if version >= 1 {
            for kind in [1, 2, -1] {
                ask(
                    &format!("of type {kind}"),
                    &request(Some(vec![of(&topic, &[0]), of(&unknown, &[0])])).with_election_type(kind),
                );
                ask(&format!("of type {kind}, of all"), &request(None).with_election_type(kind));
            }
        }
    }
}

pub fn quorum(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let of = |name: &str, partitions: &[i32]| {
        let partitions = partitions.iter().map(|&index| PartitionData::default().with_partition_index(index));
        TopicData::default().with_topic_name(topic_name(name)).with_partitions(partitions.collect())
    };
    for version in versions::<DescribeQuorumRequest>() {
        let mut ask = |step: &str, topics: Vec<TopicData>| {
            talk.send("one", version, step, &DescribeQuorumRequest::default().with_topics(topics));
            talk.receive_with::<DescribeQuorumRequest>("one", false, without_measures);
        };
        ask("of the metadata", vec![of(METADATA, &[0])]);
        ask("of nothing", vec![]);
        ask("of no partitions", vec![of(METADATA, &[])]);
        ask("of another partition", vec![of(METADATA, &[1])]);
        ask("of two partitions", vec![of(METADATA, &[0, 1])]);
        ask("of a partition twice", vec![of(METADATA, &[0, 0])]);
        ask("of the metadata twice", vec![of(METADATA, &[0]), of(METADATA, &[0])]);
        ask("of a topic", vec![of(&topic, &[0])]);
        ask("of the metadata and a topic", vec![of(METADATA, &[0]), of(&topic, &[0])]);
        ask("of an unknown topic", vec![of("a b", &[0])]);
    }
}

/// How far the quorum is and how it is reached is each broker's own.
fn without_measures(reply: &mut DescribeQuorumResponse) {
    for partition in reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let is_leader = partition.leader_epoch > 0;
        assert_eq!(partition.high_watermark > 0, is_leader);
        partition.leader_epoch = i32::from(is_leader);
        partition.high_watermark = i64::from(is_leader);
        for replica in &mut partition.current_voters {
            assert!(replica.log_end_offset > 0);
            replica.log_end_offset = 1;
            replica.replica_directory_id = Uuid::nil();
        }
    }
    for node in &mut reply.nodes {
        node.listeners.clear();
    }
}

pub fn scram_credentials(talk: &mut Talk) {
    let request = |users: Option<&[&str]>| {
        let users =
            users.map(|names| names.iter().map(|name| UserName::default().with_name(str_bytes(*name))).collect());
        DescribeUserScramCredentialsRequest::default().with_users(users)
    };
    let mut ask = |step: &str, users: Option<&[&str]>| {
        talk.call_sorted("one", 0, step, &request(users));
    };
    ask("of all", None);
    ask("of none", Some(&[]));
    ask("of two", Some(&["alice", "bob"]));
    ask("of one twice", Some(&["alice", "bob", "alice"]));
    ask("of a user without a name", Some(&[""]));
}

pub fn client_quotas(talk: &mut Talk) {
    let component = |kind: &str, match_type: i8, name: Option<&str>| {
        ComponentData::default()
            .with_entity_type(str_bytes(kind))
            .with_match_type(match_type)
            .with_match(name.map(str_bytes))
    };
    for version in versions::<DescribeClientQuotasRequest>() {
        let mut ask = |step: &str, components: Vec<ComponentData>| {
            for strict in [false, true] {
                let request = DescribeClientQuotasRequest::default();
                let request = request.with_components(components.clone()).with_strict(strict);
                talk.call("one", version, &format!("{step}{}", if strict { ", strictly" } else { "" }), &request);
            }
        };
        ask("all", vec![]);
        for kind in ["user", "client-id", "ip", "host", ""] {
            ask(&format!("of any {kind:?}"), vec![component(kind, 2, None)]);
            ask(&format!("of the default {kind:?}"), vec![component(kind, 1, None)]);
            ask(&format!("of one {kind:?}"), vec![component(kind, 0, Some("one"))]);
        }
        ask("of no name", vec![component("user", 0, None)]);
        ask("of an empty name", vec![component("user", 0, Some(""))]);
        ask("of the default with a name", vec![component("user", 1, Some("one"))]);
        ask("of any with a name", vec![component("user", 2, Some("one"))]);
        ask("of match 3", vec![component("user", 3, None)]);
        ask("of match -1", vec![component("user", -1, None)]);
        ask("of users and clients", vec![component("user", 2, None), component("client-id", 1, None)]);
        ask("of users and addresses", vec![component("user", 2, None), component("ip", 2, None)]);
        ask("of users twice", vec![component("user", 2, None), component("user", 1, None)]);
    }
}

pub fn acls(talk: &mut Talk) {
    let creation = AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(str_bytes("topic"))
        .with_resource_pattern_type(3)
        .with_principal(str_bytes("User:alice"))
        .with_host(str_bytes("*"))
        .with_operation(3)
        .with_permission_type(3);
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(1)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    for version in versions::<DescribeAclsRequest>() {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(1)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1);
        talk.call("one", version, "all", &request);
        let named = request.clone().with_resource_type_filter(2).with_resource_name_filter(Some(str_bytes("topic")));
        talk.call("one", version, "of a topic", &named);
        talk.call("one", version, "of resource type 0", &request.clone().with_resource_type_filter(0));
        talk.call("one", version, "of resource type 100", &request.clone().with_resource_type_filter(100));
        talk.call("one", version, "of pattern type 0", &request.clone().with_pattern_type_filter(0));
        talk.call("one", version, "of operation 0", &request.clone().with_operation(0));
        talk.call("one", version, "of permission 9", &request.with_permission_type(9));
    }
    for version in versions::<CreateAclsRequest>() {
        let mut create = |step: &str, creations: Vec<AclCreation>| {
            talk.call("one", version, step, &CreateAclsRequest::default().with_creations(creations));
        };
        create("one", vec![creation.clone()]);
        create("two", vec![creation.clone(), creation.clone()]);
        create("none", vec![]);
        create("of resource type 1", vec![creation.clone().with_resource_type(1)]);
        create("of resource type 0", vec![creation.clone().with_resource_type(0)]);
        create("of operation 0", vec![creation.clone().with_operation(0)]);
        create("of no name", vec![creation.clone().with_resource_name(StrBytes::new())]);
        create("of nobody", vec![creation.clone().with_principal(StrBytes::new())]);
    }
    for version in versions::<DeleteAclsRequest>() {
        let mut delete = |step: &str, filters: Vec<DeleteAclsFilter>| {
            talk.call("one", version, step, &DeleteAclsRequest::default().with_filters(filters));
        };
        delete("all", vec![filter.clone()]);
        delete("all twice", vec![filter.clone(), filter.clone()]);
        delete("none", vec![]);
        delete("of resource type 0", vec![filter.clone().with_resource_type_filter(0)]);
        delete("of operation 0", vec![filter.clone().with_operation(0)]);
    }
}

pub fn producers(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 3);
    let unknown = talk.name("unknown");
    let mut client = talk.unrecorded();
    for (partition, id, epoch, sequence, records) in
        [(0, 4000, 0, 0, 3), (0, 4001, 7, 0, 1), (0, 4000, 0, 3, 2), (1, -1, -1, -1, 1)]
    {
        let mut batch = Batch::of(vec!["value"; records]);
        (batch.producer_id, batch.producer_epoch, batch.base_sequence) = (id, epoch, sequence);
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.encode()));
        let topic = TopicProduceData::default().with_name(topic_name(&topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_transactional_id(None).with_acks(-1).with_timeout_ms(5000);
        let reply = client.call(9, &request.with_topic_data(vec![topic]));
        assert_eq!(reply.responses[0].partition_responses[0].error_code, 0);
    }
    let of = |name: &str, partitions: &[i32]| {
        TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
    };
    let mut ask = |step: &str, topics: Vec<TopicRequest>| {
        talk.call_sorted("one", 0, step, &DescribeProducersRequest::default().with_topics(topics));
    };
    ask("two producers", vec![of(&topic, &[0])]);
    ask("records without a producer, and no records", vec![of(&topic, &[1, 2])]);
    ask("partitions that are not there", vec![of(&topic, &[3, -1])]);
    ask("an unknown topic", vec![of(&unknown, &[0])]);
    ask("an impossible topic", vec![of("a b", &[0])]);
    ask("an empty name", vec![of("", &[0])]);
    ask("a partition twice", vec![of(&topic, &[2, 2])]);
    ask("a topic twice", vec![of(&topic, &[1]), of(&topic, &[2])]);
    ask("no partitions", vec![of(&topic, &[])]);
    ask("nothing", vec![]);
}

pub fn transactions(talk: &mut Talk) {
    await_transactions(talk);
    for version in versions::<ListTransactionsRequest>() {
        let request = ListTransactionsRequest::default();
        let mut ask = |step: &str, request: &ListTransactionsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        ask("all", &request);
        let states =
            |names: &[&str]| request.clone().with_state_filters(names.iter().map(|name| str_bytes(*name)).collect());
        ask("of known states", &states(&STATES));
        ask("of states, one of them not known", &states(&["Ongoing", "ongoing", "", "Ongoing"]));
        ask("of an unknown state twice", &states(&["x", "x"]));
        ask("of a producer", &request.clone().with_producer_id_filters(vec![ProducerId(7)]));
        if version >= 1 {
            ask("of a second", &request.clone().with_duration_filter(1000));
            ask("of less than no time", &request.clone().with_duration_filter(-2));
        }
        if version >= 2 {
            for pattern in ["", "a.*", "a(", "[a", "(?=a)b", "*"] {
                let request = request.clone().with_transactional_id_pattern(Some(str_bytes(pattern)));
                ask(&format!("of pattern {pattern:?}"), &request);
            }
        }
    }
    let mut describe = |step: &str, ids: &[&str]| {
        let ids = ids.iter().map(|id| TransactionalId(str_bytes(*id))).collect();
        let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
        talk.call("one", 0, step, &request);
    };
    describe("of an unknown id", &["nobody"]);
    describe("of two", &["nobody", "noone"]);
    describe("of one twice", &["nobody", "nobody"]);
    describe("of an empty id", &[""]);
    describe("of none", &[]);
}

/// Kafka creates its topic of transactions when it is first asked for a coordinator.
fn await_transactions(talk: &mut Talk) {
    let mut client = talk.unrecorded();
    let find = FindCoordinatorRequest::default().with_key(str_bytes("nobody")).with_key_type(1);
    eventually("a coordinator", PATIENCE, || (client.call(3, &find).error_code == 0).then_some(()));
    for id in ["nobody", "noone"] {
        let describe = DescribeTransactionsRequest::default();
        let describe = describe.with_transactional_ids(vec![TransactionalId(str_bytes(id))]);
        let mut not_found = || client.call(0, &describe).transaction_states[0].error_code == TRANSACTIONAL_ID_NOT_FOUND;
        eventually("transactions loaded", PATIENCE, || not_found().then_some(()));
    }
}

pub fn config_resources(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    for version in versions::<ListConfigResourcesRequest>() {
        let mut ask = |step: &str, types: &[i8]| {
            let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
            talk.send("one", version, step, &request);
            talk.receive_with::<ListConfigResourcesRequest>("one", true, |reply| {
                // Other scenarios have topics and groups, too.
                reply
                    .config_resources
                    .retain(|found| matches!(found.resource_type, 4 | 8) || found.resource_name == topic);
            });
        };
        ask(if version == 0 { "client metrics" } else { "all" }, &[]);
        if version >= 1 {
            for kind in [2, 4, 8, 16, 32, 0, 1, 3, 64, -1] {
                ask(&format!("of type {kind}"), &[kind]);
            }
            ask("of topics and brokers", &[2, 4]);
            ask("of topics twice", &[2, 2]);
            ask("of topics and an unknown type", &[2, 99]);
        }
    }
}

const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];
const METADATA: &str = "__cluster_metadata";
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;
const PATIENCE: Duration = Duration::from_secs(15);
