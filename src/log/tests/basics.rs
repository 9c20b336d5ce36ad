use super::support::*;
use crate::log::{Isolation, ReadError};

#[test]
fn what_was_appended_is_read_back_on_every_store() {
    let directory = tempfile::tempdir().unwrap();
    for bench in [Bench::memory(), Bench::disk(directory.path())] {
        let log = bench.open();
        for index in 0..10 {
            let appended = log.append(batch_of(3, 100), 0).unwrap();
            assert_eq!((appended.base_offset, appended.last_offset), (index * 3, index * 3 + 2));
        }
        let read = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
        assert_eq!(ranges(&read.records), (0..10).map(|i| (i * 3, i * 3 + 2)).collect::<Vec<_>>());
        assert_eq!((read.next_offset, read.high_watermark), (30, 30));
        // From the middle of a batch on: the batch that holds the offset comes first.
        for from in 0..30 {
            let read = log.read(from, 1, true, Isolation::ReadUncommitted).unwrap();
            assert_eq!(ranges(&read.records), [(from / 3 * 3, from / 3 * 3 + 2)], "from {from}");
        }
        assert!(log.read(30, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.is_empty());
        assert!(matches!(
            log.read(31, 1, true, Isolation::ReadUncommitted),
            Err(ReadError::BeyondEnd { log_end: 30, .. })
        ));
        drop(log);
        let log = bench.open();
        assert_eq!(log.offsets().log_end, 30);
        assert_eq!(log.append(batch_of(1, 10), 0).unwrap().base_offset, 30);
    }
}
