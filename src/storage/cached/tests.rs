use std::sync::atomic::{AtomicBool, Ordering};

use super::{group::CachedGroup, stripe::Seen, *};
use crate::storage::{
    Completion, Durable, Journal, JournalRecord, JournaledStorage, OrderedJournal, memory::MemoryJournal,
};

fn id(name: &str) -> GroupId {
    name.into()
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

fn committed(number: i32, offset: i64) -> Change {
    Change::Some(vec![(partition(number), Some(OffsetMetadata::at(offset)))])
}

fn offset_of(found: Result<Option<OffsetMetadata>, Seen>) -> Option<i64> {
    found.ok().expect("cached").map(|value| value.offset)
}

fn is_known(stripe: &Stripe, group: &str) -> bool {
    stripe.get(group, &partition(0)).is_ok()
}

fn stripe() -> Stripe {
    Stripe::new(1 << 20, Arc::default())
}

fn commit(stripe: &mut Stripe, group: &str, number: i32, offset: i64) {
    stripe.claim(&id(group));
    stripe.settle(id(group), committed(number, offset));
}

#[test]
fn a_commit_is_cached_when_it_is_durable() {
    let mut stripe = stripe();
    stripe.claim(&id("g"));
    assert!(!is_known(&stripe, "g"));
    stripe.settle(id("g"), committed(0, 5));
    assert_eq!(offset_of(stripe.get("g", &partition(0))), Some(5));
    assert!(stripe.get("g", &partition(1)).is_err());
    assert!(stripe.get_all("g").is_err());
}

#[test]
fn a_cached_offset_is_not_shown_while_a_later_one_may_be() {
    let mut stripe = stripe();
    commit(&mut stripe, "g", 0, 5);
    stripe.claim(&id("g"));
    assert!(!is_known(&stripe, "g"));
    stripe.settle(id("g"), committed(0, 6));
    assert_eq!(offset_of(stripe.get("g", &partition(0))), Some(6));
}

#[test]
fn what_was_read_before_a_commit_is_not_cached_after_it() {
    let mut stripe = stripe();
    let before = stripe.get("g", &partition(0)).unwrap_err();
    let all_before = stripe.get_all("g").unwrap_err();
    stripe.claim(&id("g"));
    let during = stripe.get("g", &partition(0)).unwrap_err();
    stripe.settle(id("g"), committed(0, 6));
    stripe.fill(before, "g", &partition(0), Some(&OffsetMetadata::at(5)));
    stripe.fill(during, "g", &partition(0), Some(&OffsetMetadata::at(5)));
    stripe.fill_all(all_before, "g", &[]);
    assert_eq!(offset_of(stripe.get("g", &partition(0))), Some(6));
    assert!(stripe.get_all("g").is_err());
}

#[test]
fn of_overlapping_commits_none_is_cached() {
    for first_ends_first in [true, false] {
        let mut stripe = stripe();
        commit(&mut stripe, "g", 0, 1);
        stripe.claim(&id("g"));
        stripe.claim(&id("g"));
        if first_ends_first {
            stripe.settle(id("g"), committed(0, 2));
            assert!(!is_known(&stripe, "g"), "the second is still on its way");
            stripe.settle(id("g"), committed(0, 3));
        } else {
            stripe.settle(id("g"), committed(0, 3));
            stripe.settle(id("g"), committed(0, 2));
        }
        assert!(!is_known(&stripe, "g"));
        commit(&mut stripe, "g", 0, 4);
        assert_eq!(offset_of(stripe.get("g", &partition(0))), Some(4));
    }
}

#[test]
fn commits_of_many_groups_at_once_are_all_cached() {
    let mut stripe = stripe();
    let groups: Vec<_> = (0..1_000).map(|number| format!("g{number}")).collect();
    groups.iter().for_each(|group| stripe.claim(&id(group)));
    groups.iter().for_each(|group| stripe.settle(id(group), committed(0, 1)));
    assert!(groups.iter().all(|group| is_known(&stripe, group)));
}

#[test]
fn absence_is_remembered() {
    let mut stripe = stripe();
    let seen = stripe.get("g", &partition(0)).unwrap_err();
    stripe.fill(seen, "g", &partition(0), None);
    assert_eq!(offset_of(stripe.get("g", &partition(0))), None);
    let seen = stripe.get_all("unknown").unwrap_err();
    stripe.fill_all(seen, "unknown", &[]);
    assert_eq!(offset_of(stripe.get("unknown", &partition(7))), None);
    commit(&mut stripe, "unknown", 7, 1);
    assert_eq!(stripe.get_all("unknown").ok(), Some(vec![(partition(7), OffsetMetadata::at(1))]));
    stripe.claim(&id("unknown"));
    stripe.settle(id("unknown"), Change::AllGone);
    assert_eq!(stripe.get_all("unknown").ok(), Some(vec![]));
}

#[test]
fn a_failed_change_hides_its_group_until_a_reload() {
    let mut stripe = stripe();
    commit(&mut stripe, "g", 0, 1);
    commit(&mut stripe, "other", 0, 1);
    stripe.claim(&id("g"));
    stripe.leave(id("g"));
    assert!(!is_known(&stripe, "g") && is_known(&stripe, "other"));
    // One that fails, and one of another shard.
    let left = stripe.take_left(|_| true);
    stripe.end_reload(|group| group == "g", left, false);
    let left = stripe.take_left(|group| group == "other");
    stripe.end_reload(|group| group == "other", left, true);
    let seen = stripe.get("g", &partition(0)).unwrap_err();
    stripe.fill(seen, "g", &partition(0), None);
    assert!(!is_known(&stripe, "g"));
    // What was read before a reload is not worth anything after it.
    let before = stripe.get("h", &partition(0)).unwrap_err();
    let left = stripe.take_left(|group| group == "g");
    stripe.end_reload(|group| group == "g", left, true);
    stripe.fill(before, "h", &partition(0), None);
    assert!(!is_known(&stripe, "h"));
    let seen = stripe.get("g", &partition(0)).unwrap_err();
    stripe.fill(seen, "g", &partition(0), Some(&OffsetMetadata::at(2)));
    assert_eq!(offset_of(stripe.get("g", &partition(0))), Some(2));
    assert!(stripe.is_at_rest());
}

#[test]
fn bytes_are_bounded_and_evictions_counted() {
    let counters = Arc::new(Counters::default());
    let mut stripe = Stripe::new(64 << 10, Arc::clone(&counters));
    for number in 0..1000 {
        commit(&mut stripe, &format!("group-{number}"), 0, 1);
        assert!(stripe.size().1 <= 64 << 10);
    }
    let (groups, _) = stripe.size();
    assert!((100..1000).contains(&groups), "{groups} groups");
    assert_eq!(counters.stats().evictions, 1000 - groups);
    // A group that grows beyond all bounds is not kept, whether it grows at once or bit by bit.
    let many: Vec<_> = (0..10_000).map(|number| (partition(number), OffsetMetadata::at(1))).collect();
    let seen = stripe.get_all("at once").unwrap_err();
    stripe.fill_all(seen, "at once", &many);
    assert!(stripe.get_all("at once").is_err());
    for number in 0..10_000 {
        commit(&mut stripe, "bit by bit", number, 1);
        assert!(stripe.size().1 <= 64 << 10, "{:?} at {number}", stripe.size());
    }
}

#[test]
fn bytes_of_a_group_are_those_of_what_it_holds() {
    let mut group = CachedGroup::complete(&[]);
    let empty = group.bytes();
    for round in 0..3 {
        let metadata = "x".repeat(round).into();
        group.set(&partition(0), Some(&OffsetMetadata { metadata, ..OffsetMetadata::at(1) }));
        group.set(&partition(1), None);
    }
    assert!(group.bytes() > empty);
    group.set(&partition(0), None);
    assert_eq!(group.bytes(), empty);
}

/// A journal that refuses appends when told to.
struct Flaky {
    journal: MemoryJournal,
    refuses: AtomicBool,
}

#[async_trait]
impl Journal for Flaky {
    fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable {
        self.journal.append(shard, records)
    }

    async fn replay(&self, shard: ShardId) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StorageError> {
        self.journal.replay(shard).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.journal.close().await
    }
}

impl OrderedJournal for Flaky {
    fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion) {
        if self.refuses.load(Ordering::SeqCst) {
            return done(Err(StorageError::Unavailable("told to".into())));
        }
        self.journal.append_then(shard, records, done);
    }
}

#[tokio::test]
async fn hits_and_misses_tell_who_was_asked_and_a_reload_brings_the_cache_back() {
    let journal = Arc::new(Flaky { journal: MemoryJournal::new(), refuses: AtomicBool::new(false) });
    let inner = JournaledStorage::open(Arc::clone(&journal) as _, 50).await.unwrap();
    let storage = CachedStorage::new(Arc::new(inner), 50, 1 << 20);
    let shard = ShardId::group(shard_of("g", 50));
    let append = |offset| {
        let value = Some(OffsetMetadata::at(offset));
        storage.append(shard, vec![CoordinatorRecord::Offset { group: id("g"), partition: partition(0), value }])
    };
    let fetch = async || storage.fetch("g", &partition(0)).await.unwrap().map(|value| value.offset);
    let asked = || storage.cache().map(|stats| (stats.hits, stats.misses)).unwrap();

    assert_eq!((fetch().await, fetch().await), (None, None));
    assert_eq!(asked(), (1, 1));
    append(1).await.unwrap();
    assert_eq!((fetch().await, asked()), (Some(1), (2, 1)));
    journal.refuses.store(true, Ordering::SeqCst);
    append(2).await.unwrap_err();
    journal.refuses.store(false, Ordering::SeqCst);
    assert_eq!((fetch().await, fetch().await), (Some(1), Some(1)));
    assert_eq!(asked(), (2, 3));
    storage.reload(shard).await.unwrap();
    assert_eq!((fetch().await, fetch().await), (Some(1), Some(1)));
    assert_eq!(asked(), (3, 4));
    assert_eq!(storage.cache().map(|stats| stats.groups), Some(1));
}

#[test]
fn an_append_changes_each_group_once() {
    let record =
        |group: &str, number| CoordinatorRecord::Offset { group: id(group), partition: partition(number), value: None };
    let changes = offset_changes(&[record("a", 1), record("b", 2), record("a", 3), record("a", 1)]);
    let numbers = changes.iter().map(|(group, change)| match change {
        Change::Some(changed) => (&**group, changed.iter().map(|(at, _)| at.partition).collect::<Vec<_>>()),
        Change::AllGone => unreachable!("no append deletes a group"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [("a", vec![1, 3, 1]), ("b", vec![2])]);
}
