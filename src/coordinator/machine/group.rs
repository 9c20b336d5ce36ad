//! A classic group: its members, their protocols and its leader (`org.apache.kafka.coordinator.group.classic.ClassicGroup`).
//!
//! What outlives the process changes in [`Group::replay`] alone. Everything else here is soft: ids that were given
//! out, joins and syncs that wait, deadlines, and whatever a join phase has collected so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Cx, GroupError, JoinError, JoinRequest, Reply, Token,
    timers::{Timer, TimerKey, Timers},
};
use crate::model::{CoordinatorRecord, GroupId, GroupMetadata, GroupState, MemberMetadata, group::Base64Bytes};

/// A group and all that is known of it.
#[derive(Debug)]
pub(super) struct Group {
    pub id: GroupId,
    pub state: GroupState,
    pub state_timestamp_ms: i64,
    /// Empty for a group that only ever committed offsets.
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub generation: i32,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Member id by instance id.
    pub static_members: HashMap<Arc<str>, Arc<str>>,
    /// Ids that were given out with MEMBER_ID_REQUIRED and have not come back yet.
    pub pending_join: BTreeMap<Arc<str>, Timer>,
    /// Members of the current generation that have not sent SyncGroup yet.
    pub pending_sync: BTreeSet<Arc<str>>,
    /// The join phase began from an empty group: it ends by its timer and not with the last member's join.
    pub initial_rebalance: bool,
    /// The initial delay that is running.
    pub initial_delay: Option<InitialDelay>,
    /// A member came during the initial delay, which may therefore be extended.
    pub new_member_added: bool,
    pub join_timer: Timer,
    pub sync_timer: Timer,
    /// The stored state is one in the middle of a rebalance: it is to begin again.
    pub is_rebalance_due: bool,
    /// A record of the group was written.
    pub stored: bool,
    /// There are, or were, offsets of the group.
    pub has_offsets: bool,
    awaiting_join: usize,
    supported: Supported,
}

/// A member: what is stored of it, and what is not.
#[derive(Debug)]
pub(super) struct Member {
    pub meta: Arc<MemberMetadata>,
    pub awaiting_join: Option<Token>,
    pub awaiting_sync: Option<Token>,
    /// Has not been in a generation yet: it cannot send heartbeats, so waiting does not keep it alive.
    pub is_new: bool,
    pub session: Timer,
}

/// `group.initial.rebalance.delay.ms` at work: a delay, and how far it may still be extended.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialDelay {
    pub delay_ms: u64,
    pub remaining_ms: u64,
}

impl Group {
    pub fn new(id: GroupId, now_wall_ms: i64) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_timestamp_ms: now_wall_ms,
            protocol_type: String::new(),
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            initial_rebalance: false,
            initial_delay: None,
            new_member_added: false,
            join_timer: Timer::default(),
            sync_timer: Timer::default(),
            is_rebalance_due: false,
            stored: false,
            has_offsets: false,
            awaiting_join: 0,
            supported: Supported::default(),
        }
    }

    /// The same for a group that was of the other protocol before: what is stored of it is there already.
    pub fn in_place_of(self, stored: bool, has_offsets: bool) -> Self {
        Self { stored, has_offsets, ..self }
    }

    /// Takes over a stored generation, at a restart as in the moment when it is written. Soft state of members that
    /// are in it stays.
    pub fn replay(&mut self, value: &GroupMetadata, timers: &mut Timers) {
        let mut is_counted = true;
        for meta in &value.members {
            match self.members.get_mut(&meta.member_id) {
                Some(member) => {
                    // What a member says of itself seldom changes from one state of the group to the next.
                    is_counted &= Arc::ptr_eq(&member.meta, meta) || member.meta.says_the_same(meta);
                    member.meta = Arc::clone(meta);
                }
                None => {
                    self.members.insert(Arc::clone(&meta.member_id), Member::new(Arc::clone(meta)));
                    is_counted = false;
                }
            }
        }
        if self.members.len() != value.members.len() {
            let stays: HashSet<_> = value.members.iter().map(|meta| &*meta.member_id).collect();
            self.members.retain(|member_id, member| {
                let stays = stays.contains(&**member_id);
                if !stays {
                    timers.cancel(&mut member.session);
                }
                stays
            });
            is_counted = false;
        }
        self.state = match value.state {
            _ if value.members.is_empty() => GroupState::Empty,
            GroupState::CompletingRebalance => GroupState::CompletingRebalance,
            _ => GroupState::Stable,
        };
        self.is_rebalance_due = value.state == GroupState::PreparingRebalance && !value.members.is_empty();
        self.state_timestamp_ms = value.state_timestamp_ms;
        self.protocol_type.clone_from(&value.protocol_type);
        self.protocol.clone_from(&value.protocol);
        self.generation = value.generation;
        self.leader.clone_from(&value.leader);
        self.stored = true;
        if !is_counted {
            self.recount();
        }
    }

    /// Writes a new stored state of the group and applies it.
    pub fn persist(&mut self, value: GroupMetadata, cx: &mut Cx<'_>) {
        self.replay(&value, cx.timers);
        cx.out.records.push(CoordinatorRecord::Group { group: Arc::clone(&self.id), value: Some(value) });
    }

    /// The group as it would be stored.
    pub fn metadata(&self) -> GroupMetadata {
        GroupMetadata {
            group_id: Arc::clone(&self.id),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            generation: self.generation,
            leader: self.leader.clone(),
            state: self.state,
            state_timestamp_ms: self.state_timestamp_ms,
            members: self.members.values().map(|member| Arc::clone(&member.meta)).collect(),
            consumer: None,
        }
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// The longest that any member allows a rebalance to take.
    pub fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| millis(member.meta.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// `ClassicGroup.validateMember`.
    pub fn validate_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if current.as_ref() != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Whether a member with these protocols can be in the group.
    pub fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type == protocol_type
            && protocols.iter().any(|(name, _)| self.supported.by(name) == self.members.len())
    }

    /// Whether a member's protocols are small enough to be stored, by themselves and with all that the others say.
    ///
    /// Kafka finds that out when it writes the record, and answers UNKNOWN_SERVER_ERROR. Clients end on either error;
    /// GROUP_MAX_SIZE_REACHED they know from JoinGroup, and it says what the matter is.
    pub fn has_room_for(&self, member_id: &str, client_id: &str, protocols: &[(String, Bytes)]) -> bool {
        let bytes: usize = protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
        let before = self.members.get(member_id).map_or(0, |member| said_bytes(&member.meta));
        let others = self.supported.bytes.saturating_sub(before);
        bytes <= MEMBER_BYTES_MAX && others + 2 * client_id.len() + bytes <= GROUP_BYTES_MAX
    }

    /// What [`select_protocol`](Self::select_protocol) chooses for a group that is yet to be.
    pub fn selected_protocol(value: &GroupMetadata) -> Option<String> {
        let mut group = Self::new(Arc::clone(&value.group_id), value.state_timestamp_ms);
        group.replay(value, &mut Timers::default());
        group.select_protocol()
    }

    /// The protocol that most members prefer among those that all support; of equal ones the first by name.
    pub fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let common = |name: &&String| self.supported.by(name) == self.members.len();
            if let Some(name) = member.meta.protocols.iter().map(|(name, _)| name).find(common) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Adds a member whose protocols were found to fit; the first decides the protocol type, and leads.
    pub fn add_member(&mut self, member: Member, protocol_type: String) {
        let member_id = Arc::clone(&member.meta.member_id);
        if let Some(instance_id) = &member.meta.group_instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&member_id));
        }
        if self.members.is_empty() {
            self.protocol_type = protocol_type;
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&member_id));
        }
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.supported.count(&member.meta);
        self.members.insert(member_id, member);
    }

    /// Removes a member, or an id that was given out; whoever still waits under its name is told that it is unknown.
    /// Says whether there was a member.
    pub fn remove_member(&mut self, member_id: &str, cx: &mut Cx<'_>) -> bool {
        if let Some(mut timer) = self.pending_join.remove(member_id) {
            cx.timers.cancel(&mut timer);
        }
        self.pending_sync.remove(member_id);
        let Some(mut member) = self.members.remove(member_id) else { return false };
        cx.timers.cancel(&mut member.session);
        self.supported.discount(&member.meta);
        if let Some(token) = member.awaiting_join {
            self.awaiting_join = self.awaiting_join.saturating_sub(1);
            cx.reply(token, Reply::Join(Err(JoinError::anonymous(GroupError::UnknownMemberId))));
        }
        if let Some(token) = member.awaiting_sync {
            cx.reply(token, Reply::Sync(Err(GroupError::UnknownMemberId)));
        }
        if let Some(instance_id) = &member.meta.group_instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        true
    }

    /// Takes over what a member says with a join, and lets the join wait.
    pub fn update_member(&mut self, member_id: &str, request: JoinRequest, token: Token, cx: &mut Cx<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
        let said = (member.meta.rebalance_timeout_ms, member.meta.session_timeout_ms);
        // Mostly it says the same again.
        if timeouts_ms != said || !member.matches(&request.protocols) {
            self.supported.discount(&member.meta);
            let meta = Arc::make_mut(&mut member.meta);
            meta.protocols = stored_protocols(request.protocols);
            (meta.rebalance_timeout_ms, meta.session_timeout_ms) = timeouts_ms;
            self.supported.count(&member.meta);
        }
        match member.awaiting_join.replace(token) {
            None => self.awaiting_join += 1,
            // The same member asks twice, most likely on a new connection; Kafka never answers the first.
            Some(first) => {
                cx.reply(
                    first,
                    Reply::Join(Err(JoinError::new(GroupError::RebalanceInProgress, &member.meta.member_id))),
                );
            }
        }
    }

    /// Takes the join that waits for `member_id`.
    pub fn take_join(&mut self, member_id: &str) -> Option<Token> {
        let token = self.members.get_mut(member_id)?.awaiting_join.take()?;
        self.awaiting_join = self.awaiting_join.saturating_sub(1);
        Some(token)
    }

    /// Takes every join that waits, in the order of the member ids.
    pub fn take_joins(&mut self) -> Vec<(Arc<str>, Token)> {
        self.awaiting_join = 0;
        let waiting = |(member_id, member): (&Arc<str>, &mut Member)| {
            member.awaiting_join.take().map(|token| (Arc::clone(member_id), token))
        };
        self.members.iter_mut().filter_map(waiting).collect()
    }

    /// Gives a static member's place to a new member id and fences whoever waits under the old one (KIP-345).
    pub fn replace_static_member(
        &mut self,
        instance_id: &Arc<str>,
        old_id: &Arc<str>,
        new_id: &Arc<str>,
        cx: &mut Cx<'_>,
    ) {
        if let Some(token) = self.take_join(old_id) {
            cx.reply(token, Reply::Join(Err(JoinError::new(GroupError::FencedInstanceId, old_id))));
        }
        let Some(mut member) = self.members.remove(old_id) else { return };
        if let Some(token) = member.awaiting_sync.take() {
            cx.reply(token, Reply::Sync(Err(GroupError::FencedInstanceId)));
        }
        cx.timers.cancel(&mut member.session);
        Arc::make_mut(&mut member.meta).member_id = Arc::clone(new_id);
        self.members.insert(Arc::clone(new_id), Member::new(member.meta));
        if self.is_leader(old_id) {
            self.leader = Some(Arc::clone(new_id));
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(Arc::clone(new_id));
        }
        self.static_members.insert(Arc::clone(instance_id), Arc::clone(new_id));
        self.schedule_session(new_id, cx);
    }

    /// Gives a member its whole session again.
    pub fn schedule_session(&mut self, member_id: &Arc<str>, cx: &mut Cx<'_>) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.begin_session(&self.id, cx);
        }
    }

    /// Remembers an id that was given out; it is forgotten when it does not come back within the session timeout.
    pub fn add_pending(&mut self, member_id: &Arc<str>, session_timeout_ms: i32, cx: &mut Cx<'_>) {
        let timer = self.pending_join.entry(Arc::clone(member_id)).or_default();
        let key = || TimerKey::Session { group: Arc::clone(&self.id), member: Arc::clone(member_id) };
        cx.timers.set(timer, cx.now.monotonic_ms.saturating_add(millis(session_timeout_ms)), key);
    }

    pub fn schedule_join_timer(&mut self, delay_ms: u64, cx: &mut Cx<'_>) {
        let key = || TimerKey::Join { group: Arc::clone(&self.id) };
        cx.timers.set(&mut self.join_timer, cx.now.monotonic_ms.saturating_add(delay_ms), key);
    }

    pub fn schedule_sync_timer(&mut self, cx: &mut Cx<'_>) {
        let deadline_ms = cx.now.monotonic_ms.saturating_add(self.rebalance_timeout_ms());
        cx.timers.set(&mut self.sync_timer, deadline_ms, || TimerKey::Sync { group: Arc::clone(&self.id) });
    }

    /// Ends every timer of a group that goes.
    pub fn cancel_timers(&mut self, timers: &mut Timers) {
        timers.cancel(&mut self.join_timer);
        timers.cancel(&mut self.sync_timer);
        self.pending_join.values_mut().for_each(|timer| timers.cancel(timer));
        self.members.values_mut().for_each(|member| timers.cancel(&mut member.session));
    }

    fn recount(&mut self) {
        self.supported = Supported::default();
        self.static_members.clear();
        self.awaiting_join = 0;
        for (member_id, member) in &self.members {
            self.supported.count(&member.meta);
            self.awaiting_join += usize::from(member.awaiting_join.is_some());
            if let Some(instance_id) = &member.meta.group_instance_id {
                self.static_members.insert(Arc::clone(instance_id), Arc::clone(member_id));
            }
        }
    }
}

impl Member {
    pub fn new(meta: Arc<MemberMetadata>) -> Self {
        Self { meta, awaiting_join: None, awaiting_sync: None, is_new: false, session: Timer::default() }
    }

    /// Gives the member its whole session.
    pub fn begin_session(&mut self, group: &GroupId, cx: &mut Cx<'_>) {
        self.live_for(millis(self.meta.session_timeout_ms), group, cx);
    }

    /// Lets the member live for `timeout_ms`, unless a session begins by then.
    pub fn live_for(&mut self, timeout_ms: u64, group: &GroupId, cx: &mut Cx<'_>) {
        let key = || TimerKey::Session { group: Arc::clone(group), member: Arc::clone(&self.meta.member_id) };
        cx.timers.set(&mut self.session, cx.now.monotonic_ms.saturating_add(timeout_ms), key);
    }

    pub fn is_static(&self) -> bool {
        self.meta.group_instance_id.is_some()
    }

    /// What the member says of itself for `protocol`.
    pub fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let named = self.meta.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        named.map(|(_, metadata)| metadata.0.clone()).unwrap_or_default()
    }

    /// Whether the member joins with exactly what it said before.
    pub fn matches(&self, protocols: &[(String, Bytes)]) -> bool {
        self.meta.protocols.iter().map(|(name, metadata)| (name, &metadata.0)).eq(protocols.iter().map(|(n, m)| (n, m)))
    }
}

/// Whether a member's words by themselves are few enough to be stored.
pub(super) fn group_bytes_allow(client_id: &str, protocols: &[(String, Bytes)]) -> bool {
    let bytes: usize = protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
    bytes + 2 * client_id.len() <= MEMBER_BYTES_MAX
}

/// A timeout off the wire; negative ones count as none.
pub(super) fn millis(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}

/// A member's protocols as they are kept: a name that comes twice counts once.
pub(super) fn stored_protocols(mut protocols: Vec<(String, Bytes)>) -> Vec<(String, Base64Bytes)> {
    // Most members have one.
    if protocols.len() > 1 {
        let mut seen = HashSet::with_capacity(protocols.len());
        protocols.retain(|(name, _)| seen.insert(name.clone()));
    }
    protocols.into_iter().map(|(name, metadata)| (name, Base64Bytes(metadata))).collect()
}

/// What the members of a group say, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Supported {
    /// How many members support each protocol.
    members: HashMap<String, usize>,
    /// [`said_bytes`] of all.
    bytes: usize,
}

impl Supported {
    /// How many members support a protocol.
    fn by(&self, name: &str) -> usize {
        self.members.get(name).copied().unwrap_or(0)
    }

    fn count(&mut self, member: &MemberMetadata) {
        self.bytes = self.bytes.saturating_add(said_bytes(member));
        for (name, _) in &member.protocols {
            match self.members.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.members.insert(name.clone(), 1)),
            }
        }
    }

    fn discount(&mut self, member: &MemberMetadata) {
        self.bytes = self.bytes.saturating_sub(said_bytes(member));
        for (name, _) in &member.protocols {
            if let Some(count) = self.members.get_mut(name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.members.remove(name);
                }
            }
        }
    }
}

/// How much of a stored member is its own words. The client id, or the instance id, is also in the member id.
pub(super) fn said_bytes(member: &MemberMetadata) -> usize {
    let instance_bytes = member.group_instance_id.as_ref().map_or(0, |instance_id| instance_id.len());
    let protocols = member.protocols.iter().map(|(name, metadata)| name.len() + metadata.0.len());
    2 * (member.client_id.len() + instance_bytes) + protocols.sum::<usize>()
}

/// A member's protocols together, or its assignment, at most: Kafka's default of `max.message.bytes` bounds there the
/// record of the whole group.
pub(super) const MEMBER_BYTES_MAX: usize = 1 << 20;

/// What all members of a group say together, at most; the record of the group has all of it.
pub(super) const GROUP_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_takes_over_states_is_as_one_that_begins_with_the_last() {
        let member = |id: &str, instance_id: Option<&str>, protocol: &str, assignment: &'static [u8]| MemberMetadata {
            member_id: Arc::from(id),
            group_instance_id: instance_id.map(Arc::from),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocols: vec![(protocol.to_owned(), Base64Bytes(Bytes::from_static(b"topics")))],
            assignment: Base64Bytes(Bytes::from_static(assignment)),
        };
        let member = |id, instance_id, protocol, assignment| Arc::new(member(id, instance_id, protocol, assignment));
        let states = [
            vec![member("a", None, "range", b""), member("b", Some("i"), "range", b"")],
            vec![member("a", None, "range", b"0"), member("b", Some("i"), "range", b"1")],
            vec![member("a", None, "range", b"0"), member("b", Some("i"), "sticky", b"1")],
            vec![member("b", Some("i"), "sticky", b"1"), member("c", Some("j"), "sticky", b"2")],
            vec![member("c", Some("j"), "sticky", b"3")],
            vec![],
        ];
        let (mut group, mut timers) = (Group::new(Arc::from("g"), 0), Timers::default());
        for members in states {
            let mut stored = group.metadata();
            stored.members = members;
            group.replay(&stored, &mut timers);
            let mut fresh = Group::new(Arc::from("g"), 0);
            fresh.replay(&stored, &mut Timers::default());
            assert_eq!(group.metadata(), fresh.metadata());
            assert_eq!(group.metadata().members, stored.members);
            assert_eq!((&group.supported, &group.static_members), (&fresh.supported, &fresh.static_members));
        }
    }
}
