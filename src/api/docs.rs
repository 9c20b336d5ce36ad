//! docs/protocol.md, from the table.

use std::fmt::Write as _;

use super::APIS;

/// The page as it should be.
pub fn protocol_markdown() -> String {
    let mut page = String::from(HEADER);
    for api in APIS {
        let advertised = if api.advertised_min == api.min {
            String::new()
        } else {
            format!("advertised from {}", api.advertised_min)
        };
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} | {} | {} to {} | {advertised} |", api.key as i16, api.name, api.min, api.max);
    }
    page.push_str(NOTES);
    page
}

const HEADER: &str = "\
<!-- Generated from the table in src/api/mod.rs by `make docs`; do not edit. -->

# Protocol

What Tidegate answers. An API or a version outside this table ends the connection, as in Kafka; ApiVersions alone
answers any version, with error 35 and this table where the version is not ours.

| key | API | versions | note |
|----:|-----|----------|------|
";

const NOTES: &str = "
## Where a client can tell Tidegate from a one-node Kafka 4.1

`make conformance` sends the same requests to both and compares the replies word by word (tests/golden); what differs for a
reason is said here.

- Produce versions 0 to 2 are advertised and refused, as Kafka does: librdkafka reads the lower bound as a sign of
  compression support.
- There are no transactions yet. FindCoordinator for a transactional id succeeds; InitProducerId and Produce with one
  answer TRANSACTIONAL_ID_AUTHORIZATION_FAILED, so that clients fail at once.
- OffsetCommit 0 and 1 and OffsetFetch 0, which Kafka 4 removed, are still answered for old clients. OffsetFetch 0 and 1
  with an empty list of topics answer all offsets of the group, as those versions have no null; Kafka 4.1 answers none.
- Requests with string or array lengths below -1 are refused; Kafka takes them as null where null is allowed.
- There is no authorizer: clients that ask are told that they may do everything, as by a Kafka without one, and
  the ACL APIs answer SECURITY_DISABLED.
- Client quotas and SCRAM credentials can be asked for, but there are none: AlterClientQuotas and
  AlterUserScramCredentials are not there.
- A partition may be reassigned to where it is. ElectLeaders and AlterPartitionReassignments ignore their timeout.
- DescribeQuorum counts changes of the catalogue as offsets, and names no directory and no listener of a controller.
- There are no broker loggers to configure: ListConfigResources and DescribeConfigs list none.
- A freshly formatted Kafka 4.1 shows `min.insync.replicas` as a dynamic default of the cluster; here it is a default.
- Unknown broker configs are refused with INVALID_CONFIG; Kafka stores them silently. `max.connections` and
  `producer.id.expiration.ms` need a restart, and some broker settings have an upper bound.
- `min.cleanable.dirty.ratio` may not be NaN.
- A classic group's generation is stored when its join phase ends, not at the SyncGroup: a number is never used twice.
  DescribeGroups shows no assignments between the two, Kafka those of the generation before.
- A member may say 1 MiB of itself and be assigned as much, a group 16 MiB: more is refused with
  GROUP_MAX_SIZE_REACHED at the JoinGroup or SyncGroup. Kafka fails with UNKNOWN_SERVER_ERROR when it stores the group.
- There is no moment between a topic's creation and its first leader: a Metadata request that creates a topic shows it.
- Requests that Kafka never answers are answered: a JoinGroup or SyncGroup that its member repeats while it waits, a
  JoinGroup that names a protocol twice, an AlterConfigs that names a resource twice, a Produce without records,
  ACLs of unknown types.
- FindCoordinator for a share group carries a message with its error.
- The one finalized feature is `group.version`: transactions are not there yet, and share groups, Streams groups and
  telemetry are not planned.
- A member of the consumer protocol that joins with epoch 0 while its group still knows it is let in at once; Kafka 4.1 answers
  FENCED_MEMBER_EPOCH, or UNRELEASED_INSTANCE_ID, until the session has run out (KAFKA-19233).
- Subscriptions by regular expression are resolved at the heartbeat; Kafka does so in the background, and the answer to the first
  heartbeat has no partitions. Expressions may take 256 KiB when compiled. What is wrong with an expression is said in words of our own.
- Groups have the configs of the consumer protocol (`consumer.session.timeout.ms`, `consumer.heartbeat.interval.ms`); those of share
  and Streams groups are unknown names. Configs can be set for 10,000 groups.
- ListConfigResources lists no group whose last config was deleted; Kafka lists it until it restarts.
- Frames other than Produce are limited to 16 MiB; Metadata, DescribeConfigs, DescribeGroups,
  ConsumerGroupDescribe, FindCoordinator, CreateAcls, DeleteAcls, ElectLeaders, AlterPartitionReassignments,
  DescribeUserScramCredentials, DescribeQuorum, DescribeProducers and DescribeTransactions to 2 MiB.
- Names that Metadata, a Describe request or FindCoordinator repeats are answered once. OffsetCommit answers a
  repeated topic in one piece.
- Where Kafka says UNKNOWN_SERVER_ERROR: Fetch takes negative limits as 0 and unknown isolation levels as
  read_uncommitted; Produce refuses an unknown codec with UNSUPPORTED_COMPRESSION_TYPE and what does not decompress with
  INVALID_RECORD; an unknown operation of IncrementalAlterConfigs is an INVALID_REQUEST; Metadata of no name and no id
  says UNKNOWN_TOPIC_ID, and DescribeTopicPartitions of an empty name INVALID_TOPIC_EXCEPTION. OffsetFetch with an epoch and without a member says UNKNOWN_MEMBER_ID.
- Produce refuses bytes behind a batch, which Kafka drops, and a negative producer epoch with INVALID_RECORD, in Kafka
  INVALID_PRODUCER_EPOCH. Its errors carry messages of our own, and the record at fault, but no log start offset; a
  batch that was there before carries no time.
- Fetch does not look at the last fetched epoch: there has been but one. A session by ids answers UNKNOWN_TOPIC_ID for a
  topic that was deleted, in Kafka UNKNOWN_TOPIC_OR_PARTITION.
- CreateTopics ignores its timeout and names no id for a topic that it only checks. Messages quote no more than 249
  characters of a topic's name.
- A cursor behind all topics that DescribeTopicPartitions was asked for ends the pages; Kafka refuses it.
";
