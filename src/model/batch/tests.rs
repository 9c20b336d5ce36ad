use proptest::prelude::*;

use super::*;

fn three() -> bytes::Bytes {
    BatchBuilder::new()
        .record(1_000, Some(b"a"), Some(b"first"))
        .record(1_500, None, Some(b"second"))
        .record(900, Some(b"c"), None)
        .build()
}

#[test]
fn a_built_batch_parses_back() {
    let bytes = three();
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
    assert_eq!((header.base_timestamp_ms, header.max_timestamp_ms), (1_000, 1_500));
    assert_eq!(checksum(&bytes), Some(header.crc));
    assert_eq!(&header.encode()[..], &bytes[..BatchHeader::SIZE]);
}

#[test]
fn kafkas_own_checksum_is_reproduced() {
    // RFC 3720 B.4: 32 bytes of zeros.
    assert_eq!(crc_fast::crc32_iscsi(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn the_framing_of_each_record_is_seen() {
    let bytes = three();
    let header = BatchHeader::parse(&bytes).unwrap();
    let mut walker = RecordWalker::new(SliceSource::new(&bytes[BatchHeader::SIZE..]), header.record_count);
    let records: Vec<_> = walker.by_ref().map(Result::unwrap).collect();
    assert_eq!(records.iter().map(|r| r.offset_delta).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records.iter().map(|r| r.timestamp_delta).collect::<Vec<_>>(), [0, 500, -100]);
    assert_eq!(
        records.iter().map(|r| (r.has_key, r.has_value)).collect::<Vec<_>>(),
        [(true, true), (false, true), (true, false)]
    );
    assert!(walker.is_at_end().unwrap());
}

#[test]
fn a_stream_reads_the_same_records_as_a_slice() {
    let bytes = three();
    let payload = &bytes[BatchHeader::SIZE..];
    let slice: Vec<_> = RecordWalker::new(SliceSource::new(payload), 3).collect();
    let stream: Vec<_> = RecordWalker::new(ReadSource::new(payload, 1 << 20), 3).collect();
    assert_eq!(slice, stream);
}

#[test]
fn a_stream_stops_at_its_limit() {
    let bytes = BatchBuilder::new().record(0, None, Some(&[0; 100_000])).build();
    let mut walker = RecordWalker::new(ReadSource::new(&bytes[BatchHeader::SIZE..], 10_000), 1);
    assert_eq!(walker.next(), Some(Err(RecordError::TooLarge(10_000))));
}

#[test]
fn log_append_time_keeps_the_checksum_right() {
    let bytes = three();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.set_log_append_time(77_777, &bytes[BatchHeader::SIZE..]);
    let mut stamped = bytes.to_vec();
    stamped[..BatchHeader::SIZE].copy_from_slice(&header.encode());
    assert_eq!(checksum(&stamped), Some(header.crc));
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp_ms, 77_777);
}

#[test]
fn a_walk_ends_before_a_batch_that_is_not_whole() {
    let mut two = three().to_vec();
    two.extend_from_slice(&three());
    for cut in 0..three().len() {
        let cut_buffer = &two[..three().len() + cut];
        let mut walk = batches(cut_buffer);
        assert_eq!(walk.by_ref().filter(Result::is_ok).count(), 1, "cut at {cut}");
        assert_eq!(walk.position(), three().len());
    }
    assert_eq!(batches(&two).count(), 2);
}

#[test]
fn sequences_wrap_at_the_largest_number() {
    let bytes = BatchBuilder::new().producer(1, 0, i32::MAX).record(0, None, None).record(0, None, None).build();
    assert_eq!(BatchHeader::parse(&bytes).unwrap().last_sequence(), 0);
}

proptest! {
    #[test]
    fn no_bytes_make_the_views_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for batch in batches(&bytes).flatten() {
            let _ = (batch.is_intact(), batch.header.last_sequence(), batch.header.next_offset());
        }
        for record in RecordWalker::new(SliceSource::new(&bytes), i32::MAX) {
            let _ = record;
        }
    }
}
