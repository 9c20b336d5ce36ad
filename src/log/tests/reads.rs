//! What reads hand out: from memory, from the file, and checked when it was not lately.

use std::{fs, time::Duration};

use super::support::*;
use crate::{
    log::{Isolation, PartitionLog, ReadError},
    model::{Chunk, Records, batch::batches},
};

const LOG: &str = "topics/orders-3/00000000000000000000.log";

fn read(log: &PartitionLog, from: i64, bytes_max: usize) -> Records {
    log.read(from, bytes_max, true, Isolation::ReadUncommitted).unwrap().records
}

fn filled(bench: &Bench, batches: usize) -> std::sync::Arc<PartitionLog> {
    let log = bench.open();
    for index in 0..batches {
        log.append(batch_of(1 + index % 3, 1 + index * 7919 % 40_000), 0).unwrap();
    }
    log
}

#[test]
fn reads_of_any_size_from_any_offset_give_the_same_bytes_whether_known_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let log = filled(&bench, 120);
    let whole = fs::read(directory.path().join(LOG)).unwrap();
    let starts: Vec<_> =
        batches(&whole).map(|batch| batch.unwrap()).map(|batch| (batch.header.base_offset, batch.start)).collect();
    // As written; checked again because that was long ago; and with what the second round has left behind.
    for minutes in [0, 2, 0] {
        bench.clock.advance(Duration::from_secs(60 * minutes));
        for (index, &(offset, start)) in starts.iter().enumerate() {
            let bytes_max = [1, 5_000, 100_000, 300_000, 1 << 20, 4 << 20][index % 6];
            let records = read(&log, offset, bytes_max).read().unwrap();
            assert!(!records.is_empty() && whole[start..].starts_with(&records), "offset {offset}");
            let end = start + records.len();
            assert!(end == whole.len() || starts.iter().any(|(_, start)| *start == end), "whole batches only");
        }
    }
}

#[test]
fn large_reads_leave_from_the_file_and_small_ones_from_memory() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let log = filled(&bench, 120);
    let mut effort_bytes = 0;
    let known = log.try_read(0, 1 << 20, true, Isolation::ReadUncommitted, &mut effort_bytes).unwrap();
    let chunks: Vec<_> = known.expect("written just now").records.into_chunks().collect();
    assert!(matches!(chunks.as_slice(), [Chunk::File(range)] if range.len > 512 << 10), "{chunks:?}");
    let small: Vec<_> = read(&log, 0, 10_000).into_chunks().collect();
    assert!(matches!(small.as_slice(), [Chunk::Heap(_)]), "{small:?}");
    bench.clock.advance(Duration::from_secs(61));
    assert!(log.try_read(0, 1 << 20, true, Isolation::ReadUncommitted, &mut effort_bytes).unwrap().is_none());
}

#[test]
fn a_bit_that_flips_after_a_batch_was_read_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let log = filled(&bench, 40);
    let before = read(&log, 0, 4 << 20).read().unwrap();
    let third = batches(&before).nth(2).unwrap().unwrap();
    let path = directory.path().join(LOG);
    let mut bytes = fs::read(&path).unwrap();
    bytes[third.start + third.bytes.len() / 2] ^= 1;
    fs::write(&path, bytes).unwrap();
    bench.clock.advance(Duration::from_secs(61));
    let after = read(&log, 0, 4 << 20).read().unwrap();
    assert_eq!(after, before[..third.start], "what precedes the damage");
    let hidden = log.read(third.header.base_offset, 4 << 20, true, Isolation::ReadUncommitted);
    assert!(matches!(hidden, Err(ReadError::Corrupt { .. })), "{hidden:?}");
    let next = third.header.next_offset();
    let rest = read(&log, next, 4 << 20).read().unwrap();
    assert!(!rest.is_empty() && before[third.start + third.bytes.len()..].starts_with(&rest));
}
