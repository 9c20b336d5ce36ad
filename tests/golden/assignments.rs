//! Who gets what in a consumer group (KIP-848), and when.

use std::{thread, time::Duration};

use kafka_protocol::messages::{CreatePartitionsRequest, create_partitions_request::CreatePartitionsTopic};

use crate::{
    consumer_requests::{await_epoch, describe, describe_request, heartbeat, joining, owned, partitions_of, topic_of},
    support::{StrBytes, eventually, str_bytes, topics},
    talk::Talk,
};

/// What both assignors make of the same groups, member by member.
pub fn assignors(talk: &mut Talk) {
    let (a, _) = topic_of(talk, "a", 3);
    let (b, _) = topic_of(talk, "b", 3);
    let (c, _) = topic_of(talk, "c", 1);
    let (d, _) = topic_of(talk, "d", 7);
    let groups: [(&str, Vec<Vec<&StrBytes>>); 6] = [
        ("one topic of 7", vec![vec![&d]; 3]),
        ("two topics of 3", vec![vec![&a, &b]; 2]),
        ("more members than partitions", vec![vec![&c]; 3]),
        ("topics of 1, 3 and 7", vec![vec![&a, &c, &d]; 4]),
        ("different topics", vec![vec![&a, &d], vec![&d], vec![&a]]),
        ("nothing for one", vec![vec![&a], vec![], vec![&a]]),
    ];
    for assignor in ["range", "uniform"] {
        for (number, (title, members)) in groups.iter().enumerate() {
            let group = talk.group(&format!("{assignor}-{number}"));
            for (index, topics) in members.iter().enumerate() {
                let member = format!("member-{index}");
                let join = joining(&group, &member, topics).with_server_assignor(Some(str_bytes(assignor)));
                let mut client = talk.unrecorded();
                assert_eq!(client.call(1, &join).error_code, 0);
            }
            let described = talk.unrecorded().call(1, &describe_request(&group));
            let mut targets: Vec<_> = described.groups[0]
                .members
                .iter()
                .map(|member| {
                    let mut topics: Vec<_> = member
                        .target_assignment
                        .topic_partitions
                        .iter()
                        .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
                        .collect();
                    topics.sort();
                    (member.member_id.to_string(), topics)
                })
                .collect();
            targets.sort();
            if assignor == "uniform" && members.iter().any(|topics| topics.len() > 1) {
                // Which partitions depends on the ids of topics; how many does not.
                let count = |topics: &[(String, Vec<i32>)]| topics.iter().map(|topic| topic.1.len()).sum::<usize>();
                let counts: Vec<_> = targets.iter().map(|(member, topics)| (member, count(topics))).collect();
                talk.remark(&format!("{assignor}: {title}, by number"), &counts);
                continue;
            }
            talk.remark(&format!("{assignor}: {title}"), &targets);
        }
    }
}

/// The assignor that most members ask for.
pub fn votes(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 2);
    let join = |member: &str, assignor: Option<&str>| {
        joining(&group, member, &[&topic]).with_server_assignor(assignor.map(str_bytes))
    };
    talk.call("one", 1, "range", &join("one", Some("range")));
    describe(talk, 1, &group);
    talk.call("two", 1, "uniform", &join("two", Some("uniform")));
    talk.call("three", 1, "uniform", &join("three", Some("uniform")));
    describe(talk, 1, &group);
    talk.call("four", 1, "no preference", &join("four", None));
    talk.call(
        "two",
        1,
        "changes to range",
        &heartbeat(&group, "two", 2).with_server_assignor(Some(str_bytes("range"))),
    );
    describe(talk, 1, &group);
}

/// One that does not give up in its rebalance timeout is removed.
pub fn a_member_that_does_not_revoke(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]).with_rebalance_timeout_ms(HASTY_MS));
    talk.call("one", 1, "owns all", &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[0, 1])));
    talk.call("two", 1, "join", &joining(&group, "two", &[&topic]));
    talk.call("one", 1, "is told to give one up", &heartbeat(&group, "one", 1));
    describe(talk, 1, &group);
    await_epoch(talk, &group, 3);
    talk.call("one", 1, "too late", &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[0])));
    talk.call("two", 1, "gets all", &heartbeat(&group, "two", 2));
    describe(talk, 1, &group);
}

/// The reply to a heartbeat that changed the epoch is lost.
pub fn a_lost_reply(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    let all = |member: &str, epoch| {
        joining(&group, member, &[&topic]).with_member_epoch(epoch).with_topic_partitions(owned(id, &[0, 1]))
    };
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "join again", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "owns all", &all("one", 1));
    talk.call("two", 1, "join", &joining(&group, "two", &[&topic]));
    let told = talk.call("one", 1, "is told to give one up", &heartbeat(&group, "one", 1));
    let kept = partitions_of(&told);
    let gave_up = heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &kept));
    talk.call("one", 1, "gave one up", &gave_up);
    talk.call("one", 1, "gave one up, once more", &gave_up);
    talk.call("one", 1, "of the epoch before, owns nothing", &gave_up.clone().with_topic_partitions(owned(id, &[])));
    talk.call("one", 1, "of the epoch before, owns what it has not", &all("one", 1));
    talk.call("one", 1, "of the epoch before, says everything", &all("one", 1).with_topic_partitions(owned(id, &kept)));
    talk.call("one", 1, "joins with what it owned", &all("one", 0));
    talk.call("one", 1, "joins anew", &joining(&group, "one", &[&topic]));
    describe(talk, 1, &group);
}

/// A topic grows, and goes.
pub fn a_topic_changes(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 1);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    let growth =
        CreatePartitionsTopic::default().with_name(topics::topic_name(&topic)).with_count(3).with_assignments(None);
    let growth = CreatePartitionsRequest::default().with_topics(vec![growth]).with_timeout_ms(10_000);
    talk.call("two", 3, "more partitions", &growth);
    let beats = |talk: &mut Talk, epoch: i32| {
        let mut client = talk.unrecorded();
        eventually("the next epoch", Duration::from_secs(10), || {
            thread::sleep(Duration::from_millis(50));
            (client.call(1, &heartbeat(&group, "one", epoch)).member_epoch > epoch).then_some(())
        });
    };
    beats(talk, 1);
    talk.call("one", 1, "owns some", &heartbeat(&group, "one", 2).with_topic_partitions(owned(id, &[0])));
    describe(talk, 1, &group);
    talk.call("one", 1, "owns all", &heartbeat(&group, "one", 2).with_topic_partitions(owned(id, &[0, 1, 2])));
    topics::delete(&mut talk.unrecorded(), &topic);
    await_gone(talk, &group);
    talk.call(
        "one",
        1,
        "says that it owns it",
        &heartbeat(&group, "one", 2).with_topic_partitions(owned(id, &[0, 1, 2])),
    );
    talk.call("one", 1, "gave it up", &heartbeat(&group, "one", 2).with_topic_partitions(owned(id, &[])));
    describe(talk, 1, &group);
}

fn await_gone(talk: &Talk, group: &StrBytes) {
    let mut client = talk.unrecorded();
    eventually("the target is empty", Duration::from_secs(10), || {
        thread::sleep(Duration::from_millis(50));
        client.call(1, &heartbeat(group, "one", 2));
        let described = client.call(1, &describe_request(group));
        described.groups[0].members[0].target_assignment.topic_partitions.is_empty().then_some(())
    });
}

/// A rebalance timeout: what a busy machine needs for the steps in between, and some more.
const HASTY_MS: i32 = 2500;
