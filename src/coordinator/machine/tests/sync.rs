use super::*;

/// A group of `size` members whose join phase has ended, leader first.
fn completing(h: &mut Harness, size: usize) -> Vec<JoinReply> {
    let tokens: Vec<_> = (0..size).map(|_| h.join(join(""))).collect();
    h.advance(0);
    let mut replies: Vec<_> = tokens.into_iter().map(|token| h.joined(token)).collect();
    replies.sort_by_key(|reply| reply.leader != reply.member_id);
    replies
}

#[test]
fn followers_wait_for_the_leader_and_all_get_their_assignments() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 3);
    let second = h.sync(&replies[1], &[]);
    assert!(h.waits(second));
    assert_eq!(h.records, []);
    let ids = [(&*replies[0].member_id, "zero"), (&*replies[1].member_id, "one")];
    let first = h.sync(&replies[0], &ids);
    assert_eq!(h.synced(first), "zero");
    assert_eq!(h.synced(second), "one");
    let third = h.sync(&replies[2], &[]);
    assert_eq!(h.synced(third), "", "who is left out gets nothing");
}

#[test]
fn the_assignment_is_stored_with_the_answer() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 1);
    h.advance(5);
    h.sync(&replies[0], &[(&replies[0].member_id, "all"), ("stranger", "nothing")]);
    let [CoordinatorRecord::Group { value: Some(value), .. }] = h.records.as_slice() else { panic!("{:?}", h.records) };
    assert_eq!((value.generation, value.state), (1, GroupState::Stable));
    assert_eq!(value.members.len(), 1);
    assert_eq!(value.members[0].assignment.0, "all");
    assert_eq!(value.members[0].client_id, "client");
    assert_eq!(value.state_timestamp_ms, h.now.wall_ms);
}

#[test]
fn a_second_sync_in_a_stable_group_gets_the_same_assignment() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let token = h.sync(&replies[1], &[]);
    assert_eq!(h.synced(token), replies[1].member_id.as_bytes());
    assert_eq!(h.records, []);
}

#[test]
fn syncs_that_do_not_fit_the_group_are_refused() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 1);
    let good = sync(&replies[0], &[]);
    let refusals = [
        (SyncRequest { group_id: "".into(), ..good.clone() }, GroupError::InvalidGroupId),
        (SyncRequest { group_id: "other".into(), ..good.clone() }, GroupError::UnknownMemberId),
        (SyncRequest { member_id: "nobody".into(), ..good.clone() }, GroupError::UnknownMemberId),
        (SyncRequest { group_instance_id: Some("i".into()), ..good.clone() }, GroupError::UnknownMemberId),
        (SyncRequest { generation: 0, ..good.clone() }, GroupError::IllegalGeneration),
        (SyncRequest { generation: 2, ..good.clone() }, GroupError::IllegalGeneration),
        (SyncRequest { protocol_type: Some("sr".into()), ..good.clone() }, GroupError::InconsistentGroupProtocol),
        (SyncRequest { protocol: Some("sticky".into()), ..good.clone() }, GroupError::InconsistentGroupProtocol),
    ];
    for (request, error) in refusals {
        let token = h.ask(Request::Sync(request));
        assert_eq!(h.sync_error(token), error);
    }
    let token = h.ask(Request::Sync(SyncRequest { protocol_type: None, protocol: None, ..good }));
    assert_eq!(h.synced(token), "", "before version 5 no protocol is named");
}

#[test]
fn a_sync_during_the_join_phase_is_told_to_rejoin() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    h.join(join(""));
    let token = h.sync(&replies[0], &[]);
    assert_eq!(h.sync_error(token), GroupError::RebalanceInProgress);
}

#[test]
fn a_new_join_sends_waiting_syncs_back() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 2);
    let waiting = h.sync(&replies[1], &[]);
    h.join(join(""));
    assert_eq!(h.sync_error(waiting), GroupError::RebalanceInProgress);
    let late = h.sync(&replies[0], &[]);
    assert_eq!(h.sync_error(late), GroupError::RebalanceInProgress);
}

#[test]
fn members_that_never_sync_are_out_after_the_rebalance_timeout() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 2);
    let token = h.sync(&replies[0], &[]);
    h.synced(token);
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert_eq!(h.state(), GroupState::Stable);
        assert_eq!(h.heartbeat(&replies[0].member_id, 1), Ok(()));
        assert_eq!(h.heartbeat(&replies[1].member_id, 1), Ok(()));
        h.advance(5_000);
    }
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert_eq!(h.heartbeat(&replies[0].member_id, 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(h.heartbeat(&replies[1].member_id, 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn who_waits_for_the_leader_does_not_expire() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 2);
    let waiting = h.sync(&replies[1], &[]);
    for _ in 0..3 {
        h.advance(SESSION_MS - 1);
        assert_eq!(h.heartbeat(&replies[0].member_id, 1), Ok(()));
    }
    assert!(h.waits(waiting));
    let token = h.sync(&replies[0], &[(&replies[1].member_id, "one")]);
    h.synced(token);
    assert_eq!(h.synced(waiting), "one");
    h.advance(SESSION_MS - 1);
    assert_eq!(h.heartbeat(&replies[1].member_id, 1), Ok(()), "the session begins anew with the assignment");
}

#[test]
fn a_leader_that_dies_before_it_assigns_makes_the_others_rejoin() {
    let mut h = Harness::new();
    let replies = completing(&mut h, 2);
    let waiting = h.sync(&replies[1], &[]);
    h.advance(SESSION_MS);
    assert_eq!(h.sync_error(waiting), GroupError::RebalanceInProgress);
    let token = h.join(join(&replies[1].member_id));
    let reply = h.joined(token);
    assert_eq!((reply.generation, reply.leader), (2, replies[1].member_id.clone()));
}

#[test]
fn an_assignment_that_is_too_large_is_refused_and_the_others_rejoin() {
    let mut h = Harness::new();
    let tokens = [h.join(join("")), h.join(join(""))];
    h.advance(1);
    let mut replies = tokens.map(|token| h.joined(token));
    replies.sort_by_key(|reply| reply.leader != reply.member_id);
    let waits = h.sync(&replies[1], &[]);
    let large = "a".repeat((1 << 20) + 1);
    let refused = h.sync(&replies[0], &[(&replies[1].member_id, &large)]);
    assert_eq!(h.sync_error(refused), GroupError::GroupMaxSizeReached);
    assert_eq!(h.sync_error(waits), GroupError::RebalanceInProgress);
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    assert!(h.records.is_empty());
}

#[test]
fn a_round_of_timers_ends_when_its_records_are_large() {
    let mut h = Harness::new();
    let says = || vec![(String::from("range"), Bytes::from(vec![0; 1 << 20].split_off(64)))];
    for group in ["a", "b", "c", "d"] {
        for _ in 0..15 {
            h.join(JoinRequest { group_id: group.into(), protocols: says(), ..join("") });
        }
    }
    h.step(Event::Timers);
    assert_eq!(h.records.len(), 2, "two groups of 15 MiB are over the limit");
    h.step(Event::Timers);
    assert!(h.machine.next_timer_ms().is_none_or(|at_ms| at_ms > h.now.monotonic_ms), "the rest came with the next");
}
