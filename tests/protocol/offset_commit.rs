//! OffsetCommit at every version, with what that version carries, and each of its errors.

use bytes::Bytes;

use crate::support::{
    Client, Gateway,
    groups::{self, Member},
    legacy,
    offsets::{self, Committed, commit_codes, commit_partition, commit_request, commit_topic, fetch, fetch_all},
    str_bytes, topics, unique,
};

#[test]
fn offset_commit_v0() {
    let gateway = Gateway::options().start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 2);
    let commit = [(0, 10, Some("ten")), (1, 20, None), (2, 30, Some("no such partition"))];
    let codes = legacy::offset_commit(&mut client, "g", None, &topic, &commit);
    assert_eq!(codes, [(0, 0), (1, 0), (2, UNKNOWN_TOPIC_OR_PARTITION)]);
    let expected = vec![Committed::new(0, 10, -1, "ten"), Committed::new(1, 20, -1, "")];
    assert_eq!(fetch_all(&mut client, "g"), [(topic, expected)]);
}

#[test]
fn offset_commit_v1() {
    let gateway = Gateway::options().start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 2);
    let commit = [(0, 10, Some("ten")), (1, 20, None), (2, 30, Some("no such partition"))];
    let codes = legacy::offset_commit(&mut client, "g", Some((-1, "")), &topic, &commit);
    assert_eq!(codes, [(0, 0), (1, 0), (2, UNKNOWN_TOPIC_OR_PARTITION)]);
    let expected = vec![Committed::new(0, 10, -1, "ten"), Committed::new(1, 20, -1, "")];
    assert_eq!(fetch_all(&mut client, "g"), [(topic.clone(), expected)]);

    // The first version with a generation and a member.
    let mut member = Member::alone(&gateway, "h");
    let as_member = Some((member.generation, &*member.member_id));
    assert_eq!(legacy::offset_commit(&mut member.client, "h", as_member, &topic, &[(0, 1, None)]), [(0, 0)]);
    let stale = Some((member.generation - 1, &*member.member_id));
    let codes = legacy::offset_commit(&mut member.client, "h", stale, &topic, &[(0, 2, None)]);
    assert_eq!(codes, [(0, ILLEGAL_GENERATION)]);
    assert_eq!(fetch_all(&mut client, "h"), [(topic, vec![Committed::new(0, 1, -1, "")])]);
}

#[test]
fn offset_commit_v2() {
    commits_at(2);
}

#[test]
fn offset_commit_v3() {
    commits_at(3);
}

#[test]
fn offset_commit_v4() {
    commits_at(4);
}

#[test]
fn offset_commit_v5() {
    commits_at(5);
}

#[test]
fn offset_commit_v6() {
    commits_at(6);
}

#[test]
fn offset_commit_v7() {
    commits_at(7);
}

#[test]
fn offset_commit_v8() {
    commits_at(8);
}

#[test]
fn offset_commit_v9() {
    commits_at(9);
}

/// What every version from 2 on does, and what it carries.
fn commits_at(version: i16) {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let (group, topic, other) = (unique("group"), unique("topic-a"), unique("topic-b"));
    offsets::await_coordinator(&mut client, &group);
    topics::create(&mut client, &topic, 3);
    topics::create(&mut client, &other, 1);

    // The leader epoch came with version 6 (KIP-320).
    let epoch = if version >= 6 { 0 } else { -1 };
    let with_epoch = commit_partition(1, 20, None).with_committed_leader_epoch(epoch);
    let asked = vec![
        commit_topic(&other, vec![commit_partition(0, 7, Some(""))]),
        commit_topic(&topic, vec![with_epoch, commit_partition(0, 10, Some("ten, ü"))]),
    ];
    // Versions 2 to 4 carry a retention of their own; -1 is the broker's.
    let request = commit_request(&group, asked).with_retention_time_ms(-1);
    assert_eq!(commit_codes(&mut client, version, &request), [0, 0, 0]);
    let first = (topic.clone(), vec![Committed::new(0, 10, -1, "ten, ü"), Committed::new(1, 20, epoch, "")]);
    let second = (other, vec![Committed::new(0, 7, -1, "")]);
    assert_eq!(fetch_all(&mut client, &group), [first, second.clone()]);

    // A commit replaces offset, epoch and metadata together, and may go back.
    let back = vec![commit_topic(&topic, vec![commit_partition(0, 4, None)])];
    assert_eq!(commit_codes(&mut client, version, &commit_request(&group, back)), [0]);
    let first = (topic.clone(), vec![Committed::new(0, 4, -1, ""), Committed::new(1, 20, epoch, "")]);
    assert_eq!(fetch_all(&mut client, &group), [first, second]);

    // No topics: nothing happens, and nothing is wrong.
    assert!(commit_codes(&mut client, version, &commit_request(&group, vec![])).is_empty());

    commits_as_a_member(&gateway, version, &topic);
}

fn commits_as_a_member(gateway: &Gateway, version: i16, topic: &str) {
    let group = unique("members");
    let mut member = Member::new(gateway, &group);
    if version >= 7 {
        // Static members (KIP-345).
        member = member.with_instance_id("instance");
    }
    member.join_and_sync_alone();
    assert_eq!(member.commit(version, topic, 2, 42), 0);
    member.generation -= 1;
    assert_eq!(member.commit(version, topic, 2, 43), ILLEGAL_GENERATION);
    assert_eq!(fetch_all(&mut member.client, &group), [(topic.to_owned(), vec![Committed::new(2, 42, -1, "")])]);
}

#[test]
fn offset_commit_errors() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 2);
    offsets::await_coordinator(&mut client, "any");
    for version in 2..=9 {
        an_unknown_topic_or_partition_leaves_the_others(&mut client, version, &topic);
        metadata_above_the_limit_leaves_the_others(&mut client, version, &topic);
        a_generation_of_no_group_is_refused(&mut client, version, &topic);
        an_odd_offset_is_kept_as_it_is(&mut client, version, &topic);
        outsiders_are_refused(&gateway, version, &topic);
    }
    static_members_are_fenced(&gateway, &topic);
    a_commit_within_a_rebalance(&gateway, &topic);
}

fn an_unknown_topic_or_partition_leaves_the_others(client: &mut Client, version: i16, topic: &str) {
    let group = unique("group");
    let asked = vec![
        commit_topic("no-such-topic", vec![commit_partition(0, 1, None), commit_partition(1, 1, None)]),
        commit_topic("not/a topic..", vec![commit_partition(0, 1, None)]),
        commit_topic(
            topic,
            vec![
                commit_partition(2, 1, None),
                commit_partition(1, 5, None),
                commit_partition(-1, 1, None),
                commit_partition(i32::MAX, 1, None),
            ],
        ),
    ];
    let unknown = UNKNOWN_TOPIC_OR_PARTITION;
    let mut codes = commit_codes_by_name(client, version, &commit_request(&group, asked));
    codes.sort();
    let mut expected = vec![
        ("no-such-topic".to_owned(), 0, unknown),
        ("no-such-topic".to_owned(), 1, unknown),
        ("not/a topic..".to_owned(), 0, unknown),
        (topic.to_owned(), -1, unknown),
        (topic.to_owned(), 1, 0),
        (topic.to_owned(), 2, unknown),
        (topic.to_owned(), i32::MAX, unknown),
    ];
    expected.sort();
    assert_eq!(codes, expected, "version {version}");
    assert_eq!(fetch_all(client, &group), [(topic.to_owned(), vec![Committed::new(1, 5, -1, "")])]);
}

fn metadata_above_the_limit_leaves_the_others(client: &mut Client, version: i16, topic: &str) {
    let group = unique("group");
    let (most, more) = ("m".repeat(4096), "m".repeat(4097));
    let partitions = vec![commit_partition(0, 1, Some(&more)), commit_partition(1, 2, Some(&most))];
    let request = commit_request(&group, vec![commit_topic(topic, partitions)]);
    assert_eq!(commit_codes(client, version, &request), [OFFSET_METADATA_TOO_LARGE, 0], "version {version}");
    assert_eq!(fetch_all(client, &group), [(topic.to_owned(), vec![Committed::new(1, 2, -1, &most)])]);
}

fn a_generation_of_no_group_is_refused(client: &mut Client, version: i16, topic: &str) {
    let group = unique("group");
    let request = commit_request(
        &group,
        vec![commit_topic(topic, vec![commit_partition(0, 1, None), commit_partition(1, 1, None)])],
    )
    .with_generation_id_or_member_epoch(1)
    .with_member_id(str_bytes("member"));
    // From version 9 on the client knows of groups by member epoch (KIP-848), which can be gone altogether.
    let code = if version >= 9 { GROUP_ID_NOT_FOUND } else { ILLEGAL_GENERATION };
    assert_eq!(commit_codes(client, version, &request), [code, code], "version {version}");
    assert!(fetch_all(client, &group).is_empty());
}

fn an_odd_offset_is_kept_as_it_is(client: &mut Client, version: i16, topic: &str) {
    let group = unique("group");
    let partitions = vec![commit_partition(0, i64::MAX, None), commit_partition(1, 0, None)];
    assert_eq!(commit_codes(client, version, &commit_request(&group, vec![commit_topic(topic, partitions)])), [0, 0]);
    let expected = vec![Committed::new(0, i64::MAX, -1, ""), Committed::new(1, 0, -1, "")];
    assert_eq!(fetch_all(client, &group), [(topic.to_owned(), expected)]);
}

fn outsiders_are_refused(gateway: &Gateway, version: i16, topic: &str) {
    let group = unique("group");
    let mut member = Member::alone(gateway, &group);
    let from = |generation, member_id: &str| {
        commit_request(&group, vec![commit_topic(topic, vec![commit_partition(0, 1, None)])])
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(str_bytes(member_id))
    };
    let cases = [
        (from(member.generation, "stranger"), UNKNOWN_MEMBER_ID, "a stranger in the right generation"),
        (from(-1, ""), UNKNOWN_MEMBER_ID, "no member, while the group has members"),
        (from(member.generation + 1, &member.member_id), ILLEGAL_GENERATION, "a generation to come"),
        (from(member.generation - 1, &member.member_id), ILLEGAL_GENERATION, "a generation gone by"),
    ];
    for (request, code, what) in cases {
        assert_eq!(commit_codes(&mut member.client, version, &request), [code], "version {version}: {what}");
    }
    assert!(fetch_all(&mut member.client, &group).is_empty());

    // Once all members left, anyone may commit again; a former member may not.
    assert_eq!(member.leave(), 0);
    let former = from(member.generation, &member.member_id.clone());
    assert_eq!(commit_codes(&mut member.client, version, &former), [UNKNOWN_MEMBER_ID], "version {version}");
    assert_eq!(commit_codes(&mut member.client, version, &from(-1, "")), [0], "version {version}");
}

fn static_members_are_fenced(gateway: &Gateway, topic: &str) {
    let group = unique("group");
    let mut member = Member::new(gateway, &group).with_instance_id("instance");
    member.join_and_sync_alone();
    let mut successor = Member::new(gateway, &group).with_instance_id("instance");
    let joined = successor.join();
    assert_eq!(joined.error_code, 0, "{joined:?}");
    for version in 7..=9 {
        assert_eq!(member.commit(version, topic, 0, 1), FENCED_INSTANCE_ID, "version {version}");
        member.instance_id = Some("nobody".to_owned());
        assert_eq!(member.commit(version, topic, 0, 1), UNKNOWN_MEMBER_ID, "version {version}");
        member.instance_id = Some("instance".to_owned());
    }
    // The same subscription: the successor took the place without a rebalance.
    assert_eq!(successor.commit(9, topic, 0, 2), 0);
}

fn a_commit_within_a_rebalance(gateway: &Gateway, topic: &str) {
    let group = unique("group");
    let (mut first, mut second) = groups::pair(gateway, &group);
    let old_generation = second.generation;
    // A member joins again with another subscription: members may still commit what they read before they join.
    let join = first.send_join();
    groups::await_state(&mut gateway.connect(), &group, "PreparingRebalance");
    assert_eq!(second.commit(8, topic, 0, 11), 0, "PreparingRebalance");
    assert_eq!(second.join().error_code, 0);
    assert_eq!(first.receive_join(join).error_code, 0);
    assert_eq!(first.generation, old_generation + 1);

    // Joined, and without an assignment yet.
    assert_eq!(second.commit(8, topic, 0, 12), REBALANCE_IN_PROGRESS, "CompletingRebalance");
    second.generation = old_generation;
    assert_eq!(second.commit(8, topic, 0, 13), ILLEGAL_GENERATION);
    second.generation = first.generation;
    let sync = second.send_sync(&[]);
    assert_eq!(first.sync(&[(first.member_id.clone(), Bytes::new())]).error_code, 0);
    assert_eq!(second.receive_sync(sync).error_code, 0);
    assert_eq!(second.commit(8, topic, 0, 14), 0, "Stable");
    let found = fetch(&mut second.client, 8, &group, Some(&[(topic, &[0])]));
    assert_eq!(found, [(topic.to_owned(), vec![Committed::new(0, 14, -1, "")])]);
}

/// What was committed, and only that, is there after a kill -9: in one group and in many, with all that goes with it.
#[test]
fn offset_commit_persistence() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 3);
        let commit = |client: &mut Client, group: &str, offset: i64| {
            let partition = commit_partition(1, offset, Some("it")).with_committed_leader_epoch(0);
            let topics = vec![commit_topic("topic", vec![partition])];
            assert_eq!(commit_codes(client, 9, &commit_request(group, topics)), [0]);
        };
        let names: Vec<_> = (0..40).map(|number| format!("group-{number}")).collect();
        let odd = "any / bytes \u{1} ü ..";
        for group in names.iter().map(String::as_str).chain([odd]) {
            commit(&mut client, group, 5);
        }
        let committed = |offset| vec![("topic".to_owned(), vec![Committed::new(1, offset, 0, "it")])];
        for round in 0..3 {
            gateway.crash_and_restart();
            let mut client = gateway.connect();
            for group in names.iter().map(String::as_str).chain([odd]) {
                assert_eq!(fetch_all(&mut client, group), committed(5 + round), "{durability}, {group}");
                commit(&mut client, group, 6 + round);
            }
            let refused = commit_request(odd, vec![commit_topic("topic", vec![commit_partition(9, 1, None)])]);
            assert_eq!(commit_codes(&mut client, 8, &refused), [UNKNOWN_TOPIC_OR_PARTITION]);
        }
    }
}

fn commit_codes_by_name(
    client: &mut Client,
    version: i16,
    request: &kafka_protocol::messages::OffsetCommitRequest,
) -> Vec<(String, i32, i16)> {
    let response = client.call(version, request);
    let topics = response.topics.iter();
    topics
        .flat_map(|topic| {
            let name = topic.name.to_string();
            topic
                .partitions
                .iter()
                .map(move |partition| (name.clone(), partition.partition_index, partition.error_code))
        })
        .collect()
}

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER_ID: i16 = 25;
const REBALANCE_IN_PROGRESS: i16 = 27;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_INSTANCE_ID: i16 = 82;
