//! Members of classic groups, one connection each.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest, SyncGroupResponse, describe_groups_response::DescribedGroup,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};

use super::{Client, Gateway, eventually, offsets, str_bytes};

pub struct Member {
    pub client: Client,
    pub group: String,
    pub member_id: String,
    pub instance_id: Option<String>,
    pub generation: i32,
    pub session_timeout_ms: i32,
}

impl Member {
    pub fn new(gateway: &Gateway, group: &str) -> Self {
        let mut client = gateway.connect();
        offsets::await_coordinator(&mut client, group);
        Self {
            client,
            group: group.to_owned(),
            member_id: String::new(),
            instance_id: None,
            generation: -1,
            session_timeout_ms: 10_000,
        }
    }

    pub fn with_instance_id(mut self, instance_id: &str) -> Self {
        self.instance_id = Some(instance_id.to_owned());
        self
    }

    /// The only member of its group, with its assignment.
    pub fn alone(gateway: &Gateway, group: &str) -> Self {
        let mut member = Self::new(gateway, group);
        member.join_and_sync_alone();
        member
    }

    pub fn join_and_sync_alone(&mut self) {
        let joined = self.join();
        assert_eq!(joined.error_code, 0, "{joined:?}");
        assert_eq!(joined.leader, joined.member_id, "the only member leads");
        let synced = self.sync(&[(self.member_id.clone(), Bytes::from_static(b"assignment"))]);
        assert_eq!((synced.error_code, &*synced.assignment), (0, &b"assignment"[..]), "{synced:?}");
    }

    /// Joins as clients do: the first answer gives a member id, the second is the group's.
    pub fn join(&mut self) -> JoinGroupResponse {
        self.take_member_id();
        let id = self.send_join();
        self.receive_join(id)
    }

    /// A new dynamic member is told its id, and must come again with it (KIP-394).
    pub fn take_member_id(&mut self) {
        if self.member_id.is_empty() && self.instance_id.is_none() {
            let response = self.client.call(JOIN_VERSION, &self.join_request());
            assert_eq!(response.error_code, 79, "MEMBER_ID_REQUIRED: {response:?}");
            self.member_id = response.member_id.to_string();
        }
    }

    pub fn send_join(&mut self) -> i32 {
        let request = self.join_request();
        self.client.send(JOIN_VERSION, &request)
    }

    pub fn receive_join(&mut self, correlation_id: i32) -> JoinGroupResponse {
        let response = self.client.receive::<JoinGroupRequest>(JOIN_VERSION, correlation_id);
        if response.error_code == 0 {
            self.member_id = response.member_id.to_string();
            self.generation = response.generation_id;
        }
        response
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(str_bytes("range"))
            .with_metadata(Bytes::from_static(SUBSCRIPTION));
        JoinGroupRequest::default()
            .with_group_id(GroupId(str_bytes(&*self.group)))
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_rebalance_timeout_ms(20_000)
            .with_member_id(str_bytes(&*self.member_id))
            .with_group_instance_id(self.instance_id.as_deref().map(str_bytes))
            .with_protocol_type(str_bytes("consumer"))
            .with_protocols(vec![protocol])
            .with_reason(None)
    }

    /// Only the leader has assignments to give.
    pub fn sync(&mut self, assignments: &[(String, Bytes)]) -> SyncGroupResponse {
        let request = self.sync_request(assignments);
        self.client.call(SYNC_VERSION, &request)
    }

    pub fn send_sync(&mut self, assignments: &[(String, Bytes)]) -> i32 {
        let request = self.sync_request(assignments);
        self.client.send(SYNC_VERSION, &request)
    }

    pub fn receive_sync(&mut self, correlation_id: i32) -> SyncGroupResponse {
        self.client.receive::<SyncGroupRequest>(SYNC_VERSION, correlation_id)
    }

    fn sync_request(&self, assignments: &[(String, Bytes)]) -> SyncGroupRequest {
        let assignment = |(member_id, bytes): &(String, Bytes)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(str_bytes(member_id.clone()))
                .with_assignment(bytes.clone())
        };
        SyncGroupRequest::default()
            .with_group_id(GroupId(str_bytes(&*self.group)))
            .with_generation_id(self.generation)
            .with_member_id(str_bytes(&*self.member_id))
            .with_group_instance_id(self.instance_id.as_deref().map(str_bytes))
            .with_protocol_type(Some(str_bytes("consumer")))
            .with_protocol_name(Some(str_bytes("range")))
            .with_assignments(assignments.iter().map(assignment).collect())
    }

    pub fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(str_bytes(&*self.group)))
            .with_generation_id(self.generation)
            .with_member_id(str_bytes(&*self.member_id))
            .with_group_instance_id(self.instance_id.as_deref().map(str_bytes));
        self.client.call(4, &request).error_code
    }

    pub fn leave(&mut self) -> i16 {
        let identity = MemberIdentity::default()
            .with_member_id(str_bytes(&*self.member_id))
            .with_group_instance_id(self.instance_id.as_deref().map(str_bytes))
            .with_reason(None);
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(str_bytes(&*self.group))).with_members(vec![identity]);
        let response = self.client.call(5, &request);
        assert_eq!(response.error_code, 0, "{response:?}");
        response.members[0].error_code
    }

    /// Commits as this member; the error code.
    pub fn commit(&mut self, version: i16, topic: &str, partition: i32, offset: i64) -> i16 {
        let topics = vec![offsets::commit_topic(topic, vec![offsets::commit_partition(partition, offset, None)])];
        let request = offsets::commit_request(&self.group, topics)
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(str_bytes(&*self.member_id))
            .with_group_instance_id(self.instance_id.as_deref().map(str_bytes));
        offsets::commit_codes(&mut self.client, version, &request)[0]
    }
}

/// Two members of a stable group; the first leads.
pub fn pair(gateway: &Gateway, group: &str) -> (Member, Member) {
    let mut first = Member::alone(gateway, group);
    let mut second = Member::new(gateway, group);
    second.take_member_id();
    let join = second.send_join();
    await_state(&mut first.client, group, "PreparingRebalance");
    assert_eq!(first.heartbeat(), 27, "REBALANCE_IN_PROGRESS");
    assert_eq!(first.join().error_code, 0);
    assert_eq!(second.receive_join(join).error_code, 0);
    assert_eq!(first.generation, second.generation);
    let assignments =
        [(first.member_id.clone(), Bytes::from_static(b"one")), (second.member_id.clone(), Bytes::from_static(b"two"))];
    let sync = second.send_sync(&[]);
    assert_eq!(first.sync(&assignments).assignment, &b"one"[..]);
    assert_eq!(second.receive_sync(sync).assignment, &b"two"[..]);
    (first, second)
}

pub fn describe(client: &mut Client, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(str_bytes(group))]);
    client.call(5, &request).groups.remove(0)
}

pub fn await_state(client: &mut Client, group: &str, state: &str) {
    eventually(state, Duration::from_secs(10), || (*describe(client, group).group_state == *state).then_some(()));
}

/// ConsumerProtocolSubscription 0 with no topics: Kafka reads it, and does not complete the join when it cannot.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
