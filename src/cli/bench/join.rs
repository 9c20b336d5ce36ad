//! Join: groups of the classic protocol come to a stable generation of all members, leave, and begin again.
//!
//! A member joins alone first, as the first consumer of an application does; then all others at once. So a round has two
//! rebalances, of which the second, of the full group, is the one whose time is shown.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use super::{
    Target,
    connection::Connection,
    driver::{self, Tally, Worker},
    groups,
    produce::at_least_one,
    reader::broker_error,
    report::Report,
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Groups that come and go
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = at_least_one)]
    groups: usize,
    /// Members of a group, each with a connection of its own
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = at_least_one)]
    members: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    let mut admin = target.connect().await?;
    let ids = groups::prepare(&mut admin, flags.groups).await?;
    let mut groups = Vec::with_capacity(ids.len());
    for id in &ids {
        groups.push(Group::new(id, target, flags).await?);
    }
    let (measured, groups) = driver::run(groups, &target.timed()).await?;
    groups::delete(&mut admin, ids).await?;
    let joined: u64 = groups.iter().map(|group| group.joined).sum();
    let joining: f64 = groups.iter().map(|group| group.joining.as_secs_f64()).sum::<f64>() / flags.groups as f64;
    let leaving: f64 = groups.iter().map(|group| group.leaving.as_secs_f64()).sum();
    let rounds = (joined as f64 / flags.members as f64).max(1.0);
    let rate = if joining > 0.0 { joined as f64 / joining } else { 0.0 };
    let settings = format!("{} groups of {} members; latency of a rebalance of all", flags.groups, flags.members);
    Ok(Report::new("join", target, settings, measured)?
        .figure("members_per_second", "members brought to stable, a second", rate)
        .figure("leave_ms", "time until all members have left, ms", leaving * 1e3 / rounds))
}

struct Group {
    id: GroupId,
    members: Vec<Member>,
    /// In the measured time: members, and how long it took.
    joined: u64,
    joining: Duration,
    leaving: Duration,
}

struct Member {
    connection: Connection,
    id: StrBytes,
}

/// A generation as its leader sees it.
struct Generation {
    id: i32,
    leader: StrBytes,
    members: Vec<StrBytes>,
}

impl Group {
    async fn new(id: &GroupId, target: &Target, flags: &Flags) -> anyhow::Result<Self> {
        let connections = target.connect_many(flags.members).await?.into_iter();
        let members = connections.map(|connection| Member { connection, id: StrBytes::default() }).collect();
        Ok(Self { id: id.clone(), members, joined: 0, joining: Duration::ZERO, leaving: Duration::ZERO })
    }

    /// How long the rebalance of all took.
    async fn join(&mut self) -> anyhow::Result<Duration> {
        let (first, others) = self.members.split_first_mut().context("a group without members")?;
        let first = std::slice::from_mut(first);
        obtain_ids(&self.id, first).await?;
        send_joins(&self.id, first).await?;
        let alone = receive_generation(first).await?;
        sync(&self.id, first, &alone).await?;

        obtain_ids(&self.id, others).await?;
        let begin = Instant::now();
        if !others.is_empty() {
            send_joins(&self.id, others).await?;
            for member in first.iter_mut() {
                member.wait_for_rebalance(&self.id, alone.id).await?;
            }
            send_joins(&self.id, first).await?;
            let generation = receive_generation(&mut self.members).await?;
            let (all, here) = (self.members.len(), generation.members.len());
            ensure!(all == here, "generation {} has {here} members of {all}", generation.id);
            sync(&self.id, &mut self.members, &generation).await?;
        }
        Ok(begin.elapsed())
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            let identity = MemberIdentity::default().with_member_id(std::mem::take(&mut member.id));
            let request = LeaveGroupRequest::default().with_group_id(self.id.clone()).with_members(vec![identity]);
            member.connection.send_request(LEAVE_VERSION, &request).await?;
        }
        for member in &mut self.members {
            let response = member.connection.receive_response::<LeaveGroupRequest>(LEAVE_VERSION).await?;
            no_error(response.error_code, "LeaveGroup")?;
            for left in response.members {
                no_error(left.error_code, "LeaveGroup")?;
            }
        }
        Ok(())
    }
}

impl Worker for Group {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        let begin = Instant::now();
        let rebalance = self.join().await?;
        let joined = Instant::now();
        let members = u64::try_from(self.members.len())?;
        tally.request(rebalance, members, 0);
        self.leave().await?;
        if tally.is_measured() {
            self.joined += members;
            self.joining += joined - begin;
            self.leaving += joined.elapsed();
        }
        Ok(true)
    }
}

impl Member {
    /// A member of a stable group learns of others by its heartbeat.
    async fn wait_for_rebalance(&mut self, group: &GroupId, generation: i32) -> anyhow::Result<()> {
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(generation)
            .with_member_id(self.id.clone());
        let begin = Instant::now();
        loop {
            let code = self.connection.call(HEARTBEAT_VERSION, &heartbeat).await?.error_code;
            if code == ResponseError::RebalanceInProgress.code() {
                return Ok(());
            }
            no_error(code, "Heartbeat")?;
            ensure!(begin.elapsed() < PATIENCE, "no rebalance after others have joined");
        }
    }
}

/// KIP-394: the first JoinGroup is refused, with an id for the second.
async fn obtain_ids(group: &GroupId, members: &mut [Member]) -> anyhow::Result<()> {
    send_joins(group, members).await?;
    for member in members {
        let response = member.connection.receive_response::<JoinGroupRequest>(JOIN_VERSION).await?;
        if response.error_code != ResponseError::MemberIdRequired.code() {
            no_error(response.error_code, "JoinGroup without a member id")?;
            anyhow::bail!("JoinGroup without a member id was accepted");
        }
        member.id = response.member_id;
    }
    Ok(())
}

async fn send_joins(group: &GroupId, members: &mut [Member]) -> anyhow::Result<()> {
    for member in members {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(ASSIGNOR))
            .with_metadata(Bytes::from_static(SUBSCRIPTION));
        let request = JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(member.id.clone())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(vec![protocol]);
        member.connection.send_request(JOIN_VERSION, &request).await?;
    }
    Ok(())
}

/// All of them must be in one generation, with one leader among them.
async fn receive_generation(members: &mut [Member]) -> anyhow::Result<Generation> {
    let mut responses: Vec<JoinGroupResponse> = Vec::with_capacity(members.len());
    for member in members {
        responses.push(member.connection.receive_response::<JoinGroupRequest>(JOIN_VERSION).await?);
    }
    let first = responses.first().context("a generation of nobody")?;
    for response in &responses {
        no_error(response.error_code, "JoinGroup")?;
        let (own, others) = (response.generation_id, first.generation_id);
        ensure!(own == others, "members that joined at once are in generations {own} and {others}");
    }
    let leader = responses.iter().find(|response| response.leader == response.member_id).context("nobody leads")?;
    let members = leader.members.iter().map(|member| member.member_id.clone()).collect();
    Ok(Generation { id: leader.generation_id, leader: leader.leader.clone(), members })
}

async fn sync(group: &GroupId, members: &mut [Member], generation: &Generation) -> anyhow::Result<()> {
    for member in members.iter_mut() {
        let assign = |id: &StrBytes| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(Bytes::from_static(ASSIGNMENT))
        };
        let leads = member.id == generation.leader;
        let assignments = if leads { generation.members.iter().map(assign).collect() } else { Vec::new() };
        let request = SyncGroupRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(generation.id)
            .with_member_id(member.id.clone())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(Some(StrBytes::from_static_str(ASSIGNOR)))
            .with_assignments(assignments);
        member.connection.send_request(SYNC_VERSION, &request).await?;
    }
    for member in members {
        let response = member.connection.receive_response::<SyncGroupRequest>(SYNC_VERSION).await?;
        no_error(response.error_code, "SyncGroup")?;
        ensure!(response.assignment == ASSIGNMENT, "a member has another assignment than its leader gave it");
    }
    Ok(())
}

fn no_error(code: i16, what: &str) -> anyhow::Result<()> {
    if code == 0 { Ok(()) } else { Err(broker_error(code, what)) }
}

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const LEAVE_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
/// ConsumerProtocolSubscription v0: one topic, no user data.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x05topic\xff\xff\xff\xff";
/// ConsumerProtocolAssignment v0: partition 0 of the topic, no user data.
const ASSIGNMENT: &[u8] = b"\0\0\0\0\0\x01\0\x05topic\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const PATIENCE: Duration = Duration::from_secs(30);
