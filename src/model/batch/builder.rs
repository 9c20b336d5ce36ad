//! Writes small uncompressed batches: for tests, and for the few batches that the broker writes itself.

use bytes::{BufMut, Bytes, BytesMut};

use super::header::{
    Attributes, BatchHeader, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, checksum_of,
};

/// One record to write.
#[derive(Clone, Debug, Default)]
pub struct BatchRecord {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub timestamp_ms: i64,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Collects records and encodes them as one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    records: Vec<BatchRecord>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        let header = BatchHeader {
            base_offset: 0,
            length: 0,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp_ms: NO_TIMESTAMP,
            max_timestamp_ms: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        };
        Self { header, records: Vec::new() }
    }

    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    pub fn attributes(mut self, attributes: i16) -> Self {
        self.header.attributes = Attributes(attributes);
        self
    }

    pub fn record(self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.push(BatchRecord {
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            timestamp_ms,
            headers: Vec::new(),
        })
    }

    pub fn push(mut self, record: BatchRecord) -> Self {
        self.records.push(record);
        self
    }

    /// The batch with plain records.
    pub fn build(self) -> Bytes {
        self.build_with(|records| records)
    }

    /// The batch with its records passed through `compress`; set the codec with [`attributes`](Self::attributes).
    pub fn build_with(mut self, compress: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
        let base_timestamp_ms = self.records.first().map_or(NO_TIMESTAMP, |record| record.timestamp_ms);
        let mut encoded = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            encode_record(&mut encoded, record, index, base_timestamp_ms);
        }
        let payload = compress(encoded);
        let count = i32::try_from(self.records.len()).unwrap_or(i32::MAX);
        let header = &mut self.header;
        header.length = i32::try_from(payload.len() + BatchHeader::SIZE - 12).unwrap_or(i32::MAX);
        header.last_offset_delta = count - 1;
        header.record_count = count;
        header.base_timestamp_ms = base_timestamp_ms;
        header.max_timestamp_ms = self.records.iter().map(|record| record.timestamp_ms).max().unwrap_or(NO_TIMESTAMP);
        header.crc = checksum_of(&header.encode(), &payload);
        let mut out = BytesMut::with_capacity(BatchHeader::SIZE + payload.len());
        out.put_slice(&header.encode());
        out.put_slice(&payload);
        out.freeze()
    }
}

fn encode_record(out: &mut Vec<u8>, record: &BatchRecord, index: usize, base_timestamp_ms: i64) {
    let mut body = vec![0];
    put_varlong(&mut body, record.timestamp_ms - base_timestamp_ms);
    put_varlong(&mut body, i64::try_from(index).unwrap_or(i64::MAX));
    put_field(&mut body, record.key.as_deref());
    put_field(&mut body, record.value.as_deref());
    put_length(&mut body, record.headers.len());
    for (key, value) in &record.headers {
        put_field(&mut body, Some(key.as_bytes()));
        put_field(&mut body, value.as_deref());
    }
    put_length(out, body.len());
    out.extend_from_slice(&body);
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varlong(out, i64::try_from(length).unwrap_or(i64::MAX));
}

/// Zigzag; for values of an i32 the same bytes as a varint.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
