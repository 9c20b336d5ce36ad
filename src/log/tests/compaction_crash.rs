//! Kills in the middle of a pass, at every change to the files.

use std::sync::Arc;

use super::{
    faulty::{Faults, FaultyStore},
    power::PowerStore,
    support::*,
};
use crate::{
    config::Durability,
    log::PartitionLog,
    storage::{disk::DiskSegments, segment::SegmentStore},
};

/// Keys that are written again and again, tombstones among them, over several segments that become fewer.
fn write(bench: &mut Bench) -> Arc<PartitionLog> {
    bench.config.compact = true;
    bench.config.segment_bytes = 500;
    bench.config.index_interval_bytes = 100;
    let log = bench.open();
    for index in 0..40 {
        let key = format!("k{}", index % 7);
        let value = (index % 9 != 0).then(|| format!("{index:050}"));
        log.append(keyed(NOW_MS, &key, value.as_deref()), 0).unwrap();
    }
    bench.config.segment_bytes = 1_200;
    log.update_config(Arc::new(bench.config.clone()));
    log
}

/// What must be there after any number of passes: the last record of each key, at its offset.
fn latest(records: &[Seen]) -> Vec<Seen> {
    let is_latest = |record: &&Seen| !records.iter().any(|it| it.key == record.key && it.offset > record.offset);
    records.iter().filter(is_latest).cloned().collect()
}

fn check(log: &PartitionLog, all: &[Seen], context: &str) {
    for bytes_max in [1, 600, 1 << 20] {
        let seen = consume(log, bytes_max);
        assert!(seen.is_sorted_by(|a, b| a.offset < b.offset), "{context}: {seen:?}");
        assert!(seen.iter().all(|record| all.contains(record)), "{context}: {seen:?}");
        assert_eq!(latest(&seen), latest(all), "{context}");
    }
    assert_eq!((log.log_start(), log.offsets().log_end), (0, all.len() as i64), "{context}");
}

#[test]
fn a_kill_at_any_change_of_a_pass_loses_nothing() {
    let mut cuts = 0;
    for left in 0.. {
        let directory = tempfile::tempdir().unwrap();
        // Syncs cost time on a disk, so that it takes turns with the memory.
        let inner: Arc<dyn SegmentStore> = match left % 4 {
            0 => Arc::new(DiskSegments::open(directory.path(), Durability::Os, 4).unwrap()),
            _ => Bench::memory().store,
        };
        let faults = Arc::new(Faults::default());
        let mut bench = Bench::over(Arc::new(FaultyStore { inner: Arc::clone(&inner), faults: Arc::clone(&faults) }));
        bench.durability = Durability::Os;
        let log = write(&mut bench);
        let all = consume(&log, 1 << 20);
        *faults.changes_left.lock() = Some(left);
        let is_done = log.compact(1 << 20, &mut bench.pace()).is_ok();
        // Whoever is not killed reads on.
        check(&log, &all, &format!("running, {left} changes"));
        drop(log);
        bench.store = inner;
        let log = bench.open();
        check(&log, &all, &format!("killed after {left} changes"));
        drop(log);
        let log = bench.open();
        let names: Vec<_> = bench.store.list(log.partition()).unwrap().into_iter().map(|file| file.name).collect();
        assert!(!names.iter().any(|name| name.ends_with(".cleaned") || name.contains("replaced")), "{names:?}");
        // The next pass does what is left.
        log.compact(1 << 20, &mut bench.pace()).unwrap();
        check(&log, &all, &format!("cleaned after {left} changes"));
        assert!(consume(&log, 1 << 20).len() < 25);
        if is_done {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 40, "only {cuts} changes in a pass");
}

#[test]
fn a_power_cut_at_any_change_of_a_pass_loses_nothing() {
    for left in 0.. {
        let store = PowerStore::default();
        let mut bench = Bench::over(Arc::new(store.clone()));
        let log = write(&mut bench);
        let all = consume(&log, 1 << 20);
        store.cut_after(left);
        let is_done = log.compact(1 << 20, &mut bench.pace()).is_ok();
        for _ in 0..8 {
            bench.store = Arc::new(store.after_a_cut());
            let log = bench.open();
            check(&log, &all, &format!("power cut after {left} changes"));
            log.compact(1 << 20, &mut bench.pace()).unwrap();
            check(&log, &all, &format!("cleaned after a power cut after {left} changes"));
        }
        if is_done {
            assert!(left > 40);
            return;
        }
    }
}

#[test]
fn an_error_in_a_pass_is_made_good_by_the_next() {
    for left in 0.. {
        let inner = Bench::memory().store;
        let faults = Arc::new(Faults::default());
        let mut bench = Bench::over(Arc::new(FaultyStore { inner, faults: Arc::clone(&faults) }));
        let log = write(&mut bench);
        let all = consume(&log, 1 << 20);
        *faults.changes_left.lock() = Some(left);
        let is_done = log.compact(1 << 20, &mut bench.pace()).is_ok();
        *faults.changes_left.lock() = None;
        if !is_done {
            assert_eq!(log.cleanable(NOW_MS).unwrap(), None, "it rests for a while");
            bench.clock.advance(std::time::Duration::from_secs(61));
        }
        log.append(keyed(NOW_MS, "later", Some("x")), 0).unwrap();
        let all = [all, consume(&log, 1 << 20).split_off(consume(&log, 1 << 20).len() - 1)].concat();
        log.compact(1 << 20, &mut bench.pace()).unwrap();
        check(&log, &all, &format!("{left} changes"));
        assert!(consume(&log, 1 << 20).len() < 25, "{left} changes");
        drop(log);
        check(&bench.open(), &all, &format!("{left} changes, reopened"));
        if is_done {
            assert!(left > 40);
            return;
        }
    }
}
