//! Committed offsets.

use kafka_protocol::messages::{
    DeleteGroupsRequest, JoinGroupRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, SyncGroupRequest, TopicName,
    offset_commit_request::OffsetCommitRequestPartition,
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use crate::{
    requests::{
        assign, await_state, describe, group_id, heartbeat, join, join_static, joined, leave, member_id, protocol,
        subscription, sync, versions,
    },
    support::{
        offsets::{commit_partition, commit_request, commit_topic, fetch_group, fetch_request},
        str_bytes,
        topics::topic_name,
    },
    talk::Talk,
};

pub fn commits(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 3);
    let unknown = talk.name("unknown");
    for version in versions::<OffsetCommitRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let of = |partitions: Vec<OffsetCommitRequestPartition>| {
            commit_request(&group, vec![commit_topic(&topic, partitions)])
        };
        let good = || commit_partition(0, 5, Some("text"));
        let mut commit = |step: &str, request: &OffsetCommitRequest| {
            talk.call("one", version, step, request);
        };
        commit("one partition", &of(vec![good()]));
        commit("no metadata", &of(vec![commit_partition(1, 5, None)]));
        commit("empty metadata", &of(vec![commit_partition(2, 5, Some(""))]));
        commit("metadata of 4096 bytes", &of(vec![commit_partition(0, 5, Some(&"m".repeat(4096)))]));
        commit(
            "metadata of 4097 bytes, and a good one",
            &of(vec![commit_partition(0, 6, Some(&"m".repeat(4097))), commit_partition(1, 6, None)]),
        );
        commit(
            "metadata of 4097 bytes in 2049 characters",
            &of(vec![commit_partition(0, 6, Some(&("ä".repeat(2048) + "m")))]),
        );
        for offset in [0, -1, -2, i64::MIN, i64::MAX] {
            commit(&format!("offset {offset}"), &of(vec![commit_partition(0, offset, None)]));
        }
        commit("partition -1", &of(vec![commit_partition(-1, 5, None)]));
        commit("a partition that is not there", &of(vec![commit_partition(3, 5, None), good()]));
        commit(
            "an unknown topic, and a known one",
            &commit_request(&group, vec![commit_topic(&unknown, vec![good()]), commit_topic(&topic, vec![good()])]),
        );
        commit("an empty topic name", &commit_request(&group, vec![commit_topic("", vec![good()])]));
        commit("an impossible topic name", &commit_request(&group, vec![commit_topic("a b/c", vec![good()])]));
        commit(
            "a partition twice",
            &of(vec![commit_partition(0, 7, Some("first")), commit_partition(0, 8, Some("second"))]),
        );
        commit(
            "a topic twice",
            &commit_request(
                &group,
                vec![
                    commit_topic(&topic, vec![commit_partition(0, 9, None)]),
                    commit_topic(&topic, vec![commit_partition(1, 9, None)]),
                ],
            ),
        );
        commit("no partitions", &of(vec![]));
        commit("no topics", &commit_request(&group, vec![]));
        if version >= 6 {
            let epoch = |epoch| of(vec![good().with_committed_leader_epoch(epoch)]);
            commit("leader epoch 0", &epoch(0));
            commit("leader epoch 9", &epoch(9));
            commit("leader epoch -2", &epoch(-2));
        }
        if version >= 8 {
            commit(
                "group id of 64 KiB",
                &commit_request(&"g".repeat(65_536), vec![commit_topic(&topic, vec![good()])]),
            );
            commit("metadata of 64 KiB", &of(vec![commit_partition(0, 6, Some(&"m".repeat(65_536)))]));
        }
        if version <= 4 {
            for retention in [-2, 0, 1, i64::MAX] {
                commit(&format!("retention {retention}"), &of(vec![good()]).with_retention_time_ms(retention));
            }
        }
        talk.call_sorted("one", 8, "all", &fetch_all(&group));
    }
}

/// Who may commit to which group.
pub fn committers(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    for version in versions::<OffsetCommitRequest>() {
        let commit = |group: &str, member: &str, generation| {
            commit_request(group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])])
                .with_member_id(str_bytes(member))
                .with_generation_id_or_member_epoch(generation)
        };
        let group = talk.group(&format!("new-{version}"));
        talk.call("one", version, "a generation of a group that is not there", &commit(&group, "", 1));
        talk.call("one", version, "a member of a group that is not there", &commit(&group, "stranger", 1));
        talk.call("one", version, "a member without a generation", &commit(&group, "stranger", -1));
        talk.call("one", version, "generation -2", &commit(&group, "", -2));
        let group = talk.group(&format!("simple-{version}"));
        talk.call("one", version, "from outside", &commit(&group, "", -1));
        talk.call("one", version, "a generation of an empty group", &commit(&group, "", 0));
        talk.call("one", version, "a member of an empty group", &commit(&group, "stranger", 1));
        talk.call("one", version, "a member without a generation of an empty group", &commit(&group, "stranger", -1));
        let group = talk.group(&format!("stable-{version}"));
        let one = joined(talk, "one", &group, join_static(&group, "", "instance"));
        talk.call("one", version, "the member", &commit(&group, &one.id, 1));
        talk.call("one", version, "the generation before", &commit(&group, &one.id, 0));
        talk.call("one", version, "the generation after", &commit(&group, &one.id, 2));
        talk.call("one", version, "the member without a generation", &commit(&group, &one.id, -1));
        talk.call("one", version, "a stranger", &commit(&group, "stranger", 1));
        talk.call("one", version, "a stranger of another generation", &commit(&group, "stranger", 7));
        talk.call("one", version, "a stranger without a generation", &commit(&group, "stranger", -1));
        talk.call("one", version, "nobody, of the generation", &commit(&group, "", 1));
        talk.call("one", version, "from outside of a stable group", &commit(&group, "", -1));
        if version >= 7 {
            let as_instance = |member: &str, generation, instance: &str| {
                commit(&group, member, generation).with_group_instance_id(Some(str_bytes(instance)))
            };
            talk.call("one", version, "the instance", &as_instance(&one.id, 1, "instance"));
            talk.call("one", version, "another's instance", &as_instance("stranger", 1, "instance"));
            talk.call("one", version, "an unknown instance", &as_instance(&one.id, 1, "unknown"));
            talk.call("one", version, "the instance without a member id", &as_instance("", 1, "instance"));
            talk.call("one", version, "the instance from outside", &as_instance("", -1, "instance"));
        }
        talk.unrecorded().call(5, &leave(5, &group, &one.id));
        talk.call("one", version, "from outside after all left", &commit(&group, "", -1));
        talk.call("one", version, "a member after it left", &commit(&group, &one.id, 1));
    }
}

pub fn commits_in_a_rebalance(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = talk.topic("topic", 1);
    let commit = |member: &str, generation| {
        commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])])
            .with_member_id(str_bytes(member))
            .with_generation_id_or_member_epoch(generation)
    };
    let one = joined(talk, "one", &group, join(&group, ""));
    let two = member_id(talk, "two", &group);
    talk.send("two", 9, "join", &join(&group, &two));
    await_state(talk, &group, "PreparingRebalance");
    for version in versions::<OffsetCommitRequest>() {
        talk.call("one", version, "preparing", &commit(&one.id, 1));
        talk.call("one", version, "preparing, the generation after", &commit(&one.id, 2));
        talk.call("one", version, "preparing, of the new one", &commit(&two, 1));
        talk.call("one", version, "preparing, from outside", &commit("", -1));
    }
    talk.call_sorted("one", 9, "again", &join(&group, &one.id));
    talk.receive::<JoinGroupRequest>("two");
    for version in versions::<OffsetCommitRequest>() {
        talk.call("one", version, "completing", &commit(&one.id, 2));
        talk.call("one", version, "completing, the generation before", &commit(&one.id, 1));
        talk.call("one", version, "completing, of the other", &commit(&two, 2));
        talk.call("one", version, "completing, from outside", &commit("", -1));
    }
    talk.send("two", 5, "sync", &sync(&group, &two, 2));
    talk.call("one", 5, "sync", &assign(sync(&group, &one.id, 2), &[(&one.id, b"one"), (&two, b"two")]));
    talk.receive::<SyncGroupRequest>("two");
    talk.call("one", 8, "stable", &commit(&one.id, 2));
    talk.call("one", 8, "stable, of the other", &commit(&two, 2));
    talk.call("two", 4, "stable", &heartbeat(&group, &two, 2));
}

pub fn fetches(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 3);
    let (other, _) = talk.topic("other", 1);
    let unknown = talk.name("unknown");
    let (group, empty) = (talk.group("group"), talk.group("empty"));
    let partitions =
        vec![commit_partition(0, 5, Some("text")).with_committed_leader_epoch(0), commit_partition(2, 7, None)];
    let topics = vec![commit_topic(&topic, partitions), commit_topic(&other, vec![commit_partition(0, 1, Some(""))])];
    talk.call("one", 8, "before", &commit_request(&group, topics));
    for version in 1..=7 {
        let mut fetch = |step: &str, group: &str, topics: Option<&[(&str, &[i32])]>| {
            if version >= 2 || topics.is_some() {
                talk.call_sorted("one", version, step, &fetch_request(version, group, topics));
            }
        };
        fetch("some partitions", &group, Some(&[(&topic, &[0, 1, 2]), (&other, &[0])]));
        fetch("all", &group, None);
        fetch("an unknown group", &empty, Some(&[(&topic, &[0])]));
        fetch("all of an unknown group", &empty, None);
        fetch("an unknown topic, and odd partitions", &group, Some(&[(&unknown, &[0]), (&topic, &[-1, 3, i32::MAX])]));
        fetch("an empty topic name", &group, Some(&[("", &[0])]));
        fetch("a partition twice", &group, Some(&[(&topic, &[0, 0])]));
        fetch("a topic twice", &group, Some(&[(&topic, &[0]), (&topic, &[2])]));
        fetch("a topic without partitions", &group, Some(&[(&topic, &[])]));
        if version >= 2 {
            fetch("no topics", &group, Some(&[]));
        }
    }
}

pub fn fetches_of_groups(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let (group, empty) = (talk.group("group"), talk.group("empty"));
    talk.call(
        "one",
        8,
        "before",
        &commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, Some("text"))])]),
    );
    for version in [8, 9] {
        let mut fetch = |step: &str, groups: Vec<OffsetFetchRequestGroup>| {
            talk.call("one", version, step, &OffsetFetchRequest::default().with_groups(groups));
        };
        let some: Option<&[(&str, &[i32])]> = Some(&[(&topic, &[0, 1])]);
        fetch("one group", vec![fetch_group(&group, some)]);
        fetch("several groups", vec![fetch_group(&empty, some), fetch_group(&group, None), fetch_group(&empty, None)]);
        fetch("a group twice", vec![fetch_group(&group, some), fetch_group(&group, None)]);
        fetch("no groups", vec![]);
        fetch("no topics", vec![fetch_group(&group, Some(&[]))]);
        fetch("a topic without partitions", vec![fetch_group(&group, Some(&[(&topic, &[])]))]);
        fetch("group id of 64 KiB", vec![fetch_group(&"g".repeat(65_536), None)]);
    }
    let stable = OffsetFetchRequest::default().with_require_stable(true);
    talk.call("one", 8, "stable offsets only", &stable.with_groups(vec![fetch_group(&group, None)]));
    let classic = talk.group("classic");
    let one = joined(talk, "one", &classic, join(&classic, ""));
    let as_member = |group: &str, member: &str, epoch| {
        let group = fetch_group(group, None).with_member_id(Some(str_bytes(member))).with_member_epoch(epoch);
        OffsetFetchRequest::default().with_groups(vec![group])
    };
    talk.call("one", 9, "the member of a classic group", &as_member(&classic, &one.id, 1));
    talk.call("one", 9, "another epoch", &as_member(&classic, &one.id, 7));
    talk.call("one", 9, "a stranger", &as_member(&classic, "stranger", 1));
    talk.call("one", 9, "an empty member id", &as_member(&classic, "", -1));
    talk.call("one", 9, "a member of an empty group", &as_member(&group, "stranger", 1));
    talk.call("one", 9, "a member of an unknown group", &as_member(&empty, "stranger", 1));
}

pub fn deleted_offsets(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let (read, _) = talk.topic("read", 1);
    let unknown = talk.name("unknown");
    let delete = |group: &str, topics: &[(&str, &[i32])]| {
        let topics = topics.iter().map(|(name, partitions)| {
            let partitions =
                partitions.iter().map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
            OffsetDeleteRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions.collect())
        });
        OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect())
    };
    let group = talk.group("group");
    talk.call("one", 0, "unknown group", &delete(&group, &[(&topic, &[0])]));
    let both = || {
        commit_request(
            &group,
            vec![
                commit_topic(&topic, vec![commit_partition(0, 5, None), commit_partition(1, 5, None)]),
                commit_topic(&read, vec![commit_partition(0, 5, None)]),
            ],
        )
    };
    talk.call("one", 8, "before", &both());
    talk.call("one", 0, "one of two", &delete(&group, &[(&topic, &[0])]));
    talk.call("one", 0, "what is not there any more", &delete(&group, &[(&topic, &[0])]));
    talk.call("one", 0, "unknown topic and partitions", &delete(&group, &[(&unknown, &[0]), (&topic, &[-1, 9, 1])]));
    talk.call("one", 0, "nothing", &delete(&group, &[]));
    talk.call("one", 0, "a topic without partitions", &delete(&group, &[(&topic, &[])]));
    talk.call("one", 0, "a partition twice", &delete(&group, &[(&read, &[0, 0])]));
    talk.call("one", 0, "a topic twice", &delete(&group, &[(&topic, &[0]), (&read, &[0]), (&topic, &[1])]));
    talk.call_sorted("one", 8, "all", &fetch_all(&group));
    talk.call("one", 8, "again", &both());
    let request = join(&group, "").with_protocols(vec![protocol("range", subscription(&[&read]))]);
    let one = joined(talk, "one", &group, request);
    talk.call("one", 0, "of a topic that is read and of another", &delete(&group, &[(&topic, &[0]), (&read, &[0])]));
    talk.call_sorted("one", 8, "all", &fetch_all(&group));
    talk.unrecorded().call(5, &leave(5, &group, &one.id));
    talk.call("one", 0, "after all left", &delete(&group, &[(&topic, &[1]), (&read, &[0])]));
    talk.call_sorted("one", 8, "all", &fetch_all(&group));
    let connect = talk.group("connect");
    let commit = commit_request(&connect, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
    talk.call("one", 8, "before", &commit);
    joined(talk, "two", &connect, join(&connect, "").with_protocol_type(str_bytes("connect")));
    talk.call("one", 0, "of a group that is no consumer's", &delete(&connect, &[(&topic, &[0])]));
}

pub fn deleted_groups(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    for version in versions::<DeleteGroupsRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let stable = talk.group(&format!("stable-{version}"));
        let delete = |groups: &[&str]| {
            DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|group| group_id(group)).collect())
        };
        let commit = commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
        let one = joined(talk, "one", &stable, join(&stable, ""));
        talk.call("one", version, "unknown group", &delete(&[&group]));
        talk.call("one", version, "nothing", &delete(&[]));
        talk.call("one", version, "a group with a member", &delete(&[&stable]));
        talk.call("one", 8, "before", &commit);
        talk.call_sorted(
            "one",
            version,
            "one good, two bad, and one twice",
            &delete(&[&group, "never-seen", &stable, "never-seen"]),
        );
        talk.call("one", 8, "after", &fetch_all(&group));
        talk.call("one", 8, "before", &commit);
        talk.call("one", version, "a group twice", &delete(&[&group, &group]));
        talk.unrecorded().call(5, &leave(5, &stable, &one.id));
        talk.call("one", version, "a group that all left", &delete(&[&stable]));
        talk.call("one", version, "a group that is deleted", &delete(&[&stable]));
        talk.call("one", 4, "of a deleted group", &heartbeat(&stable, &one.id, 1));
    }
}

/// Only here, as there is one empty id for all.
pub fn the_empty_group_id(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    for version in versions::<OffsetCommitRequest>() {
        let commit = || commit_request("", vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
        let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id("")]);
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        let delete_offset =
            OffsetDeleteRequestTopic::default().with_name(topic_name(&topic)).with_partitions(vec![partition]);
        let delete_offset = OffsetDeleteRequest::default().with_group_id(group_id("")).with_topics(vec![delete_offset]);
        talk.call("one", 0, "of the empty id, before", &delete_offset);
        talk.call("one", 8, "of the empty id, before", &fetch_all(""));
        talk.call("one", 6, "of the empty id, before", &describe(&[""]));
        talk.call("one", version, "nothing", &commit_request("", vec![]));
        talk.call("one", version, "from outside", &commit());
        talk.call("one", version, "by a member", &commit().with_member_id(str_bytes("stranger")));
        let member = commit().with_member_id(str_bytes("stranger")).with_generation_id_or_member_epoch(1);
        talk.call("one", version, "by a member of a generation", &member);
        talk.call("one", version, "by a generation", &commit().with_generation_id_or_member_epoch(1));
        talk.call("one", 7, "of the empty id", &fetch_request(7, "", Some(&[(&topic, &[0])])));
        talk.call("one", 8, "of the empty id", &fetch_all(""));
        talk.call("one", 6, "of the empty id", &describe(&[""]));
        talk.call("one", 0, "of the empty id", &delete_offset);
        talk.call("one", version.min(2), "the empty id", &delete);
        talk.call("one", version.min(2), "the empty id again", &delete);
    }
}

pub fn leader_epochs(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let unknown = talk.name("unknown");
    for version in versions::<OffsetForLeaderEpochRequest>() {
        let ask = |topic: &str, partition, current, epoch| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(current)
                .with_leader_epoch(epoch);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(TopicName(str_bytes(topic)))
                .with_partitions(vec![partition]);
            OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
        };
        talk.call("one", version, "epoch 0", &ask(&topic, 0, 0, 0));
        talk.call("one", version, "no current epoch", &ask(&topic, 0, -1, 0));
        talk.call("one", version, "an epoch to come", &ask(&topic, 0, -1, 5));
        talk.call("one", version, "epoch -1", &ask(&topic, 0, -1, -1));
        talk.call("one", version, "current epoch too high", &ask(&topic, 0, 5, 0));
        talk.call("one", version, "partition that is not there", &ask(&topic, 1, 0, 0));
        talk.call("one", version, "unknown topic", &ask(&unknown, 0, 0, 0));
        talk.call("one", version, "nothing", &OffsetForLeaderEpochRequest::default());
    }
}

fn fetch_all(group: &str) -> OffsetFetchRequest {
    OffsetFetchRequest::default().with_groups(vec![fetch_group(group, None)])
}
