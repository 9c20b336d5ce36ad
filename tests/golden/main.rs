//! Requests whose replies are compared with those of Apache Kafka 4.1, word by word.
//!
//! A scenario is a short conversation with a broker; what Kafka said in it is in replies/. `make conformance` holds it
//! anew with a Kafka and with Tidegate, and `UPDATE=1 make conformance` keeps what Kafka says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by a panic, and owns no clock"
)]

mod admin;
mod assignments;
mod cluster;
mod compare;
mod consumer_groups;
mod consumer_requests;
mod group_configs;
mod hostile;
mod joins;
mod known;
mod listing;
mod migration;
mod offsets;
mod rebalances;
mod records;
mod reply;
mod requests;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod talk;

/// Makes each function of a module a test, and its replies a file of the same name. Behind the module: attributes.
macro_rules! scenarios {
    ($($module:ident $attributes:tt: [$($scenario:ident),* $(,)?],)*) => {
        mod replies {
            $(mod $module {
                $(scenario!($attributes $module $scenario);)*
            })*
        }
    };
}

macro_rules! scenario {
    (($($attribute:meta)?) $module:ident $scenario:ident) => {
        #[test]
        $(#[$attribute])?
        fn $scenario() {
            let name = concat!(stringify!($module), "/", stringify!($scenario));
            crate::compare::check(name, crate::$module::$scenario);
        }
    };
}

scenarios! {
    rebalances(): [
        a_join_while_others_wait_for_their_assignment,
        a_leader_that_leaves,
        a_leave_completes_a_rebalance,
        a_member_that_does_not_join_again,
        a_static_member_that_does_not_join_again,
        a_leader_that_does_not_assign,
        requests_that_come_twice,
    ],
    offsets(): [
        commits,
        committers,
        commits_in_a_rebalance,
        fetches,
        fetches_of_groups,
        deleted_offsets,
        deleted_groups,
        the_empty_group_id,
        leader_epochs,
    ],
    records(): [
        produces,
        idempotent_producers,
        producer_ids,
        fetches,
        list_offsets,
    ],
    admin(): [
        metadata,
        topics_made_by_asking,
        created_topics,
        deleted_topics,
        created_partitions,
        deleted_records,
        described_configs,
        altered_configs,
        changed_configs,
        cluster,
        described_partitions,
    ],
    sessions(): [
        fetch_sessions,
        sessions_of_deleted_topics,
    ],
    cluster(): [
        listed_reassignments,
        altered_reassignments,
        elections,
        quorum,
        scram_credentials,
        client_quotas,
        acls,
        producers,
        transactions,
        config_resources,
    ],
    hostile(): [
        headers,
        bodies,
        arrays,
        api_versions,
    ],
    listing(): [
        coordinators,
        groups_by_state_and_type,
        descriptions,
    ],
    joins(): [
        life_of_a_member,
        wrong_joins,
        odd_joins,
        a_protocol_twice,
        inconsistent_protocols,
        a_rebalance,
        choice_of_a_protocol,
        wrong_syncs,
        wrong_heartbeats,
        leaves,
        static_members,
        changed_metadata,
        large_metadata,
    ],
    consumer_groups(): [
        a_member_joins_and_leaves,
        member_ids,
        wrong_heartbeats,
        fencing,
        static_members,
        two_members_share,
        a_member_changes_its_mind,
        unknown_topics,
        descriptions,
        offsets_of_members,
        offsets_from_outside,
    ],
    group_configs(): [
        described,
        altered,
        replaced,
        listed,
        told_to_members,
    ],
    assignments(): [
        assignors,
        votes,
        a_member_that_does_not_revoke,
        a_lost_reply,
        a_topic_changes,
    ],
    migration(): [
        classic_requests_to_a_consumer_group,
        consumer_requests_to_a_classic_group,
        a_static_member_changes_its_protocol,
        a_rolling_upgrade_and_back,
        an_empty_group_changes_its_protocol,
    ],
}
