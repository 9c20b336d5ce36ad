//! Into a classic group and out of it.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use crate::{
    requests::{
        assign, await_state, describe, heartbeat, join, join_static, joined, leave, leave_all, member_id, protocol,
        subscription, sync, versions,
    },
    support::str_bytes,
    talk::Talk,
};

/// At every version of JoinGroup, with the others as old or new as that.
pub fn life_of_a_member(talk: &mut Talk) {
    for version in 0..=9 {
        let group = talk.group(&format!("group-{version}"));
        let (syncs, beats, leaves) = ((version / 2).min(5), (version / 2).min(4), (version * 5 / 9).min(5));
        let mut reply = talk.call("one", version, "without an id", &join(&group, ""));
        let id = reply.member_id.to_string();
        talk.call_it(&id, &format!("id at {version}"));
        if reply.error_code == 79 {
            reply = talk.call("one", version, "with the id", &join(&group, &id));
        }
        let generation = reply.generation_id;
        let request = assign(sync(&group, &id, generation), &[(&id, b"all")]);
        talk.call("one", syncs, "alone", &request);
        talk.call("one", syncs, "again", &sync(&group, &id, generation));
        talk.call("one", beats, "stable", &heartbeat(&group, &id, generation));
        talk.call("one", version, "again, as it was", &join(&group, &id));
        talk.call("one", beats, "of the generation before", &heartbeat(&group, &id, generation));
        talk.call("one", leaves, "a member", &leave(leaves, &group, &id));
        talk.call("one", leaves, "once more", &leave(leaves, &group, &id));
        talk.call("one", 6, "at the end", &describe(&[&group]));
    }
}

pub fn wrong_joins(talk: &mut Talk) {
    for version in versions::<JoinGroupRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let good = || join(&group, "");
        let mut wrong = |step: &str, request: &JoinGroupRequest| {
            talk.call("one", version, step, request);
        };
        wrong("empty group id", &join("", ""));
        for timeout in [i32::MIN, -1, 0, 5999, 1_800_001, i32::MAX] {
            wrong(&format!("session timeout {timeout}"), &good().with_session_timeout_ms(timeout));
        }
        wrong("unknown member", &join(&group, "stranger"));
        wrong("empty protocol type", &good().with_protocol_type(str_bytes("")));
        wrong("no protocols", &good().with_protocols(vec![]));
        wrong("no protocols and no type", &good().with_protocols(vec![]).with_protocol_type(str_bytes("")));
        wrong("group id of 32767 bytes", &join(&"g".repeat(32_767), "stranger"));
        wrong("member id of 32767 bytes", &join(&group, &"m".repeat(32_767)));
        wrong("odd group id, unknown member", &join("\u{0} \u{1f980}\n", "stranger"));
        if version >= 5 {
            wrong("unknown member with an instance id", &join_static(&group, "stranger", "instance"));
        }
        if version >= 6 {
            wrong("group id of 64 KiB", &join(&"g".repeat(65_536), ""));
            wrong("member id of 64 KiB", &join(&group, &"m".repeat(65_536)));
        }
    }
}

/// What is odd, and yet taken.
pub fn odd_joins(talk: &mut Talk) {
    for version in versions::<JoinGroupRequest>() {
        let mut number = 0;
        let mut odd = |step: &str, change: &dyn Fn(JoinGroupRequest) -> JoinGroupRequest| {
            number += 1;
            let group = talk.group(&format!("group-{version}-{number}"));
            let id = if version < 4 { String::new() } else { member_id(talk, "one", &group) };
            let reply = talk.call("one", version, step, &change(join(&group, &id)));
            talk.call_it(&reply.member_id, "id of one");
            let id = reply.member_id.to_string();
            talk.unrecorded().call(5, &leave(5, &group, &id));
        };
        odd("rebalance timeout 0", &|request| request.with_rebalance_timeout_ms(0));
        odd("rebalance timeout -1", &|request| request.with_rebalance_timeout_ms(-1));
        odd("least session timeout", &|request| request.with_session_timeout_ms(6000));
        odd("empty metadata", &|request| {
            request.with_protocol_type(str_bytes("connect")).with_protocols(vec![protocol("range", Bytes::new())])
        });
        odd("protocol without a name", &|request| request.with_protocols(vec![protocol("", subscription(&[]))]));
        for instance in ["", ".", "a b", &"i".repeat(250)] {
            if version >= 5 {
                let step = format!("instance id of {} bytes: {instance}", instance.len());
                odd(&step, &|request| {
                    request.with_member_id(str_bytes("")).with_group_instance_id(Some(str_bytes(instance)))
                });
            }
        }
        odd("10,000 protocols", &|request| {
            request
                .with_protocols((0..10_000).map(|number| protocol(&format!("p{number}"), subscription(&[]))).collect())
        });
        odd("a long reason", &|request| {
            if version < 8 { request } else { request.with_reason(Some(str_bytes("r".repeat(300)))) }
        });
    }
}

/// Kafka leaves the member without a reply.
pub fn a_protocol_twice(talk: &mut Talk) {
    let group = talk.group("group");
    let id = member_id(talk, "one", &group);
    let protocols = vec![protocol("range", subscription(&["a"])), protocol("range", subscription(&["b"]))];
    talk.call("one", 9, "a protocol twice", &join(&group, &id).with_protocols(protocols));
}

pub fn inconsistent_protocols(talk: &mut Talk) {
    for version in versions::<JoinGroupRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let one = joined(talk, "one", &group, join(&group, ""));
        let new = || join(&group, "");
        talk.call("two", version, "another type", &new().with_protocol_type(str_bytes("connect")));
        talk.call(
            "two",
            version,
            "another protocol",
            &new().with_protocols(vec![protocol("other", subscription(&[]))]),
        );
        talk.call("two", version, "no protocols", &new().with_protocols(vec![]));
        talk.call("two", version, "empty type", &new().with_protocol_type(str_bytes("")));
        let own = || join(&group, &one.id);
        talk.call("two", version, "the member with another type", &own().with_protocol_type(str_bytes("connect")));
        talk.call("one", 4, "is undisturbed", &heartbeat(&group, &one.id, one.generation));
        talk.call(
            "two",
            version,
            "the member with another protocol",
            &own().with_protocols(vec![protocol("other", subscription(&[]))]),
        );
        talk.call("two", 6, "at the end", &describe(&[&group]));
    }
}

/// A second member comes; everything that one may ask meanwhile.
pub fn a_rebalance(talk: &mut Talk) {
    let group = talk.group("group");
    let one = joined(talk, "one", &group, join(&group, ""));
    let two = member_id(talk, "two", &group);
    talk.call("three", 4, "of a member that has but an id", &heartbeat(&group, &two, 1));
    talk.call("three", 5, "of a member that has but an id", &sync(&group, &two, 1));
    talk.send("two", 9, "join", &join(&group, &two));
    await_state(talk, &group, "PreparingRebalance");
    talk.silence("two", Duration::from_millis(200));
    talk.call_sorted("three", 6, "preparing", &describe(&[&group]));
    for version in versions::<HeartbeatRequest>() {
        talk.call("one", version, "preparing", &heartbeat(&group, &one.id, one.generation));
        talk.call("one", version, "preparing, of a wrong generation", &heartbeat(&group, &one.id, 7));
    }
    for version in versions::<SyncGroupRequest>() {
        talk.call("one", version, "preparing", &sync(&group, &one.id, one.generation));
        talk.call("one", version, "preparing, of a wrong generation", &sync(&group, &one.id, 7));
    }
    talk.call("three", 4, "preparing, of the new one", &heartbeat(&group, &two, one.generation));
    let reply = talk.call_sorted("one", 9, "joins again", &join(&group, &one.id));
    let generation = reply.generation_id;
    talk.receive::<JoinGroupRequest>("two");
    talk.call_sorted("three", 6, "completing", &describe(&[&group]));
    for version in versions::<HeartbeatRequest>() {
        talk.call("two", version, "completing", &heartbeat(&group, &two, generation));
        talk.call("two", version, "completing, of the generation before", &heartbeat(&group, &two, one.generation));
    }
    talk.call_sorted("one", 9, "the leader again while completing", &join(&group, &one.id));
    talk.call("two", 9, "the other again while completing", &join(&group, &two));
    // Only the leader's assignments count.
    talk.send("two", 5, "as if it led", &assign(sync(&group, &two, generation), &[(&one.id, b"x"), (&two, b"y")]));
    talk.silence("two", Duration::from_millis(200));
    let assignments: &[(&str, &[u8])] = &[(&one.id, b"one"), (&two, b"two"), ("stranger", b"three")];
    talk.call("one", 5, "the leader", &assign(sync(&group, &one.id, generation), assignments));
    talk.receive::<SyncGroupRequest>("two");
    talk.call("two", 5, "stable", &sync(&group, &two, generation));
    talk.call(
        "one",
        5,
        "the leader with other assignments",
        &assign(sync(&group, &one.id, generation), &[(&one.id, b"all")]),
    );
    talk.call_sorted("three", 6, "stable", &describe(&[&group]));
    talk.call("two", 9, "one that does not lead, as it was", &join(&group, &two));
    talk.call("two", 4, "stable", &heartbeat(&group, &two, generation));
    talk.call("two", 5, "the other", &leave(5, &group, &two));
    talk.call("one", 4, "after the other left", &heartbeat(&group, &one.id, generation));
    talk.call("one", 9, "alone again", &join(&group, &one.id));
    talk.call("one", 5, "without an assignment for itself", &assign(sync(&group, &one.id, generation + 1), &[]));
    talk.call("one", 5, "closes the group", &leave(5, &group, &one.id));
    talk.call("three", 6, "empty", &describe(&[&group]));
}

/// Members that know several protocols: the one that all know and most prefer.
pub fn choice_of_a_protocol(talk: &mut Talk) {
    let group = talk.group("group");
    let protocols = |names: &[&str]| {
        names.iter().map(|name| protocol(name, Bytes::copy_from_slice(name.as_bytes()))).collect::<Vec<_>>()
    };
    let connect = |member: &str, names: &[&str]| {
        join(&group, member).with_protocol_type(str_bytes("connect")).with_protocols(protocols(names))
    };
    let one = joined(talk, "one", &group, connect("", &["a", "b", "c"]));
    let two = talk.unrecorded().call(9, &connect("", &["c", "b"])).member_id.to_string();
    talk.call_it(&two, "id of two");
    talk.send("two", 9, "join", &connect(&two, &["c", "b"]));
    await_state(talk, &group, "PreparingRebalance");
    talk.call("three", 9, "knows only what one of them knows", &connect("", &["a"]));
    talk.call_sorted("one", 9, "joins again", &connect(&one.id, &["a", "b", "c"]));
    talk.receive::<JoinGroupRequest>("two");
    talk.call_sorted("three", 6, "completing", &describe(&[&group]));
    let sync = sync(&group, &one.id, 2).with_protocol_type(Some(str_bytes("connect")));
    talk.call("one", 5, "another protocol", &sync.clone().with_protocol_name(Some(str_bytes("a"))));
    talk.call("one", 5, "another type", &sync.clone().with_protocol_type(Some(str_bytes("consumer"))));
    talk.call("one", 5, "neither", &sync.clone().with_protocol_type(None).with_protocol_name(None));
    talk.call_sorted("three", 6, "stable", &describe(&[&group]));
}

pub fn wrong_syncs(talk: &mut Talk) {
    for version in versions::<SyncGroupRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let one = joined(talk, "one", &group, join(&group, ""));
        let mut wrong = |step: &str, request: &SyncGroupRequest| {
            talk.call("one", version, step, request);
        };
        wrong("empty group id", &sync("", &one.id, 1));
        wrong("unknown group", &sync("never-seen", &one.id, 1));
        wrong("unknown member", &sync(&group, "stranger", 1));
        wrong("empty member id", &sync(&group, "", 1));
        for generation in [i32::MIN, -1, 0, 2, i32::MAX] {
            wrong(&format!("generation {generation}"), &sync(&group, &one.id, generation));
        }
        wrong("unknown member and generation", &sync(&group, "stranger", 9));
        if version >= 3 {
            wrong("unknown instance", &sync(&group, &one.id, 1).with_group_instance_id(Some(str_bytes("unknown"))));
        }
        if version >= 5 {
            wrong("another type", &sync(&group, &one.id, 1).with_protocol_type(Some(str_bytes("connect"))));
            wrong("another protocol", &sync(&group, &one.id, 1).with_protocol_name(Some(str_bytes("other"))));
            wrong("no type", &sync(&group, &one.id, 1).with_protocol_type(None));
            wrong("no protocol", &sync(&group, &one.id, 1).with_protocol_name(None));
            wrong("group id of 64 KiB", &sync(&"g".repeat(65_536), &one.id, 1));
        }
        wrong("as it should be", &sync(&group, &one.id, 1));
    }
}

pub fn wrong_heartbeats(talk: &mut Talk) {
    for version in versions::<HeartbeatRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let empty = talk.group(&format!("empty-{version}"));
        let one = joined(talk, "one", &group, join(&group, ""));
        let gone = joined(talk, "gone", &empty, join(&empty, ""));
        talk.unrecorded().call(5, &leave(5, &empty, &gone.id));
        let mut wrong = |step: &str, request: &HeartbeatRequest| {
            talk.call("one", version, step, request);
        };
        wrong("empty group id", &heartbeat("", &one.id, 1));
        wrong("unknown group", &heartbeat("never-seen", &one.id, 1));
        wrong("empty group", &heartbeat(&empty, &gone.id, 1));
        wrong("unknown member", &heartbeat(&group, "stranger", 1));
        wrong("empty member id", &heartbeat(&group, "", 1));
        for generation in [i32::MIN, -1, 0, 2, i32::MAX] {
            wrong(&format!("generation {generation}"), &heartbeat(&group, &one.id, generation));
        }
        wrong("unknown member and generation", &heartbeat(&group, "stranger", 9));
        if version >= 3 {
            wrong(
                "unknown instance",
                &heartbeat(&group, &one.id, 1).with_group_instance_id(Some(str_bytes("unknown"))),
            );
        }
        if version >= 4 {
            wrong("group id of 64 KiB", &heartbeat(&"g".repeat(65_536), &one.id, 1));
        }
        wrong("as it should be", &heartbeat(&group, &one.id, 1));
    }
}

pub fn leaves(talk: &mut Talk) {
    for version in versions::<LeaveGroupRequest>() {
        let group = talk.group(&format!("group-{version}"));
        let one = joined(talk, "one", &group, join(&group, ""));
        talk.call("one", version, "empty group id", &leave(version, "", &one.id));
        talk.call("one", version, "unknown group", &leave(version, "never-seen", &one.id));
        talk.call("one", version, "unknown member", &leave(version, &group, "stranger"));
        talk.call("one", version, "empty member id", &leave(version, &group, ""));
        talk.call("one", version, "the member", &leave(version, &group, &one.id));
        talk.call("one", version, "the member again", &leave(version, &group, &one.id));
        talk.call("one", 6, "at the end", &describe(&[&group]));
    }
    for version in [3, 5] {
        let group = talk.group(&format!("many-{version}"));
        let one = joined(talk, "one", &group, join_static(&group, "", "instance"));
        let two = member_id(talk, "two", &group);
        let mut many = |step: &str, members: &[(&str, Option<&str>)]| {
            talk.call("one", version, step, &leave_all(&group, members));
        };
        many("nobody", &[]);
        many("another's instance", &[("stranger", Some("instance"))]);
        many("unknown instance", &[("", Some("unknown"))]);
        many("the member with an unknown instance", &[(&one.id, Some("unknown"))]);
        many("two unknown, one that has but an id", &[("stranger", None), (&two, None), ("", None)]);
        many("one that had but an id", &[(&two, None)]);
        many("by the instance alone, twice", &[("", Some("instance")), ("", Some("instance"))]);
        many("the member that is gone", &[(&one.id, None)]);
        talk.call("one", 6, "at the end", &describe(&[&group]));
    }
}

pub fn static_members(talk: &mut Talk) {
    for version in [5, 7, 9] {
        let group = talk.group(&format!("group-{version}"));
        let instance = |name: &str| Some(str_bytes(name));
        let one = joined(talk, "one", &group, join_static(&group, "", "instance"));
        talk.call("one", version, "as it was", &join_static(&group, &one.id, "instance"));
        let request =
            assign(sync(&group, &one.id, 2).with_group_instance_id(instance("instance")), &[(&one.id, b"all")]);
        talk.call("one", 5, "as it was", &request);
        let reply = talk.call("two", version, "the instance comes back", &join_static(&group, "", "instance"));
        let two = reply.member_id.to_string();
        let generation = reply.generation_id;
        talk.call_it(&two, "id of two");
        let request = sync(&group, &two, generation).with_group_instance_id(instance("instance"));
        talk.call("two", 5, "the instance comes back", &request);
        talk.call("one", version, "the one before", &join_static(&group, &one.id, "instance"));
        let beat = |id: &str| heartbeat(&group, id, generation);
        talk.call("one", 4, "the one before", &beat(&one.id).with_group_instance_id(instance("instance")));
        talk.call("one", 4, "the one before, without its instance id", &beat(&one.id));
        talk.call("two", 4, "the one after", &beat(&two).with_group_instance_id(instance("instance")));
        talk.call("two", 4, "the one after, without its instance id", &beat(&two));
        talk.call(
            "two",
            4,
            "the one after, with another instance id",
            &beat(&two).with_group_instance_id(instance("other")),
        );
        let request = sync(&group, &one.id, generation).with_group_instance_id(instance("instance"));
        talk.call("one", 5, "the one before", &request);
        talk.call(
            "three",
            version,
            "an unknown member with that instance id",
            &join_static(&group, "stranger", "instance"),
        );
        talk.call("three", 6, "now", &describe(&[&group]));
        talk.send("three", version, "another instance", &join_static(&group, "", "other"));
        await_state(talk, &group, "PreparingRebalance");
        talk.send("four", version, "the other instance again", &join_static(&group, "", "other"));
        talk.receive::<JoinGroupRequest>("three");
        talk.call_sorted("two", version, "joins again", &join_static(&group, &two, "instance"));
        let reply = talk.receive::<JoinGroupRequest>("four");
        talk.call_it(&reply.member_id, "id of four");
        talk.call_sorted("three", 6, "completing", &describe(&[&group]));
        talk.call("two", 5, "one by its instance", &leave_all(&group, &[("", Some("other"))]));
        talk.call("two", 5, "the one before", &leave_all(&group, &[(&one.id, Some("instance"))]));
        talk.call("two", 5, "the one after", &leave_all(&group, &[(&two, Some("instance"))]));
        talk.call("two", 6, "at the end", &describe(&[&group]));
    }
}

/// More than anybody has to say of a member.
pub fn large_metadata(talk: &mut Talk) {
    for (number, kib) in [900, 2 * 1024, 20 * 1024].into_iter().enumerate() {
        let group = talk.group(&format!("group-{number}"));
        let id = member_id(talk, "one", &group);
        let large = Bytes::from(vec![b'm'; kib * 1024]);
        let request = join(&group, &id).with_protocol_type(str_bytes("connect"));
        let request = request.with_protocols(vec![protocol("range", large.clone())]);
        talk.call("one", 9, &format!("metadata of {kib} KiB"), &request);
        let request = assign(sync(&group, &id, 1), &[(&id, b"small")]).with_protocol_type(Some(str_bytes("connect")));
        talk.call("one", 5, &format!("after metadata of {kib} KiB"), &request);
        talk.call("one", 4, &format!("after metadata of {kib} KiB"), &heartbeat(&group, &id, 1));
        let group = talk.group(&format!("assignment-{number}"));
        let id = member_id(talk, "one", &group);
        talk.call("one", 9, "small metadata", &join(&group, &id));
        talk.call("one", 5, &format!("assignment of {kib} KiB"), &assign(sync(&group, &id, 1), &[(&id, &large)]));
        talk.call("one", 4, &format!("after an assignment of {kib} KiB"), &heartbeat(&group, &id, 1));
    }
}

/// The metadata of a stable group's members changes.
pub fn changed_metadata(talk: &mut Talk) {
    let group = talk.group("group");
    let one = joined(talk, "one", &group, join_static(&group, "", "one"));
    let changed = |member: &str| {
        join_static(&group, member, "one").with_protocols(vec![protocol("range", subscription(&["topic"]))])
    };
    talk.call("one", 9, "a static member comes back with another subscription", &changed(""));
    talk.call("one", 6, "now", &describe(&[&group]));
    talk.call(
        "one",
        4,
        "the one before",
        &heartbeat(&group, &one.id, 1).with_group_instance_id(Some(str_bytes("one"))),
    );
    let other = talk.group("other");
    let one = joined(talk, "two", &other, join(&other, ""));
    let changed = join(&other, &one.id).with_protocols(vec![protocol("range", subscription(&["topic"]))]);
    talk.call("two", 9, "the leader with another subscription", &changed);
    talk.call("two", 5, "of the new generation", &assign(sync(&other, &one.id, 2), &[(&one.id, b"new")]));
    talk.call("two", 6, "now", &describe(&[&other]));
}
