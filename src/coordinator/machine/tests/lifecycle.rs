use super::*;

#[test]
fn a_heartbeat_is_checked_against_member_and_generation() {
    let mut h = Harness::new();
    assert_eq!(h.heartbeat("nobody", 1), Err(GroupError::UnknownMemberId), "no group");
    let replies = h.stable(1);
    assert_eq!(h.heartbeat(&replies[0].member_id, 1), Ok(()));
    assert_eq!(h.heartbeat(&replies[0].member_id, 0), Err(GroupError::IllegalGeneration));
    assert_eq!(h.heartbeat("nobody", 1), Err(GroupError::UnknownMemberId));
    let nameless =
        HeartbeatRequest { group_id: "".into(), generation: 1, member_id: "m".into(), group_instance_id: None };
    let token = h.ask(Request::Heartbeat(nameless));
    assert_eq!(h.reply(token), Reply::Heartbeat(Err(GroupError::InvalidGroupId)));
}

#[test]
fn heartbeats_and_commits_keep_a_member_alive() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    for round in 0..10 {
        h.advance(SESSION_MS - 1);
        if round % 2 == 0 {
            assert_eq!(h.heartbeat(&replies[0].member_id, 1), Ok(()));
        } else {
            h.commit(commit(&replies[0].member_id, 1, &["t"])).unwrap();
        }
    }
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn a_silent_member_expires_and_the_rest_rebalances() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    h.advance(SESSION_MS / 2);
    assert_eq!(h.heartbeat(&replies[0].member_id, 1), Ok(()));
    h.advance(SESSION_MS / 2);
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert_eq!(h.heartbeat(&replies[1].member_id, 1), Err(GroupError::UnknownMemberId));
    let token = h.join(join(&replies[0].member_id));
    let reply = h.joined(token);
    assert_eq!((reply.generation, reply.members.len()), (2, 1));
}

#[test]
fn the_last_member_to_expire_leaves_an_empty_group_behind() {
    let mut h = Harness::new();
    h.stable(1);
    h.advance(SESSION_MS);
    let [CoordinatorRecord::Group { value: Some(value), .. }] = h.records.as_slice() else { panic!("{:?}", h.records) };
    assert_eq!((value.state, value.generation, value.members.len()), (GroupState::Empty, 2, 0));
    assert_eq!((value.protocol.as_deref(), value.leader.as_deref()), (None, None));
    assert_eq!(value.protocol_type, "consumer");
    assert_eq!(h.machine.timers.len(), 0);
}

#[test]
fn members_leave_one_by_one_or_together() {
    let mut h = Harness::new();
    let replies = h.stable(3);
    let ids: Vec<&str> = replies.iter().map(|reply| &*reply.member_id).collect();
    assert_eq!(h.leave(&[(ids[2], None)]), [Ok(())]);
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert_eq!(h.records, []);
    let left = h.leave(&[(ids[0], None), ("nobody", None), (ids[1], None), (ids[1], None)]);
    assert_eq!(left, [Ok(()), Err(GroupError::UnknownMemberId), Ok(()), Err(GroupError::UnknownMemberId)]);
    let [CoordinatorRecord::Group { value: Some(value), .. }] = h.records.as_slice() else { panic!("{:?}", h.records) };
    assert_eq!((value.state, value.generation), (GroupState::Empty, 2));
    assert_eq!(h.state(), GroupState::Empty);
}

#[test]
fn leaving_a_group_that_does_not_exist_is_an_error_of_each_member() {
    let mut h = Harness::new();
    assert_eq!(h.leave(&[("a", None), ("b", None)]), [Err(GroupError::UnknownMemberId); 2]);
    let token = h.ask(Request::Leave(LeaveRequest { group_id: "".into(), members: Vec::new() }));
    assert_eq!(h.reply(token), Reply::Leave(Err(GroupError::InvalidGroupId)));
}

#[test]
fn a_member_that_leaves_while_its_join_or_sync_waits_has_it_answered() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let token = h.join(join(&replies[0].member_id));
    h.leave(&[(&replies[0].member_id, None)]);
    assert_eq!(h.join_error(token), GroupError::UnknownMemberId);
    let token = h.join(join(&replies[1].member_id));
    let reply = h.joined(token);
    let new = h.join(join(""));
    let again = h.join(join(&reply.member_id));
    let (reply, new) = (h.joined(again), h.joined(new));
    let (leader, follower) = if reply.leader == reply.member_id { (reply, new) } else { (new, reply) };
    let token = h.sync(&follower, &[]);
    h.leave(&[(&follower.member_id, None)]);
    assert_eq!(h.sync_error(token), GroupError::UnknownMemberId);
    assert_eq!(h.heartbeat(&leader.member_id, leader.generation), Err(GroupError::RebalanceInProgress));
}

#[test]
fn an_id_that_was_given_out_can_leave_without_a_rebalance() {
    let mut h = Harness::new();
    h.stable(1);
    let token = h.join(JoinRequest { requires_known_member_id: true, ..join("") });
    let Reply::Join(Err(JoinError { member_id, .. })) = h.reply(token) else { panic!() };
    assert_eq!(h.leave(&[(&member_id, None)]), [Ok(())]);
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn after_a_restart_a_stable_group_goes_on_in_its_generation() {
    let mut h = Harness::new();
    let replies = h.stable(3);
    h.advance(SESSION_MS - 1);
    h.restart();
    h.advance(SESSION_MS - 1);
    for reply in &replies {
        assert_eq!(h.heartbeat(&reply.member_id, 1), Ok(()), "a whole session from the restart");
        h.commit(commit(&reply.member_id, 1, &["t"])).unwrap();
        let token = h.sync(reply, &[]);
        assert_eq!(h.synced(token), reply.member_id.as_bytes());
    }
    let described = h.describe();
    assert_eq!((described.state, described.members.len()), (GroupState::Stable, 3));
    assert_eq!(described.members[0].metadata, subscription(&["t"]));
    h.advance(SESSION_MS);
    assert_eq!(h.state(), GroupState::Empty, "and expires like any other");
}

#[test]
fn after_a_restart_in_the_join_phase_members_rejoin_with_their_ids() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    h.join(join(""));
    h.join(join(&replies[0].member_id));
    h.restart();
    assert_eq!(h.state(), GroupState::Stable, "the last completed generation");
    let leader = h.join(join(&replies[0].member_id));
    let follower = h.join(join(&replies[1].member_id));
    assert_eq!(h.joined(leader).generation, 2);
    assert_eq!(h.joined(follower).generation, 2);
}

#[test]
fn after_a_restart_in_the_sync_phase_the_generation_is_completed() {
    let mut h = Harness::new();
    let tokens = [h.join(join("")), h.join(join(""))];
    h.advance(0);
    let mut replies = tokens.map(|token| h.joined(token));
    replies.sort_by_key(|reply| reply.leader != reply.member_id);
    h.sync(&replies[1], &[]);
    h.restart();
    assert_eq!(h.state(), GroupState::CompletingRebalance);
    for reply in &replies {
        let token = h.join(join(&reply.member_id));
        assert_eq!(h.joined(token), *reply, "the same generation with the same members");
    }
    h.assign(&replies);
}

#[test]
fn no_generation_is_ever_given_to_two_sets_of_members() {
    let mut h = Harness::new();
    let token = h.join(join(""));
    h.advance(0);
    let lost = h.joined(token);
    h.restart();
    h.leave(&[(&lost.member_id, None)]);
    let token = h.join(join(""));
    h.advance(0);
    let next = h.joined(token);
    assert!(next.generation > lost.generation, "{} after {}", next.generation, lost.generation);
}

#[test]
fn after_a_restart_members_that_never_sync_are_out() {
    let mut h = Harness::new();
    let token = h.join(join(""));
    h.advance(0);
    let reply = h.joined(token);
    h.restart();
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert_eq!(h.heartbeat(&reply.member_id, 1), Ok(()));
        h.advance(5_000);
    }
    assert_eq!(h.heartbeat(&reply.member_id, 1), Err(GroupError::UnknownMemberId));
    assert_eq!(h.state(), GroupState::Empty);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut h = Harness::new();
    h.stable(1);
    let commit = CommitRequest { group_id: "simple".into(), ..commit("", -1, &["t"]) };
    h.commit(commit).unwrap();
    let mut list = |states: &[&str], types: &[&str]| {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let token = h.ask(Request::List(ListRequest { states: own(states), types: own(types) }));
        let Reply::List(Ok(groups)) = h.reply(token) else { panic!() };
        let mut ids: Vec<_> =
            groups.into_iter().map(|group| (group.group_id.to_string(), group.protocol_type)).collect();
        ids.sort();
        ids
    };
    let (stable, simple) = (("g".to_owned(), "consumer".to_owned()), ("simple".to_owned(), String::new()));
    assert_eq!(list(&[], &[]), [stable.clone(), simple.clone()]);
    assert_eq!(list(&["stable"], &[]), std::slice::from_ref(&stable));
    assert_eq!(list(&["Empty", "Dead"], &["Classic"]), [simple]);
    assert_eq!(list(&["Nonsense"], &[]), []);
    assert_eq!(list(&[], &["consumer"]), []);
}

#[test]
fn a_group_is_described_with_metadata_only_while_it_is_stable() {
    let mut h = Harness::new();
    let unknown = h.describe();
    assert_eq!((unknown.state, unknown.members.len()), (GroupState::Dead, 0));
    let replies = h.stable(1);
    let described = h.describe();
    assert_eq!((described.protocol_type.as_str(), described.protocol.as_str()), ("consumer", "range"));
    assert_eq!(described.members[0].metadata, subscription(&["t"]));
    assert_eq!(described.members[0].assignment, replies[0].member_id.as_bytes());
    assert_eq!(described.members[0].client_host, "/127.0.0.1");
    h.join(join(""));
    let described = h.describe();
    assert_eq!((described.state, described.protocol.as_str()), (GroupState::PreparingRebalance, ""));
    assert!(described.members.iter().all(|member| member.metadata.is_empty()));
}

#[test]
fn an_empty_group_is_deleted_with_its_offsets() {
    let mut h = Harness::new();
    assert_eq!(h.delete_group(), Err(GroupError::GroupIdNotFound));
    let replies = h.stable(1);
    h.commit(commit(&replies[0].member_id, 1, &["t", "u"])).unwrap();
    assert_eq!(h.delete_group(), Err(GroupError::NonEmptyGroup));
    h.leave(&[(&replies[0].member_id, None)]);
    assert_eq!(h.delete_group(), Ok(()));
    assert_eq!(h.records.len(), 3);
    assert_eq!(h.stored, Stored::default());
    assert!(h.machine.is_empty());
    assert_eq!(h.delete_group(), Err(GroupError::GroupIdNotFound));
}

#[test]
fn a_group_that_is_deleted_in_its_emptiness_begins_anew() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.leave(&[(&replies[0].member_id, None)]);
    h.delete_group().unwrap();
    let replies = h.stable(1);
    assert_eq!(replies[0].generation, 1);
}

#[test]
fn states_are_counted() {
    let mut h = Harness::new();
    h.stable(1);
    h.commit(CommitRequest { group_id: "simple".into(), ..commit("", -1, &["t"]) }).unwrap();
    let token = h.ask(Request::CountStates);
    let expected = StateCounts { empty: 1, stable: 1, members: 1, ..StateCounts::default() };
    assert_eq!(h.reply(token), Reply::CountStates(Ok(expected)));
}
