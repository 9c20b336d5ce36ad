use super::*;

#[test]
fn first_member_forms_generation_one_and_leads() {
    let mut h = Harness::new();
    let token = h.join(join(""));
    assert!(h.waits(token));
    h.advance(0);
    let reply = h.joined(token);
    assert_eq!(reply.generation, 1);
    assert_eq!(reply.leader, reply.member_id);
    assert_eq!(&*reply.member_id, "client-00000000-0000-0000-0000-000000000001");
    assert_eq!((reply.protocol_type.as_str(), reply.protocol.as_deref()), ("consumer", Some("range")));
    assert_eq!(reply.members.len(), 1);
    assert_eq!(reply.members[0].metadata, subscription(&["t"]));
    assert!(!reply.skip_assignment);
}

#[test]
fn a_generation_is_stored_before_any_member_learns_it() {
    let mut h = Harness::new();
    let token = h.join(join(""));
    assert_eq!(h.records, []);
    h.advance(0);
    let reply = h.joined(token);
    let [CoordinatorRecord::Group { group, value: Some(value) }] = h.records.as_slice() else {
        panic!("{:?}", h.records)
    };
    assert_eq!(&**group, "g");
    assert_eq!((value.generation, value.state), (1, GroupState::CompletingRebalance));
    assert_eq!(value.leader, Some(reply.member_id));
    assert_eq!(value.protocol.as_deref(), Some("range"));
    assert_eq!(value.members.len(), 1);
    assert_eq!(value.state_timestamp_ms, h.now.wall_ms);
}

#[test]
fn only_the_leader_gets_the_members() {
    let mut h = Harness::new();
    let replies = h.stable(3);
    assert_eq!(replies.iter().map(|reply| reply.members.len()).collect::<Vec<_>>(), [3, 0, 0]);
    assert!(replies.iter().all(|reply| reply.generation == 1 && reply.leader == replies[0].member_id));
}

#[test]
fn since_version_4_a_dynamic_member_is_sent_back_with_its_id() {
    let mut h = Harness::new();
    let request = JoinRequest { requires_known_member_id: true, ..join("") };
    let token = h.join(request.clone());
    let Reply::Join(Err(JoinError { error: GroupError::MemberIdRequired, member_id })) = h.reply(token) else {
        panic!()
    };
    assert_eq!(h.records, []);
    let token = h.join(JoinRequest { member_id: member_id.clone(), ..request });
    h.advance(0);
    assert_eq!(h.joined(token).member_id, member_id);
}

#[test]
fn a_static_member_needs_no_second_join() {
    let mut h = Harness::new();
    let token = h.join(JoinRequest { requires_known_member_id: true, ..static_join("i") });
    h.advance(0);
    assert_eq!(&*h.joined(token).member_id, "i-00000000-0000-0000-0000-000000000001");
}

#[test]
fn an_id_that_does_not_come_back_is_forgotten_and_leaves_no_group() {
    let mut h = Harness::new();
    let token = h.join(JoinRequest { requires_known_member_id: true, ..join("") });
    let Reply::Join(Err(JoinError { member_id, .. })) = h.reply(token) else { panic!() };
    assert_eq!(h.state(), GroupState::Empty);
    h.advance(SESSION_MS);
    assert!(h.machine.is_empty());
    assert_eq!(h.machine.timers.len(), 0);
    let token = h.join(join(&member_id));
    assert_eq!(h.join_error(token), GroupError::UnknownMemberId);
}

#[test]
fn an_id_that_was_given_out_holds_the_rebalance_until_it_expires() {
    let mut h = Harness::new();
    let replies = h.stable(1);
    let pending = h.join(JoinRequest { requires_known_member_id: true, ..join("") });
    h.reply(pending);
    let token = h.join(join(&replies[0].member_id));
    assert!(h.waits(token), "the leader waits for the member that was announced");
    h.advance(SESSION_MS);
    assert_eq!(h.joined(token).generation, 2);
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let mut h = Harness::new();
    let refusals = [
        (JoinRequest { group_id: "".into(), ..join("") }, GroupError::InvalidGroupId),
        (JoinRequest { session_timeout_ms: 5_999, ..join("") }, GroupError::InvalidSessionTimeout),
        (JoinRequest { session_timeout_ms: 1_800_001, ..join("") }, GroupError::InvalidSessionTimeout),
        (JoinRequest { session_timeout_ms: -1, ..join("") }, GroupError::InvalidSessionTimeout),
        (join("nobody"), GroupError::UnknownMemberId),
        (JoinRequest { protocols: Vec::new(), ..join("") }, GroupError::InconsistentGroupProtocol),
        (JoinRequest { protocol_type: String::new(), ..join("") }, GroupError::InconsistentGroupProtocol),
    ];
    for (request, error) in refusals {
        let token = h.join(request);
        assert_eq!(h.join_error(token), error);
        assert!(h.machine.is_empty(), "a refused join founds no group");
    }
    h.stable(1);
    let other_type = JoinRequest { protocol_type: "connect".into(), ..join("") };
    let other_protocol = JoinRequest { protocols: vec![("sticky".into(), Bytes::new())], ..join("") };
    for (request, error) in [
        (join("nobody"), GroupError::UnknownMemberId),
        (JoinRequest { group_instance_id: Some("i".into()), ..join("nobody") }, GroupError::UnknownMemberId),
        (other_type, GroupError::InconsistentGroupProtocol),
        (other_protocol, GroupError::InconsistentGroupProtocol),
    ] {
        let token = h.join(request);
        assert_eq!(h.join_error(token), error);
    }
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn members_of_any_protocol_type_form_groups_with_opaque_metadata() {
    let mut h = Harness::new();
    let metadata = Bytes::from_static(b"{\"host\":\"a\"}");
    let registry =
        JoinRequest { protocol_type: "sr".into(), protocols: vec![("v0".into(), metadata.clone())], ..join("") };
    let token = h.join(registry);
    h.advance(0);
    let reply = h.joined(token);
    assert_eq!((reply.protocol_type.as_str(), reply.protocol.as_deref()), ("sr", Some("v0")));
    assert_eq!(reply.members[0].metadata, metadata);
}

#[test]
fn members_vote_among_the_protocols_that_all_support() {
    let mut h = Harness::new();
    let with = |names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
        ..join("")
    };
    let tokens = [with(&["a", "b", "c"]), with(&["b", "c"]), with(&["c", "b"])].map(|request| h.join(request));
    h.advance(0);
    for token in tokens {
        assert_eq!(h.joined(token).protocol.as_deref(), Some("b"), "a is not common; b has two votes of three");
    }
}

#[test]
fn a_protocol_named_twice_counts_once() {
    let mut h = Harness::new();
    let twice = vec![("a".to_owned(), Bytes::new()), ("a".to_owned(), Bytes::new())];
    let first = h.join(JoinRequest { protocols: twice, ..join("") });
    let second = h.join(JoinRequest { protocols: vec![("b".to_owned(), Bytes::new())], ..join("") });
    assert_eq!(h.join_error(second), GroupError::InconsistentGroupProtocol);
    h.advance(0);
    assert_eq!(h.joined(first).protocol.as_deref(), Some("a"));
}

#[test]
fn a_new_member_makes_the_others_rejoin() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let new = h.join(join(""));
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    for reply in &replies {
        assert_eq!(h.heartbeat(&reply.member_id, 1), Err(GroupError::RebalanceInProgress));
    }
    let again: Vec<_> = replies.iter().map(|reply| h.join(join(&reply.member_id))).collect();
    assert_eq!(h.joined(new).generation, 2);
    for token in again {
        assert_eq!(h.joined(token).leader, replies[0].member_id, "the leader stays");
    }
}

#[test]
fn members_that_do_not_rejoin_are_out_after_the_rebalance_timeout() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let new = h.join(join(""));
    let first = h.join(join(&replies[0].member_id));
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert!(h.waits(new));
        let _ = h.heartbeat(&replies[1].member_id, 1);
        h.advance(5_000);
    }
    assert_eq!(h.joined(new).generation, 2);
    assert_eq!(h.joined(first).members.len(), 2);
    assert_eq!(h.heartbeat(&replies[1].member_id, 2), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_leader_that_does_not_rejoin_loses_the_lead() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let new = h.join(join(""));
    let second = h.join(join(&replies[1].member_id));
    h.advance(SESSION_MS);
    let (new, second) = (h.joined(new), h.joined(second));
    assert_eq!(new.leader, second.leader);
    assert_ne!(new.leader, replies[0].member_id);
    assert_eq!(new.members.len() + second.members.len(), 2);
}

#[test]
fn a_follower_that_rejoins_unchanged_gets_its_generation() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let token = h.join(join(&replies[1].member_id));
    let reply = h.joined(token);
    assert_eq!((reply.generation, reply.members.len()), (1, 0));
    assert_eq!(h.state(), GroupState::Stable);
}

#[test]
fn a_leader_that_rejoins_or_a_follower_with_new_metadata_rebalances() {
    for index in [0, 1] {
        let mut h = Harness::new();
        let replies = h.stable(2);
        let changed = vec![("range".into(), if index == 0 { subscription(&["t"]) } else { subscription(&["u"]) })];
        let token = h.join(JoinRequest { protocols: changed, ..join(&replies[index].member_id) });
        assert!(h.waits(token));
        assert_eq!(h.state(), GroupState::PreparingRebalance);
    }
}

#[test]
fn a_lost_join_answer_can_be_asked_for_again() {
    let mut h = Harness::new();
    let token = h.join(join(""));
    h.advance(0);
    let first = h.joined(token);
    let token = h.join(join(&first.member_id));
    assert_eq!(h.joined(token), first);
    assert_eq!(h.records, []);
}

#[test]
fn a_member_that_joins_twice_has_its_first_join_answered() {
    let mut h = Harness::new();
    let replies = h.stable(2);
    let first = h.join(join(&replies[0].member_id));
    let second = h.join(join(&replies[0].member_id));
    assert_eq!(h.join_error(first), GroupError::RebalanceInProgress);
    let other = h.join(join(&replies[1].member_id));
    assert_eq!(h.joined(second).generation, 2);
    h.joined(other);
}

#[test]
fn the_initial_delay_is_extended_by_new_members_up_to_the_rebalance_timeout() {
    let mut h = Harness::with(Config { initial_rebalance_delay_ms: 3_000, ..config() });
    let request = JoinRequest { rebalance_timeout_ms: 8_000, ..join("") };
    let first = h.join(request.clone());
    h.advance(2_000);
    let second = h.join(request.clone());
    h.advance(1_000);
    assert!(h.waits(first), "the second member extended the delay to 6 s");
    h.advance(1_000);
    let third = h.join(request.clone());
    h.advance(2_000);
    assert!(h.waits(first), "the third extended it to 8 s");
    h.advance(1_000);
    let fourth = h.join(request);
    h.advance(1_000);
    for token in [first, second, third, fourth] {
        assert_eq!(h.joined(token).generation, 1);
    }
}

#[test]
fn the_initial_delay_ends_when_nobody_else_comes() {
    let mut h = Harness::with(Config { initial_rebalance_delay_ms: 3_000, ..config() });
    let token = h.join(join(""));
    h.advance(2_999);
    assert!(h.waits(token));
    h.advance(1);
    assert_eq!(h.joined(token).generation, 1);
}

#[test]
fn a_group_takes_no_more_members_than_its_size() {
    let mut h = Harness::with(Config { size_max: 2, ..config() });
    let replies = h.stable(2);
    let token = h.join(join(""));
    assert_eq!(h.join_error(token), GroupError::GroupMaxSizeReached);
    assert_eq!(h.state(), GroupState::Stable);
    assert_eq!(h.heartbeat(&replies[1].member_id, 1), Ok(()));
}

#[test]
fn a_group_restored_above_its_size_drops_the_last_to_rejoin() {
    let mut h = Harness::new();
    let replies = h.stable(3);
    h.machine.config.size_max = 2;
    h.restart();
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    let tokens: Vec<_> = replies.iter().map(|reply| h.join(join(&reply.member_id))).collect();
    assert_eq!(h.join_error(tokens[2]), GroupError::GroupMaxSizeReached);
    assert_eq!(h.joined(tokens[0]).generation, 2);
    assert_eq!(h.joined(tokens[1]).generation, 2);
}

#[test]
fn a_new_member_whose_join_waits_too_long_is_out() {
    let mut h = Harness::new();
    let long = 20 * 60 * 1000;
    let request = JoinRequest { session_timeout_ms: 1_800_000, rebalance_timeout_ms: long, ..join("") };
    let first = h.join(request.clone());
    h.advance(0);
    let first = h.joined(first);
    h.assign(&[first]);
    let new = h.join(request);
    h.advance(5 * 60 * 1000);
    let Reply::Join(Err(refused)) = h.reply(new) else { panic!() };
    assert_eq!((refused.error, &*refused.member_id), (GroupError::UnknownMemberId, ""));
}

#[test]
fn timeouts_of_zero_end_a_rebalance_without_spinning() {
    let mut h = Harness::new();
    let now = JoinRequest { rebalance_timeout_ms: 0, ..static_join("i") };
    let token = h.join(now);
    h.advance(0);
    assert_eq!(h.joined(token).generation, 1, "the sync phase of 0 ms is over at once");
    assert_eq!(h.state(), GroupState::Empty);
    let token = h.join(JoinRequest { rebalance_timeout_ms: -5, ..join("") });
    h.advance(1);
    h.joined(token);
}

#[test]
fn a_member_that_says_too_much_is_refused() {
    let mut h = Harness::new();
    let says = |bytes: usize| JoinRequest { protocols: vec![("range".into(), vec![0; bytes].into())], ..join("") };
    let token = h.join(says((1 << 20) + 1));
    assert_eq!(h.join_error(token), GroupError::GroupMaxSizeReached);
    assert_eq!(h.state(), GroupState::Dead, "nothing is left of it");
    let fits: Vec<_> = (0..15).map(|_| h.join(says((1 << 20) - 5))).collect();
    assert!(fits.iter().all(|token| h.waits(*token)));
    let token = h.join(says((1 << 20) - 5));
    assert_eq!(h.join_error(token), GroupError::GroupMaxSizeReached, "16 MiB and their client ids");
    let token = h.join(says(5));
    assert!(h.waits(token), "there is room for less");
}
