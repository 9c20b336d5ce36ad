//! OffsetFetch at every version: some partitions, all of them, groups that nobody knows; and its errors.

use crate::support::{
    Client, Gateway,
    groups::Member,
    legacy,
    offsets::{
        self, ByTopic, Committed, commit_codes, commit_partition, commit_request, commit_topic, fetch, fetch_all,
        fetch_group, fetch_groups, fetch_request, sorted,
    },
    str_bytes, topics, unique,
};

#[test]
fn offset_fetch_v0() {
    let gateway = Gateway::options().start();
    let mut client = gateway.connect();
    let committed = Fixture::commit(&mut client);
    let (group, topic) = (&*committed.group, &*committed.topic);
    let expected = [Committed::none(2), Committed::new(0, 10, -1, "ten"), Committed::none(99)];
    assert_eq!(legacy::offset_fetch_v0(&mut client, group, topic, &[2, 0, 99]), expected);
    assert_eq!(legacy::offset_fetch_v0(&mut client, group, "unknown", &[0]), [Committed::none(0)]);
    assert_eq!(legacy::offset_fetch_v0(&mut client, "unknown", topic, &[0]), [Committed::none(0)]);
    assert_eq!(legacy::offset_fetch_v0(&mut client, "unknown", topic, &[]), []);

    // No topics ask for all of them, as there is no null.
    let one_topic = unique("group");
    offsets::commit(&mut client, &one_topic, topic, 1, 3);
    assert_eq!(legacy::offset_fetch_v0(&mut client, &one_topic, topic, &[]), [Committed::new(1, 3, -1, "")]);
}

#[test]
fn offset_fetch_v1() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let committed = Fixture::commit(&mut client);
    fetches_what_is_named(&mut client, 1, &committed);
    if !gateway.is_kafka() {
        // No topics ask for all of them, as there is no null. (Kafka answers none.)
        assert_eq!(sorted(fetch(&mut client, 1, &committed.group, Some(&[]))), committed.all(-1));
    }
    assert_eq!(fetch(&mut client, 1, &unique("unknown"), Some(&[])), []);
}

#[test]
fn offset_fetch_v2() {
    fetches_at(2);
}

#[test]
fn offset_fetch_v3() {
    fetches_at(3);
}

#[test]
fn offset_fetch_v4() {
    fetches_at(4);
}

#[test]
fn offset_fetch_v5() {
    fetches_at(5);
}

#[test]
fn offset_fetch_v6() {
    fetches_at(6);
}

#[test]
fn offset_fetch_v7() {
    fetches_at(7);
    fetches_stable_offsets(7);
}

#[test]
fn offset_fetch_v8() {
    fetches_at(8);
    fetches_stable_offsets(8);
    fetches_many_groups(8);
}

#[test]
fn offset_fetch_v9() {
    fetches_at(9);
    fetches_stable_offsets(9);
    fetches_many_groups(9);
}

/// A group with two topics: of one some partitions have an offset.
struct Fixture {
    group: String,
    topic: String,
    other: String,
}

impl Fixture {
    fn commit(client: &mut Client) -> Self {
        let fixture = Self { group: unique("group"), topic: unique("topic-a"), other: unique("topic-b") };
        offsets::await_coordinator(client, &fixture.group);
        topics::create(client, &fixture.topic, 3);
        topics::create(client, &fixture.other, 1);
        let with_epoch = commit_partition(1, 20, None).with_committed_leader_epoch(0);
        let asked = vec![
            commit_topic(&fixture.topic, vec![commit_partition(0, 10, Some("ten")), with_epoch]),
            commit_topic(&fixture.other, vec![commit_partition(0, 0, Some("ü"))]),
        ];
        assert_eq!(commit_codes(client, 8, &commit_request(&fixture.group, asked)), [0, 0, 0]);
        fixture
    }

    /// All that was committed, with the leader epoch that the version tells.
    fn all(&self, epoch: i32) -> ByTopic {
        vec![
            (self.topic.clone(), vec![Committed::new(0, 10, -1, "ten"), Committed::new(1, 20, epoch, "")]),
            (self.other.clone(), vec![Committed::new(0, 0, -1, "ü")]),
        ]
    }
}

/// What every version from 2 on answers.
fn fetches_at(version: i16) {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let committed = Fixture::commit(&mut client);
    fetches_what_is_named(&mut client, version, &committed);
    // Null asks for all, the empty list for none.
    let all = fetch(&mut client, version, &committed.group, None);
    assert_eq!(sorted(all), committed.all(epoch_at(version)));
    assert_eq!(fetch(&mut client, version, &committed.group, Some(&[])), []);
    assert_eq!(fetch(&mut client, version, &unique("unknown"), None), [], "an unknown group has none");
    assert_eq!(fetch(&mut client, version, &unique("unknown"), Some(&[])), []);
}

/// Exactly the partitions that were named, in their order; -1 for what has no offset, and never an error for it.
fn fetches_what_is_named(client: &mut Client, version: i16, committed: &Fixture) {
    let (topic, other) = (&*committed.topic, &*committed.other);
    let found =
        fetch(client, version, &committed.group, Some(&[(other, &[0]), ("unknown", &[3]), (topic, &[2, 1, 99])]));
    let expected = [
        (other.to_owned(), vec![Committed::new(0, 0, -1, "ü")]),
        ("unknown".to_owned(), vec![Committed::none(3)]),
        (topic.to_owned(), vec![Committed::none(2), Committed::new(1, 20, epoch_at(version), ""), Committed::none(99)]),
    ];
    assert_eq!(found, expected);
    let found = fetch(client, version, &unique("unknown"), Some(&[(topic, &[0, 1])]));
    assert_eq!(found, [(topic.to_owned(), vec![Committed::none(0), Committed::none(1)])]);
}

/// The leader epoch came with version 5 (KIP-320).
fn epoch_at(version: i16) -> i32 {
    if version >= 5 { 0 } else { -1 }
}

/// Without transactions everything is stable (KIP-447).
fn fetches_stable_offsets(version: i16) {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let committed = Fixture::commit(&mut client);
    let request = if version < 8 {
        fetch_request(version, &committed.group, None)
    } else {
        let groups = vec![fetch_group(&committed.group, None)];
        kafka_protocol::messages::OffsetFetchRequest::default().with_groups(groups)
    };
    let stable = client.call(version, &request.clone().with_require_stable(true));
    let any = client.call(version, &request);
    let sizes = |response: &kafka_protocol::messages::OffsetFetchResponse| {
        (
            response.error_code,
            response.topics.len() + response.groups.iter().map(|group| group.topics.len()).sum::<usize>(),
        )
    };
    assert_eq!((sizes(&stable), sizes(&any)), ((0, 2), (0, 2)));
}

/// Several groups in one request, each with its own question (KIP-709).
fn fetches_many_groups(version: i16) {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let one = Fixture::commit(&mut client);
    let two = Fixture::commit(&mut client);
    let unknown = unique("unknown");
    let groups = vec![
        fetch_group(&two.group, Some(&[(&*two.topic, &[1])])),
        fetch_group(&unknown, None),
        fetch_group(&one.group, None),
        fetch_group(&unknown, Some(&[(&*one.topic, &[0])])),
        fetch_group(&one.group, Some(&[(&*two.topic, &[1])])),
    ];
    let found = fetch_groups(&mut client, version, groups);
    let expected = [
        (0, vec![(two.topic.clone(), vec![Committed::new(1, 20, 0, "")])]),
        (0, vec![]),
        (0, one.all(0)),
        (0, vec![(one.topic.clone(), vec![Committed::none(0)])]),
        (0, vec![(two.topic.clone(), vec![Committed::none(1)])]),
    ];
    assert_eq!(found.into_iter().map(|(code, topics)| (code, sorted(topics))).collect::<Vec<_>>(), expected);
    assert!(fetch_groups(&mut client, version, vec![]).is_empty());
}

#[test]
fn offset_fetch_errors() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let committed = Fixture::commit(&mut client);
    let topic = &*committed.topic;

    // Nothing is wrong with the empty group id here.
    for version in 1..=9 {
        let found = fetch(&mut client, version, "", Some(&[(topic, &[0])]));
        assert_eq!(found, [(topic.to_owned(), vec![Committed::none(0)])], "version {version}");
    }

    // Version 9 may say who asks (KIP-848); a classic group does not mind, whoever it is.
    let group = unique("classic");
    let mut member = Member::alone(&gateway, &group);
    assert_eq!(member.commit(8, topic, 0, 5), 0);
    for (member_id, epoch) in [(&*member.member_id.clone(), member.generation), ("stranger", 7)] {
        let asked = fetch_group(&group, None).with_member_id(Some(str_bytes(member_id))).with_member_epoch(epoch);
        let (code, found) = fetch_groups(&mut client, 9, vec![asked]).remove(0);
        assert_eq!((code, found), (0, vec![(topic.to_owned(), vec![Committed::new(0, 5, -1, "")])]));
    }
    let unknown = unique("unknown");
    let asked = fetch_group(&unknown, Some(&[(topic, &[0])]));
    let asked = asked.with_member_id(Some(str_bytes("stranger"))).with_member_epoch(7);
    let (code, found) = fetch_groups(&mut client, 9, vec![asked]).remove(0);
    assert_eq!((code, found), (0, vec![(topic.to_owned(), vec![Committed::none(0)])]));

    // To ask for a group does not make it.
    assert_eq!(fetch_all(&mut client, &unknown), []);
    let described = crate::support::groups::describe(&mut client, &unknown);
    assert_eq!(&*described.group_state, "Dead");

    // Partitions that cannot be, names that cannot be, and one asked for twice: answered as they were asked for.
    for version in 1..=9 {
        let found = fetch(&mut client, version, &committed.group, Some(&[("../x", &[i32::MIN, -1]), (topic, &[0, 0])]));
        let twice = Committed::new(0, 10, -1, "ten");
        let expected = [
            ("../x".to_owned(), vec![Committed::none(i32::MIN), Committed::none(-1)]),
            (topic.to_owned(), vec![twice.clone(), twice]),
        ];
        assert_eq!(found, expected, "version {version}");
    }
}
