use bytes::Bytes;

use super::*;
use crate::model::batch::{BatchBuilder, BatchRecord, checksum_of};

const NOW_MS: i64 = 1_700_000_000_000;

fn plain() -> Bytes {
    BatchBuilder::new().record(NOW_MS, Some(b"k"), Some(b"v")).record(NOW_MS + 5, None, Some(b"w")).build()
}

fn check(records: &[u8]) -> Result<i64, AppendError> {
    validate(records, &LogConfig::default(), NOW_MS).map(|batch| batch.header.max_timestamp_ms)
}

/// `plain` with `change` made to its header and the checksum put right.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    with(plain().to_vec(), change)
}

fn with(mut bytes: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    header.crc = checksum_of(&header.encode(), &bytes[BatchHeader::SIZE..]);
    bytes[..BatchHeader::SIZE].copy_from_slice(&header.encode());
    bytes
}

/// A batch whose one record has this body.
fn with_record(body: &[u8]) -> Vec<u8> {
    let mut bytes = BatchBuilder::new().record(NOW_MS, None, None).build()[..BatchHeader::SIZE].to_vec();
    bytes.push((body.len() * 2) as u8);
    bytes.extend_from_slice(body);
    let length = bytes.len() as i32 - 12;
    with(bytes, |header| header.length = length)
}

fn is_invalid(result: Result<i64, AppendError>) -> bool {
    matches!(result, Err(AppendError::InvalidRecord { .. }))
}

#[test]
fn a_good_batch_passes_as_it_is() {
    let bytes = plain();
    let config = LogConfig::default();
    let batch = validate(&bytes, &config, NOW_MS).unwrap();
    assert_eq!(batch.header, BatchHeader::parse(&bytes).unwrap());
    assert_eq!(batch.log_append_time_ms, -1);
}

#[test]
fn not_exactly_one_whole_batch_is_invalid() {
    assert!(is_invalid(check(b"")));
    for cut in 0..plain().len() {
        assert!(is_invalid(check(&plain()[..cut])), "{cut}");
    }
    let twice = [plain(), plain()].concat();
    assert!(is_invalid(check(&twice)));
    let trailing = [&plain()[..], b"x"].concat();
    assert!(is_invalid(check(&trailing)));
}

#[test]
fn older_formats_are_invalid_and_unknown_ones_corrupt() {
    for (magic, invalid) in [(0_u8, true), (1, true), (3, false), (0xff, false)] {
        let mut bytes = plain().to_vec();
        bytes[16] = magic;
        let result = check(&bytes);
        assert_eq!(is_invalid(result.clone()), invalid, "{magic}");
        assert_eq!(matches!(result, Err(AppendError::Corrupt(_))), !invalid, "{magic}");
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let bytes = plain();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // The leader epoch is the broker's to write.
        let is_epoch = (12..16).contains(&(bit / 8));
        assert_eq!(check(&damaged).is_ok(), is_epoch, "bit {bit}");
    }
}

#[test]
fn counts_must_agree() {
    assert!(is_invalid(check(&with_header(|header| header.record_count = 3))));
    assert!(is_invalid(check(&with_header(|header| header.record_count = 0))));
    assert!(is_invalid(check(&with_header(|header| header.record_count = -1))));
    assert!(is_invalid(check(&with_header(|header| header.last_offset_delta = -1))));
    assert!(is_invalid(check(&with_header(|header| {
        header.last_offset_delta = i32::MAX;
        header.record_count = i32::MIN;
    }))));
    // Agreeing with each other is not enough: the records must be there.
    assert!(is_invalid(check(&with_header(|header| {
        header.last_offset_delta = 2;
        header.record_count = 3;
    }))));
    assert!(is_invalid(check(&with_header(|header| {
        header.last_offset_delta = 0;
        header.record_count = 1;
    }))));
    assert!(is_invalid(check(&with_header(|header| header.base_offset = 5))));
}

#[test]
fn control_batches_and_sequences_without_meaning_are_invalid() {
    assert!(is_invalid(check(&with_header(|header| header.attributes.0 |= 0x20))));
    assert!(is_invalid(check(&with_header(|header| header.producer_id = 5))));
    let sequenced = |header: &mut BatchHeader| {
        header.producer_id = 5;
        header.producer_epoch = 0;
        header.base_sequence = 0;
    };
    assert!(check(&with_header(sequenced)).is_ok());
}

#[test]
fn sizes_are_bounded() {
    let bytes = BatchBuilder::new().record(NOW_MS, None, Some(&[0; 1_000])).build();
    let mut config = LogConfig { max_message_bytes: bytes.len() as u32, ..LogConfig::default() };
    assert!(validate(&bytes, &config, NOW_MS).is_ok());
    config.max_message_bytes -= 1;
    assert!(matches!(validate(&bytes, &config, NOW_MS), Err(AppendError::TooLarge { .. })));
    config.max_message_bytes += 1;
    config.segment_bytes = 1_000;
    assert!(matches!(validate(&bytes, &config, NOW_MS), Err(AppendError::LargerThanSegment { .. })));
}

#[test]
fn framing_that_stops_consumers_is_invalid() {
    // attributes, timestamp delta, offset delta, key length -1, value length -1, no headers
    assert!(check(&with_record(&[0, 0, 0, 1, 1, 0])).is_ok());
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 1, 1, 0, 9]))), "trailing bytes");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 3, 1, 0]))), "key length -2");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 1, 3, 0]))), "value length -2");
    assert!(is_invalid(check(&with_record(&[0, 0, 2, 1, 1, 0]))), "offset delta 1");
    assert!(is_invalid(check(&with_record(&[0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 1, 0]))), "offset delta 2^31-1");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 1, 1, 1]))), "header count -1");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 1, 1, 2, 1, 1]))), "header without a key");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 1, 1, 2]))), "header missing");
    assert!(is_invalid(check(&with_record(&[0, 0, 0, 200, 1, 0]))), "key beyond the record");
    assert!(check(&with_record(&[0, 0, 0, 1, 1, 2, 2, b'h', 1])).is_ok(), "header with a null value");
}

#[test]
fn records_of_a_compacted_topic_need_keys() {
    let config = LogConfig { compact: true, ..LogConfig::default() };
    let Err(AppendError::InvalidRecord { records, .. }) = validate(&plain(), &config, NOW_MS) else { panic!() };
    assert_eq!(records.iter().map(|record| record.batch_index).collect::<Vec<_>>(), [1]);
}

#[test]
fn timestamps_are_bounded() {
    let config = LogConfig { timestamp_before_max_ms: 1_000, timestamp_after_max_ms: 500, ..LogConfig::default() };
    let at = |timestamp_ms| {
        let bytes = BatchBuilder::new().record(NOW_MS, None, None).record(timestamp_ms, None, None).build();
        validate(&bytes, &config, NOW_MS).map(|_| ())
    };
    assert!(at(NOW_MS - 1_000).is_ok() && at(NOW_MS + 500).is_ok() && at(-1).is_ok());
    for wrong in [NOW_MS - 1_001, NOW_MS + 501, 0, i64::MAX / 2, i64::MIN / 2] {
        let Err(AppendError::InvalidTimestamp { records }) = at(wrong) else { panic!("{wrong}") };
        assert_eq!(records[0].batch_index, 1);
    }
    let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..config };
    let bytes = BatchBuilder::new().record(0, None, None).build();
    let batch = validate(&bytes, &config, NOW_MS).unwrap();
    assert_eq!((batch.log_append_time_ms, batch.header.max_timestamp_ms), (NOW_MS, NOW_MS));
}

#[test]
fn a_largest_timestamp_that_lies_is_put_right() {
    let bytes = with_header(|header| header.max_timestamp_ms = 1);
    let config = LogConfig::default();
    let batch = validate(&bytes, &config, NOW_MS).unwrap();
    assert_eq!(batch.header.max_timestamp_ms, NOW_MS + 5);
    assert_eq!(batch.header.crc, checksum_of(&batch.header.encode(), &batch.payload));
}

#[test]
fn compressed_records_are_checked_as_plain_ones() {
    let compress = |plain: Vec<u8>| zstd::encode_all(plain.as_slice(), 1).unwrap();
    let record = |key| BatchRecord { key, timestamp_ms: NOW_MS, ..BatchRecord::default() };
    let good = BatchBuilder::new().attributes(4).push(record(Some(Bytes::new()))).build_with(compress);
    assert!(check(&good).is_ok());
    let config = LogConfig { compact: true, ..LogConfig::default() };
    assert!(validate(&good, &config, NOW_MS).is_ok());
    let keyless = BatchBuilder::new().attributes(4).push(record(None)).build_with(compress);
    assert!(validate(&keyless, &config, NOW_MS).is_err());
    let nonsense = BatchBuilder::new().attributes(4).push(record(None)).build_with(|_| b"nonsense".to_vec());
    assert!(is_invalid(check(&nonsense)));
    let trailing = BatchBuilder::new().attributes(4).push(record(None)).build_with(|mut plain| {
        plain.push(1);
        compress(plain)
    });
    assert!(is_invalid(check(&trailing)));
    let unknown = BatchBuilder::new().attributes(5).push(record(None)).build();
    assert!(matches!(check(&unknown), Err(AppendError::UnsupportedCompression(_))));
}

#[test]
fn a_bomb_is_refused() {
    // One record that announces 2 GiB and unpacks to 600 MiB of zeros from half a MiB.
    let bomb = BatchBuilder::new().attributes(1).record(NOW_MS, None, None).build_with(|_| {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]).unwrap();
        for _ in 0..600 {
            gzip.write_all(&vec![0; 1 << 20]).unwrap();
        }
        gzip.finish().unwrap()
    });
    let config = LogConfig { max_message_bytes: u32::MAX, ..LogConfig::default() };
    assert!(matches!(validate(&bomb, &config, NOW_MS), Err(AppendError::InvalidRecord { .. })));
}
