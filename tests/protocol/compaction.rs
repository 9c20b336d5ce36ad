//! Topics with `cleanup.policy=compact`, and `compression.type`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::support::{
    Client, Gateway,
    batch::{Batch, records_of},
    eventually,
    topics::{self, create_with, fetch, produce},
};

#[test]
fn the_latest_value_of_each_key_survives_compaction_and_kills_in_the_middle_of_it() {
    let mut gateway = Gateway::options().storage("disk").env("TIDEGATE_LOG_CLEANER_BACKOFF_MS", "1").start();
    let mut client = gateway.connect();
    create_with(&mut client, "topic", 1, COMPACTED);
    let mut latest = BTreeMap::new();
    let mut number = 0;
    for round in 0..6 {
        for _ in 0..60 {
            let records = (0..10).map(|_| {
                number += 1;
                let (key, value) = (format!("key-{}", number * 7 % 40), format!("value {number:0>100}"));
                latest.insert(key.clone(), value.clone());
                (Some(Bytes::from(key)), Some(Bytes::from(value)))
            });
            assert_eq!(produce(&mut client, "topic", 0, &Batch::keyed(records.collect())).error_code, 0);
        }
        // Somewhere in a pass, as likely as not.
        std::thread::sleep(Duration::from_millis(30 * round));
        gateway.crash_and_restart();
        client = gateway.connect();
        assert_eq!(latest_of(&mut client), latest, "after {round} rounds");
    }
    let size = || {
        let files = std::fs::read_dir(gateway.data_dir().join("topics/topic-0")).unwrap();
        files.filter_map(|file| file.unwrap().metadata().ok()).map(|file| file.len()).sum::<u64>()
    };
    eventually("the log shrinks", Duration::from_secs(20), || (size() < 80_000).then_some(()));
    assert_eq!(latest_of(&mut client), latest);
    assert_eq!((topics::log_start_offset(&mut client, "topic", 0), number), (0, 3_600));
    assert_eq!(topics::log_end_offset(&mut client, "topic", 0), 3_600);
    // The last pass may have been before the last kill.
    eventually("a pass is counted", Duration::from_secs(20), || {
        let record = (Some(Bytes::from_static(b"key-0")), Some(Bytes::from(vec![b'v'; 2_000])));
        assert_eq!(produce(&mut client, "topic", 0, &Batch::keyed(vec![record])).error_code, 0);
        let passes = gateway.metrics("tidegate_log_cleaner_passes_total");
        passes.first().filter(|(_, count)| *count > 0.0).map(|_| ())
    });
    assert_eq!(gateway.metrics("tidegate_log_cleaner_uncleanable_partitions")[0].1, 0.0);
    let log = gateway.log();
    assert!(!log.contains("records are missing") && !log.contains("damaged"), "{log}");
    let (status, took) = gateway.terminate(Duration::from_secs(10));
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
}

#[test]
fn a_compacted_topic_is_deleted_while_it_is_compacted() {
    let gateway = Gateway::options()
        .storage("disk")
        .env("TIDEGATE_LOG_CLEANER_BACKOFF_MS", "1")
        // It would take for ever.
        .env("TIDEGATE_LOG_CLEANER_IO_MAX_BYTES_PER_SECOND", "1000")
        .start();
    let mut client = gateway.connect();
    create_with(&mut client, "topic", 1, COMPACTED);
    for number in 0..400 {
        let record = (Some(Bytes::from_static(b"key")), Some(Bytes::from(format!("{number:0>5000}"))));
        assert_eq!(produce(&mut client, "topic", 0, &Batch::keyed(vec![record])).error_code, 0);
    }
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    topics::delete(&mut client, "topic");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    create_with(&mut client, "topic", 1, COMPACTED);
    assert_eq!(topics::log_end_offset(&mut client, "topic", 0), 0);
    assert!(latest_of(&mut client).is_empty());
}

#[test]
fn a_topic_with_a_codec_stores_batches_in_it() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for (codec, number) in [("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4), ("producer", 0)] {
        let topic = crate::support::unique(codec);
        create_with(&mut client, &topic, 1, &[("compression.type", codec)]);
        let batch = Batch::of(["x".repeat(1_000), "y".repeat(1_000)]);
        assert_eq!(produce(&mut client, &topic, 0, &batch).error_code, 0);
        let stored = fetch(&mut client, &topic, 0, 0).records.unwrap();
        assert_eq!(stored[22] & 7, number, "{codec}");
        assert!(number == 0 || stored.len() < 300, "{codec}: {} bytes", stored.len());
        if number == 0 {
            assert_eq!(records_of(Some(&stored)).len(), 2);
        }
    }
}

/// Reads from 0 on, as a consumer does that keeps the latest value of each key.
fn latest_of(client: &mut Client) -> BTreeMap<String, String> {
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let mut latest = BTreeMap::new();
    let (mut next, mut seen) = (0, -1);
    loop {
        let answer = fetch(client, "topic", 0, next);
        assert_eq!(answer.error_code, 0, "{answer:?}");
        if next >= answer.high_watermark {
            return latest;
        }
        for record in records_of(answer.records.as_ref()) {
            assert!(record.offset > seen, "offset {} after {seen}", record.offset);
            seen = record.offset;
            latest.insert(text(record.key), text(record.value));
        }
        // A batch may have no records left, and says all the same where it ends.
        let mut rest = answer.records.unwrap_or_default();
        while rest.len() > 27 {
            next = i64::from_be_bytes(rest[..8].try_into().unwrap())
                + i64::from(i32::from_be_bytes(rest[23..27].try_into().unwrap()))
                + 1;
            let size = 12 + i32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
            rest = rest.slice(size.min(rest.len())..);
        }
    }
}

const COMPACTED: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("internal.segment.bytes", "20000"), ("min.cleanable.dirty.ratio", "0.01")];
