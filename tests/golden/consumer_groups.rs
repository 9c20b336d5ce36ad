//! Groups of the next-generation protocol (KIP-848).

use std::time::Duration;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId,
    OffsetDeleteRequest, OffsetFetchRequest, TopicName,
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
};
use uuid::Uuid;

use crate::{
    consumer_requests::{describe, heartbeat, joining, owned, partitions_of, topic_of},
    requests::{join, joined},
    support::{
        StrBytes, eventually,
        offsets::{commit_partition, commit_request, commit_topic, fetch_group},
        str_bytes,
    },
    talk::Talk,
};

pub fn a_member_joins_and_leaves(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 3);
    for version in [0, 1] {
        let joined = talk.call("one", version, "join", &joining(&group, "member", &[&topic]));
        let epoch = joined.member_epoch;
        let beat = heartbeat(&group, "member", epoch);
        talk.call("one", version, "nothing new", &beat);
        talk.call("one", version, "owns what it was given", &beat.clone().with_topic_partitions(owned(id, &[0, 1, 2])));
        talk.call("one", version, "owns less", &beat.clone().with_topic_partitions(owned(id, &[0, 1])));
        talk.call("one", version, "owns nothing", &beat.clone().with_topic_partitions(owned(id, &[])));
        talk.call(
            "one",
            version,
            "says everything again",
            &joining(&group, "member", &[&topic]).with_member_epoch(epoch),
        );
        describe(talk, version, &group);
        talk.call("one", version, "leave", &heartbeat(&group, "member", -1));
        talk.call("one", version, "after it left", &beat);
        talk.call("one", version, "leave again", &heartbeat(&group, "member", -1));
        describe(talk, version, &group);
    }
}

pub fn member_ids(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 1);
    let joined = talk.call("one", 0, "join without an id", &joining(&group, "", &[&topic]));
    let id = joined.member_id.unwrap_or_default();
    talk.call_it(&id, "id of one");
    talk.call("one", 0, "heartbeat", &heartbeat(&group, &id, joined.member_epoch));
    talk.call("two", 0, "join with an id", &joining(&group, "two", &[&topic]));
    talk.call("two", 0, "no id, and not a join", &heartbeat(&group, "", 1));
    talk.call("two", 1, "join without an id", &joining(&group, "", &[&topic]));
    talk.call("two", 1, "no id, and not a join", &heartbeat(&group, "", 1));
    talk.call("two", 1, "join with a long id", &joining(&group, &"x".repeat(40), &[&topic]));
}

pub fn wrong_heartbeats(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 1);
    let long = talk.name(&"g".repeat(290));
    let good = joining(&group, "member", &[&topic]);
    for version in [0, 1] {
        let mut join = |step: &str, request: ConsumerGroupHeartbeatRequest| {
            let reply = talk.call("one", version, step, &request);
            if reply.member_epoch > 0 {
                talk.call("one", version, "leaves again", &heartbeat(&request.group_id, &request.member_id, -1));
            }
        };
        join("empty group id", joining("", "member", &[&topic]));
        join("blank group id", joining(" ", "member", &[&topic]));
        join("no rebalance timeout", good.clone().with_rebalance_timeout_ms(-1));
        join("rebalance timeout 0", good.clone().with_rebalance_timeout_ms(0));
        join("rebalance timeout -2", good.clone().with_rebalance_timeout_ms(-2));
        join("no owned partitions", good.clone().with_topic_partitions(None));
        join("owned partitions", good.clone().with_topic_partitions(owned(id, &[0])));
        join("no subscription", good.clone().with_subscribed_topic_names(None));
        join("unknown assignor", good.clone().with_server_assignor(Some(str_bytes("unknown"))));
        join("empty assignor", good.clone().with_server_assignor(Some(str_bytes(""))));
        join("empty instance id", good.clone().with_instance_id(Some(str_bytes(""))));
        join("empty rack", good.clone().with_rack_id(Some(str_bytes(""))));
        join("empty topic name", good.clone().with_subscribed_topic_names(Some(vec![TopicName::default()])));
        join("epoch -3", good.clone().with_member_epoch(-3));
        join("epoch -2 without an instance id", good.clone().with_member_epoch(-2));
        join("unknown member with an epoch", heartbeat(&group, "stranger", 5));
        join("unknown member leaves", heartbeat(&group, "stranger", -1));
        join("unknown group", heartbeat("never-seen", "member", 1));
        join("unknown group, leaves", heartbeat("never-seen", "member", -1));
        join("group id of 300 characters", joining(&long, "member", &[&topic]));
    }
    let regex = |regex: Option<&str>| {
        good.clone().with_subscribed_topic_names(None).with_subscribed_topic_regex(regex.map(str_bytes))
    };
    talk.call("one", 1, "empty regular expression and no names", &regex(Some("")));
    talk.call("one", 1, "leaves again", &heartbeat(&group, "member", -1));
    talk.call("one", 1, "invalid regular expression", &regex(Some("[")));
    let after = talk.group("after");
    talk.call("one", 1, "empty list of topics", &joining(&after, "member", &[]));
    talk.call("one", 1, "and none later", &heartbeat(&after, "member", 1).with_subscribed_topic_names(Some(vec![])));
    describe(talk, 1, &group);
    describe(talk, 1, &after);
}

pub fn fencing(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "epoch too high", &heartbeat(&group, "one", 9));
    talk.call("one", 1, "epoch one too low: 0 joins again", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "the epoch it has", &heartbeat(&group, "one", 1));
    talk.call("one", 1, "other topics", &heartbeat(&group, "one", 1).with_subscribed_topic_names(Some(vec![])));
    talk.call(
        "one",
        1,
        "the epoch before, nothing owned",
        &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[])),
    );
    talk.call(
        "one",
        1,
        "the epoch before, and something owned",
        &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[0, 1])),
    );
    talk.call("one", 1, "the epoch before, and nothing said", &heartbeat(&group, "one", 1));
    talk.call("one", 1, "back", &heartbeat(&group, "one", 2).with_subscribed_topic_names(Some(vec![TopicName(topic)])));
    talk.call("one", 1, "two epochs before", &heartbeat(&group, "one", 1));
    describe(talk, 1, &group);
}

pub fn static_members(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    let join =
        |member: &str, instance: &str| joining(&group, member, &[&topic]).with_instance_id(Some(str_bytes(instance)));
    let beat = |member: &str, epoch: i32, instance: &str| {
        heartbeat(&group, member, epoch).with_instance_id(Some(str_bytes(instance)))
    };
    talk.call("one", 1, "join", &join("one", "instance"));
    talk.call("one", 1, "heartbeat", &beat("one", 1, "instance").with_topic_partitions(owned(id, &[0, 1])));
    talk.call("two", 1, "the same instance joins", &join("two", "instance"));
    talk.call("two", 1, "a heartbeat with the other's instance id", &beat("two", 1, "instance"));
    talk.call("two", 1, "a heartbeat with an unknown instance id", &beat("one", 1, "unknown"));
    talk.call("two", 1, "an unknown instance leaves for a while", &beat("two", -2, "unknown"));
    talk.call("two", 1, "the other's instance leaves for a while", &beat("two", -2, "instance"));
    talk.call("two", 1, "the other's instance leaves", &beat("two", -1, "instance"));
    talk.call("one", 1, "leaves for a while", &beat("one", -2, "instance"));
    describe(talk, 1, &group);
    talk.call("one", 1, "a heartbeat after it left", &beat("one", 1, "instance"));
    talk.call("one", 1, "leaves for a while again", &beat("one", -2, "instance"));
    talk.call("two", 1, "takes its place", &join("two", "instance"));
    talk.call("two", 1, "heartbeat", &beat("two", 1, "instance"));
    talk.call("one", 1, "a heartbeat after it was replaced", &beat("one", 1, "instance"));
    describe(talk, 1, &group);
    talk.call("two", 1, "leaves for a while", &beat("two", -2, "instance"));
    talk.call("two", 1, "leaves for good", &beat("two", -1, "instance"));
    describe(talk, 1, &group);
    talk.call("three", 1, "join", &join("three", "instance"));
    talk.call("three", 1, "leaves for good without its instance id", &heartbeat(&group, "three", -1));
    describe(talk, 1, &group);
}

pub fn two_members_share(talk: &mut Talk) {
    for assignor in ["uniform", "range"] {
        let group = talk.group(&format!("group-{assignor}"));
        let (topic, id) = topic_of(talk, &format!("topic-{assignor}"), 4);
        let join = |member: &str| joining(&group, member, &[&topic]).with_server_assignor(Some(str_bytes(assignor)));
        let owns = |member: &str, epoch, partitions: &[i32]| {
            heartbeat(&group, member, epoch).with_topic_partitions(owned(id, partitions))
        };
        talk.call("one", 1, "join", &join("one"));
        talk.call("one", 1, "owns all", &owns("one", 1, &[0, 1, 2, 3]));
        talk.call("two", 1, "join", &join("two"));
        describe(talk, 1, &group);
        let told = talk.call("one", 1, "is told to give some up", &heartbeat(&group, "one", 1));
        talk.call("one", 1, "owns all still", &owns("one", 1, &[0, 1, 2, 3]));
        talk.call("two", 1, "waits", &heartbeat(&group, "two", 2));
        describe(talk, 1, &group);
        let kept = partitions_of(&told);
        talk.call("one", 1, "gave them up", &owns("one", 1, &kept));
        let given = talk.call("two", 1, "gets them", &heartbeat(&group, "two", 2));
        talk.call("two", 1, "owns them", &owns("two", 2, &partitions_of(&given)));
        describe(talk, 1, &group);
        talk.call("three", 1, "join", &join("three"));
        let told = talk.call("two", 1, "heartbeat", &heartbeat(&group, "two", 2));
        talk.call("two", 1, "owns what it is told", &owns("two", 2, &partitions_of(&told)));
        let told = talk.call("one", 1, "heartbeat", &heartbeat(&group, "one", 2));
        talk.call("one", 1, "owns what it is told", &owns("one", 2, &partitions_of(&told)));
        talk.call("three", 1, "heartbeat", &heartbeat(&group, "three", 3));
        describe(talk, 1, &group);
        // Who of two gets which of two partitions is by chance in Kafka: both go.
        talk.call("one", 1, "leaves", &heartbeat(&group, "one", -1));
        talk.call("three", 1, "leaves", &heartbeat(&group, "three", -1));
        talk.call("two", 1, "gets all", &heartbeat(&group, "two", 3));
        describe(talk, 1, &group);
    }
}

pub fn a_member_changes_its_mind(talk: &mut Talk) {
    let group = talk.group("group");
    let (first, first_id) = topic_of(talk, "first", 2);
    let (second, _) = topic_of(talk, "second", 1);
    talk.call("one", 1, "join", &joining(&group, "one", &[&first]));
    let beat = heartbeat(&group, "one", 1);
    let names = |names: &[&StrBytes]| Some(names.iter().map(|name| TopicName((*name).clone())).collect::<Vec<_>>());
    talk.call(
        "one",
        1,
        "other topics while it owns the first",
        &beat.clone().with_subscribed_topic_names(names(&[&second])).with_topic_partitions(owned(first_id, &[0, 1])),
    );
    talk.call("one", 1, "gave the first up", &beat.with_topic_partitions(owned(first_id, &[])));
    describe(talk, 1, &group);
    let beat = heartbeat(&group, "one", 2);
    talk.call("one", 1, "the same topics", &beat.clone().with_subscribed_topic_names(names(&[&second])));
    talk.call("one", 1, "another assignor", &beat.clone().with_server_assignor(Some(str_bytes("range"))));
    talk.call("one", 1, "another rebalance timeout", &beat.clone().with_rebalance_timeout_ms(7000));
    talk.call("one", 1, "another rack", &beat.clone().with_rack_id(Some(str_bytes("rack"))));
    talk.call("one", 1, "an instance id", &beat.clone().with_instance_id(Some(str_bytes("instance"))));
    describe(talk, 1, &group);
}

pub fn unknown_topics(talk: &mut Talk) {
    let group = talk.group("group");
    let unknown = talk.name("later");
    talk.call("one", 1, "join", &joining(&group, "one", &[&unknown]));
    describe(talk, 1, &group);
    let (_, id) = talk.topic("later", 1);
    let beat = || heartbeat(&group, "one", 1);
    eventually("the topic is seen", Duration::from_secs(10), || {
        let mut client = talk.unrecorded();
        (client.call(1, &beat()).member_epoch == 2).then_some(())
    });
    talk.call("one", 1, "the topic is there", &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[])));
    describe(talk, 1, &group);
    talk.call(
        "one",
        1,
        "owns a partition of an unknown topic",
        &heartbeat(&group, "one", 2).with_topic_partitions(owned(Uuid::from_u128(7), &[0])),
    );
    talk.call(
        "one",
        1,
        "owns a partition that is not there",
        &heartbeat(&group, "one", 2).with_topic_partitions(owned(id, &[0, 9])),
    );
}

pub fn descriptions(talk: &mut Talk) {
    let (group, classic) = (talk.group("group"), talk.group("classic"));
    let (topic, _) = topic_of(talk, "topic", 1);
    talk.call(
        "one",
        1,
        "join",
        &joining(&group, "one", &[&topic])
            .with_rack_id(Some(str_bytes("rack")))
            .with_instance_id(Some(str_bytes("instance"))),
    );
    joined(talk, "classic", &classic, join(&classic, ""));
    let groups = |ids: &[&str]| {
        ConsumerGroupDescribeRequest::default().with_group_ids(ids.iter().map(|id| GroupId(str_bytes(*id))).collect())
    };
    for version in [0, 1] {
        talk.call("one", version, "one group", &groups(&[&group]));
        talk.call("one", version, "no group", &groups(&[]));
        talk.call("one", version, "an unknown group", &groups(&["never-seen"]));
        talk.call("one", version, "an empty id", &groups(&[""]));
        talk.call("one", version, "a classic group", &groups(&[&classic]));
        talk.call_sorted("one", version, "several", &groups(&[&group, "never-seen", &group, &classic]));
        talk.call(
            "one",
            version,
            "what the client may do",
            &groups(&[&group]).with_include_authorized_operations(true),
        );
    }
    let classic_describe = |id: &StrBytes| DescribeGroupsRequest::default().with_groups(vec![GroupId(id.clone())]);
    for version in [0, 5, 6] {
        talk.call("one", version, "as a classic group", &classic_describe(&group));
    }
    talk.call("one", 1, "leaves", &heartbeat(&group, "one", -1));
    talk.call("one", 1, "an empty group", &groups(&[&group]));
}

pub fn offsets_of_members(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 1);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    for version in [2, 6, 8, 9] {
        let commit = |member: &str, epoch| {
            commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, Some("text"))])])
                .with_member_id(str_bytes(member))
                .with_generation_id_or_member_epoch(epoch)
        };
        talk.call("one", version, "commit of the member", &commit("one", 1));
        talk.call("one", version, "epoch too high", &commit("one", 2));
        talk.call("one", version, "epoch too low", &commit("one", 0));
        talk.call("one", version, "unknown member", &commit("two", 1));
        talk.call("one", version, "no member", &commit("", -1));
        talk.call("one", version, "a member without an epoch", &commit("one", -1));
        talk.call("one", version, "an epoch without a member", &commit("", 1));
        talk.call("one", version, "unknown member without an epoch", &commit("two", -1));
    }
    let commit = commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
    for version in [7, 9] {
        let commit = commit
            .clone()
            .with_member_id(str_bytes("one"))
            .with_generation_id_or_member_epoch(1)
            .with_group_instance_id(Some(str_bytes("instance")));
        talk.call("one", version, "a dynamic member with an instance id", &commit);
    }
    let fetch = |member: Option<&str>, epoch| {
        let group =
            fetch_group(&group, Some(&[(&topic, &[0])])).with_member_id(member.map(str_bytes)).with_member_epoch(epoch);
        OffsetFetchRequest::default().with_groups(vec![group])
    };
    talk.call("one", 9, "fetch of the member", &fetch(Some("one"), 1));
    talk.call("one", 9, "epoch too high", &fetch(Some("one"), 2));
    talk.call("one", 9, "epoch too low", &fetch(Some("one"), 0));
    talk.call("one", 9, "unknown member", &fetch(Some("two"), 1));
    talk.call("one", 9, "no member", &fetch(None, -1));
    talk.call("one", 9, "no member, but an epoch", &fetch(None, 1));
    talk.call("one", 9, "an empty member id", &fetch(Some(""), -1));
    talk.call("one", 9, "an empty member id with an epoch", &fetch(Some(""), 1));
    talk.call("one", 9, "a member without an epoch", &fetch(Some("one"), -1));
    talk.call(
        "one",
        9,
        "the member of another epoch, everything",
        &OffsetFetchRequest::default()
            .with_groups(vec![fetch_group(&group, None).with_member_id(Some(str_bytes("one"))).with_member_epoch(7)]),
    );
}

pub fn offsets_from_outside(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 1);
    let (other, _) = topic_of(talk, "other", 1);
    let commit =
        |topic: &StrBytes| commit_request(&group, vec![commit_topic(topic, vec![commit_partition(0, 5, None)])]);
    talk.call("one", 9, "before there is a group", &commit(&topic));
    describe(talk, 1, &group);
    talk.call("one", 1, "a member joins", &joining(&group, "one", &[&topic]));
    describe(talk, 1, &group);
    talk.call("two", 9, "while it has a member", &commit(&topic));
    let delete = |topic: &StrBytes| {
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(TopicName(topic.clone()))
            .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(0)]);
        OffsetDeleteRequest::default().with_group_id(GroupId(group.clone())).with_topics(vec![topic])
    };
    talk.call("two", 0, "of a topic that is read", &delete(&topic));
    talk.call("two", 0, "of another topic", &delete(&other));
    let delete_group = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(group.clone())]);
    talk.call("two", 2, "of a group with a member", &delete_group);
    talk.call("one", 1, "leaves", &heartbeat(&group, "one", -1));
    talk.call("two", 9, "of an empty group", &commit(&topic));
    talk.call(
        "two",
        9,
        "of an empty group, by a member of the past",
        &commit(&topic).with_member_id(str_bytes("one")).with_generation_id_or_member_epoch(1),
    );
    talk.call("two", 2, "of an empty group", &delete_group);
    describe(talk, 1, &group);
}
