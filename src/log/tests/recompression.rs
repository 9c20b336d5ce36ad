//! `compression.type` of a topic.

use super::support::*;
use crate::{
    log::{AppendError, Compression, Isolation},
    model::batch::{BatchBuilder, BatchHeader, Codec, TimestampType, batches},
};

const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn builder() -> BatchBuilder {
    (0..20).fold(BatchBuilder::new().producer(5, 1, 0), |builder, index| {
        builder.record(NOW_MS + index, Some(b"key"), Some(&[b'x'; 100]))
    })
}

#[test]
fn a_batch_is_packed_with_the_codec_of_its_topic() {
    for sent in ALL {
        for wanted in ALL {
            let mut bench = Bench::memory();
            bench.config.compression = Some(Compression::of(wanted));
            let log = bench.open();
            let batch = packed(builder(), sent);
            log.append(batch.clone(), 0).unwrap();
            assert!(log.append(batch.clone(), 0).unwrap().is_duplicate);
            let read = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.read().unwrap();
            let stored = batches(&read).next().unwrap().unwrap();
            assert!(stored.is_intact());
            assert_eq!(stored.header.attributes.codec(), Some(wanted), "{sent:?}");
            let sent_header = BatchHeader::parse(&batch).unwrap();
            let expected = BatchHeader {
                length: stored.header.length,
                crc: stored.header.crc,
                partition_leader_epoch: 0,
                attributes: sent_header.attributes.with_codec(wanted),
                ..sent_header
            };
            assert_eq!(stored.header, expected);
            let seen = records_of(&stored);
            assert_eq!((seen.len(), seen[19].timestamp_ms, seen[19].offset), (20, NOW_MS + 19, 19));
            // The codec that was sent already is left as it is, level and all.
            assert!(sent != wanted || stored.bytes[21..] == batch[21..]);
        }
    }
}

#[test]
fn without_a_codec_of_the_topic_batches_stay_as_they_were_sent() {
    for sent in ALL {
        let log = Bench::memory().open();
        let batch = packed(builder(), sent);
        log.append(batch.clone(), 0).unwrap();
        let read = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.read().unwrap();
        assert_eq!(read[21..], batch[21..]);
    }
}

#[test]
fn the_time_of_the_append_is_stamped_on_what_was_packed_anew() {
    let mut bench = Bench::memory();
    bench.config.compression = Some(Compression::of(Codec::Zstd));
    bench.config.timestamp_type = TimestampType::LogAppendTime;
    let log = bench.open();
    assert_eq!(log.append(packed(builder(), Codec::Gzip), 0).unwrap().log_append_time_ms, NOW_MS);
    let read = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.read().unwrap();
    let stored = batches(&read).next().unwrap().unwrap();
    assert!(stored.is_intact());
    assert_eq!((stored.header.max_timestamp_ms, records_of(&stored).len()), (NOW_MS, 20));
    assert_eq!(stored.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
}

#[test]
fn what_grows_beyond_the_limits_is_refused() {
    let mut bench = Bench::memory();
    bench.config.compression = Some(Compression::of(Codec::None));
    bench.config.max_message_bytes = 100_000;
    let huge = || BatchBuilder::new().record(NOW_MS, Some(b"key"), Some(&vec![0; 50 << 20]));
    let log = bench.open();
    let error = log.append(packed(huge(), Codec::Zstd), 0).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { max_bytes: 100_000, .. }), "{error}");
    let mut bench = Bench::memory();
    bench.config.compression = Some(Compression::of(Codec::None));
    bench.config.segment_bytes = 1_000;
    let error = bench.open().append(packed(builder(), Codec::Gzip), 0).unwrap_err();
    assert!(matches!(error, AppendError::LargerThanSegment { max_bytes: 1_000, .. }), "{error}");
}

#[test]
fn the_level_of_the_topic_is_honoured() {
    let size = |codec, level| {
        let mut bench = Bench::memory();
        bench.config.compression = Some(Compression { codec, level });
        let log = bench.open();
        let value: Vec<u8> = (0..30_000_u32).flat_map(|n| (n * n / 11).to_be_bytes()).collect();
        log.append(BatchBuilder::new().record(NOW_MS, Some(b"key"), Some(&value)).build(), 0).unwrap();
        log.size_bytes()
    };
    assert!(size(Codec::Gzip, 9) < size(Codec::Gzip, 1));
    assert!(size(Codec::Zstd, 19) < size(Codec::Zstd, -20));
}
