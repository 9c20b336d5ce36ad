//! How members go: by their own word, by ConsumerGroupHeartbeat with a negative epoch, or because they were not heard of.

use std::sync::Arc;

use super::super::{ConsumerHeartbeatReply, ConsumerHeartbeatRequest, Cx, GroupError, Notice, Refusal};
use super::{
    ConsumerGroup,
    heartbeat::{LEFT_FOR_A_WHILE, fenced_instance, next_epoch},
    subscription::Expressions,
};
use crate::model::{ConsumerMember, Partitions};

impl ConsumerGroup {
    /// Takes a heartbeat with epoch -1, or -2 from a static member that will come back; says which member is to be removed.
    pub fn leave(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        cx: &mut Cx<'_>,
    ) -> Result<(ConsumerHeartbeatReply, Option<Arc<str>>), Refusal> {
        let member_id = match &request.group_instance_id {
            None => match self.member(&request.member_id) {
                Some((member_id, _)) => Arc::clone(member_id),
                None => return Err(self.unknown_member(&request.member_id)),
            },
            Some(instance_id) => match self.static_member(instance_id) {
                Some((holder_id, _)) if *holder_id == request.member_id => Arc::clone(holder_id),
                Some((holder_id, _)) => return Err(fenced_instance(&request.member_id, instance_id, holder_id)),
                None => {
                    let message = format!("Instance id {instance_id} is unknown.");
                    return Err(Refusal::new(GroupError::UnknownMemberId, message));
                }
            },
        };
        let reply = ConsumerHeartbeatReply {
            member_id: Arc::clone(&member_id),
            member_epoch: request.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        let leaves_for_a_while = request.group_instance_id.is_some() && request.member_epoch == LEFT_FOR_A_WHILE;
        if leaves_for_a_while {
            self.release_instance(&member_id, cx);
        }
        Ok((reply, (!leaves_for_a_while).then_some(member_id)))
    }

    /// Removes members, whose partitions others may have from now on. The next heartbeat of any member assigns.
    pub fn remove_members(&mut self, member_ids: &[Arc<str>], reason: &'static str, cx: &mut Cx<'_>) {
        let mut data = self.data.clone();
        for member_id in member_ids {
            data.members.remove(member_id);
        }
        if data.members.len() == self.data.members.len() {
            return;
        }
        data.topics = Expressions::of(&data.members).still_subscribed(&data.members, &data.topics);
        // A group whose epochs are used up keeps its last one: nobody can join it any more.
        let epoch = next_epoch(self.epoch).unwrap_or(self.epoch);
        let (group, generation) = (Arc::clone(&self.id), epoch);
        cx.out.notices.push(Notice::RebalanceStarted { group, generation, reason });
        self.persist(epoch, data, cx);
    }

    /// A static member is away, and what it has stays assigned to it until its session runs out.
    fn release_instance(&mut self, member_id: &Arc<str>, cx: &mut Cx<'_>) {
        let mut data = self.data.clone();
        if let Some(member) = data.members.get_mut(member_id) {
            let left =
                ConsumerMember { epoch: LEFT_FOR_A_WHILE, revoking: Partitions::default(), ..(**member).clone() };
            *member = Arc::new(left);
        }
        self.persist(self.epoch, data, cx);
        self.cancel_progress(member_id, cx);
    }
}
