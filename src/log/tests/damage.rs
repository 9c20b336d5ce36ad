//! Flipped bits: never served, and never the end of what lies behind them.

use std::{collections::HashMap, fs};

use bytes::Bytes;

use super::support::*;
use crate::{
    log::{Isolation, PartitionLog, ReadError},
    model::batch::batches,
};

const LOG: &str = "topics/orders-3/00000000000000000000.log";

/// Reads from every offset and holds what comes against the truth; answers which offsets could be read.
fn readable(log: &PartitionLog, truth: &HashMap<i64, Bytes>, end: i64, note: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for at in 0..end {
        match log.read(at, 1 << 20, true, Isolation::ReadUncommitted) {
            Ok(read) => {
                let records = read.records.read().unwrap();
                for batch in batches(&records) {
                    let batch = batch.unwrap();
                    let expected = truth.get(&batch.header.base_offset);
                    assert_eq!(expected.map(|bytes| &bytes[..]), Some(batch.bytes), "{note}: served wrong bytes");
                }
                let first = batches(&records).next().and_then(Result::ok).map(|batch| batch.header);
                if first.is_some_and(|header| header.base_offset <= at && header.last_offset() >= at) {
                    found.push(at);
                }
            }
            Err(ReadError::Corrupt { next_offset, .. }) => assert!(next_offset > at, "{note}"),
            Err(error @ (ReadError::BeyondEnd { .. } | ReadError::BelowStart { .. })) => {
                assert!(at >= log.offsets().log_end, "{note}: {error}");
            }
            Err(error) => panic!("{note}: {error}"),
        }
    }
    found
}

fn written(bench: &Bench) -> (HashMap<i64, Bytes>, i64) {
    let log = bench.open();
    for index in 0..5 {
        log.append(batch_of(2 + index % 2, 10), 0).unwrap();
    }
    let records = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.read().unwrap();
    log.close().unwrap();
    let truth = batches(&records)
        .map(|batch| batch.unwrap())
        .map(|batch| (batch.header.base_offset, Bytes::copy_from_slice(batch.bytes)))
        .collect();
    (truth, 12)
}

#[test]
fn a_flipped_bit_in_a_known_segment_is_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let (truth, end) = written(&bench);
    let path = directory.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        // The checkpoint vouches for the bytes, so nothing is scanned.
        let log = bench.open();
        let note = format!("bit {} of byte {}", bit % 8, bit / 8);
        let found = readable(&log, &truth, end, &note);
        assert!(found.len() >= 12 - 3, "{note}: only {found:?} can be read");
    }
}

#[test]
fn a_flipped_bit_in_what_is_scanned_costs_its_batch_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let (truth, end) = written(&bench);
    let path = directory.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    let last_batch = whole.len() - truth[&10].len();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let _ = fs::remove_file(path.with_file_name("recovery-checkpoint"));
        let log = bench.open();
        let note = format!("bit {} of byte {}", bit % 8, bit / 8);
        let found = readable(&log, &truth, end, &note);
        assert!(found.len() >= 12 - 3, "{note}: only {found:?} can be read");
        if bit / 8 < last_batch {
            assert_eq!(log.offsets().log_end, 12, "{note}");
            assert_eq!(fs::metadata(&path).unwrap().len() as usize, whole.len(), "{note}");
        }
    }
}

#[test]
fn a_hole_of_any_size_does_not_hide_what_lies_behind() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let (truth, end) = written(&bench);
    let path = directory.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    let second = truth[&0].len();
    let fourth = whole.len() - truth[&10].len() - truth[&7].len();
    for from in second..fourth {
        let mut bytes = whole.clone();
        bytes[from..fourth].fill(0xee);
        fs::write(&path, &bytes).unwrap();
        let _ = fs::remove_file(path.with_file_name("recovery-checkpoint"));
        let log = bench.open();
        let found = readable(&log, &truth, end, &format!("from {from}"));
        for at in [0, 1, 7, 8, 9, 10, 11] {
            assert!(found.contains(&at), "from {from}: {found:?}");
        }
        let hidden = log.read(6, 1 << 20, true, Isolation::ReadUncommitted);
        assert!(matches!(hidden, Err(ReadError::Corrupt { next_offset: 7, .. })), "from {from}: {hidden:?}");
    }
}
