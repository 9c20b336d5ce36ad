//! Topics, their settings, and the cluster.

use std::time::Duration;

use kafka_protocol::messages::{
    AlterConfigsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, TopicName,
    alter_configs_request::{AlterConfigsResource, AlterableConfig as WholeConfig},
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    incremental_alter_configs_request::{AlterConfigsResource as Resource, AlterableConfig},
    metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;

use crate::{
    requests::versions,
    support::{
        eventually, str_bytes,
        topics::{produce_values, topic_name},
    },
    talk::Talk,
};

pub fn metadata(talk: &mut Talk) {
    let (topic, id) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    for version in [0, 4, 8, 10, 12, 13] {
        let request = |topics: Vec<MetadataRequestTopic>| {
            let request = MetadataRequest::default().with_topics(Some(topics));
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        };
        let mut ask = |step: &str, request: &MetadataRequest| {
            talk.call_sorted("one", version, step, request);
        };
        ask("a topic", &request(vec![named(&topic)]));
        if version >= 4 {
            ask("an unknown topic", &request(vec![named(&unknown)]));
        }
        if version >= 1 {
            ask("no topics", &request(vec![]));
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", &"t".repeat(249), &"t".repeat(250)] {
            if version >= 4 || name.len() != 249 {
                ask(&format!("topic name of {} bytes: {name}", name.len()), &request(vec![named(name)]));
            }
        }
        ask("an impossible topic and a good one", &request(vec![named("a b"), named(&topic)]));
        if version >= 8 {
            ask(
                "what a client may do to the topic",
                &request(vec![named(&topic)]).with_include_topic_authorized_operations(true),
            );
        }
        if (8..=10).contains(&version) {
            ask(
                "what a client may do to the cluster",
                &request(vec![]).with_include_cluster_authorized_operations(true),
            );
        }
        if version >= 12 {
            let by_id = |id: Uuid, name: Option<&str>| {
                MetadataRequestTopic::default().with_topic_id(id).with_name(name.map(topic_name))
            };
            ask("by id", &request(vec![by_id(id, None)]));
            ask("by unknown id", &request(vec![by_id(Uuid::from_u128(7), None)]));
            ask("by id and name", &request(vec![by_id(id, Some(&topic))]));
            ask("by id and another name", &request(vec![by_id(id, Some("other"))]));
            ask("neither id nor name", &request(vec![by_id(Uuid::nil(), None)]));
        }
    }
}

/// Asking for a topic makes it, where both sides allow that.
pub fn topics_made_by_asking(talk: &mut Talk) {
    for version in [0, 4, 9, 13] {
        let name = talk.name(&format!("asked-{version}"));
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        talk.call("one", version, "for the first time", &request);
        let quiet = request.clone().with_allow_auto_topic_creation(false);
        eventually("the topic is there", Duration::from_secs(10), || {
            let reply = talk.unrecorded().call(13, &quiet);
            (reply.topics[0].error_code == 0).then_some(())
        });
        talk.call("one", version, "then", &request);
    }
}

pub fn created_topics(talk: &mut Talk) {
    for version in versions::<CreateTopicsRequest>() {
        let (existing, _) = talk.topic(&format!("existing-{version}.a"), 1);
        let colliding = existing.replace(".a", "_a");
        let new = talk.name(&format!("new-{version}"));
        let topic = |name: &str, partitions, replicas| {
            CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(partitions)
                .with_replication_factor(replicas)
        };
        let config = |name: &str, value: Option<&str>| {
            CreatableTopicConfig::default().with_name(str_bytes(name)).with_value(value.map(str_bytes))
        };
        let assignment = |index, brokers: &[i32]| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
        };
        let request = |topics: Vec<CreatableTopic>| {
            CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000).with_validate_only(true)
        };
        let mut create = |step: &str, request: &CreateTopicsRequest| {
            talk.send("one", version, step, request);
            talk.receive_with::<CreateTopicsRequest>("one", true, |reply| {
                // Kafka shows every setting; those of a good topic are compared elsewhere.
                for topic in &mut reply.topics {
                    topic.configs = topic.configs.take().map(|_| vec![]);
                }
            });
        };
        create("a good one", &request(vec![topic(&new, 2, 1)]));
        create("no topics", &request(vec![]));
        create("one that exists", &request(vec![topic(&existing, 1, 1)]));
        create("one that collides", &request(vec![topic(&colliding, 1, 1)]));
        for name in ["", ".", "..", "a b", "a/b", "ä", &"t".repeat(250)] {
            create(&format!("name of {} bytes: {name}", name.len()), &request(vec![topic(name, 1, 1)]));
        }
        for partitions in [0, -2, i32::MIN] {
            create(&format!("{partitions} partitions"), &request(vec![topic(&new, partitions, 1)]));
        }
        for replicas in [0, -2, 2, i16::MAX] {
            create(&format!("{replicas} replicas"), &request(vec![topic(&new, 1, replicas)]));
        }
        if version >= 4 {
            create("defaults", &request(vec![topic(&new, -1, -1)]));
        }
        create("a topic twice", &request(vec![topic(&new, 1, 1), topic(&new, 2, 1)]));
        create("timeout -1", &request(vec![topic(&new, 1, 1)]).with_timeout_ms(-1));
        let assigned = |assignments: Vec<CreatableReplicaAssignment>| {
            request(vec![topic(&new, -1, -1).with_assignments(assignments)])
        };
        create("assigned", &assigned(vec![assignment(0, &[1]), assignment(1, &[1])]));
        create("assigned to an unknown broker", &assigned(vec![assignment(0, &[9])]));
        create("assigned to none", &assigned(vec![assignment(0, &[])]));
        create("assigned twice to one", &assigned(vec![assignment(0, &[1, 1])]));
        create("a partition assigned twice", &assigned(vec![assignment(0, &[1]), assignment(0, &[1])]));
        create("not from 0", &assigned(vec![assignment(1, &[1])]));
        create("negative partition", &assigned(vec![assignment(-1, &[1])]));
        create(
            "assigned, and a number of partitions",
            &request(vec![topic(&new, 1, 1).with_assignments(vec![assignment(0, &[1])])]),
        );
        let configured = |configs: Vec<CreatableTopicConfig>| request(vec![topic(&new, 1, 1).with_configs(configs)]);
        create("unknown setting", &configured(vec![config("no.such.setting", Some("1"))]));
        create("a setting that is null", &configured(vec![config("retention.ms", None)]));
        create("a setting that is empty", &configured(vec![config("retention.ms", Some(""))]));
        create("a number that is none", &configured(vec![config("retention.ms", Some("soon"))]));
        create("a number out of range", &configured(vec![config("segment.bytes", Some("1"))]));
        create("a choice that is none", &configured(vec![config("cleanup.policy", Some("keep"))]));
        create(
            "a setting twice",
            &configured(vec![config("retention.ms", Some("1000")), config("retention.ms", Some("2000"))]),
        );
        create("a setting without a name", &configured(vec![config("", Some("1"))]));
    }
}

pub fn deleted_topics(talk: &mut Talk) {
    let (topic, id) = talk.topic("topic", 1);
    let unknown = talk.name("unknown");
    for version in versions::<DeleteTopicsRequest>() {
        if version < 6 {
            let request = |names: &[&str]| {
                DeleteTopicsRequest::default()
                    .with_topic_names(names.iter().map(|name| topic_name(name)).collect())
                    .with_timeout_ms(10_000)
            };
            talk.call("one", version, "an unknown one", &request(&[&unknown]));
            talk.call("one", version, "an empty name", &request(&[""]));
            talk.call("one", version, "an impossible name", &request(&["a b"]));
            talk.call("one", version, "none", &request(&[]));
            talk.call_sorted("one", version, "an unknown one twice", &request(&[&unknown, &unknown]));
            continue;
        }
        let state = |name: Option<&str>, id: Uuid| {
            DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(id)
        };
        let request =
            |topics: Vec<DeleteTopicState>| DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000);
        let unknown_id = Uuid::from_u128(7);
        talk.call("one", version, "by unknown name", &request(vec![state(Some(&unknown), Uuid::nil())]));
        talk.call("one", version, "by unknown id", &request(vec![state(None, unknown_id)]));
        talk.call("one", version, "by name and id", &request(vec![state(Some(&topic), id)]));
        talk.call("one", version, "by neither", &request(vec![state(None, Uuid::nil())]));
        talk.call_sorted(
            "one",
            version,
            "a name twice",
            &request(vec![state(Some(&topic), Uuid::nil()), state(Some(&topic), Uuid::nil())]),
        );
        talk.call_sorted("one", version, "an id twice", &request(vec![state(None, id), state(None, id)]));
        talk.call_sorted(
            "one",
            version,
            "its name and its id",
            &request(vec![state(Some(&topic), Uuid::nil()), state(None, id)]),
        );
        talk.call("one", version, "none", &request(vec![]));
        talk.call("one", version, "by id", &request(vec![state(None, id)]));
        talk.call("one", version, "by id again", &request(vec![state(None, id)]));
    }
}

pub fn created_partitions(talk: &mut Talk) {
    for version in versions::<CreatePartitionsRequest>() {
        let (topic, _) = talk.topic(&format!("topic-{version}"), 2);
        let unknown = talk.name("unknown");
        let to = |name: &str, count| {
            CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(None)
        };
        let request = |topics: Vec<CreatePartitionsTopic>| {
            CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(10_000).with_validate_only(true)
        };
        let assigned = |count, brokers: &[&[i32]]| {
            let assignments = brokers.iter().map(|brokers| {
                CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
            });
            request(vec![to(&topic, count).with_assignments(Some(assignments.collect()))])
        };
        let mut create = |step: &str, request: &CreatePartitionsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        for count in [3, 2, 1, 0, -1, i32::MIN] {
            create(&format!("{count} partitions"), &request(vec![to(&topic, count)]));
        }
        create("of an unknown topic", &request(vec![to(&unknown, 3)]));
        create("of an empty name", &request(vec![to("", 3)]));
        create("a topic twice", &request(vec![to(&topic, 3), to(&topic, 4)]));
        create("no topics", &request(vec![]));
        create("assigned", &assigned(4, &[&[1], &[1]]));
        create("too few assignments", &assigned(4, &[&[1]]));
        create("too many assignments", &assigned(3, &[&[1], &[1]]));
        create("assigned to an unknown broker", &assigned(3, &[&[9]]));
        create("assigned to none", &assigned(3, &[&[]]));
        create("no assignments", &assigned(3, &[]));
        create("for good", &request(vec![to(&topic, 3)]).with_validate_only(false));
        create("as it is now", &request(vec![to(&topic, 3)]));
    }
}

pub fn deleted_records(talk: &mut Talk) {
    for version in versions::<DeleteRecordsRequest>() {
        let (topic, _) = talk.topic(&format!("topic-{version}"), 2);
        let unknown = talk.name("unknown");
        produce_values(&mut talk.unrecorded(), &topic, 0, ["a", "b", "c"]);
        let of = |name: &str, partitions: &[(i32, i64)]| {
            let partitions = partitions.iter().map(|(index, offset)| {
                DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
            });
            let topic = DeleteRecordsTopic::default().with_name(topic_name(name)).with_partitions(partitions.collect());
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
        };
        let mut delete = |step: &str, request: &DeleteRecordsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        delete("up to 0", &of(&topic, &[(0, 0)]));
        delete("up to 1", &of(&topic, &[(0, 1)]));
        delete("up to what is gone", &of(&topic, &[(0, 0)]));
        delete("behind the end", &of(&topic, &[(0, 4)]));
        delete("offset -2", &of(&topic, &[(0, -2)]));
        delete("all", &of(&topic, &[(0, -1)]));
        delete("all of an empty partition", &of(&topic, &[(1, -1)]));
        delete("partitions that are not there", &of(&topic, &[(2, 0), (-1, 0)]));
        delete("an unknown topic", &of(&unknown, &[(0, 0)]));
        delete("no partitions", &of(&topic, &[]));
        delete("nothing", &DeleteRecordsRequest::default());
    }
}

pub fn described_configs(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let unknown = talk.name("unknown");
    for version in versions::<DescribeConfigsRequest>() {
        let resource = |kind, name: &str, keys: Option<&[&str]>| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(str_bytes(name))
                .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| str_bytes(*key)).collect()))
        };
        let request =
            |resources: Vec<DescribeConfigsResource>| DescribeConfigsRequest::default().with_resources(resources);
        let some: Option<&[&str]> = Some(&["retention.ms", "cleanup.policy", "no.such.setting", "retention.ms"]);
        let mut ask = |step: &str, request: &DescribeConfigsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        ask("some of a topic", &request(vec![resource(2, &topic, some)]));
        ask("some of a topic with synonyms", &request(vec![resource(2, &topic, some)]).with_include_synonyms(true));
        if version >= 3 {
            ask(
                "some of a topic with documentation",
                &request(vec![resource(2, &topic, Some(&["no.such.setting"]))]).with_include_documentation(true),
            );
        }
        ask("none of a topic", &request(vec![resource(2, &topic, Some(&[]))]));
        ask("an unknown topic", &request(vec![resource(2, &unknown, some)]));
        ask("an impossible topic", &request(vec![resource(2, "a b", some)]));
        ask("a topic without a name", &request(vec![resource(2, "", some)]));
        let of_broker: Option<&[&str]> = Some(&["log.retention.hours", "num.partitions", "auto.create.topics.enable"]);
        ask("some of the broker", &request(vec![resource(4, "1", of_broker)]));
        ask("some of the cluster", &request(vec![resource(4, "", of_broker)]));
        for name in ["9", "-1", "one", "01"] {
            ask(&format!("broker {name}"), &request(vec![resource(4, name, of_broker)]));
        }
        for kind in [-1, 0, 1, 3, 5, 99] {
            ask(&format!("resource of type {kind}"), &request(vec![resource(kind, "1", None)]));
        }
        ask(
            "a topic twice",
            &request(vec![
                resource(2, &topic, Some(&["retention.ms"])),
                resource(2, &topic, Some(&["cleanup.policy"])),
            ]),
        );
        ask("nothing", &request(vec![]));
    }
}

pub fn altered_configs(talk: &mut Talk) {
    for version in versions::<AlterConfigsRequest>() {
        let (topic, _) = talk.topic(&format!("topic-{version}"), 1);
        let unknown = talk.name("unknown");
        let resource = |kind, name: &str, configs: &[(&str, Option<&str>)]| {
            let configs = configs.iter().map(|(name, value)| {
                WholeConfig::default().with_name(str_bytes(*name)).with_value(value.map(str_bytes))
            });
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(str_bytes(name))
                .with_configs(configs.collect())
        };
        let request = |resources: Vec<AlterConfigsResource>| AlterConfigsRequest::default().with_resources(resources);
        let mut alter = |step: &str, request: &AlterConfigsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        let good: &[(&str, Option<&str>)] = &[("retention.ms", Some("1000"))];
        alter("only checked", &request(vec![resource(2, &topic, good)]).with_validate_only(true));
        alter("good", &request(vec![resource(2, &topic, good)]));
        alter("nothing of a topic", &request(vec![resource(2, &topic, &[])]));
        alter("unknown topic", &request(vec![resource(2, &unknown, good)]));
        alter("impossible topic", &request(vec![resource(2, "a b", good)]));
        alter("no name", &request(vec![resource(2, "", good)]));
        alter("unknown setting", &request(vec![resource(2, &topic, &[("no.such.setting", Some("1"))])]));
        alter("no value", &request(vec![resource(2, &topic, &[("retention.ms", None)])]));
        alter("a number that is none", &request(vec![resource(2, &topic, &[("retention.ms", Some("soon"))])]));
        alter("a number out of range", &request(vec![resource(2, &topic, &[("retention.ms", Some("-5"))])]));
        alter(
            "a setting twice",
            &request(vec![resource(2, &topic, &[("retention.ms", Some("1")), ("retention.ms", Some("2"))])]),
        );
        if version == 2 {
            // Kafka never answers.
            alter("a topic twice", &request(vec![resource(2, &topic, good), resource(2, &topic, &[])]));
        }
        alter("an unknown broker", &request(vec![resource(4, "9", &[])]));
        alter("a broker that is no number", &request(vec![resource(4, "one", &[])]));
        for kind in [-1, 0, 3, 99] {
            alter(&format!("resource of type {kind}"), &request(vec![resource(kind, "1", &[])]));
        }
        alter("nothing", &request(vec![]));
    }
}

pub fn changed_configs(talk: &mut Talk) {
    for version in versions::<IncrementalAlterConfigsRequest>() {
        let (topic, _) = talk.topic(&format!("topic-{version}"), 1);
        let unknown = talk.name("unknown");
        let resource = |kind, name: &str, configs: &[(&str, i8, Option<&str>)]| {
            let configs = configs.iter().map(|(name, operation, value)| {
                AlterableConfig::default()
                    .with_name(str_bytes(*name))
                    .with_config_operation(*operation)
                    .with_value(value.map(str_bytes))
            });
            Resource::default()
                .with_resource_type(kind)
                .with_resource_name(str_bytes(name))
                .with_configs(configs.collect())
        };
        let request = |resources: Vec<Resource>| IncrementalAlterConfigsRequest::default().with_resources(resources);
        let mut alter = |step: &str, configs: &[(&str, i8, Option<&str>)]| {
            talk.call_sorted("one", version, step, &request(vec![resource(2, &topic, configs)]));
        };
        alter("set", &[("retention.ms", 0, Some("1000"))]);
        alter("set without a value", &[("retention.ms", 0, None)]);
        alter("set to nothing", &[("retention.ms", 0, Some(""))]);
        alter("delete", &[("retention.ms", 1, None)]);
        alter("delete with a value", &[("retention.ms", 1, Some("5"))]);
        alter("delete what is not set", &[("segment.ms", 1, None)]);
        alter("delete an unknown one", &[("no.such.setting", 1, None)]);
        alter("set an unknown one", &[("no.such.setting", 0, Some("1"))]);
        alter("append to a list", &[("cleanup.policy", 2, Some("compact"))]);
        alter("append what is there", &[("cleanup.policy", 2, Some("compact"))]);
        alter("subtract from a list", &[("cleanup.policy", 3, Some("delete"))]);
        alter("subtract what is not there", &[("cleanup.policy", 3, Some("delete"))]);
        alter("append to a number", &[("retention.ms", 2, Some("1"))]);
        alter("subtract from a number", &[("retention.ms", 3, Some("1"))]);
        alter("append nothing", &[("cleanup.policy", 2, None)]);
        alter("operation 4", &[("retention.ms", 4, Some("1"))]);
        alter("operation -1", &[("retention.ms", -1, Some("1"))]);
        alter("a setting twice", &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)]);
        alter("a number that is none", &[("retention.ms", 0, Some("soon"))]);
        alter("a good one and a bad one", &[("retention.ms", 0, Some("77")), ("segment.bytes", 0, Some("1"))]);
        alter("nothing of a topic", &[]);
        let good: &[(&str, i8, Option<&str>)] = &[("retention.ms", 0, Some("1000"))];
        for (step, resources) in [
            ("unknown topic", vec![resource(2, &unknown, good)]),
            ("impossible topic", vec![resource(2, "a b", good)]),
            ("no name", vec![resource(2, "", good)]),
            ("a topic twice", vec![resource(2, &topic, good), resource(2, &topic, &[])]),
            ("unknown broker", vec![resource(4, "9", &[])]),
            ("a broker that is no number", vec![resource(4, "one", &[])]),
            ("resource of type 0", vec![resource(0, "1", &[])]),
            ("resource of type 99", vec![resource(99, "1", &[])]),
            ("nothing", vec![]),
        ] {
            talk.call_sorted("one", version, step, &request(resources));
        }
    }
}

pub fn cluster(talk: &mut Talk) {
    for version in versions::<DescribeClusterRequest>() {
        let request = DescribeClusterRequest::default();
        talk.call("one", version, "the cluster", &request);
        talk.call(
            "one",
            version,
            "what a client may do",
            &request.clone().with_include_cluster_authorized_operations(true),
        );
        if version >= 1 {
            for kind in [0, 2, 9] {
                talk.call(
                    "one",
                    version,
                    &format!("endpoints of type {kind}"),
                    &request.clone().with_endpoint_type(kind),
                );
            }
        }
        if version >= 2 {
            talk.call("one", version, "with fenced brokers", &request.with_include_fenced_brokers(true));
        }
    }
}

pub fn described_partitions(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 3);
    let unknown = talk.name("unknown");
    let request = |names: &[&str], limit| {
        let topics = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name)));
        DescribeTopicPartitionsRequest::default()
            .with_topics(topics.collect())
            .with_response_partition_limit(limit)
            .with_cursor(None)
    };
    let mut ask = |step: &str, request: &DescribeTopicPartitionsRequest| {
        talk.call("one", 0, step, request);
    };
    let cursor = |name: &str, index| {
        Some(Cursor::default().with_topic_name(TopicName(str_bytes(name))).with_partition_index(index))
    };
    ask("a topic", &request(&[&topic], 2000));
    ask("two of three", &request(&[&topic], 2));
    ask("the third", &request(&[&topic], 2).with_cursor(cursor(&topic, 2)));
    ask("behind the last", &request(&[&topic], 2).with_cursor(cursor(&topic, 3)));
    ask("from a negative one", &request(&[&topic], 2).with_cursor(cursor(&topic, -1)));
    ask("from another topic", &request(&[&topic], 2).with_cursor(cursor("zzz", 0)));
    ask("limit 0", &request(&[&topic], 0));
    ask("limit -1", &request(&[&topic], -1));
    ask("an unknown topic", &request(&[&unknown], 10));
    ask("an impossible topic", &request(&["a b"], 10));
    ask("an empty name", &request(&[""], 10));
    ask("a topic twice", &request(&[&topic, &topic], 10));
}
