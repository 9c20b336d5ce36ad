//! Record batches (magic 2) by hand, so that a test can make them right and wrong.

use std::time::UNIX_EPOCH;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::CrcAlgorithm;

/// What a batch is made of; [`encode`](Self::encode) makes its bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base_offset: i64,
    pub attributes: i16,
    pub base_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records: Vec<(Option<Bytes>, Option<Bytes>)>,
    /// How many records it says that it has, and the last offset delta that goes with it.
    pub count: i32,
}

impl Batch {
    /// Records with these values and no keys.
    pub fn of<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::keyed(values.into_iter().map(|value| (None, Some(Bytes::copy_from_slice(value.as_ref())))).collect())
    }

    pub fn keyed(records: Vec<(Option<Bytes>, Option<Bytes>)>) -> Self {
        let count = records.len().try_into().unwrap();
        Self {
            base_offset: 0,
            attributes: 0,
            // Old records would be for retention to delete.
            base_timestamp: i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap(),
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records,
            count,
        }
    }

    pub fn idempotent(self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        Self { producer_id, producer_epoch, base_sequence, ..self }
    }

    pub fn at(self, base_timestamp: i64) -> Self {
        Self { base_timestamp, ..self }
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i64(self.base_offset);
        bytes.put_i32(0); // length: sealed below
        bytes.put_i32(-1); // partition leader epoch: the broker's
        bytes.put_i8(2);
        bytes.put_u32(0); // checksum: sealed below
        bytes.put_i16(self.attributes);
        bytes.put_i32(self.count - 1);
        bytes.put_i64(self.base_timestamp);
        bytes.put_i64(self.base_timestamp);
        bytes.put_i64(self.producer_id);
        bytes.put_i16(self.producer_epoch);
        bytes.put_i32(self.base_sequence);
        bytes.put_i32(self.count);
        for (delta, (key, value)) in self.records.iter().enumerate() {
            let mut record = BytesMut::new();
            record.put_i8(0);
            put_varint(&mut record, 0);
            put_varint(&mut record, delta.try_into().unwrap());
            put_optional(&mut record, key.as_ref());
            put_optional(&mut record, value.as_ref());
            put_varint(&mut record, 0); // headers
            put_varint(&mut bytes, record.len().try_into().unwrap());
            bytes.put_slice(&record);
        }
        seal(&mut bytes);
        bytes.freeze()
    }
}

/// Sets the length and the checksum that go with the bytes.
pub fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// A message set of one message, as producers made them before Kafka 0.11.
pub fn old_message(magic: i8, value: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_i8(magic);
    message.put_i8(0);
    if magic == 1 {
        message.put_i64(1_700_000_000_000);
    }
    message.put_i32(-1);
    message.put_i32(value.len().try_into().unwrap());
    message.put_slice(value);
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &message);
    let mut bytes = BytesMut::new();
    bytes.put_i64(0);
    bytes.put_i32((message.len() + 4).try_into().unwrap());
    bytes.put_u32(checksum.try_into().unwrap());
    bytes.put_slice(&message);
    bytes.freeze()
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

impl Record {
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }
}

/// The records of whole batches; a cut batch at the end is left out, as consumers do. Every checksum must be right.
pub fn records_of(bytes: Option<&Bytes>) -> Vec<Record> {
    let mut rest = bytes.cloned().unwrap_or_default();
    let mut records = Vec::new();
    while rest.len() >= 12 {
        let length = usize::try_from(i32::from_be_bytes(rest[8..12].try_into().unwrap())).unwrap();
        if rest.len() < 12 + length {
            break;
        }
        records_of_batch(rest.split_to(12 + length), &mut records);
    }
    records
}

fn records_of_batch(mut batch: Bytes, records: &mut Vec<Record>) {
    assert_eq!(batch[16], 2, "magic");
    let checksum = u32::from_be_bytes(batch[17..21].try_into().unwrap());
    assert_eq!(checksum, crc32c(&batch[21..]), "checksum of the batch at {:?}", &batch[..8]);
    let base_offset = batch.get_i64();
    batch.advance(49 - 8 + 8);
    let count = batch.get_i32();
    for _ in 0..count {
        let length = usize::try_from(get_varint(&mut batch)).unwrap();
        let mut record = batch.split_to(length);
        record.advance(1);
        get_varint(&mut record);
        let offset = base_offset + get_varint(&mut record);
        records.push(Record { offset, key: get_optional(&mut record), value: get_optional(&mut record) });
    }
    assert!(batch.is_empty(), "bytes behind the records");
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes).try_into().unwrap()
}

pub fn put_varint(bytes: &mut BytesMut, value: i64) {
    let mut zigzag = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while zigzag >= 0x80 {
        bytes.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.put_u8(zigzag as u8);
}

fn put_optional(bytes: &mut BytesMut, value: Option<&Bytes>) {
    match value {
        None => put_varint(bytes, -1),
        Some(value) => {
            put_varint(bytes, value.len().try_into().unwrap());
            bytes.put_slice(value);
        }
    }
}

fn get_varint(bytes: &mut Bytes) -> i64 {
    let mut zigzag = 0_u64;
    for shift in (0..).step_by(7) {
        let byte = bytes.get_u8();
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()
}

fn get_optional(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(get_varint(bytes)).ok()?;
    Some(bytes.split_to(length))
}
