use super::*;

const ALL_OK: [Result<(), GroupError>; 1] = [Ok(())];

#[test]
fn a_commit_becomes_a_record() {
    let mut h = Harness::new();
    let request = CommitRequest { retention_ms: Some(500), ..commit("", -1, &["t"]) };
    assert_eq!(h.commit(request), Ok(vec![(TopicPartition::new("t", 0), Ok(()))]));
    let value = OffsetMetadata {
        offset: 7,
        leader_epoch: 3,
        metadata: "".into(),
        commit_timestamp_ms: 1_000_000,
        expire_timestamp_ms: Some(1_000_500),
        topic_id: TopicId::nil(),
    };
    let partition = TopicPartition::new("t", 0);
    assert_eq!(h.records, [CoordinatorRecord::Offset { group: "g".into(), partition, value: Some(value) }]);
}

#[test]
fn a_commit_may_bring_its_own_time() {
    let mut h = Harness::new();
    let mut request = commit("", -1, &["t"]);
    request.partitions[0].commit_timestamp_ms = Some(42);
    h.commit(request).unwrap();
    assert_eq!(h.stored.offsets_of("g")[0].1.commit_timestamp_ms, 42);
}

#[test]
fn a_commit_without_membership_founds_a_group_that_is_empty() {
    let mut h = Harness::new();
    h.commit(commit("", -1, &["t"])).unwrap();
    let described = h.describe();
    assert_eq!((described.state, described.protocol_type.as_str()), (GroupState::Empty, ""));
    h.restart();
    assert_eq!(h.state(), GroupState::Empty, "it exists by its offsets");
}

#[test]
fn a_commit_with_a_generation_needs_its_group() {
    let mut h = Harness::new();
    assert_eq!(h.commit(commit("m", 1, &["t"])), Err(GroupError::GroupIdNotFound));
    assert!(h.machine.is_empty());
}

#[test]
fn a_commit_is_checked_against_member_and_generation() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    let id = replies[0].member_id.clone();
    assert!(h.commit(commit(&id, 1, &["t"])).is_ok());
    assert_eq!(h.commit(commit(&id, 0, &["t"])), Err(GroupError::IllegalGeneration));
    assert_eq!(h.commit(commit(&id, 2, &["t"])), Err(GroupError::IllegalGeneration));
    assert_eq!(h.commit(commit(&id, -1, &["t"])), Err(GroupError::IllegalGeneration));
    assert_eq!(h.commit(commit("nobody", 1, &["t"])), Err(GroupError::UnknownMemberId));
    assert_eq!(h.commit(commit("", -1, &["t"])), Err(GroupError::UnknownMemberId), "not while it has members");
    let named = CommitRequest { group_instance_id: Some("i".into()), ..commit(&id, 1, &["t"]) };
    assert_eq!(h.commit(named), Err(GroupError::UnknownMemberId));
    assert_eq!(h.records, []);
}

#[test]
fn a_commit_goes_through_in_the_join_phase_and_not_in_the_sync_phase() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    let id = replies[0].member_id.clone();
    let new = h.join(join(""));
    assert!(h.commit(commit(&id, 1, &["t"])).is_ok(), "what was consumed before the partitions are given up");
    let token = h.join(join(&id));
    let reply = h.joined(token);
    h.joined(new);
    assert_eq!(h.commit(commit(&id, 1, &["t"])), Err(GroupError::IllegalGeneration));
    assert_eq!(h.commit(commit(&id, reply.generation, &["t"])), Err(GroupError::RebalanceInProgress));
}

#[test]
fn long_metadata_is_refused_for_its_partition_alone() {
    let mut h = Harness::new();
    let mut request = commit("", -1, &["t", "u", "v"]);
    request.partitions[0].metadata = "x".repeat(17).into();
    request.partitions[1].metadata = "é".repeat(16).into();
    let results = h.commit(request).unwrap();
    let results: Vec<_> = results.into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Err(GroupError::OffsetMetadataTooLarge), Ok(()), Ok(())]);
    assert_eq!(h.records.len(), 2);
}

#[test]
fn a_group_whose_only_commit_was_refused_does_not_exist() {
    let mut h = Harness::new();
    let mut request = commit("", -1, &["t"]);
    request.partitions[0].metadata = "x".repeat(17).into();
    h.commit(request).unwrap();
    assert!(h.machine.is_empty());
}

#[test]
fn offsets_are_deleted_unless_a_member_subscribes() {
    let mut h = Harness::new();
    assert_eq!(h.delete_offsets(&["t"]), Err(GroupError::GroupIdNotFound));
    let replies = h.stable(1);
    h.commit(commit(&replies[0].member_id, 1, &["t", "u"])).unwrap();
    assert_eq!(h.delete_offsets(&["t", "u"]), Ok(vec![Err(GroupError::GroupSubscribedToTopic), Ok(())]));
    assert_eq!(h.stored.offsets_of("g").len(), 1);
    h.leave(&[(&replies[0].member_id, None)]);
    assert_eq!(h.delete_offsets(&["t"]), Ok(ALL_OK.to_vec()));
    assert_eq!(h.stored.offsets_of("g").len(), 0);
}

#[test]
fn offsets_of_a_group_of_another_type_are_deleted_only_when_it_is_empty() {
    let mut h = Harness::new();
    let token = h.join(JoinRequest { protocol_type: "connect".into(), ..join("") });
    h.advance(0);
    let reply = h.joined(token);
    assert_eq!(h.delete_offsets(&["t"]), Err(GroupError::NonEmptyGroup));
    h.leave(&[(&reply.member_id, None)]);
    assert_eq!(h.delete_offsets(&["t"]), Ok(ALL_OK.to_vec()));
}

#[test]
fn a_consumer_whose_subscription_cannot_be_read_protects_every_topic() {
    let mut h = Harness::new();
    let garbage = vec![("range".into(), Bytes::from_static(b"\0\0\x7f\xff\xff\xff"))];
    let token = h.join(JoinRequest { protocols: garbage, ..join("") });
    h.advance(0);
    h.joined(token);
    assert_eq!(h.delete_offsets(&["t"]), Ok(vec![Err(GroupError::GroupSubscribedToTopic)]));
}

#[test]
fn offsets_of_deleted_topics_are_forgotten_even_under_subscription() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.commit(commit(&replies[0].member_id, 1, &["t", "u"])).unwrap();
    h.step(Event::ForgetOffsets("g".into(), vec![TopicPartition::new("t", 0)]));
    let left: Vec<_> = h.stored.offsets_of("g").into_iter().map(|(partition, _)| partition).collect();
    assert_eq!(left, [TopicPartition::new("u", 0)]);
}

#[test]
fn offsets_of_an_empty_group_expire_from_the_time_it_became_empty() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.commit(commit(&replies[0].member_id, 1, &["t"])).unwrap();
    for _ in 0..20 {
        h.advance(9_000);
        h.heartbeat(&replies[0].member_id, 1).unwrap();
        h.expire();
    }
    assert_eq!(h.stored.offsets_of("g").len(), 1, "subscribed, however old");
    h.leave(&[(&replies[0].member_id, None)]);
    h.advance(99_999);
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 1);
    h.advance(1);
    h.expire();
    assert_eq!(h.stored, Stored::default(), "the group goes with its last offset");
    assert!(h.machine.is_empty());
}

#[test]
fn offsets_of_topics_that_nobody_subscribes_to_expire_from_their_commit() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.commit(commit(&replies[0].member_id, 1, &["t", "u"])).unwrap();
    for _ in 0..20 {
        h.advance(5_000);
        h.heartbeat(&replies[0].member_id, 1).unwrap();
    }
    h.expire();
    let left: Vec<_> = h.stored.offsets_of("g").into_iter().map(|(partition, _)| partition).collect();
    assert_eq!(left, [TopicPartition::new("t", 0)]);
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn offsets_without_membership_expire_from_their_commit() {
    let mut h = Harness::new();
    h.commit(commit("", -1, &["t"])).unwrap();
    h.advance(50_000);
    h.commit(commit("", -1, &["u"])).unwrap();
    h.advance(50_000);
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 1);
    h.advance(50_000);
    h.expire();
    assert!(h.machine.is_empty());
    assert_eq!(h.stored, Stored::default());
}

#[test]
fn an_own_retention_goes_before_that_of_the_broker() {
    let mut h = Harness::new();
    h.commit(CommitRequest { retention_ms: Some(10), ..commit("", -1, &["t"]) }).unwrap();
    h.commit(CommitRequest { retention_ms: Some(1_000_000), ..commit("", -1, &["u"]) }).unwrap();
    h.advance(9);
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 2);
    h.advance(1);
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 1);
    h.advance(500_000);
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 1);
}

#[test]
fn nothing_expires_while_a_group_rebalances() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.commit(CommitRequest { retention_ms: Some(1), ..commit(&replies[0].member_id, 1, &["u"]) }).unwrap();
    h.advance(5);
    h.join(join(""));
    assert!(!h.machine.may_expire("g"));
    h.expire();
    assert_eq!(h.stored.offsets_of("g").len(), 1);
}

#[test]
fn an_empty_group_without_offsets_goes_at_the_next_look() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.expire();
    assert_eq!(h.state(), GroupState::Stable);
    h.leave(&[(&replies[0].member_id, None)]);
    h.expire();
    assert_eq!(h.records, [CoordinatorRecord::Group { group: "g".into(), value: None }]);
    assert!(h.machine.is_empty());
}

#[test]
fn an_empty_group_that_someone_is_about_to_join_stays() {
    let mut h = Harness::new();
    let token = h.join(JoinRequest { requires_known_member_id: true, ..join("") });
    let Reply::Join(Err(JoinError { member_id, .. })) = h.reply(token) else { panic!() };
    h.expire();
    let token = h.join(join(&member_id));
    h.advance(0);
    h.joined(token);
}
