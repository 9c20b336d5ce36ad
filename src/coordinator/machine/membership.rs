//! Heartbeat, LeaveGroup and the end of a member's session.

use std::sync::Arc;

use super::{Cx, GroupError, HeartbeatRequest, LeavingMember, LeftMember, group::Group};
use crate::model::GroupState;

impl Group {
    /// Keeps a member alive and tells it whether it must rejoin.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, cx: &mut Cx<'_>) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.schedule_session(&request.member_id, cx);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    /// Lets members go; one rebalance for all of them.
    pub fn leave(&mut self, members: Vec<LeavingMember>, cx: &mut Cx<'_>) -> Vec<LeftMember> {
        let mut a_member_left = false;
        let mut left = Vec::with_capacity(members.len());
        for LeavingMember { member_id, group_instance_id } in members {
            let result = self.leave_one(&member_id, group_instance_id.as_deref(), cx);
            a_member_left |= result == Ok(true);
            left.push(LeftMember { member_id, group_instance_id, result: result.map(|_| ()) });
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance if a_member_left => {
                self.prepare_rebalance("members left", cx);
            }
            GroupState::PreparingRebalance => self.maybe_complete_join(cx),
            _ => {}
        }
        left
    }

    /// The session of a member, or of an id that never came back, has run out.
    pub fn expire_session(&mut self, member_id: &Arc<str>, cx: &mut Cx<'_>) {
        // Who waits for the rest of the group cannot send heartbeats; a new member's wait is bounded all the same.
        let waits = |m: &super::group::Member| !m.is_new && (m.awaiting_join.is_some() || m.awaiting_sync.is_some());
        if self.members.get(member_id).is_some_and(waits) {
            return;
        }
        let was_member = self.remove_member(member_id, cx);
        if was_member {
            cx.member_removed(&self.id, member_id, "session expired");
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance if was_member => {
                self.prepare_rebalance("a member's session expired", cx);
            }
            GroupState::PreparingRebalance if self.has_all_members_joined() => self.complete_join(cx),
            _ => {}
        }
    }

    /// Says whether what left was a member, and not just an id that had been given out.
    fn leave_one(&mut self, member_id: &str, instance_id: Option<&str>, cx: &mut Cx<'_>) -> Result<bool, GroupError> {
        let mut member_id = Arc::from(member_id);
        if is_unknown(&member_id) {
            // KIP-345: an administrator removes a static member by its instance id.
            let static_member = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
            member_id = Arc::clone(static_member.ok_or(GroupError::UnknownMemberId)?);
        } else if !self.pending_join.contains_key(&member_id) {
            self.validate_member(&member_id, instance_id)?;
        }
        let was_member = self.remove_member(&member_id, cx);
        cx.member_removed(&self.id, &member_id, "left");
        Ok(was_member)
    }
}

fn is_unknown(member_id: &str) -> bool {
    member_id.is_empty()
}
