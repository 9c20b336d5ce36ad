use super::*;
use crate::model::batch::BatchBuilder;

fn header(id: i64, epoch: i16, sequence: i32, base_offset: i64) -> BatchHeader {
    let bytes = BatchBuilder::new()
        .producer(id, epoch, sequence)
        .base_offset(base_offset)
        .record(1_000, None, None)
        .record(1_001, None, None)
        .build();
    BatchHeader::parse(&bytes).unwrap()
}

fn some() -> Producers {
    let mut producers = Producers::default();
    for index in 0..9 {
        producers.note(&header(4, 1, i32::try_from(index).unwrap() * 2, index * 2));
    }
    producers.note(&header(5, 0, i32::MAX, 20));
    producers
}

#[test]
fn the_whole_state_is_written_and_read_back() {
    let mut bytes = Vec::new();
    some().encode(&mut bytes);
    assert_eq!(Producers::decode(&mut bytes.as_slice()), Some(some()));
    for cut in 0..bytes.len() {
        assert_eq!(Producers::decode(&mut &bytes[..cut]), None);
    }
}

#[test]
fn kafkas_snapshot_keeps_the_last_batch() {
    let bytes = some().encode_snapshot();
    let read = Producers::parse_snapshot(&bytes).unwrap();
    assert_eq!(read.list(), some().list());
    let last = read.check(&header(4, 1, 16, 0)).unwrap().unwrap();
    assert_eq!((last.base_offset, last.last_offset), (16, 17));
    let wrapped = read.check(&header(5, 0, i32::MAX, 0)).unwrap().unwrap();
    assert_eq!((wrapped.first_sequence, wrapped.last_sequence), (i32::MAX, 0));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Producers::parse_snapshot(&damaged), None);
    }
}

#[test]
fn any_number_of_producers_takes_bounded_memory() {
    let mut producers = Producers::default();
    let count = PRODUCERS_MAX as i64 * 2;
    let sample = header(0, 0, 0, 0);
    for id in 0..count {
        producers.note(&BatchHeader { producer_id: id, max_timestamp_ms: id, ..sample });
    }
    assert!(producers.entries.len() <= PRODUCERS_MAX);
    assert!(producers.check(&header(count - 1, 0, 0, 0)).unwrap().is_some());
}
