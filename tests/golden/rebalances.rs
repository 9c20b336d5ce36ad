//! Rebalances of classic groups that do not go as planned.

use std::{thread, time::Duration};

use kafka_protocol::messages::{JoinGroupRequest, SyncGroupRequest};

use crate::{
    requests::{
        Joined, assign, await_state, describe, heartbeat, join, join_static, joined, leave, leave_all, member_id, sync,
    },
    support::{StrBytes, str_bytes},
    talk::Talk,
};

/// Somebody joins while one waits for the leader's assignment.
pub fn a_join_while_others_wait_for_their_assignment(talk: &mut Talk) {
    let group = talk.group("group");
    let (one, two) = completing(talk, &group);
    talk.send("two", 5, "waits for its assignment", &sync(&group, &two, 2));
    talk.silence("two", SHORT);
    let three = member_id(talk, "three", &group);
    talk.send("three", 9, "joins meanwhile", &join(&group, &three));
    talk.receive::<SyncGroupRequest>("two");
    talk.call("one", 5, "the leader, too late", &assign(sync(&group, &one.id, 2), &[(&one.id, b"one")]));
    talk.call("one", 4, "preparing again", &heartbeat(&group, &one.id, 2));
    talk.call("two", 5, "of the generation that was not completed", &sync(&group, &two, 2));
    talk.send("two", 9, "joins again", &join(&group, &two));
    talk.call_sorted("one", 9, "joins again", &join(&group, &one.id));
    receive_sorted(talk, "two");
    receive_sorted(talk, "three");
    talk.call(
        "one",
        5,
        "of the next generation",
        &assign(sync(&group, &one.id, 3), &[(&one.id, b"one"), (&three, b"three")]),
    );
    talk.call("two", 5, "of the next generation, without an assignment", &sync(&group, &two, 3));
    talk.call("three", 5, "of the next generation", &sync(&group, &three, 3));
}

/// The leader leaves while others wait for its assignment.
pub fn a_leader_that_leaves(talk: &mut Talk) {
    let group = talk.group("group");
    let (one, two) = completing(talk, &group);
    talk.send("two", 5, "waits for its assignment", &sync(&group, &two, 2));
    talk.silence("two", SHORT);
    talk.call("one", 5, "the leader", &leave(5, &group, &one.id));
    talk.receive::<SyncGroupRequest>("two");
    talk.call("two", 4, "without a leader", &heartbeat(&group, &two, 2));
    talk.call("two", 9, "leads now", &join(&group, &two));
    talk.call("two", 5, "leads now", &assign(sync(&group, &two, 3), &[(&two, b"all")]));
    talk.call("two", 6, "at the end", &describe(&[&group]));
}

/// The last one that others wait for leaves.
pub fn a_leave_completes_a_rebalance(talk: &mut Talk) {
    let group = talk.group("group");
    let one = joined(talk, "one", &group, join(&group, ""));
    let two = member_id(talk, "two", &group);
    talk.send("two", 9, "joins", &join(&group, &two));
    await_state(talk, &group, "PreparingRebalance");
    talk.silence("two", SHORT);
    talk.call("one", 5, "instead of joining again", &leave(5, &group, &one.id));
    receive_sorted(talk, "two");
    talk.call("two", 5, "alone", &assign(sync(&group, &two, 2), &[(&two, b"all")]));
    // And one that waits for the others.
    let three = member_id(talk, "three", &group);
    talk.send("three", 9, "joins", &join(&group, &three));
    await_state(talk, &group, "PreparingRebalance");
    talk.call("two", 5, "one that waits", &leave(5, &group, &three));
    talk.receive::<JoinGroupRequest>("three");
    talk.call("two", 4, "preparing", &heartbeat(&group, &two, 2));
    talk.call("two", 9, "again", &join(&group, &two));
}

/// One that does not join again in time is removed.
pub fn a_member_that_does_not_join_again(talk: &mut Talk) {
    let group = talk.group("group");
    let hasty = |member: &str| join(&group, member).with_rebalance_timeout_ms(HASTY_MS);
    let one = joined(talk, "one", &group, hasty(""));
    let two = member_id(talk, "two", &group);
    talk.send("two", 9, "joins", &hasty(&two));
    talk.silence("two", SHORT);
    receive_sorted(talk, "two");
    talk.call("one", 4, "too late", &heartbeat(&group, &one.id, 1));
    talk.call("one", 9, "too late", &hasty(&one.id));
    talk.call("two", 6, "completing", &describe(&[&group]));
}

/// A static one is kept, though it does not join again in time.
pub fn a_static_member_that_does_not_join_again(talk: &mut Talk) {
    let group = talk.group("group");
    let hasty =
        |member: &str, instance: &str| join_static(&group, member, instance).with_rebalance_timeout_ms(HASTY_MS);
    let one = joined(talk, "one", &group, hasty("", "one"));
    talk.send("two", 9, "joins", &hasty("", "two"));
    talk.silence("two", SHORT);
    let two = receive_sorted(talk, "two");
    let beat = heartbeat(&group, &one.id, 1).with_group_instance_id(Some(str_bytes("one")));
    talk.call("one", 4, "too late", &beat);
    talk.call_sorted("two", 6, "completing", &describe(&[&group]));
    talk.call("two", 5, "the first one", &leave_all(&group, &[("", Some("one"))]));
    talk.call(
        "two",
        4,
        "after the first one left",
        &heartbeat(&group, &two, 2).with_group_instance_id(Some(str_bytes("two"))),
    );
}

/// A leader that gives no assignments in the rebalance timeout is removed with all who did not ask for theirs.
pub fn a_leader_that_does_not_assign(talk: &mut Talk) {
    let group = talk.group("group");
    let hasty = |member: &str| join(&group, member).with_rebalance_timeout_ms(HASTY_MS);
    let one = joined(talk, "one", &group, hasty(""));
    let two = member_id(talk, "two", &group);
    talk.send("two", 9, "joins", &hasty(&two));
    await_state(talk, &group, "PreparingRebalance");
    talk.call_sorted("one", 9, "joins again", &hasty(&one.id));
    receive_sorted(talk, "two");
    talk.send("two", 5, "waits for its assignment", &sync(&group, &two, 2));
    talk.silence("two", SHORT);
    talk.receive::<SyncGroupRequest>("two");
    talk.call("one", 4, "the leader", &heartbeat(&group, &one.id, 2));
    talk.call("two", 4, "the other", &heartbeat(&group, &two, 2));
    talk.call("two", 9, "the other", &hasty(&two));
}

/// The same member asks twice, on two connections.
pub fn requests_that_come_twice(talk: &mut Talk) {
    let group = talk.group("group");
    let one = joined(talk, "one", &group, join(&group, ""));
    let two = member_id(talk, "two", &group);
    talk.send("two", 9, "joins", &join(&group, &two));
    await_state(talk, &group, "PreparingRebalance");
    talk.send("two again", 9, "joins once more", &join(&group, &two));
    talk.silence("two again", SHORT);
    talk.call_sorted("one", 9, "joins again", &join(&group, &one.id));
    talk.receive::<JoinGroupRequest>("two again");
    talk.silence("two", SHORT);
    talk.hang_up("two");
    talk.send("two", 5, "waits", &sync(&group, &two, 2));
    thread::sleep(SHORT);
    talk.send("two again", 5, "waits, too", &sync(&group, &two, 2));
    talk.silence("two again", SHORT);
    talk.call("one", 5, "the leader", &assign(sync(&group, &one.id, 2), &[(&two, b"two")]));
    talk.receive::<SyncGroupRequest>("two again");
    talk.silence("two", SHORT);
}

/// The leader, and one more member; both have joined and the leader is to assign.
fn completing(talk: &mut Talk, group: &StrBytes) -> (Joined, String) {
    let one = joined(talk, "one", group, join(group, ""));
    let two = member_id(talk, "two", group);
    talk.send("two", 9, "joins", &join(group, &two));
    await_state(talk, group, "PreparingRebalance");
    talk.call_sorted("one", 9, "joins again", &join(group, &one.id));
    receive_sorted(talk, "two");
    (one, two)
}

/// The reply to a join that waited; its member id.
fn receive_sorted(talk: &mut Talk, who: &'static str) -> String {
    let reply = talk.receive_with::<JoinGroupRequest>(who, true, |_| {});
    talk.call_it(&reply.member_id, &format!("id of {who}"));
    reply.member_id.to_string()
}

/// Long enough for a reply that should not come.
const SHORT: Duration = Duration::from_millis(200);
/// What a busy machine needs for the steps in between, and some more.
const HASTY_MS: i32 = 2500;
