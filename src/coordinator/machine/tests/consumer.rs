//! Groups of the consumer protocol (KIP-848).

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

impl Harness {
    /// Gives the world topics of these sizes.
    pub(super) fn set_topics(&mut self, topics: &[(&str, i32)]) {
        let shape = |(name, partitions): &(&str, i32)| {
            (TopicName::from(*name), TopicShape { id: topic_id(name), partitions: *partitions })
        };
        self.topics = Arc::new(topics.iter().map(shape).collect());
    }

    pub(super) fn consumer_beat(
        &mut self,
        request: ConsumerHeartbeatRequest,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        let uuid = Uuid::from_u128(u128::from(self.tokens) + 1);
        let token = self.ask(Request::ConsumerHeartbeat(Box::new(request), uuid, Arc::clone(&self.topics) as _));
        match self.reply(token) {
            Reply::ConsumerHeartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn consumer_error(&mut self, request: ConsumerHeartbeatRequest) -> GroupError {
        self.consumer_beat(request).unwrap_err().error
    }

    pub(super) fn described(&mut self) -> DescribedConsumerGroup {
        let token = self.ask(Request::DescribeConsumer(vec!["g".into()], Arc::clone(&self.topics) as _));
        match self.reply(token) {
            Reply::DescribeConsumer(Ok(mut groups)) => groups.remove(0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn fetch_offsets(&self, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        let member = MemberEpoch { member_id: member_id.map(Arc::from), epoch };
        self.machine.validate_fetch(&FetchOffsetsRequest { group_id: "g".into(), partitions: None, member })
    }
}

pub(super) fn topic_id(name: &str) -> TopicId {
    TopicId::from_u128(name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte)))
}

pub(super) fn partitions(of: &[(&str, &[i32])]) -> Partitions {
    of.iter().flat_map(|(name, indexes)| indexes.iter().map(|index| (topic_id(name), *index))).collect()
}

pub(super) fn joining(member_id: &str, topics: &[&str]) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        rebalance_timeout_ms: Some(60_000),
        topics: Some(topics.iter().map(|name| TopicName::from(*name)).collect()),
        owned: Some(Partitions::default()),
        ..beat(member_id, 0)
    }
}

pub(super) fn beat(member_id: &str, epoch: i32) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        group_id: "g".into(),
        requires_member_id: true,
        member_id: member_id.into(),
        member_epoch: epoch,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..ConsumerHeartbeatRequest::default()
    }
}

fn owning(member_id: &str, epoch: i32, owned: Partitions) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest { owned: Some(owned), ..beat(member_id, epoch) }
}

fn of_instance(instance_id: &str, request: ConsumerHeartbeatRequest) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest { group_instance_id: Some(instance_id.into()), ..request }
}

/// A group of one member with four partitions.
fn alone() -> Harness {
    let mut h = Harness::new();
    h.set_topics(&[("t", 4)]);
    let joined = h.consumer_beat(joining("a", &["t"])).unwrap();
    assert_eq!((joined.member_epoch, joined.heartbeat_interval_ms), (1, 5_000));
    assert_eq!(joined.assignment, Some(partitions(&[("t", &[0, 1, 2, 3])])));
    h
}

#[test]
fn whatever_a_heartbeat_says_anew_is_heard() {
    let mut h = alone();
    h.set_topics(&[("t", 4), ("u", 1)]);
    let epoch = h.consumer_beat(beat("a", 1)).unwrap().member_epoch;
    let stored = |h: &Harness| {
        let consumer = h.stored.groups.get("g").and_then(|group| group.consumer.clone()).unwrap();
        ConsumerMember::clone(&consumer.members["a"])
    };
    let before = stored(&h);
    assert_eq!(h.consumer_beat(beat("a", epoch)).unwrap().assignment, None);
    assert!(h.records.is_empty());
    let request = |change: &dyn Fn(&mut ConsumerHeartbeatRequest)| {
        let mut request = beat("a", epoch);
        change(&mut request);
        request
    };
    type Change<T> = Box<dyn Fn(&mut T)>;
    let changes: Vec<(Change<ConsumerHeartbeatRequest>, Change<ConsumerMember>)> = vec![
        (Box::new(|r| r.rack_id = Some("r".into())), Box::new(|m| m.rack_id = Some("r".into()))),
        (Box::new(|r| r.client_id = "other".into()), Box::new(|m| m.client_id = "other".into())),
        (Box::new(|r| r.client_host = "/::1".into()), Box::new(|m| m.client_host = "/::1".into())),
        (Box::new(|r| r.rebalance_timeout_ms = Some(7)), Box::new(|m| m.rebalance_timeout_ms = 7)),
        (Box::new(|r| r.assignor = Some("range".into())), Box::new(|m| m.assignor = Some("range".into()))),
    ];
    let mut expected = before;
    for (say, means) in changes {
        h.consumer_beat(request(&say)).unwrap();
        means(&mut expected);
        assert_eq!(stored(&h), expected);
        // Client id and host are said each time.
        (expected.client_id, expected.client_host) = ("client".into(), "/127.0.0.1".into());
    }
    let subscribed = h.consumer_beat(request(&|r| r.topics = Some(["t".into(), "u".into()].into()))).unwrap();
    assert_eq!(subscribed.member_epoch, epoch + 1);
    assert_eq!(subscribed.assignment, Some(partitions(&[("t", &[0, 1, 2, 3]), ("u", &[0])])));
    assert_eq!(h.consumer_error(of_instance("i", beat("a", epoch + 1))), GroupError::UnknownMemberId);
    assert_eq!(h.consumer_error(beat("a", epoch + 2)), GroupError::FencedMemberEpoch);
    // All of it once more changes nothing, and asks for the assignment.
    let full = ConsumerHeartbeatRequest {
        topics: Some(["t".into(), "u".into()].into()),
        rebalance_timeout_ms: Some(7),
        owned: Some(Partitions::default()),
        ..beat("a", epoch + 1)
    };
    assert_eq!(h.consumer_beat(full).unwrap().assignment, Some(partitions(&[("t", &[0, 1, 2, 3]), ("u", &[0])])));
    assert!(h.records.is_empty());
}

#[test]
fn heartbeats_that_wait_for_others_write_nothing() {
    let mut h = alone();
    let second = h.consumer_beat(joining("b", &["t"])).unwrap();
    h.consumer_beat(beat("a", 1)).unwrap();
    // That its answer has arrived is noted once.
    h.consumer_beat(beat("b", second.member_epoch)).unwrap();
    for _ in 0..3 {
        assert_eq!(h.consumer_beat(beat("b", second.member_epoch)).unwrap().assignment, None);
        assert!(h.records.is_empty());
        assert_eq!(h.consumer_beat(beat("a", 1)).unwrap().assignment, None);
        assert!(h.records.is_empty());
    }
}

#[test]
fn a_group_has_its_own_timeout_and_interval_from_the_next_heartbeat_on() {
    let mut h = alone();
    let own = GroupOverrides { session_timeout_ms: Some(10_000), heartbeat_interval_ms: Some(700) };
    h.machine.configure("g".into(), own);
    h.advance(40_000);
    assert_eq!(h.consumer_beat(beat("a", 1)).unwrap().heartbeat_interval_ms, 700);
    h.advance(9_999);
    assert_eq!(h.described().members.len(), 1);
    h.advance(1);
    assert_eq!(h.described().members.len(), 0);
    let epoch = h.consumer_beat(joining("a", &["t"])).unwrap().member_epoch;
    h.machine.configure("g".into(), GroupOverrides::default());
    assert_eq!(h.consumer_beat(beat("a", epoch)).unwrap().heartbeat_interval_ms, 5_000);
    h.advance(44_999);
    assert_eq!(h.described().members.len(), 1);
}

#[test]
fn a_restored_group_has_its_own_timeout_at_once() {
    let h = alone();
    let mut config = config();
    config.consumer.configure("g".into(), GroupOverrides { session_timeout_ms: Some(1_000), ..Default::default() });
    let machine = h.stored.restore(config, h.now);
    assert_eq!(machine.next_timer_ms(), Some(h.now.monotonic_ms + 1_000));
}

#[test]
fn two_members_share_without_ever_owning_the_same() {
    let mut h = alone();
    let second = h.consumer_beat(joining("b", &["t"])).unwrap();
    assert_eq!((second.member_epoch, second.assignment), (2, Some(Partitions::default())));
    assert_eq!(h.described().state, ConsumerGroupState::Reconciling);
    // The first hears of it with its next heartbeat, and stays in its epoch until it gave back.
    let told = h.consumer_beat(beat("a", 1)).unwrap();
    assert_eq!((told.member_epoch, told.assignment), (1, Some(partitions(&[("t", &[0, 1])]))));
    assert_eq!(h.consumer_beat(beat("b", 2)).unwrap().assignment, None);
    assert_eq!(h.consumer_beat(beat("a", 1)).unwrap().assignment, None);
    let gave_back = h.consumer_beat(owning("a", 1, partitions(&[("t", &[0, 1])]))).unwrap();
    assert_eq!((gave_back.member_epoch, gave_back.assignment), (2, None));
    let got = h.consumer_beat(beat("b", 2)).unwrap();
    assert_eq!((got.member_epoch, got.assignment), (2, Some(partitions(&[("t", &[2, 3])]))));
    assert_eq!(h.described().state, ConsumerGroupState::Stable);
    // Nothing is written while nothing changes.
    h.consumer_beat(beat("a", 2)).unwrap();
    assert_eq!(h.records, []);
}

#[test]
fn a_group_goes_on_in_its_epoch_after_a_restart() {
    let mut h = alone();
    h.restart();
    let beat_after = h.consumer_beat(beat("a", 1)).unwrap();
    assert_eq!((beat_after.member_epoch, beat_after.assignment), (1, None));
    assert_eq!(h.records, []);
    h.advance(44_999);
    assert_eq!(h.described().members.len(), 1);
    h.advance(45_000);
    assert_eq!((h.described().state, h.described().epoch), (ConsumerGroupState::Empty, 2));
}

#[test]
fn a_member_that_is_silent_loses_its_partitions_to_the_others() {
    let mut h = alone();
    h.consumer_beat(joining("b", &["t"])).unwrap();
    h.advance(40_000);
    h.consumer_beat(beat("b", 2)).unwrap();
    h.advance(10_000);
    assert_eq!(h.described().state, ConsumerGroupState::Assigning);
    let got = h.consumer_beat(beat("b", 2)).unwrap();
    assert_eq!((got.member_epoch, got.assignment), (3, Some(partitions(&[("t", &[0, 1, 2, 3])]))));
    assert_eq!(h.consumer_error(beat("a", 1)), GroupError::UnknownMemberId);
}

#[test]
fn a_member_that_does_not_give_back_in_time_is_removed() {
    let mut h = alone();
    h.consumer_beat(joining("b", &["t"])).unwrap();
    h.consumer_beat(beat("a", 1)).unwrap();
    for _ in 0..6 {
        h.advance(9_999);
        h.consumer_beat(beat("b", 2)).unwrap();
        h.consumer_beat(beat("a", 1)).unwrap();
    }
    h.advance(6);
    assert_eq!(h.consumer_error(beat("a", 1)), GroupError::UnknownMemberId);
    assert_eq!(h.consumer_beat(beat("b", 2)).unwrap().assignment, Some(partitions(&[("t", &[0, 1, 2, 3])])));
}

#[test]
fn a_topic_that_comes_or_grows_is_assigned_with_the_next_heartbeat() {
    let mut h = Harness::new();
    let joined = h.consumer_beat(joining("a", &["t", "u"])).unwrap();
    assert_eq!((joined.member_epoch, joined.assignment), (1, Some(Partitions::default())));
    h.set_topics(&[("t", 1), ("x", 1)]);
    let after = h.consumer_beat(beat("a", 1)).unwrap();
    assert_eq!((after.member_epoch, after.assignment), (2, Some(partitions(&[("t", &[0])]))));
    h.set_topics(&[("t", 2), ("u", 1)]);
    let after = h.consumer_beat(beat("a", 2)).unwrap();
    assert_eq!((after.member_epoch, after.assignment), (3, Some(partitions(&[("t", &[0, 1]), ("u", &[0])]))));
    // A topic that nobody wants changes nothing.
    h.set_topics(&[("t", 2), ("u", 1), ("x", 3)]);
    assert_eq!(h.consumer_beat(beat("a", 3)).unwrap().member_epoch, 3);
    assert_eq!(h.records, []);
}

#[test]
fn an_expression_subscribes_to_every_topic_whose_whole_name_it_matches() {
    let mut h = Harness::new();
    h.set_topics(&[("ab", 1), ("abc", 1), ("b", 1)]);
    let regex =
        |regex: &str| ConsumerHeartbeatRequest { topics: None, regex: Some(regex.to_owned()), ..joining("a", &[]) };
    let joined = h.consumer_beat(regex("ab|b.*")).unwrap();
    assert_eq!(joined.assignment, Some(partitions(&[("ab", &[0]), ("b", &[0])])));
    h.set_topics(&[("ab", 1), ("abc", 1), ("b", 1), ("bb", 1)]);
    let wanted = partitions(&[("ab", &[0]), ("b", &[0]), ("bb", &[0])]);
    assert_eq!(h.consumer_beat(beat("a", 1)).unwrap().assignment, Some(wanted));
    assert_eq!(h.consumer_error(regex("[")), GroupError::InvalidRegularExpression);
}

#[test]
fn epochs_that_are_not_the_members_are_fenced() {
    let mut h = alone();
    assert_eq!(h.consumer_error(beat("a", 2)), GroupError::FencedMemberEpoch);
    assert_eq!(h.consumer_error(beat("b", 1)), GroupError::UnknownMemberId);
    h.set_topics(&[("t", 5)]);
    let grown = h.consumer_beat(beat("a", 1)).unwrap();
    assert_eq!(grown.member_epoch, 2);
    // The answer was lost: the epoch before is good, if the member says that it uses nothing else.
    assert_eq!(h.consumer_error(beat("a", 1)), GroupError::FencedMemberEpoch);
    let again = h.consumer_beat(owning("a", 1, partitions(&[("t", &[0, 1, 2, 3])]))).unwrap();
    assert_eq!(again.member_epoch, 2);
    assert_eq!(h.consumer_error(owning("a", 1, partitions(&[("u", &[0])]))), GroupError::FencedMemberEpoch);
    // And one that begins anew is let in.
    let anew = h.consumer_beat(joining("a", &["t"])).unwrap();
    assert_eq!((anew.member_epoch, anew.assignment), (2, Some(partitions(&[("t", &[0, 1, 2, 3, 4])]))));
}

#[test]
fn requests_that_no_state_makes_valid_are_refused() {
    let mut h = alone();
    let join = || joining("x", &["t"]);
    let invalid = [
        ConsumerHeartbeatRequest { group_id: "".into(), ..join() },
        ConsumerHeartbeatRequest { member_id: "".into(), ..join() },
        of_instance(" ", join()),
        ConsumerHeartbeatRequest { rack_id: Some(String::new()), ..join() },
        ConsumerHeartbeatRequest { rebalance_timeout_ms: None, ..join() },
        ConsumerHeartbeatRequest { owned: None, ..join() },
        ConsumerHeartbeatRequest { owned: Some(partitions(&[("t", &[0])])), ..join() },
        ConsumerHeartbeatRequest { topics: None, ..join() },
        beat("a", -2),
        beat("a", -3),
    ];
    for request in invalid {
        assert_eq!(h.consumer_error(request.clone()), GroupError::InvalidRequest, "{request:?}");
    }
    let assignor = |name: &str| ConsumerHeartbeatRequest { assignor: Some(name.to_owned()), ..join() };
    let refusal = h.consumer_beat(assignor("mine")).unwrap_err();
    assert_eq!(refusal.error, GroupError::UnsupportedAssignor);
    assert_eq!(refusal.message, "ServerAssignor mine is not supported. Supported assignors: uniform, range.");
    let not_found = ConsumerHeartbeatRequest { group_id: "other".into(), ..beat("a", 1) };
    assert_eq!(h.consumer_error(not_found), GroupError::GroupIdNotFound);
    h.machine.config.consumer.size_max = 1;
    assert_eq!(h.consumer_error(join()), GroupError::GroupMaxSizeReached);
}

#[test]
fn a_static_member_keeps_its_partitions_while_it_is_away() {
    let mut h = Harness::new();
    h.set_topics(&[("t", 2)]);
    h.consumer_beat(of_instance("i", joining("a", &["t"]))).unwrap();
    h.consumer_beat(joining("b", &["t"])).unwrap();
    // Somebody else with its instance id has to wait until it left.
    assert_eq!(h.consumer_error(of_instance("i", joining("c", &["t"]))), GroupError::UnreleasedInstanceId);
    h.consumer_beat(beat("a", 1)).unwrap();
    h.consumer_beat(of_instance("i", owning("a", 1, partitions(&[("t", &[0])])))).unwrap();
    h.consumer_beat(beat("b", 2)).unwrap();
    let left = h.consumer_beat(of_instance("i", beat("a", -2))).unwrap();
    assert_eq!((left.member_epoch, left.assignment), (-2, None));
    assert_eq!(h.consumer_beat(beat("b", 2)).unwrap().assignment, None);
    h.restart();
    let back = h.consumer_beat(of_instance("i", joining("c", &["t"]))).unwrap();
    assert_eq!((back.member_epoch, back.assignment), (2, Some(partitions(&[("t", &[0])]))));
    assert_eq!(h.consumer_error(of_instance("i", beat("a", 2))), GroupError::FencedInstanceId);
    assert_eq!(h.described().members.len(), 2);
    // Who leaves for good gives all back.
    h.consumer_beat(of_instance("i", beat("c", -1))).unwrap();
    assert_eq!(h.consumer_beat(beat("b", 2)).unwrap().assignment, Some(partitions(&[("t", &[0, 1])])));
}

#[test]
fn offsets_are_for_members_in_their_epoch() {
    let mut h = alone();
    let of = |member_id: &str, epoch: i32| CommitRequest { ..commit(member_id, epoch, &["t"]) };
    assert!(h.commit(of("a", 1)).is_ok());
    assert_eq!(h.commit(of("a", 0)), Err(GroupError::StaleMemberEpoch));
    assert_eq!(h.commit(of("b", 1)), Err(GroupError::UnknownMemberId));
    assert_eq!(h.commit(of("", -1)), Err(GroupError::UnknownMemberId));
    let old = CommitRequest { knows_member_epochs: false, ..of("a", 1) };
    assert_eq!(h.commit(old), Err(GroupError::UnsupportedVersion));
    assert_eq!(h.fetch_offsets(Some("a"), 1), Ok(()));
    assert_eq!(h.fetch_offsets(None, -1), Ok(()));
    assert_eq!(h.fetch_offsets(Some("a"), 2), Err(GroupError::StaleMemberEpoch));
    assert_eq!(h.fetch_offsets(Some("b"), 1), Err(GroupError::UnknownMemberId));
    assert_eq!(h.delete_group(), Err(GroupError::NonEmptyGroup));
    let deleted = h.delete_offsets(&["t"]).unwrap();
    assert_eq!(deleted[0], Err(GroupError::GroupSubscribedToTopic));
    h.consumer_beat(beat("a", -1)).unwrap();
    assert!(h.commit(of("", -1)).is_ok());
    h.advance(99_999);
    h.expire();
    assert_eq!(h.stored.offsets.len(), 1);
    h.advance(1);
    h.expire();
    assert_eq!(h.stored, Stored::default());
}

#[test]
fn the_range_assignor_serves_when_most_members_want_it() {
    let mut h = Harness::new();
    h.set_topics(&[("t", 3), ("u", 3)]);
    let range = |id: &str| ConsumerHeartbeatRequest { assignor: Some("range".to_owned()), ..joining(id, &["t", "u"]) };
    h.consumer_beat(range("a")).unwrap();
    h.consumer_beat(range("b")).unwrap();
    let told = h.consumer_beat(beat("a", 1)).unwrap();
    assert_eq!(told.assignment, Some(partitions(&[("t", &[0, 1]), ("u", &[0, 1])])));
    assert_eq!(h.described().assignor, "range");
}

#[test]
fn an_empty_group_changes_its_protocol_and_keeps_its_offsets() {
    let mut h = alone();
    h.commit(commit("a", 1, &["t"])).unwrap();
    h.consumer_beat(beat("a", -1)).unwrap();
    let token = h.join(join(""));
    h.advance(0);
    let reply = h.joined(token);
    assert_eq!(reply.generation, 1);
    h.assign(&[reply.clone()]);
    assert_eq!(h.leave(&[(&reply.member_id, None)]), [Ok(())]);
    let joined = h.consumer_beat(joining("b", &["t"])).unwrap();
    assert_eq!(joined.member_epoch, 1);
    assert_eq!(h.stored.offsets_of("g").len(), 1);
    h.restart();
    assert_eq!(h.consumer_beat(beat("b", 1)).unwrap().member_epoch, 1);
}

/// What a client of the protocol does.
#[derive(Clone, Debug)]
enum Act {
    Join {
        member: usize,
        topics: usize,
    },
    /// A heartbeat; the answer may be lost.
    Beat {
        member: usize,
        answered: bool,
    },
    Leave {
        member: usize,
    },
    Grow {
        partitions: i32,
    },
    Wait(u64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let member = 0..4usize;
    let act = prop_oneof![
        3 => (member.clone(), 0..3usize).prop_map(|(member, topics)| Act::Join { member, topics }),
        8 => (member.clone(), prop_oneof![6 => Just(true), 1 => Just(false)])
            .prop_map(|(member, answered)| Act::Beat { member, answered }),
        1 => member.prop_map(|member| Act::Leave { member }),
        1 => (1..7).prop_map(|partitions| Act::Grow { partitions }),
        2 => prop_oneof![0..9_000u64, 0..50_000u64].prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

/// A consumer: its epoch, and what it uses; none when it is not in the group.
#[derive(Clone, Debug)]
struct Consumer {
    id: String,
    epoch: i32,
    owned: Partitions,
    topics: usize,
}

struct Run {
    h: Harness,
    consumers: Vec<Option<Consumer>>,
    lives: usize,
}

const SUBSCRIPTIONS: [&[&str]; 3] = [&["t"], &["t", "u"], &["u"]];

impl Run {
    fn act(&mut self, act: Act) {
        match act {
            Act::Join { member, topics } => self.join(member, topics),
            Act::Beat { member, answered } => self.beat(member, answered),
            Act::Leave { member } => {
                if let Some(consumer) = self.consumers[member].take() {
                    let _ = self.h.consumer_beat(beat(&consumer.id, -1));
                }
            }
            Act::Grow { partitions } => self.h.set_topics(&[("t", partitions), ("u", 3)]),
            Act::Wait(ms) => self.h.advance(ms),
            Act::Restart => self.h.restart(),
        }
        self.check();
    }

    /// A process with a new id joins, if the place is free.
    fn join(&mut self, member: usize, topics: usize) {
        if self.consumers[member].is_none() {
            self.lives += 1;
            let id = format!("m{member}-{}", self.lives);
            self.begin(member, Consumer { id, epoch: 0, owned: Partitions::default(), topics });
        }
    }

    fn begin(&mut self, member: usize, consumer: Consumer) {
        let joined = self.h.consumer_beat(joining(&consumer.id, SUBSCRIPTIONS[consumer.topics])).unwrap();
        let owned = joined.assignment.expect("a join is told its partitions");
        self.consumers[member] = Some(Consumer { epoch: joined.member_epoch, owned, ..consumer });
    }

    fn beat(&mut self, member: usize, answered: bool) {
        let Some(consumer) = self.consumers[member].clone() else { return };
        let request = ConsumerHeartbeatRequest {
            topics: Some(SUBSCRIPTIONS[consumer.topics].iter().map(|name| TopicName::from(*name)).collect()),
            rebalance_timeout_ms: Some(30_000),
            ..owning(&consumer.id, consumer.epoch, consumer.owned.clone())
        };
        match self.h.consumer_beat(request) {
            _ if !answered => {}
            Ok(reply) => {
                let owned = reply.assignment.unwrap_or(consumer.owned);
                self.consumers[member] = Some(Consumer { epoch: reply.member_epoch, owned, ..consumer });
            }
            // Gives everything up and begins anew.
            Err(Refusal { error: GroupError::UnknownMemberId | GroupError::FencedMemberEpoch, .. }) => {
                self.begin(member, Consumer { owned: Partitions::default(), ..consumer });
            }
            // A group whose members are all gone may be gone itself after a restart.
            Err(Refusal { error: GroupError::GroupIdNotFound, .. }) => self.consumers[member] = None,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// No two members of the group hold the same, and no consumer that is in it uses what it was not given.
    fn check(&mut self) {
        let Some(group) = self.h.stored.groups.get("g").and_then(|group| group.consumer.as_ref()) else { return };
        let mut held = BTreeSet::new();
        for member in group.members.values() {
            for partition in member.held() {
                assert!(held.insert(partition), "{partition:?} is held twice in {group:?}");
            }
        }
        for consumer in self.consumers.iter().flatten() {
            if let Some(member) = group.members.get(consumer.id.as_str()) {
                let held: Partitions = member.held().collect();
                assert!(consumer.owned.is_subset(&held), "{consumer:?} uses what {member:?} does not hold");
            }
        }
    }

    /// Everyone heartbeats until nothing changes: then everything is assigned.
    fn settle(&mut self) {
        for _ in 0..12 {
            (0..self.consumers.len()).for_each(|member| self.beat(member, true));
            self.check();
        }
        // Who went without a word is found out.
        for _ in 0..8 {
            self.h.advance(9_000);
            (0..self.consumers.len()).for_each(|member| self.beat(member, true));
        }
        if self.consumers.iter().flatten().count() == 0 {
            return;
        }
        let group = self.h.described();
        assert_eq!(group.state, ConsumerGroupState::Stable, "{group:?}");
        let subscribed: BTreeSet<&str> =
            self.consumers.iter().flatten().flat_map(|consumer| SUBSCRIPTIONS[consumer.topics]).copied().collect();
        let wanted: i32 = subscribed.iter().map(|name| self.h.topics[*name].partitions).sum();
        let owned: BTreeSet<_> = self.consumers.iter().flatten().flat_map(|consumer| consumer.owned.iter()).collect();
        assert_eq!(owned.len(), wanted as usize);
    }
}

proptest! {
    #[test]
    fn whatever_members_do_nothing_is_owned_twice_and_all_is_owned_in_the_end(acts in acts()) {
        let mut run = Run { h: Harness::new(), consumers: vec![None; 4], lives: 0 };
        run.h.set_topics(&[("t", 4), ("u", 3)]);
        acts.into_iter().for_each(|act| run.act(act));
        run.settle();
    }
}
