//! What every storage backend must do, written once and run for each.
//!
//! A suite is a module of functions over a trait; the macro below makes each of them a test of each backend.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod backends;
mod cache;
mod coordinator;
mod filer;
mod groups;
mod journal;
mod offsets;
#[path = "../support/seaweed.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod seaweed;

use backends::{Cached, Disk, Filer, InMemory, MemoryJournaled};
use tidegate::config::Durability;

/// `suite!(name, backend, module: test, …)` makes a module of tests, each of which hands a new backend to a function.
macro_rules! suite {
    ($name:ident, $backend:expr, $($suite:ident: [$($test:ident),* $(,)?]),* $(,)?) => {
        mod $name {
            use super::*;
            $(mod $suite {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    crate::$suite::$test(&$backend).await;
                })*
            })*
        }
    };
}

macro_rules! storage_suite {
    ($name:ident, $backend:expr) => {
        suite!(
            $name,
            $backend,
            offsets: [
                commit_and_fetch,
                every_field_comes_back,
                a_later_commit_replaces_an_earlier_one,
                fetch_all_is_ordered_and_of_one_group,
                what_was_never_committed_is_absent,
                delete_forgets_only_what_is_named,
                delete_group_forgets_all_of_one_group,
                list_groups_lists_those_with_offsets,
                what_is_at_hand_is_what_a_fetch_finds,
                names_may_be_anything,
                concurrent_commits_are_all_there,
                offsets_never_go_back_and_never_tear,
                a_commit_of_many_partitions_is_seen_whole,
                a_dropped_commit_is_seen_whole_or_not_at_all,
            ],
            groups: [
                save_get_and_replace,
                list_is_ordered,
                delete_keeps_offsets,
                opaque_bytes_come_back,
                concurrent_saves_keep_the_last_of_each,
            ],
            coordinator: [
                one_append_changes_both,
                an_append_of_nothing_succeeds,
                reload_changes_nothing_that_was_acknowledged,
                size_counts_what_is_held,
            ],
        );
    };
}

storage_suite!(memory, InMemory::new());
storage_suite!(memory_journal, MemoryJournaled::new());
storage_suite!(disk_sync, Disk::new(Durability::Sync));
storage_suite!(disk_os, Disk::new(Durability::Os));
storage_suite!(cached_memory, Cached::new(InMemory::new(), 1 << 20));
storage_suite!(cached_disk, Cached::new(Disk::new(Durability::Os), 1 << 20));
// So little that groups are evicted all the time.
storage_suite!(hardly_cached, Cached::new(MemoryJournaled::new(), 20_000));
storage_suite!(on_filer, Filer::new());

macro_rules! journal_suite {
    ($name:ident, $backend:expr) => {
        suite!(
            $name,
            $backend,
            journal: [
                the_latest_value_of_each_key_is_replayed,
                shards_are_apart,
                an_append_takes_its_place_at_the_call,
                appends_of_many_tasks_are_all_there,
                completions_come_once_and_in_order,
                a_replay_shows_all_that_was_acknowledged,
                large_and_empty_values_come_back,
                a_closed_journal_refuses_appends,
            ],
        );
    };
}

journal_suite!(journal_memory, MemoryJournaled::new());
journal_suite!(journal_disk_sync, Disk::new(Durability::Sync));
journal_suite!(journal_disk_os, Disk::new(Durability::Os));
journal_suite!(journal_on_filer, Filer::new());

/// What only a backend that outlives the process can show.
macro_rules! persistence_suite {
    ($name:ident, $backend:expr) => {
        suite!(
            $name,
            $backend,
            offsets: [offsets_and_deletions_survive_a_restart],
            groups: [groups_and_deletions_survive_a_restart],
        );
    };
}

persistence_suite!(disk_sync_restart, Disk::new(Durability::Sync));
persistence_suite!(disk_os_restart, Disk::new(Durability::Os));
persistence_suite!(on_filer_restart, Filer::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_storage_commit_and_fetch() {
    offsets::commit_and_fetch(&InMemory::new()).await;
    offsets::every_field_comes_back(&InMemory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_storage_concurrency() {
    offsets::concurrent_commits_are_all_there(&InMemory::new()).await;
    offsets::offsets_never_go_back_and_never_tear(&InMemory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_storage_delete_group() {
    offsets::delete_group_forgets_all_of_one_group(&InMemory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_storage_fetch_all_offsets() {
    offsets::fetch_all_is_ordered_and_of_one_group(&InMemory::new()).await;
}
