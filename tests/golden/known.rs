//! Where Tidegate is meant to answer otherwise than Kafka 4.1.

/// A part of Kafka's reply in all steps whose title ends with `step`, or has it before a colon, and what stands there
/// in Tidegate's.
#[derive(Debug)]
pub struct Difference {
    pub scenario: &'static str,
    pub step: &'static str,
    /// Empty: the replies have nothing in common, and `tidegate` is somewhere in Tidegate's.
    pub kafka: &'static str,
    pub tidegate: &'static str,
    /// In the words of docs/protocol.md.
    pub reason: &'static str,
}

/// One line for a reason: the steps of a scenario, and what each of them says instead.
macro_rules! known {
    ($($reason:literal: {
        $($scenario:literal: [$(($step:literal, $kafka:literal, $tidegate:literal)),* $(,)?],)*
    })*) => {
        &[$($($(
            Difference {
                scenario: $scenario,
                step: $step,
                kafka: $kafka,
                tidegate: $tidegate,
                reason: $reason,
            },
        )*)*)*]
    };
}

pub const KNOWN: &[Difference] = known! {
    "ListConfigResources lists no group whose last config was deleted": {
        "group_configs/listed": [
            ("after one has none any more", "", r#"config_resources: [{ resource_name: "other", resource_type: 32 }]"#),
        ],
    }
    "which Kafka 4 removed, are still answered for old clients": {
        "hostile/api_versions": [
            (": good", "api_key: 8, min_version: 2,", "api_key: 8, min_version: 0,"),
            (": good", "api_key: 9, min_version: 1,", "api_key: 9, min_version: 0,"),
        ],
        "hostile/headers": [
            ("API 8 version 1", "connection closed", r#"8 bytes: b"\0\0\0\x01\0\0\0\0""#),
            ("API 9 version 0", "connection closed", r#"8 bytes: b"\0\0\0\x01\0\0\0\0""#),
        ],
    }
    "Requests with string or array lengths below -1 are refused": {
        "hostile/headers": [("client id of length -2", "", "connection closed")],
    }
    "DescribeGroups shows no assignments between the two, Kafka those of the generation before": {
        "joins/choice_of_a_protocol": [
            ("completing", r#"member_assignment: b"all""#, r#"member_assignment: b"""#),
            ("stable", r#"member_assignment: b"all""#, r#"member_assignment: b"""#),
        ],
        "joins/a_rebalance": [
            ("DescribeGroups 6: completing", r#"member_assignment: b"all""#, r#"member_assignment: b"""#),
        ],
        "rebalances/a_static_member_that_does_not_join_again": [
            ("completing", r#"member_assignment: b"all""#, r#"member_assignment: b"""#),
        ],
        "joins/static_members": [
            ("DescribeGroups 6: completing", r#"member_assignment: b"all""#, r#"member_assignment: b"""#),
        ],
    }
    "Requests that Kafka never answers are answered": {
        "rebalances/requests_that_come_twice": [
            ("two: JoinGroup 9: joins, meanwhile", "no reply within 200ms", "a reply, or the end of the connection"),
            ("two: SyncGroup 5: waits, meanwhile", "no reply within 200ms", "a reply, or the end of the connection"),
        ],
        "joins/a_protocol_twice": [("a protocol twice", "", "error_code: 0")],
        "admin/altered_configs": [("a topic twice", "", "Each resource must appear at most once.")],
        "records/produces": [("no records", "", "error_code: 87")],
        "cluster/acls": [
            ("of resource type 0", "", "error_code: 54"),
            ("of pattern type 0", "", "error_code: 54"),
            ("of operation 0", "", "error_code: 54"),
        ],
    }
    "ElectLeaders and AlterPartitionReassignments ignore their timeout": {
        "cluster/elections": [("timeout -1", "", "error_code: 84")],
        "cluster/altered_reassignments": [("timeout -1", "", "error_code: 85")],
    }
    "There are no broker loggers to configure": {
        "cluster/config_resources": [
            ("ListConfigResources 1: all", "", r#"{ resource_name: "1", resource_type: 4 }"#),
            ("of type 8", "", "config_resources: []"),
        ],
    }
    "more is refused with GROUP_MAX_SIZE_REACHED at the JoinGroup or SyncGroup": {
        "joins/large_metadata": [
            ("JoinGroup 9: metadata of 2048 KiB", "", "error_code: 81"),
            ("SyncGroup 5: after metadata of 2048 KiB", "error_code: -1", "error_code: 25"),
            ("Heartbeat 4: after metadata of 2048 KiB", "error_code: 27", "error_code: 25"),
            ("SyncGroup 5: assignment of 2048 KiB", "error_code: -1", "error_code: 81"),
        ],
    }
    "Frames other than Produce are limited to 16 MiB": {
        "joins/large_metadata": [
            ("JoinGroup 9: metadata of 20480 KiB", "", "connection closed"),
            ("SyncGroup 5: after metadata of 20480 KiB", "error_code: -1", "error_code: 25"),
            ("Heartbeat 4: after metadata of 20480 KiB", "error_code: 27", "error_code: 25"),
            ("SyncGroup 5: assignment of 20480 KiB", "", "connection closed"),
            ("Heartbeat 4: after an assignment of 20480 KiB", "error_code: 27", "error_code: 0"),
        ],
    }
    "a Metadata request that creates a topic shows it": {
        "admin/topics_made_by_asking": [("for the first time", "", "error_code: 0, name: Some(\"asked")],
    }
    "FindCoordinator for a share group carries a message with its error": {
        "listing/coordinators": [
            ("FindCoordinator 4: of key type 2", "", "error_code: 42"),
            ("FindCoordinator 5: of key type 2", "", "error_code: 42"),
            ("FindCoordinator 6: of key type 2", "", "error_code: 42"),
        ],
    }
    "Names that Metadata, a Describe request or FindCoordinator repeats are answered once": {
        "listing/coordinators": [("of several, one of them twice and one empty", "", "error_code: 0")],
        "listing/descriptions": [("one twice", "", "error_code: 0")],
        "consumer_groups/descriptions": [
            ("ConsumerGroupDescribe 0: several", "", "error_code: 0"),
            ("ConsumerGroupDescribe 1: several", "", "error_code: 0"),
        ],
        "admin/described_configs": [("a topic twice", "", "error_code: 0")],
        "cluster/producers": [("a partition twice", "", "error_code: 0")],
        "cluster/transactions": [("of one twice", "", "error_code: 105")],
    }
    "OffsetCommit answers a repeated topic in one piece": {
        "offsets/commits": [("a topic twice", "", "{ partition_index: 1, error_code: 0 }]")],
    }
    "shows `min.insync.replicas` as a dynamic default of the cluster; here it is a default": {
        "admin/described_configs": [("none of a topic", "config_source: 3", "config_source: 5")],
    }
    "Fetch takes negative limits as 0 and unknown isolation levels as read_uncommitted": {
        "records/fetches": [
            (": negative bytes", "", "error_code: 0, high_watermark: 4"),
            (": negative bytes of a partition", "", "error_code: 0, high_watermark: 4"),
            ("isolation level 5", "", "error_code: 0, high_watermark: 4"),
        ],
    }
    "Fetch does not look at the last fetched epoch": {
        "records/fetches": [("last fetched epoch 1", "", "error_code: 0, high_watermark: 4")],
    }
    "A session by ids answers UNKNOWN_TOPIC_ID for a topic that was deleted": {
        "sessions/sessions_of_deleted_topics": [
            ("Fetch 13: after the topic was deleted", "error_code: 3,", "error_code: 100,"),
            ("Fetch 13: again", "error_code: 3,", "error_code: 100,"),
        ],
    }
    "an unknown codec with UNSUPPORTED_COMPRESSION_TYPE and what does not decompress with INVALID_RECORD": {
        "records/produces": [
            ("unknown codec", "", "error_code: 76"),
            ("says gzip and is not", "", "error_code: 87"),
            ("zstd that is none", "", "error_code: 87"),
        ],
    }
    "an unknown operation of IncrementalAlterConfigs is an INVALID_REQUEST": {
        "admin/changed_configs": [
            ("operation 4", "", "error_code: 42"),
            ("operation -1", "", "error_code: 42"),
        ],
    }
    "Metadata of no name and no id says UNKNOWN_TOPIC_ID": {
        "admin/metadata": [("neither id nor name", "", "error_code: 100")],
    }
    "DescribeTopicPartitions of an empty name INVALID_TOPIC_EXCEPTION": {
        "admin/described_partitions": [("an empty name", "", "error_code: 17")],
    }
    "Produce refuses bytes behind a batch, which Kafka drops": {
        "records/produces": [("a batch and three more bytes", "", "error_code: 87")],
    }
    "a negative producer epoch with INVALID_RECORD, in Kafka INVALID_PRODUCER_EPOCH": {
        "records/idempotent_producers": [("negative epoch", "", "error_code: 87")],
    }
    "Its errors carry messages of our own, and the record at fault, but no log start offset": {
        "records/produces": [
            ("Produce 8: count too high", "", "error_code: 87"),
            ("Produce 13: count too high", "", "error_code: 87"),
        ],
    }
    "a batch that was there before carries no time": {
        "records/idempotent_producers": [
            ("the same again", "", "error_code: 0"),
            ("the first again", "", "error_code: 0"),
        ],
    }
    "CreateTopics ignores its timeout and names no id for a topic that it only checks": {
        "admin/created_topics": [
            ("timeout -1", "", "error_code: 0"),
            ("CreateTopics 7: a good one", "", "error_code: 0"),
            ("CreateTopics 7: defaults", "", "error_code: 0"),
            ("CreateTopics 7: assigned", "", "error_code: 0"),
            ("CreateTopics 7: a setting twice", "", "error_code: 0"),
        ],
    }
    "Messages quote no more than 249 characters of a topic's name": {
        "admin/created_topics": [("name of 250 bytes", "<253 more>", "<252 more>")],
    }
    "A cursor behind all topics that DescribeTopicPartitions was asked for ends the pages": {
        "admin/described_partitions": [("from another topic", "", "topics: []")],
    }
    "A member of the consumer protocol that joins with epoch 0 while its group still knows it is let in at once": {
        "assignments/a_lost_reply": [("joins anew", "", "error_code: 0")],
    }
    "OffsetFetch with an epoch and without a member says UNKNOWN_MEMBER_ID": {
        "consumer_groups/offsets_of_members": [("no member, but an epoch", "error_code: -1", "error_code: 25")],
    }
    "What is wrong with an expression is said in words of our own": {
        "consumer_groups/wrong_heartbeats": [
            ("invalid regular expression", "missing closing ]", "unclosed character class"),
        ],
    }
};
