//! JoinGroup and the join phase of a rebalance (`GroupMetadataManager.classicGroupJoin…`).
//!
//! A generation is stored when its join phase ends, before any member learns its number, and again when the leader
//! has assigned it. Kafka stores it only then, so that after a crash in between the same number can be given to other
//! members, and a late SyncGroup of the lost generation be taken for one of the new.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Cx, GroupError, JoinError, JoinReply, JoinRequest, JoinedMember, Notice, Reply, Token,
    group::{Group, InitialDelay, Member, millis, stored_protocols},
};
use crate::model::{GroupMetadata, GroupState, MemberMetadata, group::Base64Bytes};

impl Group {
    /// Takes a JoinGroup whose session timeout was found in range.
    pub fn join(&mut self, request: JoinRequest, uuid: Uuid, token: Token, cx: &mut Cx<'_>) {
        if !self.accepts(&request.member_id, cx.config.size_max) {
            self.remove_member(&request.member_id, cx);
            cx.reply(token, Reply::Join(Err(JoinError::anonymous(GroupError::GroupMaxSizeReached))));
            return self.maybe_complete_join(cx);
        }
        if !self.has_room_for(&request.member_id, &request.client_id, &request.protocols) {
            return refuse(GroupError::GroupMaxSizeReached, &request, token, cx);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(GroupError::InconsistentGroupProtocol, &request, token, cx);
        }
        if request.member_id.is_empty() {
            self.join_new(request, uuid, token, cx);
        } else {
            self.join_known(request, token, cx);
        }
    }

    /// Begins a rebalance, or ends its join phase, as the group's state allows.
    pub fn rebalance_or_complete_join(&mut self, reason: &'static str, cx: &mut Cx<'_>) {
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(cx);
        } else {
            self.prepare_rebalance(reason, cx);
        }
    }

    /// Begins the join phase of the next generation.
    pub fn prepare_rebalance(&mut self, reason: &'static str, cx: &mut Cx<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(GroupError::RebalanceInProgress, cx);
        }
        self.pending_sync.clear();
        cx.timers.cancel(&mut self.sync_timer);
        self.initial_rebalance = self.state == GroupState::Empty;
        self.state = GroupState::PreparingRebalance;
        self.state_timestamp_ms = cx.now.wall_ms;
        let (group, generation) = (Arc::clone(&self.id), self.generation);
        cx.out.notices.push(Notice::RebalanceStarted { group, generation, reason });
        if self.initial_rebalance {
            // The group is new: give the other members time to join.
            let delay_ms = cx.config.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.new_member_added = false;
            self.initial_delay = Some(InitialDelay { delay_ms, remaining_ms });
            self.schedule_join_timer(delay_ms, cx);
        } else if self.has_all_members_joined() {
            self.complete_join(cx);
        } else {
            self.schedule_join_timer(self.rebalance_timeout_ms(), cx);
        }
    }

    /// Ends the join phase if every member is there; the one of an empty group waits for its delay.
    pub fn maybe_complete_join(&mut self, cx: &mut Cx<'_>) {
        let preparing = self.state == GroupState::PreparingRebalance;
        if preparing && !self.initial_rebalance && self.has_all_members_joined() {
            self.complete_join(cx);
        }
    }

    /// Sends everyone who waits for the rest of the group away, to come back to what the group is by then.
    pub fn interrupt(&mut self, cx: &mut Cx<'_>) {
        for (member_id, token) in self.take_joins() {
            cx.reply(token, Reply::Join(Err(JoinError::new(GroupError::RebalanceInProgress, &member_id))));
        }
        for token in self.members.values_mut().filter_map(|member| member.awaiting_sync.take()) {
            cx.reply(token, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
    }

    /// The join timer has run out.
    pub fn on_join_timer(&mut self, cx: &mut Cx<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        match self.initial_delay.take() {
            Some(InitialDelay { delay_ms, remaining_ms }) if self.new_member_added && remaining_ms != 0 => {
                self.new_member_added = false;
                let next_ms = cx.config.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = remaining_ms.saturating_sub(delay_ms);
                self.initial_delay = Some(InitialDelay { delay_ms: next_ms, remaining_ms });
                self.schedule_join_timer(next_ms, cx);
            }
            _ => self.complete_join(cx),
        }
    }

    /// Ends the join phase: members that did not come back are out, the others form the next generation.
    pub fn complete_join(&mut self, cx: &mut Cx<'_>) {
        cx.timers.cancel(&mut self.join_timer);
        self.initial_delay = None;
        let absent = |member: &&Member| member.awaiting_join.is_none() && !member.is_static();
        let absent: Vec<_> = self.members.values().filter(absent).map(|m| Arc::clone(&m.meta.member_id)).collect();
        for member_id in absent {
            self.remove_member(&member_id, cx);
            cx.member_removed(&self.id, &member_id, "did not rejoin in time");
        }
        if self.members.is_empty() {
            return self.form_empty_generation(cx);
        }
        if !self.elect_joined_leader() {
            // Static members alone, and none of them joined: their sessions decide.
            let retry_ms = self.rebalance_timeout_ms().max(REBALANCE_RETRY_MIN_MS);
            return self.schedule_join_timer(retry_ms, cx);
        }
        self.form_generation(cx);
    }

    fn join_new(&mut self, request: JoinRequest, uuid: Uuid, token: Token, cx: &mut Cx<'_>) {
        let prefix = request.group_instance_id.as_deref().unwrap_or(&request.client_id);
        let member_id: Arc<str> = Arc::from(format!("{prefix}-{uuid}"));
        if let Some(instance_id) = request.group_instance_id.clone() {
            match self.static_members.get(&instance_id).cloned() {
                Some(old_id) => self.join_replaced(request, &instance_id, &old_id, &member_id, token, cx),
                None => self.add_then_rebalance(request, member_id, token, cx),
            }
        } else if !request.requires_known_member_id {
            self.add_then_rebalance(request, member_id, token, cx);
        } else if self.pending_join.len() >= PENDING_JOIN_MAX {
            refuse(GroupError::CoordinatorLoadInProgress, &request, token, cx);
        } else {
            self.add_pending(&member_id, request.session_timeout_ms, cx);
            let error = JoinError::new(GroupError::MemberIdRequired, &member_id);
            cx.reply(token, Reply::Join(Err(error)));
        }
    }

    fn join_known(&mut self, request: JoinRequest, token: Token, cx: &mut Cx<'_>) {
        let member_id = Arc::clone(&request.member_id);
        if request.group_instance_id.is_none() && self.pending_join.contains_key(&member_id) {
            return self.add_then_rebalance(request, member_id, token, cx);
        }
        if let Err(error) = self.validate_member(&member_id, request.group_instance_id.as_deref()) {
            return refuse(error, &request, token, cx);
        }
        let unchanged = self.members.get(&member_id).is_some_and(|member| member.matches(&request.protocols));
        match self.state {
            GroupState::PreparingRebalance => self.update_then_rebalance(request, token, "a member rejoins", cx),
            // The member may have missed the answer to its first join.
            GroupState::CompletingRebalance if unchanged => {
                let reply = self.join_reply(&member_id, self.is_leader(&member_id));
                cx.reply(token, Reply::Join(Ok(reply)));
            }
            GroupState::CompletingRebalance => {
                self.update_then_rebalance(request, token, "a member changed its metadata", cx);
            }
            // A leader rejoins when something changed that members' metadata does not show, such as partitions.
            GroupState::Stable if self.is_leader(&member_id) => {
                self.update_then_rebalance(request, token, "the leader rejoins", cx);
            }
            GroupState::Stable if unchanged => {
                cx.reply(token, Reply::Join(Ok(self.join_reply(&member_id, false))));
            }
            GroupState::Stable => self.update_then_rebalance(request, token, "a member changed its metadata", cx),
            GroupState::Empty | GroupState::Dead => refuse(GroupError::UnknownMemberId, &request, token, cx),
        }
    }

    fn add_then_rebalance(&mut self, request: JoinRequest, member_id: Arc<str>, token: Token, cx: &mut Cx<'_>) {
        if let Some(mut timer) = self.pending_join.remove(&member_id) {
            cx.timers.cancel(&mut timer);
        }
        if self.state == GroupState::PreparingRebalance && self.initial_rebalance {
            self.new_member_added = true;
        }
        let meta = MemberMetadata {
            member_id: Arc::clone(&member_id),
            group_instance_id: request.group_instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: stored_protocols(request.protocols),
            assignment: Base64Bytes::default(),
        };
        let mut member = Member { awaiting_join: Some(token), is_new: true, ..Member::new(Arc::new(meta)) };
        // It has no id to send heartbeats with yet, and a broken connection is not seen while its join waits.
        member.live_for(NEW_MEMBER_JOIN_TIMEOUT_MS, &self.id, cx);
        self.add_member(member, request.protocol_type);
        self.rebalance_or_complete_join("a member joins", cx);
    }

    fn update_then_rebalance(&mut self, request: JoinRequest, token: Token, reason: &'static str, cx: &mut Cx<'_>) {
        let member_id = Arc::clone(&request.member_id);
        self.update_member(&member_id, request, token, cx);
        self.rebalance_or_complete_join(reason, cx);
    }

    /// A static member came back without its id: it gets a new one, and in a stable group nothing else moves (KIP-345).
    fn join_replaced(
        &mut self,
        request: JoinRequest,
        instance_id: &Arc<str>,
        old_id: &Arc<str>,
        member_id: &Arc<str>,
        token: Token,
        cx: &mut Cx<'_>,
    ) {
        let leader_before = self.leader.clone();
        let skips_assignment = request.supports_skipping_assignment;
        self.replace_static_member(instance_id, old_id, member_id, cx);
        self.update_member(member_id, request, token, cx);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                self.take_join(member_id);
                self.persist(self.metadata(), cx);
                let is_leader = self.is_leader(member_id);
                let mut reply = self.join_reply(member_id, skips_assignment && is_leader);
                if skips_assignment {
                    reply.skip_assignment = is_leader;
                } else {
                    // An older client that finds itself the leader would assign anew: it is shown its former id.
                    reply.leader = leader_before.unwrap_or(reply.leader);
                }
                cx.reply(token, Reply::Join(Ok(reply)));
            }
            GroupState::Stable => self.prepare_rebalance("a static member changed the selected protocol", cx),
            // The leader may be assigning to the former id at this moment.
            GroupState::CompletingRebalance => self.prepare_rebalance("a static member was replaced", cx),
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => self.maybe_complete_join(cx),
        }
    }

    /// `group.max.size`. While the group prepares, those count that have joined already, which drops the last ones of
    /// a group above the limit.
    fn accepts(&self, member_id: &str, size_max: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.awaiting_join() < size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => member.is_some() || self.members.len() < size_max,
        }
    }

    /// Makes sure that the leader is one who joined; false when nobody did.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(leader) = self.members.keys().find(|id| joined(id)).cloned() else { return false };
            self.leader = Some(leader);
        }
        true
    }

    fn form_generation(&mut self, cx: &mut Cx<'_>) {
        let mut formed = GroupMetadata {
            protocol: self.select_protocol(),
            generation: next_generation(self.generation),
            state: GroupState::CompletingRebalance,
            state_timestamp_ms: cx.now.wall_ms,
            ..self.metadata()
        };
        for member in formed.members.iter_mut().filter(|member| !member.assignment.0.is_empty()) {
            Arc::make_mut(member).assignment = Base64Bytes::default();
        }
        self.persist(formed, cx);
        self.initial_rebalance = false;
        for member in self.members.values_mut() {
            member.is_new = false;
            member.begin_session(&self.id, cx);
        }
        for (member_id, token) in self.take_joins() {
            let reply = self.join_reply(&member_id, self.is_leader(&member_id));
            cx.reply(token, Reply::Join(Ok(reply)));
        }
        self.pending_sync = self.members.keys().cloned().collect();
        self.schedule_sync_timer(cx);
    }

    fn form_empty_generation(&mut self, cx: &mut Cx<'_>) {
        let formed = GroupMetadata {
            protocol: None,
            generation: next_generation(self.generation),
            leader: None,
            state: GroupState::Empty,
            state_timestamp_ms: cx.now.wall_ms,
            ..self.metadata()
        };
        self.persist(formed, cx);
        self.initial_rebalance = false;
        self.pending_sync.clear();
    }

    fn join_reply(&self, member_id: &Arc<str>, with_members: bool) -> JoinReply {
        let protocol = self.protocol.as_deref();
        let joined = |member: &Member| JoinedMember {
            member_id: Arc::clone(&member.meta.member_id),
            group_instance_id: member.meta.group_instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        JoinReply {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: if with_members { self.members.values().map(joined).collect() } else { Vec::new() },
        }
    }
}

/// Whether a group that does not exist would be created by these protocols.
pub(super) fn can_found_group(protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
    !protocol_type.is_empty() && !protocols.is_empty()
}

/// Answers a join with an error under the id that it came with.
pub(super) fn refuse(error: GroupError, request: &JoinRequest, token: Token, cx: &mut Cx<'_>) {
    cx.reply(token, Reply::Join(Err(JoinError::new(error, &request.member_id))));
}

/// Whether the session timeout lies within the broker's bounds.
pub(super) fn session_timeout_in_range(timeout_ms: i32, min_ms: u64, max_ms: u64) -> bool {
    timeout_ms >= 0 && (min_ms..=max_ms).contains(&millis(timeout_ms))
}

fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}

/// How long the join of a new member may wait (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// Ids of one group that may be given out and unused at once.
const PENDING_JOIN_MAX: usize = 10_000;

/// Least time between two attempts to end a join phase that nobody joined.
const REBALANCE_RETRY_MIN_MS: u64 = 1_000;
