//! SyncGroup and the sync phase of a rebalance (`GroupMetadataManager.classicGroupSync…`).

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    Cx, GroupError, Notice, Reply, SyncReply, SyncRequest, Token,
    group::{Group, MEMBER_BYTES_MAX},
};
use crate::model::{GroupMetadata, GroupState, group::Base64Bytes};

impl Group {
    /// Takes a SyncGroup: the leader's brings the assignment, the others wait for it.
    pub fn sync(&mut self, request: SyncRequest, token: Token, cx: &mut Cx<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            return cx.reply(token, Reply::Sync(Err(error)));
        }
        match self.state {
            GroupState::PreparingRebalance => cx.reply(token, Reply::Sync(Err(GroupError::RebalanceInProgress))),
            GroupState::CompletingRebalance => {
                if self.is_leader(&request.member_id) && request.assignments.iter().any(is_too_large) {
                    // As Kafka when it cannot store an assignment: the leader is told, the others rejoin.
                    cx.reply(token, Reply::Sync(Err(GroupError::GroupMaxSizeReached)));
                    return self.prepare_rebalance("the leader's assignment is too large", cx);
                }
                self.remove_pending_sync(&request.member_id, cx);
                self.await_sync(&request.member_id, token, cx);
                if self.is_leader(&request.member_id) {
                    self.assign(request.assignments, cx);
                }
            }
            GroupState::Stable => {
                self.remove_pending_sync(&request.member_id, cx);
                let assignment = self.members.get(&request.member_id).map(|member| member.meta.assignment.0.clone());
                cx.reply(token, Reply::Sync(Ok(self.sync_reply(assignment.unwrap_or_default()))));
            }
            GroupState::Empty | GroupState::Dead => cx.reply(token, Reply::Sync(Err(GroupError::UnknownMemberId))),
        }
    }

    /// Answers every sync that waits with an error. Nobody has an assignment: it was taken when the join phase ended.
    pub fn fail_syncs(&mut self, error: GroupError, cx: &mut Cx<'_>) {
        for member in self.members.values_mut() {
            if let Some(token) = member.awaiting_sync.take() {
                cx.reply(token, Reply::Sync(Err(error)));
                member.begin_session(&self.id, cx);
            }
        }
    }

    /// Some members have not sent SyncGroup within the rebalance timeout: they are out.
    pub fn on_sync_timer(&mut self, cx: &mut Cx<'_>) {
        let in_sync_phase = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !in_sync_phase || self.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_sync) {
            self.remove_member(&member_id, cx);
            cx.member_removed(&self.id, &member_id, "did not send SyncGroup in time");
        }
        self.prepare_rebalance("members did not send SyncGroup in time", cx);
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let type_differs = request.protocol_type.as_ref().is_some_and(|named| *named != self.protocol_type);
        let differs = |named: &String| self.protocol.as_ref().is_some_and(|protocol| protocol != named);
        if type_differs || request.protocol.as_ref().is_some_and(differs) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn await_sync(&mut self, member_id: &str, token: Token, cx: &mut Cx<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(first) = member.awaiting_sync.replace(token) {
            cx.reply(first, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
    }

    fn remove_pending_sync(&mut self, member_id: &str, cx: &mut Cx<'_>) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            cx.timers.cancel(&mut self.sync_timer);
        }
    }

    /// Stores what the leader assigned, nothing to members that it left out, and answers everyone who waits.
    fn assign(&mut self, assignments: Vec<(Arc<str>, Bytes)>, cx: &mut Cx<'_>) {
        let mut assignments: HashMap<_, _> = assignments.into_iter().collect();
        let mut assigned =
            GroupMetadata { state: GroupState::Stable, state_timestamp_ms: cx.now.wall_ms, ..self.metadata() };
        for member in &mut assigned.members {
            let assignment = assignments.remove(&member.member_id).unwrap_or_default();
            if member.assignment.0 != assignment {
                Arc::make_mut(member).assignment = Base64Bytes(assignment);
            }
        }
        self.persist(assigned, cx);
        let (group, generation) = (Arc::clone(&self.id), self.generation);
        cx.out.notices.push(Notice::RebalanceCompleted { group, generation, members: self.members.len() });
        let mut waited = Vec::new();
        for member in self.members.values_mut() {
            if let Some(token) = member.awaiting_sync.take() {
                member.begin_session(&self.id, cx);
                waited.push((token, member.meta.assignment.0.clone()));
            }
        }
        for (token, assignment) in waited {
            cx.reply(token, Reply::Sync(Ok(self.sync_reply(assignment))));
        }
    }

    fn sync_reply(&self, assignment: Bytes) -> SyncReply {
        SyncReply { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }
}

fn is_too_large((_, assignment): &(Arc<str>, Bytes)) -> bool {
    assignment.len() > MEMBER_BYTES_MAX
}
