//! Both protocols in one group: a group changes from one to the other while members are in it (KIP-848).

use kafka_protocol::messages::{JoinGroupRequest, ListGroupsRequest, OffsetFetchRequest};

use crate::{
    consumer_requests::{describe, heartbeat, joining, owned, partitions_of, topic_of},
    requests::{self as classic, assign, assignment, join, leave, protocol, subscription, sync},
    support::{
        StrBytes,
        offsets::{commit_partition, commit_request, commit_topic, fetch_group},
        str_bytes,
    },
    talk::Talk,
};

pub fn classic_requests_to_a_consumer_group(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "owns all", &heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &[0, 1])));
    talk.call("two", 5, "of the member", &sync(&group, "one", 1));
    talk.call("two", 5, "of an unknown one", &sync(&group, "two", 1));
    talk.call("two", 4, "of the member", &classic::heartbeat(&group, "one", 1));
    talk.call("two", 4, "of an unknown one", &classic::heartbeat(&group, "two", 1));
    talk.call("two", 5, "of an unknown one", &leave(5, &group, "two"));
    let list = ListGroupsRequest::default().with_types_filter(vec![str_bytes("consumer")]);
    talk.send("two", 5, "of type consumer", &list);
    let own = group.clone();
    talk.receive_with::<ListGroupsRequest>("two", true, |reply| reply.groups.retain(|listed| listed.group_id.0 == own));
    let reading = |member: &str| reads(&group, member, &topic);
    talk.call("two", 9, "of another type", &reading("").with_protocol_type(str_bytes("connect")));
    let odd = reading("").with_protocols(vec![protocol("range", &b"odd"[..])]);
    talk.call("two", 9, "with bytes that are no subscription", &odd);
    // A classic member in a group of the new protocol.
    let told = talk.call("two", 9, "without an id", &reading(""));
    let two = told.member_id.to_string();
    let joined = talk.call("two", 9, "with the id", &reading(&two));
    talk.call("two", 5, "after the join", &sync(&group, &two, joined.generation_id));
    describe(talk, 1, &group);
    let reply = talk.call("one", 1, "is told to give some up", &heartbeat(&group, "one", 1));
    let gave_up = heartbeat(&group, "one", 1).with_topic_partitions(owned(id, &partitions_of(&reply)));
    talk.call("one", 1, "gave up", &gave_up);
    talk.call("two", 4, "after the other gave up", &classic::heartbeat(&group, &two, joined.generation_id));
    let joined = talk.call("two", 9, "joins again", &reading(&two));
    talk.call("two", 5, "after the second join", &sync(&group, &two, joined.generation_id));
    talk.call("two", 4, "after it all", &classic::heartbeat(&group, &two, joined.generation_id));
    for (step, generation) in [("commit", joined.generation_id), ("commit of the generation before", 1)] {
        let commit = commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
        let commit = commit.with_member_id(str_bytes(&*two)).with_generation_id_or_member_epoch(generation);
        talk.call("two", 8, step, &commit);
        talk.call("two", 9, step, &commit);
    }
    describe(talk, 1, &group);
    // The last one of the new protocol leaves, and the group becomes a classic one.
    talk.call("one", 1, "leaves", &heartbeat(&group, "one", -1));
    describe(talk, 1, &group);
    talk.call("two", 4, "in a classic group again", &classic::heartbeat(&group, &two, joined.generation_id));
    talk.call("two", 6, "a classic group again", &classic::describe(&[&group]));
    talk.call("two", 9, "joins the classic group", &reading(&two));
    talk.call("two", 5, "leaves", &leave(5, &group, &two));
    let other = talk.group("other");
    talk.call("three", 1, "join", &joining(&other, "three", &[&topic]));
    talk.call("four", 9, "unknown member", &reads(&other, "unknown", &topic));
    describe(talk, 1, &other);
}

pub fn consumer_requests_to_a_classic_group(talk: &mut Talk) {
    let (group, connect) = (talk.group("group"), talk.group("connect"));
    let (topic, _) = topic_of(talk, "topic", 2);
    let id = stable(talk, "classic", join(&connect, "").with_protocol_type(str_bytes("connect")), &topic);
    talk.call("two", 1, "joins a group of another protocol type", &joining(&connect, "two", &[&topic]));
    talk.call("two", 1, "a heartbeat to a classic group", &heartbeat(&connect, &id, 1));
    let id = stable(talk, "one", reads(&group, "", &topic), &topic);
    talk.call("two", 1, "joins a classic group", &joining(&group, "two", &[&topic]));
    describe(talk, 1, &group);
    talk.call("one", 4, "is told to join again", &classic::heartbeat(&group, &id, 1));
    let joined = talk.call("one", 9, "joins again", &reads(&group, &id, &topic));
    talk.call("one", 5, "after it joined again", &sync(&group, &id, joined.generation_id));
    talk.call("two", 1, "heartbeat", &heartbeat(&group, "two", 2));
    describe(talk, 1, &group);
    talk.call("one", 5, "leaves", &leave(5, &group, &id));
    talk.call("two", 1, "the only one", &heartbeat(&group, "two", 2));
    describe(talk, 1, &group);
    // An empty classic group is simply replaced.
    let empty = talk.group("empty");
    let id = stable(talk, "three", join(&empty, "").with_protocol_type(str_bytes("connect")), &topic);
    talk.call("three", 5, "leaves", &leave(5, &empty, &id));
    talk.call("three", 1, "joins what is empty", &joining(&empty, "three", &[&topic]));
    describe(talk, 1, &empty);
}

/// Two classic members come back as consumers, one after the other, and then as classic members.
pub fn a_rolling_upgrade_and_back(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 4);
    let reading = |member: &str| reads(&group, member, &topic);
    let one = stable(talk, "one", reading(""), &topic);
    let two = classic::member_id_for(talk, "two", &reading(""));
    talk.send("two", 9, "classic", &reading(&two));
    classic::await_state(talk, &group, "PreparingRebalance");
    talk.call_sorted("one", 9, "classic, again", &reading(&one));
    talk.receive::<JoinGroupRequest>("two");
    let halves: &[(&str, &[u8])] = &[(&one, &assignment(&topic, &[0, 1])), (&two, &assignment(&topic, &[2, 3]))];
    talk.call("one", 5, "leads", &assign(sync(&group, &one, 2), halves));
    talk.call("two", 5, "follows", &sync(&group, &two, 2));
    // Up.
    talk.call("two", 5, "leaves", &leave(5, &group, &two));
    talk.call("one", 4, "after the other left", &classic::heartbeat(&group, &one, 2));
    talk.call("new two", 1, "comes back as a consumer", &joining(&group, "new two", &[&topic]));
    describe(talk, 1, &group);
    talk.call("one", 4, "in a group of both", &classic::heartbeat(&group, &one, 2));
    let joined = talk.call("one", 9, "in a group of both", &reading(&one));
    talk.call("one", 5, "in a group of both", &sync(&group, &one, joined.generation_id));
    talk.call("one", 4, "in a group of both", &classic::heartbeat(&group, &one, joined.generation_id));
    let given = talk.call("new two", 1, "gets what is free", &heartbeat(&group, "new two", joined.generation_id));
    let owns =
        heartbeat(&group, "new two", joined.generation_id).with_topic_partitions(owned(id, &partitions_of(&given)));
    talk.call("new two", 1, "owns it", &owns);
    describe(talk, 1, &group);
    talk.call("one", 5, "leaves", &leave(5, &group, &one));
    talk.call("new one", 1, "comes back as a consumer", &joining(&group, "new one", &[&topic]));
    describe(talk, 1, &group);
    // And down.
    talk.call("new two", 1, "leaves", &heartbeat(&group, "new two", -1));
    let told = talk.call("two", 9, "is classic again, without an id", &reading(""));
    let two = told.member_id.to_string();
    let joined = talk.call("two", 9, "is classic again", &reading(&two));
    talk.call("two", 5, "is classic again", &sync(&group, &two, joined.generation_id));
    describe(talk, 1, &group);
    talk.call("new one", 1, "leaves", &heartbeat(&group, "new one", -1));
    talk.call("two", 4, "the last one", &classic::heartbeat(&group, &two, joined.generation_id));
    let joined = talk.call("two", 9, "the last one", &reading(&two));
    talk.call("two", 5, "the last one", &sync(&group, &two, joined.generation_id));
    talk.call("two", 6, "classic again", &classic::describe(&[&group]));
}

/// What is empty takes the protocol of the next that joins.
pub fn an_empty_group_changes_its_protocol(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 2);
    let commit = commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, 5, None)])]);
    talk.call("one", 1, "join", &joining(&group, "one", &[&topic]));
    talk.call("one", 1, "leaves", &heartbeat(&group, "one", -1));
    talk.call("one", 9, "from outside", &commit);
    talk.call("two", 6, "an empty consumer group", &classic::describe(&[&group]));
    let id = stable(talk, "two", reads(&group, "", &topic), &topic);
    describe(talk, 1, &group);
    talk.call("two", 6, "a classic group now", &classic::describe(&[&group]));
    talk.call("one", 8, "what was committed", &fetch_all(&group));
    talk.call("two", 5, "leaves", &leave(5, &group, &id));
    talk.call("one", 1, "joins the empty classic group", &joining(&group, "one", &[&topic]));
    describe(talk, 1, &group);
    talk.call("one", 8, "what was committed", &fetch_all(&group));
}

fn fetch_all(group: &str) -> OffsetFetchRequest {
    OffsetFetchRequest::default().with_groups(vec![fetch_group(group, None)])
}

/// A static member comes back by the other protocol, first one way and then the other.
pub fn a_static_member_changes_its_protocol(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, id) = topic_of(talk, "topic", 2);
    let instance = Some(str_bytes("instance"));
    let reading = |member: &str| reads(&group, member, &topic).with_group_instance_id(instance.clone());
    let first = stable(talk, "one", reading(""), &topic);
    let upgraded = joining(&group, "upgraded", &[&topic]).with_instance_id(instance.clone());
    talk.call("one", 1, "comes back as a consumer", &upgraded);
    describe(talk, 1, &group);
    let beat = classic::heartbeat(&group, &first, 1).with_group_instance_id(instance.clone());
    talk.call("two", 4, "of the one before", &beat);
    let beat = heartbeat(&group, "upgraded", 2).with_instance_id(instance.clone());
    talk.call("one", 1, "owns all", &beat.clone().with_topic_partitions(owned(id, &[0, 1])));
    talk.call("two", 9, "comes back as a classic member too early", &reading(""));
    describe(talk, 1, &group);
    talk.call("one", 1, "leaves for a while", &beat.with_member_epoch(-2));
    let reply = talk.call("two", 9, "comes back as a classic member", &reading(""));
    let request = sync(&group, &reply.member_id, reply.generation_id).with_group_instance_id(instance);
    talk.call("two", 5, "after it came back", &request);
    describe(talk, 1, &group);
    talk.call("two", 6, "now", &classic::describe(&[&group]));
}

/// A classic consumer that reads `topic`.
fn reads(group: &str, member: &str, topic: &StrBytes) -> JoinGroupRequest {
    join(group, member).with_protocols(vec![protocol("range", subscription(&[topic]))])
}

/// Joins and synchronizes as the only member, with two partitions; answers its id.
fn stable(talk: &mut Talk, who: &'static str, request: JoinGroupRequest, topic: &StrBytes) -> String {
    let group = request.group_id.0.clone();
    let mut joined = talk.call(who, 9, "classic, without an id", &request);
    let id = joined.member_id.clone();
    if joined.error_code == MEMBER_ID_REQUIRED {
        joined = talk.call(who, 9, "classic, with the id", &request.clone().with_member_id(id.clone()));
    }
    let all: &[(&str, &[u8])] = &[(&id, &assignment(topic, &[0, 1]))];
    let request = assign(sync(&group, &id, joined.generation_id), all)
        .with_group_instance_id(request.group_instance_id)
        .with_protocol_type(joined.protocol_type);
    talk.call(who, 5, "classic, alone", &request);
    id.to_string()
}

const MEMBER_ID_REQUIRED: i16 = 79;
