//! Whatever happens, and wherever the process ends: what was stored is what the machine had, and a machine built from
//! it goes on.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something a client, or time, does. Numbers choose among the members known so far.
#[derive(Clone, Debug)]
enum Act {
    Join { member: usize, static_member: bool, known_id: bool, protocols: usize },
    Sync { member: usize },
    Heartbeat { member: usize },
    Leave { member: usize },
    Commit { member: usize, simple: bool },
    DeleteOffsets,
    DeleteGroup,
    Expire,
    Wait(u64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let member = 0..5usize;
    let act = prop_oneof![
        6 => (member.clone(), any::<bool>(), any::<bool>(), 0..3usize).prop_map(
            |(member, static_member, known_id, protocols)| Act::Join { member, static_member, known_id, protocols }
        ),
        6 => member.clone().prop_map(|member| Act::Sync { member }),
        4 => member.clone().prop_map(|member| Act::Heartbeat { member }),
        2 => member.clone().prop_map(|member| Act::Leave { member }),
        3 => (member, any::<bool>()).prop_map(|(member, simple)| Act::Commit { member, simple }),
        1 => Just(Act::DeleteOffsets),
        1 => Just(Act::DeleteGroup),
        1 => Just(Act::Expire),
        4 => prop_oneof![Just(0), Just(1), 0..20_000u64, 0..200_000u64].prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

/// What the members of a run remember, as clients do.
struct Run {
    h: Harness,
    /// The last answer that each member got to a join.
    known: Vec<Option<JoinReply>>,
    ids: Vec<Arc<str>>,
    asked: Vec<(usize, Token)>,
    /// Who was in each generation that any member learned of: a group that was deleted begins anew.
    generations: BTreeMap<(usize, i32), BTreeSet<Arc<str>>>,
    lives: usize,
}

impl Run {
    fn new() -> Self {
        Self {
            h: Harness::with(Config { size_max: 4, initial_rebalance_delay_ms: 3, ..config() }),
            known: vec![None; 5],
            ids: vec![Arc::from(""); 5],
            asked: Vec::new(),
            generations: BTreeMap::new(),
            lives: 0,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Join { member, static_member, known_id, protocols } => {
                self.join(member, static_member, known_id, protocols)
            }
            Act::Sync { member } => {
                if let Some(reply) = self.known[member].clone() {
                    let members: Vec<_> = reply.members.iter().map(|member| member.member_id.to_string()).collect();
                    let assignments: Vec<_> = members.iter().map(|id| (id.as_str(), id.as_str())).collect();
                    self.h.sync(&reply, &assignments);
                }
            }
            Act::Heartbeat { member } => {
                let generation = self.known[member].as_ref().map_or(0, |reply| reply.generation);
                let id = self.ids[member].clone();
                let _ = self.h.heartbeat(&id, generation);
            }
            Act::Leave { member } => {
                let id = self.ids[member].clone();
                self.h.leave(&[(&id, None)]);
            }
            Act::Commit { member, simple } => {
                let generation = self.known[member].as_ref().map_or(0, |reply| reply.generation);
                let id = self.ids[member].clone();
                let _ =
                    self.h.commit(if simple { commit("", -1, &["t"]) } else { commit(&id, generation, &["t", "u"]) });
            }
            Act::DeleteOffsets => drop(self.h.delete_offsets(&["t", "u"])),
            Act::DeleteGroup => drop(self.h.delete_group()),
            Act::Expire => self.h.expire(),
            Act::Wait(ms) => self.h.advance(ms),
            Act::Restart => {
                self.asked.clear();
                self.h.restart();
            }
        }
        if !self.h.stored.groups.contains_key("g") {
            self.lives += 1;
        }
        self.read_joins();
    }

    fn join(&mut self, member: usize, static_member: bool, known_id: bool, protocols: usize) {
        let names = [&["a", "b"][..], &["b", "a"], &["a"]][protocols];
        let request = JoinRequest {
            group_instance_id: static_member.then(|| Arc::from(format!("instance{member}"))),
            member_id: if known_id { self.ids[member].clone() } else { "".into() },
            requires_known_member_id: protocols == 0,
            protocols: names.iter().map(|name| ((*name).to_owned(), subscription(&["t"]))).collect(),
            ..join("")
        };
        let token = self.h.join(request);
        self.asked.push((member, token));
    }

    fn read_joins(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        for (member, token) in asked {
            match self.h.replies.remove(&token) {
                None => self.asked.push((member, token)),
                Some(Reply::Join(Ok(reply))) => {
                    self.ids[member] = reply.member_id.clone();
                    self.check_generation(&reply);
                    self.known[member] = Some(reply);
                }
                Some(Reply::Join(Err(refused))) => self.ids[member] = refused.member_id,
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    /// A leader learns the same members each time that it learns a generation, but for static ones with a new id.
    fn check_generation(&mut self, reply: &JoinReply) {
        if reply.members.is_empty() {
            return;
        }
        let name = |member: &JoinedMember| member.group_instance_id.clone().unwrap_or(member.member_id.clone());
        let members: BTreeSet<_> = reply.members.iter().map(name).collect();
        let first = self.generations.entry((self.lives, reply.generation)).or_insert_with(|| members.clone());
        assert_eq!(*first, members, "generation {} was given twice", reply.generation);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The harness compares machine and store after each step; here the store is also what a restart makes of it.
    #[test]
    fn a_restart_at_any_point_brings_back_what_was_stored(acts in acts()) {
        let mut run = Run::new();
        for act in acts {
            run.act(act);
            let stored = run.h.stored.clone();
            let restored = stored.restore(run.h.machine.config.clone(), run.h.now);
            prop_assert_eq!(restored.durable().into_iter().collect::<Vec<_>>(), stored.groups.into_iter().collect::<Vec<_>>());
        }
    }

    /// However it went: once everybody is silent, the group ends, and nothing is left behind.
    #[test]
    fn a_group_that_everyone_abandons_ends(acts in acts()) {
        let mut run = Run::new();
        for act in acts {
            run.act(act);
        }
        let waiting = run.asked.len();
        run.h.advance(1_000_000);
        run.read_joins();
        prop_assert_eq!(run.asked.len(), 0, "of {} joins some wait for ever", waiting);
        run.h.advance(1_000_000);
        run.h.expire();
        prop_assert!(run.h.machine.is_empty());
        prop_assert_eq!(run.h.machine.timers.len(), 0);
        prop_assert_eq!(&run.h.stored, &Stored::default());
    }
}
