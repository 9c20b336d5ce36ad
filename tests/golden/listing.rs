//! What there is of groups, and where.

use std::thread;
use std::time::Duration;

use kafka_protocol::messages::{DescribeGroupsRequest, FindCoordinatorRequest, ListGroupsRequest};

use crate::{
    requests::{await_state, describe, join, joined, leave, member_id, member_id_for, versions},
    support::{
        eventually,
        offsets::{commit_partition, commit_request, commit_topic},
        str_bytes,
    },
    talk::Talk,
};

pub fn coordinators(talk: &mut Talk) {
    let group = talk.group("group");
    // Kafka makes the topic of the transaction coordinator when it is first asked.
    let transactions = FindCoordinatorRequest::default().with_key(str_bytes("id")).with_key_type(1);
    let mut client = talk.unrecorded();
    eventually("a transaction coordinator", Duration::from_secs(15), || {
        (client.call(3, &transactions).error_code == 0).then_some(())
    });
    for version in 0..=3 {
        let find = |key: &str, kind| FindCoordinatorRequest::default().with_key(str_bytes(key)).with_key_type(kind);
        talk.call("one", version, "of a group", &find(&group, 0));
        talk.call("one", version, "of the empty group", &find("", 0));
        if version > 0 {
            talk.call("one", version, "of a transactional id", &find("id", 1));
            for kind in [-1, 2, 3, 127] {
                talk.call("one", version, &format!("of key type {kind}"), &find("key", kind));
            }
        }
    }
    for version in 4..=6 {
        let find = |keys: &[&str], kind| {
            FindCoordinatorRequest::default()
                .with_coordinator_keys(keys.iter().map(|key| str_bytes(*key)).collect())
                .with_key_type(kind)
        };
        talk.call("one", version, "of a group", &find(&[&group], 0));
        talk.call(
            "one",
            version,
            "of several, one of them twice and one empty",
            &find(&[&group, "a", &group, "", "b"], 0),
        );
        talk.call("one", version, "of none", &find(&[], 0));
        talk.call("one", version, "of a transactional id", &find(&["id"], 1));
        for kind in [-1, 2, 3, 127] {
            talk.call("one", version, &format!("of key type {kind}"), &find(&["key"], kind));
        }
    }
}

pub fn groups_by_state_and_type(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let (stable, empty, simple, preparing) =
        (talk.group("stable"), talk.group("empty"), talk.group("simple"), talk.group("preparing"));
    joined(talk, "one", &stable, join(&stable, ""));
    let gone = joined(talk, "two", &empty, join(&empty, ""));
    talk.unrecorded().call(5, &leave(5, &empty, &gone.id));
    talk.unrecorded().call(8, &commit_request(&simple, vec![commit_topic(&topic, vec![commit_partition(0, 1, None)])]));
    joined(talk, "three", &preparing, join(&preparing, "").with_protocol_type(str_bytes("connect")));
    let connect = |member: &str| join(&preparing, member).with_protocol_type(str_bytes("connect"));
    let four = member_id_for(talk, "four", &connect(""));
    talk.send("four", 9, "join", &connect(&four));
    await_state(talk, &preparing, "PreparingRebalance");
    thread::sleep(Duration::from_millis(100));
    let own = [stable, empty, simple, preparing];
    let mut list = |version: i16, states: &[&str], types: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| str_bytes(*text)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default().with_states_filter(texts(states)).with_types_filter(texts(types));
        talk.send("one", version, &format!("states {states:?}, types {types:?}"), &request);
        talk.receive_with::<ListGroupsRequest>("one", true, |reply| {
            reply.groups.retain(|group| own.contains(&group.group_id.0));
        });
    };
    for version in 0..=5 {
        list(version, &[], &[]);
    }
    for version in [4, 5] {
        for state in [
            "Stable",
            "stable",
            "STABLE",
            "Empty",
            "PreparingRebalance",
            "preparingrebalance",
            "Dead",
            "Unknown",
            "odd",
            "",
            "Assigning",
        ] {
            list(version, &[state], &[]);
        }
        list(version, &["Empty", "Stable", "Empty"], &[]);
        list(version, &["odd", "Stable"], &[]);
    }
    for kind in ["classic", "Classic", "CLASSIC", "consumer", "share", "streams", "unknown", "odd", ""] {
        list(5, &[], &[kind]);
    }
    list(5, &[], &["consumer", "classic"]);
    list(5, &[], &["odd", "classic"]);
    list(5, &["Stable"], &["classic"]);
    list(5, &["Stable"], &["consumer"]);
}

pub fn descriptions(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let (stable, empty, simple) = (talk.group("stable"), talk.group("empty"), talk.group("simple"));
    joined(talk, "one", &stable, join(&stable, ""));
    let gone = joined(talk, "two", &empty, join(&empty, ""));
    talk.unrecorded().call(5, &leave(5, &empty, &gone.id));
    talk.unrecorded().call(8, &commit_request(&simple, vec![commit_topic(&topic, vec![commit_partition(0, 1, None)])]));
    for version in versions::<DescribeGroupsRequest>() {
        talk.call("one", version, "stable", &describe(&[&stable]));
        talk.call("one", version, "empty", &describe(&[&empty]));
        talk.call("one", version, "with offsets only", &describe(&[&simple]));
        talk.call("one", version, "unknown", &describe(&["never-seen"]));
        talk.call("one", version, "none", &describe(&[]));
        talk.call_sorted("one", version, "several", &describe(&[&stable, "never-seen", &empty]));
        talk.call_sorted("one", version, "one twice", &describe(&[&stable, &stable]));
        if version >= 3 {
            talk.call_sorted(
                "one",
                version,
                "what a client may do",
                &describe(&[&stable, "never-seen"]).with_include_authorized_operations(true),
            );
        }
    }
    // Describing waits for nothing, also in mid-rebalance.
    let two = member_id(talk, "two", &stable);
    talk.send("two", 9, "join", &join(&stable, &two));
    await_state(talk, &stable, "PreparingRebalance");
    talk.call_sorted("one", 6, "preparing", &describe(&[&stable]));
    talk.hang_up("two");
    talk.call_sorted("one", 6, "one hung up", &describe(&[&stable]));
}
