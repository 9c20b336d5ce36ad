//! Requests of members of classic groups, good unless a scenario changes them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::Request,
};

use crate::{
    support::{groups, str_bytes},
    talk::Talk,
};

/// The lowest version, the one in the middle and the highest.
pub fn versions<R: Request>() -> Vec<i16> {
    let (min, max) = (R::VERSIONS.min, R::VERSIONS.max);
    let mut versions = vec![min, i16::midpoint(min, max), max];
    versions.dedup();
    versions
}

/// A consumer that reads nothing.
pub fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(str_bytes(member))
        .with_group_instance_id(None)
        .with_protocol_type(str_bytes("consumer"))
        .with_protocols(vec![protocol("range", subscription(&[]))])
        .with_reason(None)
}

pub fn join_static(group: &str, member: &str, instance: &str) -> JoinGroupRequest {
    join(group, member).with_group_instance_id(Some(str_bytes(instance)))
}

pub fn protocol(name: &str, metadata: impl Into<Bytes>) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(str_bytes(name)).with_metadata(metadata.into())
}

pub fn sync(group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(str_bytes(member))
        .with_group_instance_id(None)
        .with_protocol_type(Some(str_bytes("consumer")))
        .with_protocol_name(Some(str_bytes("range")))
}

/// As the leader says it.
pub fn assign(request: SyncGroupRequest, assignments: &[(&str, &[u8])]) -> SyncGroupRequest {
    let assignment = |(member, bytes): &(&str, &[u8])| {
        SyncGroupRequestAssignment::default()
            .with_member_id(str_bytes(*member))
            .with_assignment(Bytes::copy_from_slice(bytes))
    };
    request.with_assignments(assignments.iter().map(assignment).collect())
}

pub fn heartbeat(group: &str, member: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(str_bytes(member))
        .with_group_instance_id(None)
}

/// In the shape that the version asks for.
pub fn leave(version: i16, group: &str, member: &str) -> LeaveGroupRequest {
    if version < 3 {
        return LeaveGroupRequest::default().with_group_id(group_id(group)).with_member_id(str_bytes(member));
    }
    leave_all(group, &[(member, None)])
}

/// Member and instance ids.
pub fn leave_all(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let identity = |(member, instance): &(&str, Option<&str>)| {
        MemberIdentity::default()
            .with_member_id(str_bytes(*member))
            .with_group_instance_id(instance.map(str_bytes))
            .with_reason(None)
    };
    LeaveGroupRequest::default().with_group_id(group_id(group)).with_members(members.iter().map(identity).collect())
}

pub fn describe(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(groups.iter().map(|group| group_id(group)).collect())
}

pub fn group_id(group: &str) -> GroupId {
    GroupId(str_bytes(group))
}

/// ConsumerProtocolSubscription 0.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(topics.len().try_into().unwrap());
    topics.iter().for_each(|topic| put_string(&mut bytes, topic));
    bytes.put_i32(-1);
    bytes.freeze()
}

/// ConsumerProtocolAssignment 0.
pub fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32((!partitions.is_empty()).into());
    if !partitions.is_empty() {
        put_string(&mut bytes, topic);
        bytes.put_i32(partitions.len().try_into().unwrap());
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    bytes.put_i16(text.len().try_into().unwrap());
    bytes.put_slice(text.as_bytes());
}

/// A member that is there without a word written down.
pub struct Joined {
    pub id: String,
    pub generation: i32,
}

/// The first member of a group, stable with the assignment "all"; `id of {who}` in what is written down.
pub fn joined(talk: &mut Talk, who: &'static str, group: &str, request: JoinGroupRequest) -> Joined {
    let mut request = request;
    let mut client = talk.unrecorded();
    let mut reply = client.call(9, &request);
    if reply.error_code == 79 {
        request.member_id = reply.member_id.clone();
        reply = client.call(9, &request);
    }
    assert_eq!(reply.error_code, 0, "{reply:?}");
    talk.call_it(&reply.member_id, &format!("id of {who}"));
    let mut sync = assign(sync(group, &reply.member_id, reply.generation_id), &[(&reply.member_id, b"all")]);
    sync.group_instance_id = request.group_instance_id;
    sync.protocol_type = reply.protocol_type;
    sync.protocol_name = reply.protocol_name;
    let synced = client.call(5, &sync);
    assert_eq!(synced.error_code, 0, "{synced:?}");
    Joined { id: reply.member_id.to_string(), generation: reply.generation_id }
}

/// A member id for a join that is to be written down.
pub fn member_id(talk: &mut Talk, who: &'static str, group: &str) -> String {
    member_id_for(talk, who, &join(group, ""))
}

pub fn member_id_for(talk: &mut Talk, who: &'static str, request: &JoinGroupRequest) -> String {
    let reply = talk.unrecorded().call(9, request);
    assert_eq!(reply.error_code, 79, "{reply:?}");
    talk.call_it(&reply.member_id, &format!("id of {who}"));
    reply.member_id.to_string()
}

pub fn await_state(talk: &Talk, group: &str, state: &str) {
    groups::await_state(&mut talk.unrecorded(), group, state);
}
