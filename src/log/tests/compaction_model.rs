//! Append, compact, kill, reopen, at random, against a model.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    faulty::{Faults, FaultyStore},
    support::*,
};
use crate::{
    config::Durability,
    log::PartitionLog,
    model::batch::{BatchBuilder, Codec},
    storage::{disk::DiskSegments, segment::SegmentStore},
};

#[derive(Clone, Debug)]
enum Step {
    /// Keys with values, or none for a tombstone.
    Append(Vec<(u8, Option<usize>)>, u8),
    /// With room for so many keys.
    Compact {
        keys: u64,
    },
    /// A pass that is killed after so many changes to files.
    KillCompact {
        changes: usize,
    },
    Kill,
    Stop,
    LoseCheckpoints,
    DeleteRecords {
        share: u8,
    },
    Wait {
        seconds: u64,
    },
    Retention,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0_u8..12, proptest::option::weighted(0.8, 0_usize..150));
    let step = prop_oneof![
        12 => (proptest::collection::vec(record, 1..5), 0_u8..5).prop_map(|(records, codec)| Step::Append(records, codec)),
        3 => (1_u64..20).prop_map(|keys| Step::Compact { keys }),
        2 => (0_usize..80).prop_map(|changes| Step::KillCompact { changes }),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        1 => Just(Step::LoseCheckpoints),
        1 => any::<u8>().prop_map(|share| Step::DeleteRecords { share }),
        1 => (0_u64..8).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Retention),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Every record that was ever written.
#[derive(Default)]
struct Model {
    records: Vec<Seen>,
    log_start: i64,
}

impl Model {
    fn check(&self, log: &PartitionLog) {
        assert_eq!((log.log_start(), log.offsets().log_end), (self.log_start, self.records.len() as i64));
        for bytes_max in [1, 700] {
            let seen = consume(log, bytes_max);
            assert!(seen.is_sorted_by(|a, b| a.offset < b.offset), "{seen:?}");
            let mut found = BTreeMap::new();
            for record in &seen {
                assert_eq!(record, &self.records[record.offset as usize]);
                found.insert(record.key.clone(), record.offset);
            }
            let mut latest = BTreeMap::new();
            for record in self.records.iter().filter(|record| record.offset >= self.log_start) {
                latest.insert(record.key.clone(), record);
            }
            for (key, record) in latest {
                match found.get(&key) {
                    Some(offset) => assert_eq!(*offset, record.offset, "an old value of {key:?} came back"),
                    None => assert_eq!(record.value, None, "{record:?} is gone"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_latest_of_each_key_is_there(steps in steps(), os in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let inner: Arc<dyn SegmentStore> = Arc::new(DiskSegments::open(directory.path(), Durability::Sync, 3).unwrap());
        let faults = Arc::new(Faults::default());
        let store = FaultyStore { inner, faults: Arc::clone(&faults) };
        let mut bench = Bench::over(Arc::new(store));
        bench.config.compact = true;
        bench.config.delete = false;
        bench.config.segment_bytes = 900;
        bench.config.index_interval_bytes = 150;
        bench.config.delete_retention_ms = 10_000;
        bench.durability = if os { Durability::Os } else { Durability::Sync };
        let home = directory.path().join("topics/orders-3");
        let mut model = Model::default();
        let mut log = bench.open();
        for step in steps {
            match step {
                Step::Append(records, codec) => {
                    let mut builder = BatchBuilder::new();
                    for (key, length) in records {
                        let offset = model.records.len() as i64;
                        let (key, value) = (format!("k{key}"), length.map(|length| format!("{offset:0>length$}")));
                        builder = builder.record(NOW_MS, Some(key.as_bytes()), value.as_deref().map(str::as_bytes));
                        model.records.push(Seen { offset, timestamp_ms: NOW_MS, key: Some(key), value });
                    }
                    let codec = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd][usize::from(codec)];
                    log.append(packed(builder, codec), 0).unwrap();
                }
                Step::Compact { keys } => {
                    log.compact(keys * 24, &mut bench.pace()).unwrap();
                    model.check(&log);
                }
                Step::KillCompact { changes } => {
                    *faults.changes_left.lock() = Some(changes);
                    let _ = log.compact(1 << 20, &mut bench.pace());
                    model.check(&log);
                    *faults.changes_left.lock() = None;
                    drop(log);
                    log = bench.open();
                    model.check(&log);
                }
                Step::Kill => {
                    drop(log);
                    log = bench.open();
                    model.check(&log);
                }
                Step::Stop => {
                    log.close().unwrap();
                    log = bench.open();
                    model.check(&log);
                }
                Step::LoseCheckpoints => {
                    log.close().unwrap();
                    for entry in fs::read_dir(&home).into_iter().flatten() {
                        let path = entry.unwrap().path();
                        if !path.extension().is_some_and(|extension| extension == "log" || extension == "metadata") {
                            fs::remove_file(path).unwrap();
                        }
                    }
                    log = bench.open();
                    model.check(&log);
                }
                Step::DeleteRecords { share } => {
                    let span = model.records.len() as i64 - model.log_start;
                    let start = model.log_start + span * i64::from(share) / 512;
                    assert_eq!(log.delete_records(start).unwrap(), start);
                    model.log_start = start;
                    bench.log_start_offset = start;
                }
                Step::Wait { seconds } => bench.clock.advance(Duration::from_secs(seconds)),
                Step::Retention => {
                    log.apply_retention(NOW_MS).unwrap();
                }
            }
        }
        model.check(&log);
    }
}
