//! Groups whose members move from the classic to the consumer protocol, and back, while they work.

use super::{
    consumer::{beat, joining, partitions},
    *,
};

/// Metadata of a consumer's classic protocol, version 1.
fn said(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let mut bytes = vec![0, 1];
    let name = |bytes: &mut Vec<u8>, name: &str| {
        bytes.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
    };
    bytes.extend((topics.len() as i32).to_be_bytes());
    topics.iter().for_each(|topic| name(&mut bytes, topic));
    bytes.extend((-1_i32).to_be_bytes());
    bytes.extend((owned.len() as i32).to_be_bytes());
    for (topic, partitions) in owned {
        name(&mut bytes, topic);
        bytes.extend((partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    }
    bytes.into()
}

/// What a SyncGroup answers for partitions of `t`, version 1.
fn assigned(indexes: &[i32]) -> Bytes {
    let set = indexes.iter().copied().collect();
    let topics = if indexes.is_empty() { vec![] } else { vec![("t", &set)] };
    super::super::consumer_protocol::encode_assignment(1, topics.into_iter())
}

fn classic_join(member_id: &str, owned: &[(&str, &[i32])]) -> JoinRequest {
    JoinRequest {
        requires_known_member_id: false,
        protocols: vec![("range".to_owned(), said(&["t"], owned))],
        ..join(member_id)
    }
}

/// A classic group of one member, which has all of `t`.
fn classic_group() -> (Harness, JoinReply) {
    let mut h = Harness::new();
    h.set_topics(&[("t", 4)]);
    let token = h.join(classic_join("", &[]));
    h.advance(0);
    let reply = h.joined(token);
    let all = assigned(&[0, 1, 2, 3]);
    let member_id = reply.member_id.to_string();
    let request = SyncRequest { assignments: vec![(Arc::clone(&reply.member_id), all.clone())], ..sync(&reply, &[]) };
    let token = h.ask(Request::Sync(request));
    assert_eq!(h.synced(token), all);
    h.commit(commit(&member_id, 1, &["t"])).unwrap();
    (h, reply)
}

/// The same with a second member, of the consumer protocol; both are at epoch 2.
fn shared_with_modern() -> (Harness, JoinReply) {
    let (mut h, classic) = classic_group();
    h.consumer_beat(joining("new", &["t"])).unwrap();
    let mut rejoined = classic;
    for owned in [&[0, 1, 2, 3][..], &[0, 1]] {
        let token = h.join(classic_join(&rejoined.member_id, &[("t", owned)]));
        rejoined = h.joined(token);
        let token = h.sync(&rejoined, &[]);
        assert_eq!(h.synced(token), assigned(&[0, 1]));
    }
    assert_eq!(rejoined.generation, 2);
    (h, rejoined)
}

#[test]
fn a_classic_group_moves_to_the_consumer_protocol_member_by_member() {
    let (mut h, classic) = classic_group();
    let classic_id = classic.member_id.to_string();
    let new = h.consumer_beat(joining("new", &["t"])).unwrap();
    assert_eq!((new.member_epoch, new.assignment), (2, Some(Partitions::default())));
    h.restart();
    // The classic member is told to rejoin, gives half back, and gets the rest with SyncGroup.
    assert_eq!(h.heartbeat(&classic_id, 1), Err(GroupError::RebalanceInProgress));
    let token = h.join(classic_join(&classic_id, &[("t", &[0, 1, 2, 3])]));
    let rejoined = h.joined(token);
    assert_eq!((rejoined.generation, rejoined.protocol.as_deref()), (1, Some("range")));
    let token = h.sync(&rejoined, &[]);
    assert_eq!(h.synced(token), assigned(&[0, 1]));
    assert_eq!(h.consumer_beat(beat("new", 2)).unwrap().assignment, None);
    assert_eq!(h.heartbeat(&classic_id, 1), Err(GroupError::RebalanceInProgress));
    let token = h.join(classic_join(&classic_id, &[("t", &[0, 1])]));
    let rejoined = h.joined(token);
    assert_eq!(rejoined.generation, 2);
    let token = h.sync(&rejoined, &[]);
    assert_eq!(h.synced(token), assigned(&[0, 1]));
    assert_eq!(h.heartbeat(&classic_id, 2), Ok(()));
    assert_eq!(h.consumer_beat(beat("new", 2)).unwrap().assignment, Some(partitions(&[("t", &[2, 3])])));
    assert_eq!(h.described().state, ConsumerGroupState::Stable);
    // Offsets stay, and the classic member commits in its generation.
    assert_eq!(h.commit(commit(&classic_id, 1, &["t"])), Err(GroupError::IllegalGeneration));
    assert!(h.commit(commit(&classic_id, 2, &["t"])).is_ok());
    // It goes, and all belongs to the new protocol.
    assert_eq!(h.leave(&[(&classic_id, None)]), [Ok(())]);
    let all = h.consumer_beat(beat("new", 2)).unwrap();
    assert_eq!((all.member_epoch, all.assignment), (3, Some(partitions(&[("t", &[0, 1, 2, 3])]))));
    assert_eq!(h.stored.offsets_of("g").len(), 1);
}

#[test]
fn a_group_is_classic_again_when_its_last_modern_member_goes() {
    let (mut h, classic) = shared_with_modern();
    let classic_id = classic.member_id.to_string();
    h.consumer_beat(beat("new", -1)).unwrap();
    assert!(h.stored.groups["g"].consumer.is_none());
    // The classic member can still commit, and is told to rejoin for what the other had, also after a crash.
    for _ in 0..2 {
        assert_eq!(h.state(), GroupState::PreparingRebalance);
        assert!(h.commit(commit(&classic_id, 2, &["t"])).is_ok());
        assert_eq!(h.heartbeat(&classic_id, 2), Err(GroupError::RebalanceInProgress));
        h.restart();
    }
    let token = h.join(classic_join(&classic_id, &[]));
    let rejoined = h.joined(token);
    assert_eq!((rejoined.generation, rejoined.leader.to_string()), (3, classic_id));
    h.assign(&[rejoined]);
}

#[test]
fn a_group_is_classic_again_when_its_last_modern_member_is_not_heard_of() {
    let (mut h, classic) = shared_with_modern();
    for _ in 0..8 {
        h.advance(5_000);
        assert_eq!(h.heartbeat(&classic.member_id, 2), Ok(()));
    }
    h.advance(5_000);
    assert_eq!(h.heartbeat(&classic.member_id, 2), Err(GroupError::RebalanceInProgress));
    assert!(h.commit(commit(&classic.member_id, 2, &["t"])).is_ok());
}

#[test]
fn migration_follows_its_policy() {
    let (mut h, classic) = classic_group();
    h.machine.config.consumer.migration.upgrades = false;
    assert_eq!(h.consumer_beat(joining("new", &["t"])).unwrap_err().error, GroupError::GroupIdNotFound);
    h.machine.config.consumer.migration = Migration { upgrades: true, downgrades: false };
    h.consumer_beat(joining("new", &["t"])).unwrap();
    h.consumer_beat(beat("new", -1)).unwrap();
    assert_eq!(h.described().members.len(), 1);
    assert!(h.described().members[0].is_classic);
    assert_eq!(h.leave(&[(&classic.member_id, None)]), [Ok(())]);
}

#[test]
fn a_group_that_is_not_of_consumers_stays_classic() {
    let mut h = Harness::new();
    let connect = JoinRequest { protocol_type: "connect".to_owned(), ..classic_join("", &[]) };
    let token = h.join(connect);
    h.advance(0);
    let reply = h.joined(token);
    h.assign(&[reply]);
    assert_eq!(h.consumer_beat(joining("new", &["t"])).unwrap_err().error, GroupError::GroupIdNotFound);
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn members_that_wait_in_a_rebalance_are_sent_to_the_new_one() {
    let (mut h, classic) = classic_group();
    let waiting = h.join(classic_join("", &[]));
    assert!(h.waits(waiting));
    h.consumer_beat(joining("new", &["t"])).unwrap();
    assert_eq!(h.join_error(waiting), GroupError::RebalanceInProgress);
    assert_eq!(h.heartbeat(&classic.member_id, 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_classic_member_that_does_not_rejoin_in_time_is_removed() {
    let (mut h, classic) = classic_group();
    h.consumer_beat(joining("new", &["t"])).unwrap();
    for _ in 0..8 {
        let _ = h.heartbeat(&classic.member_id, 1);
        h.consumer_beat(beat("new", 2)).unwrap();
        h.advance(8_000);
    }
    assert_eq!(h.heartbeat(&classic.member_id, 1), Err(GroupError::UnknownMemberId));
    assert_eq!(h.consumer_beat(beat("new", 2)).unwrap().assignment, Some(partitions(&[("t", &[0, 1, 2, 3])])));
}

#[test]
fn a_heartbeat_that_is_refused_leaves_a_classic_group_as_it_is() {
    let (mut h, classic) = classic_group();
    let invalid = ConsumerHeartbeatRequest { regex: Some("[".to_owned()), ..joining("new", &["t"]) };
    assert_eq!(h.consumer_beat(invalid.clone()).unwrap_err().error, GroupError::InvalidRegularExpression);
    assert_eq!((h.records.len(), h.state()), (0, GroupState::Stable));
    assert_eq!(h.heartbeat(&classic.member_id, 1), Ok(()));
    h.machine.config.consumer.size_max = 1;
    assert_eq!(h.consumer_beat(joining("new", &["t"])).unwrap_err().error, GroupError::GroupMaxSizeReached);
    assert_eq!((h.records.len(), h.state()), (0, GroupState::Stable));
    // And an empty one with its offsets.
    assert_eq!(h.leave(&[(&classic.member_id, None)]), [Ok(())]);
    h.advance(0);
    assert_eq!(h.consumer_beat(invalid).unwrap_err().error, GroupError::InvalidRegularExpression);
    assert_eq!((h.records.len(), h.state()), (0, GroupState::Empty));
}

#[test]
fn a_member_that_is_only_told_its_id_does_not_change_the_protocol() {
    let (mut h, classic) = classic_group();
    h.machine.config.consumer.migration.downgrades = false;
    h.consumer_beat(joining("new", &["t"])).unwrap();
    h.consumer_beat(beat("new", -1)).unwrap();
    h.machine.config.consumer.migration.downgrades = true;
    let token = h.join(JoinRequest { requires_known_member_id: true, ..classic_join("", &[]) });
    assert_eq!(h.join_error(token), GroupError::MemberIdRequired);
    let token = h.join(classic_join("", &[]));
    h.joined(token);
    assert_eq!(h.described().members.len(), 2);
    assert_eq!(h.heartbeat(&classic.member_id, 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_static_member_of_the_new_protocol_that_comes_back_with_the_old_one_makes_the_group_classic() {
    let (mut h, classic) = classic_group();
    let of_instance =
        |request: ConsumerHeartbeatRequest| ConsumerHeartbeatRequest { group_instance_id: Some("i".into()), ..request };
    h.consumer_beat(of_instance(joining("new", &["t"]))).unwrap();
    // The other one has not given anything back: whoever comes must not be told that it has its target.
    let back = JoinRequest { group_instance_id: Some("i".into()), ..classic_join("", &[]) };
    let token = h.join(back);
    h.joined(token);
    assert!(h.stored.groups["g"].consumer.is_none());
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert_eq!(h.heartbeat(&classic.member_id, 2), Err(GroupError::RebalanceInProgress));
}

#[test]
fn the_rebalance_after_a_downgrade_survives_a_restart() {
    let (mut h, classic) = classic_group();
    h.consumer_beat(joining("new", &["t"])).unwrap();
    h.consumer_beat(beat("new", -1)).unwrap();
    h.restart();
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert_eq!(h.heartbeat(&classic.member_id, 2), Err(GroupError::RebalanceInProgress));
}

#[test]
fn what_a_cooperative_member_owns_in_a_rebalance_is_not_given_to_others() {
    let (mut h, classic) = classic_group();
    let token = h.join(classic_join(&classic.member_id, &[("t", &[0, 1, 2, 3])]));
    h.joined(token);
    assert_eq!(h.state(), GroupState::CompletingRebalance);
    let new = h.consumer_beat(joining("new", &["t"])).unwrap();
    assert_eq!(new.assignment, Some(Partitions::default()));
}

#[test]
fn a_group_with_an_assignor_that_says_more_than_partitions_stays_classic() {
    let mut h = Harness::new();
    h.set_topics(&[("t", 4)]);
    let token = h.join(classic_join("", &[]));
    h.advance(0);
    let reply = h.joined(token);
    let mut with_data = assigned(&[0, 1]).to_vec();
    with_data.truncate(with_data.len() - 4);
    with_data.extend([0, 0, 0, 1, 7]);
    let assignments = vec![(Arc::clone(&reply.member_id), with_data.into())];
    h.ask(Request::Sync(SyncRequest { assignments, ..sync(&reply, &[]) }));
    let refusal = h.consumer_beat(joining("new", &["t"])).unwrap_err();
    assert_eq!(refusal.error, GroupError::GroupIdNotFound);
    assert!(refusal.message.contains("custom assignor"), "{refusal}");
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn an_administrator_removes_members_of_either_protocol() {
    let (mut h, classic) = classic_group();
    h.consumer_beat(joining("new", &["t"])).unwrap();
    let left = h.leave(&[("new", None), ("new", None), ("nobody", None)]);
    assert_eq!(left, [Ok(()), Ok(()), Err(GroupError::UnknownMemberId)]);
    assert_eq!(h.heartbeat(&classic.member_id, 2), Err(GroupError::RebalanceInProgress));
}
