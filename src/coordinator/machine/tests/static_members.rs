use super::*;

/// A stable group of static members `a`, `b`, …, leader first.
fn stable(h: &mut Harness, instances: &[&str]) -> Vec<JoinReply> {
    let tokens: Vec<_> = instances.iter().map(|instance| h.join(static_join(instance))).collect();
    h.advance(0);
    let mut replies: Vec<_> = tokens.into_iter().map(|token| h.joined(token)).collect();
    replies.sort_by_key(|reply| reply.leader != reply.member_id);
    h.assign(&replies);
    replies
}

fn instance(reply: &JoinReply) -> String {
    reply.member_id.split('-').next().unwrap().to_owned()
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let token = h.join(static_join(&instance(&replies[1])));
    let reply = h.joined(token);
    assert_ne!(reply.member_id, replies[1].member_id);
    assert_eq!((reply.generation, reply.leader.clone()), (1, replies[0].member_id.clone()));
    assert_eq!((reply.skip_assignment, reply.members.len()), (false, 0));
    let [CoordinatorRecord::Group { value: Some(value), .. }] = h.records.as_slice() else { panic!("{:?}", h.records) };
    assert!(value.members.iter().any(|member| member.member_id == reply.member_id));
    assert_eq!((value.generation, value.state), (1, GroupState::Stable));
    let token = h.sync(&reply, &[]);
    assert_eq!(h.synced(token), replies[1].member_id.as_bytes(), "the assignment of the one it replaces");
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_assign_nothing() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let token = h.join(static_join(&instance(&replies[0])));
    let reply = h.joined(token);
    assert_eq!(reply.leader, reply.member_id);
    assert!(reply.skip_assignment);
    assert_eq!(reply.members.len(), 2);
    assert_eq!(h.heartbeat(&reply.member_id, 1), Ok(()));
}

#[test]
fn before_version_9_a_static_leader_that_comes_back_is_shown_its_former_id() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let request = JoinRequest { supports_skipping_assignment: false, ..static_join(&instance(&replies[0])) };
    let token = h.join(request);
    let reply = h.joined(token);
    assert_eq!(reply.leader, replies[0].member_id);
    assert_ne!(reply.leader, reply.member_id);
    assert_eq!((reply.skip_assignment, reply.members.len()), (false, 0));
}

#[test]
fn the_former_id_of_a_static_member_is_fenced() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let (old, name) = (replies[1].member_id.clone(), instance(&replies[1]));
    h.join(static_join(&name));
    let heartbeat = |member_id: &Arc<str>, instance: Option<&str>| {
        Request::Heartbeat(HeartbeatRequest {
            group_id: "g".into(),
            generation: 1,
            member_id: member_id.clone(),
            group_instance_id: instance.map(Arc::from),
        })
    };
    let token = h.ask(heartbeat(&old, Some(&name)));
    assert_eq!(h.reply(token), Reply::Heartbeat(Err(GroupError::FencedInstanceId)));
    let token = h.ask(heartbeat(&old, None));
    assert_eq!(h.reply(token), Reply::Heartbeat(Err(GroupError::UnknownMemberId)));
    let stale = CommitRequest { group_instance_id: Some(name.as_str().into()), ..commit(&old, 1, &["t"]) };
    assert_eq!(h.commit(stale), Err(GroupError::FencedInstanceId));
    let request = SyncRequest { group_instance_id: Some(name.as_str().into()), ..sync(&replies[1], &[]) };
    let token = h.ask(Request::Sync(request));
    assert_eq!(h.sync_error(token), GroupError::FencedInstanceId);
    assert_eq!(h.leave(&[(&old, Some(&name))]), [Err(GroupError::FencedInstanceId)]);
    let token = h.join(JoinRequest { member_id: old, ..static_join(&name) });
    assert_eq!(h.join_error(token), GroupError::FencedInstanceId);
}

#[test]
fn a_join_that_waits_under_the_former_id_is_fenced() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let name = instance(&replies[0]);
    let waiting = h.join(JoinRequest { member_id: replies[0].member_id.clone(), ..static_join(&name) });
    assert!(h.waits(waiting));
    let token = h.join(static_join(&name));
    let Reply::Join(Err(refused)) = h.reply(waiting) else { panic!() };
    assert_eq!(refused, JoinError { error: GroupError::FencedInstanceId, member_id: replies[0].member_id.clone() });
    let other = JoinRequest { member_id: replies[1].member_id.clone(), ..static_join(&instance(&replies[1])) };
    let other = h.join(other);
    assert_eq!(h.joined(token).generation, 2);
    h.joined(other);
}

#[test]
fn a_static_member_that_comes_back_in_the_sync_phase_rebalances() {
    let mut h = Harness::new();
    let tokens = [h.join(static_join("a")), h.join(static_join("b"))];
    h.advance(0);
    let replies = tokens.map(|token| h.joined(token));
    let waiting: Vec<_> = replies.iter().filter(|r| r.leader != r.member_id).map(|r| h.sync(r, &[])).collect();
    let token = h.join(static_join("a"));
    assert!(h.waits(token));
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    waiting.into_iter().for_each(|token| {
        let error = h.sync_error(token);
        assert!(matches!(error, GroupError::RebalanceInProgress | GroupError::FencedInstanceId), "{error}");
    });
}

#[test]
fn a_static_member_whose_protocols_change_the_choice_rebalances() {
    let mut h = Harness::new();
    let both = vec![("range".to_owned(), Bytes::new()), ("sticky".to_owned(), Bytes::new())];
    let token = h.join(JoinRequest { protocols: both, ..static_join("a") });
    h.advance(0);
    let reply = h.joined(token);
    h.assign(&[reply]);
    let other = vec![("sticky".to_owned(), Bytes::new())];
    let token = h.join(JoinRequest { protocols: other, ..static_join("a") });
    assert_eq!(h.joined(token).generation, 2);
}

#[test]
fn a_static_member_is_not_dropped_by_a_rebalance_that_it_misses() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let new = h.join(static_join("c"));
    let first = h.join(JoinRequest { member_id: replies[0].member_id.clone(), ..static_join(&instance(&replies[0])) });
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert_eq!(h.heartbeat(&replies[1].member_id, 1), Err(GroupError::RebalanceInProgress));
        h.advance(5_000);
    }
    assert_eq!(h.joined(first).members.len(), 3, "the leader assigns to it all the same");
    h.joined(new);
}

#[test]
fn a_group_of_static_members_that_all_stay_away_empties_by_their_sessions() {
    let mut h = Harness::new();
    let long =
        |instance: &str| JoinRequest { session_timeout_ms: 60_000, rebalance_timeout_ms: 10, ..static_join(instance) };
    let tokens = [h.join(long("a")), h.join(long("b"))];
    h.advance(0);
    let mut replies = tokens.map(|token| h.joined(token));
    replies.sort_by_key(|reply| reply.leader != reply.member_id);
    h.assign(&replies);
    assert_eq!(h.leave(&[("", Some(&instance(&replies[0])))]), [Ok(())]);
    h.advance(59_000);
    assert_eq!(h.state(), GroupState::PreparingRebalance);
    h.advance(1_000);
    assert_eq!(h.state(), GroupState::Empty);
}

#[test]
fn an_administrator_removes_static_members_by_instance() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    assert_eq!(h.leave(&[("", Some("nobody")), ("", None)]), [Err(GroupError::UnknownMemberId); 2]);
    assert_eq!(h.state(), GroupState::Stable);
    assert_eq!(h.leave(&[("", Some("a")), ("", Some("b"))]), [Ok(()); 2]);
    assert_eq!(h.state(), GroupState::Empty);
    assert_eq!(h.heartbeat(&replies[0].member_id, 1), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_replacement_survives_a_restart() {
    let mut h = Harness::new();
    let replies = stable(&mut h, &["a", "b"]);
    let token = h.join(static_join(&instance(&replies[1])));
    let reply = h.joined(token);
    h.restart();
    assert_eq!(h.heartbeat(&reply.member_id, 1), Ok(()));
    assert_eq!(h.heartbeat(&replies[1].member_id, 1), Err(GroupError::UnknownMemberId));
}
