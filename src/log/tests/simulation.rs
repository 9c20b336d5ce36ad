//! Append, crash, reopen, at random, against a model.

use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::support::*;
use crate::{
    config::Durability,
    log::{Isolation, PartitionLog},
    model::batch::batches,
};

#[derive(Clone, Debug)]
enum Step {
    Append {
        count: usize,
        value_bytes: usize,
    },
    Read {
        from: u8,
        bytes_max: usize,
    },
    DeleteRecords {
        share: u8,
    },
    /// The process ends at once; then `torn_bytes` of a write that was under way are in the file.
    Kill {
        torn_bytes: usize,
    },
    Stop,
    LoseIndexes,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_usize..4, 0_usize..300).prop_map(|(count, value_bytes)| Step::Append { count, value_bytes }),
        3 => (any::<u8>(), 0_usize..3_000).prop_map(|(from, bytes_max)| Step::Read { from, bytes_max }),
        1 => any::<u8>().prop_map(|share| Step::DeleteRecords { share }),
        1 => (0_usize..200).prop_map(|torn_bytes| Step::Kill { torn_bytes }),
        1 => Just(Step::Stop),
        1 => Just(Step::LoseIndexes),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The batches that must be there, with their first offsets.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, i64, Bytes)>,
    log_start: i64,
    log_end: i64,
}

impl Model {
    fn check(&self, log: &PartitionLog, from: i64, bytes_max: usize) {
        let read = log.read(from, bytes_max, true, Isolation::ReadUncommitted).unwrap();
        let expected: Vec<_> = self.batches.iter().filter(|(_, last, _)| *last >= from).collect();
        let records = read.records.read().unwrap();
        let found: Vec<_> = batches(&records).map(Result::unwrap).collect();
        assert_eq!(found.is_empty(), expected.is_empty());
        assert!(found.len() <= 1 || read.records.len() <= bytes_max);
        for (found, (base, last, bytes)) in found.iter().zip(&expected) {
            assert_eq!((found.header.base_offset, found.header.last_offset()), (*base, *last));
            assert_eq!(found.bytes[16..], bytes[16..]);
            assert!(found.is_intact());
        }
    }

    fn check_all(&self, log: &PartitionLog) {
        let offsets = log.offsets();
        assert_eq!((offsets.log_start, offsets.high_watermark), (self.log_start, self.log_end));
        let mut at = self.log_start;
        while at < self.log_end {
            self.check(log, at, 1_500);
            at = log.read(at, 1_500, true, Isolation::ReadUncommitted).unwrap().next_offset;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_was_appended_is_there(steps in steps(), os in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Bench::disk(directory.path());
        bench.config.segment_bytes = 2_500;
        bench.config.index_interval_bytes = 300;
        bench.durability = if os { Durability::Os } else { Durability::Sync };
        let home = directory.path().join("topics/orders-3");
        let mut model = Model::default();
        let mut log = bench.open();
        // What the checkpoint says of them is wrong until the next one.
        let mut has_lost_indexes = false;
        for step in steps {
            match step {
                Step::Append { count, value_bytes } => {
                    let batch = batch_of(count, value_bytes);
                    let appended = log.append(batch.clone(), 0).unwrap();
                    assert_eq!(appended.base_offset, model.log_end);
                    model.batches.push((appended.base_offset, appended.last_offset, batch));
                    model.log_end = appended.last_offset + 1;
                }
                Step::Read { from, bytes_max } => {
                    let span = model.log_end - model.log_start + 1;
                    model.check(&log, model.log_start + i64::from(from) % span, bytes_max);
                }
                Step::DeleteRecords { share } => {
                    let span = model.log_end - model.log_start;
                    let start = model.log_start + span * i64::from(share) / 512;
                    assert_eq!(log.delete_records(start).unwrap(), start);
                    model.log_start = start;
                    bench.log_start_offset = start;
                }
                Step::Kill { torn_bytes } => {
                    drop(log);
                    let mut logs: Vec<_> = fs::read_dir(&home)
                        .into_iter()
                        .flatten()
                        .map(|entry| entry.unwrap().path())
                        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
                        .collect();
                    logs.sort();
                    if let Some(last) = logs.last() {
                        let torn = batch_of(1, 150);
                        let mut bytes = fs::read(last).unwrap();
                        bytes.extend_from_slice(&torn[..torn_bytes.min(torn.len() - 1)]);
                        fs::write(last, bytes).unwrap();
                    }
                    if !has_lost_indexes {
                        assert_undamaged(&bench, "killed");
                    }
                    log = bench.open();
                    model.check_all(&log);
                }
                Step::Stop => {
                    log.close().unwrap();
                    has_lost_indexes = false;
                    assert_undamaged(&bench, "stopped");
                    log = bench.open();
                    model.check_all(&log);
                }
                Step::LoseIndexes => {
                    has_lost_indexes = true;
                    log.close().unwrap();
                    for entry in fs::read_dir(&home).into_iter().flatten() {
                        let path = entry.unwrap().path();
                        if path.extension().is_some_and(|extension| extension == "index" || extension == "timeindex") {
                            fs::remove_file(path).unwrap();
                        }
                    }
                    log = bench.open();
                    model.check_all(&log);
                }
            }
        }
        model.check_all(&log);
    }
}
