//! Classic groups: joining, leaving, and what a crash of the broker leaves of them.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, IncrementalAlterConfigsRequest,
    incremental_alter_configs_request as incremental,
};

use crate::support::{
    Gateway,
    groups::{self, Member, await_state, describe, pair},
    offsets, str_bytes, topics, unique,
};

#[test]
fn consumer_group_persistence() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 2);

        // One stable group, one that is empty and has offsets, one that only ever had members.
        let (mut first, mut second) = pair(&gateway, "stable");
        assert_eq!(first.commit(8, "topic", 0, 3), 0);
        let mut left = Member::alone(&gateway, "empty");
        assert_eq!(left.commit(8, "topic", 1, 4), 0);
        assert_eq!(left.leave(), 0);

        gateway.crash_and_restart();
        let mut client = gateway.connect();
        let stable = describe(&mut client, "stable");
        assert_eq!(
            (&*stable.group_state, &*stable.protocol_type, &*stable.protocol_data),
            ("Stable", "consumer", "range")
        );
        let mut members: Vec<_> = stable
            .members
            .iter()
            .map(|member| {
                (member.member_id.to_string(), member.member_assignment.clone(), member.client_id.to_string())
            })
            .collect();
        members.sort_by(|left, right| left.1.cmp(&right.1));
        let expected = [
            (first.member_id.clone(), Bytes::from("one"), "tests".to_owned()),
            (second.member_id.clone(), Bytes::from("two"), "tests".to_owned()),
        ];
        assert_eq!(members, expected, "{durability}");
        let empty = describe(&mut client, "empty");
        assert_eq!((&*empty.group_state, &*empty.protocol_type, empty.members.len()), ("Empty", "consumer", 0));
        assert_eq!(offsets::fetch_all(&mut client, "empty")[0].1[0].offset, 4);

        // The members do not notice, apart from the connection.
        for member in [&mut first, &mut second] {
            member.client = gateway.connect();
            assert_eq!(member.heartbeat(), 0, "{durability}");
            assert_eq!(member.commit(8, "topic", 0, 5), 0);
        }
        assert_eq!(second.sync(&[]).assignment, &b"two"[..], "the assignment is there too");
        // The next generation is a later one.
        let mut third = Member::new(&gateway, "stable");
        third.take_member_id();
        let join = third.send_join();
        await_state(&mut client, "stable", "PreparingRebalance");
        let joins = [first.send_join(), second.send_join()];
        assert_eq!(first.receive_join(joins[0]).error_code, 0);
        assert_eq!(second.receive_join(joins[1]).error_code, 0);
        let joined = third.receive_join(join);
        assert_eq!((joined.error_code, joined.generation_id), (0, stable_generation(&first)));
        assert_eq!(*joined.leader, *first.member_id, "the leader remains");
    }
}

fn stable_generation(member: &Member) -> i32 {
    assert!(member.generation >= 3, "generation {} after two rebalances", member.generation);
    member.generation
}

#[test]
fn a_member_that_stays_away_after_a_crash_is_removed_in_time() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut member = Member::new(&gateway, "group");
    member.session_timeout_ms = 6000;
    member.join_and_sync_alone();
    gateway.crash_and_restart();
    let mut client = gateway.connect();
    assert_eq!(&*describe(&mut client, "group").group_state, "Stable");
    await_state(&mut client, "group", "Empty");
    member.client = gateway.connect();
    assert_eq!(member.heartbeat(), UNKNOWN_MEMBER_ID);
}

#[test]
fn a_crash_within_a_rebalance_lets_members_rejoin() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut first = Member::alone(&gateway, "group");
    let generation = first.generation;
    let mut second = Member::new(&gateway, "group");
    second.take_member_id();
    second.send_join();
    await_state(&mut gateway.connect(), "group", "PreparingRebalance");
    gateway.crash_and_restart();

    // The one that was in the group goes on; the one that was joining begins anew.
    first.client = gateway.connect();
    assert_eq!(first.heartbeat(), 0);
    assert_eq!(first.generation, generation);
    let mut second = Member::new(&gateway, "group");
    second.take_member_id();
    let join = second.send_join();
    await_state(&mut gateway.connect(), "group", "PreparingRebalance");
    assert_eq!(first.join().error_code, 0);
    assert_eq!(second.receive_join(join).error_code, 0);
    assert!(first.generation > generation);
}

#[test]
fn two_members_share_a_group_until_one_leaves() {
    let gateway = Gateway::start();
    let group = unique("group");
    let (mut first, mut second) = pair(&gateway, &group);
    assert_eq!((first.heartbeat(), second.heartbeat()), (0, 0));
    assert_eq!(first.leave(), 0);
    assert_eq!(first.heartbeat(), UNKNOWN_MEMBER_ID);
    assert_eq!(second.heartbeat(), REBALANCE_IN_PROGRESS);
    let joined = second.join();
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(second.sync(&[(second.member_id.clone(), Bytes::from("all"))]).assignment, &b"all"[..]);
    assert_eq!(second.leave(), 0);
    let described = describe(&mut second.client, &group);
    assert_eq!((&*described.group_state, described.members.len()), ("Empty", 0));
}

#[test]
fn a_silent_member_is_removed() {
    let gateway = Gateway::start();
    let group = unique("group");
    let mut member = Member::new(&gateway, &group);
    member.session_timeout_ms = 6000;
    member.join_and_sync_alone();
    let mut client = gateway.connect();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(member.heartbeat(), 0);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(&*describe(&mut client, &group).group_state, "Stable", "a heartbeat begins the time anew");
    await_state(&mut client, &group, "Empty");
    assert_eq!(member.heartbeat(), UNKNOWN_MEMBER_ID);
}

#[test]
fn wrong_joins_are_refused() {
    let gateway = Gateway::start();
    let group = unique("group");
    let mut member = Member::alone(&gateway, &group);
    let mut client = gateway.connect();
    let good = Member::new(&gateway, &group).join_request();
    let mut code = |request: &kafka_protocol::messages::JoinGroupRequest| client.call(9, request).error_code;
    assert_eq!(code(&good.clone().with_group_id(Default::default())), INVALID_GROUP_ID);
    for timeout in [-1, 0, 5999, 1_800_001, i32::MAX] {
        assert_eq!(code(&good.clone().with_session_timeout_ms(timeout)), INVALID_SESSION_TIMEOUT, "{timeout}");
    }
    let id = |id: &str| crate::support::str_bytes(id);
    assert_eq!(code(&good.clone().with_member_id(id("stranger"))), UNKNOWN_MEMBER_ID);
    assert_eq!(code(&good.clone().with_protocol_type(id("other"))), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(code(&good.clone().with_protocols(vec![])), INCONSISTENT_GROUP_PROTOCOL);
    // The group lives on undisturbed.
    assert_eq!(member.heartbeat(), 0);
}

#[test]
fn group_ids_may_be_any_text() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let longest = unique("g") + &"x".repeat(32_000);
    for group in [&unique("../../etc/passwd"), &unique("a b\u{0}\u{1f980}\n%2F"), &unique("."), &longest] {
        offsets::await_coordinator(&mut client, group);
        offsets::commit(&mut client, group, &topic, 0, 5);
        assert_eq!(offsets::fetch_all(&mut client, group)[0].1[0].offset, 5);
        let mut member = Member::alone(&gateway, group);
        assert_eq!(member.commit(8, &topic, 0, 6), 0);
        assert_eq!(member.leave(), 0);
        assert_eq!(&*groups::describe(&mut client, group).group_state, "Empty");
    }
}

const INVALID_GROUP_ID: i16 = 24;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const REBALANCE_IN_PROGRESS: i16 = 27;

#[test]
fn group_configs_hold_after_a_crash() {
    let mut gateway = Gateway::start();
    let group = unique("group");
    let config = incremental::AlterableConfig::default()
        .with_name(str_bytes("consumer.heartbeat.interval.ms"))
        .with_value(Some(str_bytes("7000")));
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(32)
        .with_resource_name(str_bytes(&group))
        .with_configs(vec![config]);
    let alter = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(gateway.connect().call(1, &alter).responses[0].error_code, 0);
    let beat = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(str_bytes(&group)))
        .with_member_id(str_bytes("member"))
        .with_rebalance_timeout_ms(5000)
        .with_subscribed_topic_names(Some(Vec::new()))
        .with_topic_partitions(Some(Vec::new()));
    assert_eq!(gateway.connect().call(1, &beat).heartbeat_interval_ms, 7000);
    gateway.crash_and_restart();
    assert_eq!(gateway.connect().call(1, &beat).heartbeat_interval_ms, 7000);
}
