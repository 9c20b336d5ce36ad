//! Which records of a batch stay (`Cleaner.cleanInto`, `MemoryRecords.filterTo`). A batch is unpacked as a stream, twice
//! when it changes; what is in memory of it is its packed form and one bit a record.

use std::{collections::HashMap, io};

use super::keys::{KeyHash, KeyHashing, KeyMap};
use crate::{
    log::{
        compress::{Compression, Compressor},
        decompress,
    },
    model::batch::{
        BatchHeader, Codec, NO_TIMESTAMP, ReadSource, RecordError, RecordInfo, RecordWalker, SliceSource, Source,
        TimestampType,
    },
};

/// What one pass knows when it looks at a batch.
pub(super) struct Filter<'a> {
    pub(super) keys: &'a KeyMap,
    /// Of the start of the pass.
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// Last offset of every producer that is remembered: its batch stays, if only for its sequence number.
    pub(super) producers: HashMap<i64, i64>,
    /// Where the part ends that is cleaned: the last batch before it stays, so that its offset is not lost.
    pub(super) bound: i64,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    Drop,
    /// It is replaced by one with fewer records, perhaps none, or with a delete horizon.
    Replace(BatchHeader, Vec<u8>),
}

impl Filter<'_> {
    /// Judges a batch whose checksum is right. An error means that its records are damaged all the same.
    pub(super) fn judge(&self, header: &BatchHeader, payload: &[u8]) -> Result<Verdict, RecordError> {
        // Without transactions nobody can tell what an aborted one wrote: such batches, which only another broker can
        // have left here, stay.
        if header.attributes.is_control() || header.attributes.is_transactional() {
            return Ok(Verdict::Keep);
        }
        let kept = match unpack(header, payload)? {
            Unpacked::Plain(source) => self.choose(header, source)?,
            Unpacked::Stream(source) => self.choose(header, source)?,
        };
        // KIP-534: the first pass that meets a tombstone says until when it stays.
        let needs_horizon = kept.has_tombstone && !header.attributes.has_delete_horizon();
        if kept.count == 0 {
            return Ok(self.judge_empty(header));
        }
        if kept.count == header.record_count && !needs_horizon {
            return Ok(Verdict::Keep);
        }
        let mut replaced = *header;
        let mut shift_ms = 0;
        if needs_horizon {
            let horizon_ms = self.now_ms.saturating_add(self.delete_retention_ms);
            shift_ms = header.base_timestamp_ms.saturating_sub(horizon_ms);
            replaced.base_timestamp_ms = horizon_ms;
            replaced.attributes = replaced.attributes.with_delete_horizon(true);
        }
        if header.attributes.timestamp_type() == TimestampType::CreateTime {
            replaced.max_timestamp_ms = kept.max_timestamp_ms;
        }
        replaced.record_count = kept.count;
        let payload = match unpack(header, payload)? {
            Unpacked::Plain(source) => copy(header, source, &kept, shift_ms)?,
            Unpacked::Stream(source) => copy(header, source, &kept, shift_ms)?,
        };
        replaced.seal(&payload);
        Ok(Verdict::Replace(replaced, payload))
    }

    /// Of a batch without any record to keep.
    fn judge_empty(&self, header: &BatchHeader) -> Verdict {
        let is_last_of_producer =
            header.has_producer_id() && self.producers.get(&header.producer_id) == Some(&header.last_offset());
        if !is_last_of_producer && header.next_offset() != self.bound {
            return Verdict::Drop;
        }
        if header.record_count == 0 {
            return Verdict::Keep;
        }
        // `DefaultRecordBatch.writeEmptyHeader`
        let mut empty = *header;
        empty.attributes = empty.attributes.with_codec(Codec::None).with_delete_horizon(false);
        empty.base_timestamp_ms = NO_TIMESTAMP;
        empty.record_count = 0;
        empty.seal(&[]);
        Verdict::Replace(empty, Vec::new())
    }

    fn choose<S: Source>(&self, header: &BatchHeader, source: S) -> Result<Kept, RecordError> {
        let mut kept = Kept::default();
        for_each_record(header, source, self.keys.hashing(), |record, key| {
            let stays = self.stays(header, record, key);
            kept.bits.push(stays);
            if stays {
                kept.count += 1;
                kept.has_tombstone |= !record.has_value;
                let timestamp_ms = header.base_timestamp_ms.saturating_add(record.timestamp_delta);
                kept.max_timestamp_ms = kept.max_timestamp_ms.max(timestamp_ms);
            }
            true
        })?;
        Ok(kept)
    }

    /// `Cleaner.shouldRetainRecord`
    fn stays(&self, header: &BatchHeader, record: &RecordInfo, key: Option<KeyHash>) -> bool {
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if offset >= self.keys.next_offset() {
            return true;
        }
        let Some(key) = key else { return false };
        let is_latest = self.keys.get(key).is_none_or(|latest| offset >= latest);
        // With a horizon, the base timestamp is it.
        let keeps_tombstones = !header.attributes.has_delete_horizon() || self.now_ms < header.base_timestamp_ms;
        is_latest && (record.has_value || keeps_tombstones)
    }
}

/// Walks the records of a batch with the hashes of their keys, until `visit` says that it is enough; whether it did not.
pub(super) fn visit_keys(
    header: &BatchHeader,
    payload: &[u8],
    hashing: &KeyHashing,
    visit: impl FnMut(&RecordInfo, Option<KeyHash>) -> bool,
) -> Result<bool, RecordError> {
    match unpack(header, payload)? {
        Unpacked::Plain(source) => for_each_record(header, source, hashing, visit),
        Unpacked::Stream(source) => for_each_record(header, source, hashing, visit),
    }
}

fn for_each_record<S: Source>(
    header: &BatchHeader,
    source: S,
    hashing: &KeyHashing,
    mut visit: impl FnMut(&RecordInfo, Option<KeyHash>) -> bool,
) -> Result<bool, RecordError> {
    let mut walker = RecordWalker::new(source, header.record_count);
    let mut last_delta = -1;
    loop {
        let mut hasher = hashing.hasher();
        let record = match walker.next_keyed(&mut hasher) {
            None => break,
            Some(record) => record?,
        };
        // Offsets rise, and stay inside the batch.
        if record.offset_delta <= last_delta || record.offset_delta > header.last_offset_delta {
            return Err(RecordError::OffsetDelta(record.offset_delta));
        }
        last_delta = record.offset_delta;
        if !visit(&record, record.has_key.then(|| hasher.finish())) {
            return Ok(false);
        }
    }
    match walker.is_at_end()? {
        true => Ok(true),
        false => Err(RecordError::Trailing),
    }
}

/// The records that stay.
struct Kept {
    bits: Bits,
    count: i32,
    has_tombstone: bool,
    max_timestamp_ms: i64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { bits: Bits::default(), count: 0, has_tombstone: false, max_timestamp_ms: NO_TIMESTAMP }
    }
}

/// Packs the records that stay with the codec that the batch had.
fn copy<S: Source>(header: &BatchHeader, source: S, kept: &Kept, shift_ms: i64) -> Result<Vec<u8>, RecordError> {
    let codec = header.attributes.codec().ok_or(RecordError::Compression)?;
    let packed = |_: io::Error| RecordError::Compression;
    let mut out = Compressor::new(Compression::of(codec), BATCH_BYTES_MAX, None).map_err(packed)?;
    let mut walker = RecordWalker::new(source, header.record_count);
    for stays in kept.bits.iter() {
        if stays {
            walker.copy_next(shift_ms, &mut out)?;
        } else if let Some(skipped) = walker.next() {
            skipped?;
        }
    }
    out.finish().map_err(packed)
}

enum Unpacked<'a> {
    Plain(SliceSource<'a>),
    Stream(ReadSource<Box<dyn io::Read + 'a>>),
}

fn unpack<'a>(header: &BatchHeader, payload: &'a [u8]) -> Result<Unpacked<'a>, RecordError> {
    match header.attributes.codec() {
        None => Err(RecordError::Compression),
        // A batch that an earlier pass has emptied says no codec, whatever it had.
        Some(_) if header.record_count == 0 && payload.is_empty() => Ok(Unpacked::Plain(SliceSource::new(payload))),
        Some(Codec::None) => Ok(Unpacked::Plain(SliceSource::new(payload))),
        Some(codec) => {
            Ok(Unpacked::Stream(ReadSource::new(decompress::reader(codec, payload), decompress::UNPACKED_BYTES_MAX)))
        }
    }
}

/// One bit a record.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << (self.length % 64);
        }
        self.length += 1;
    }

    fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.words.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)).take(self.length)
    }
}

/// What a length field can say.
const BATCH_BYTES_MAX: usize = i32::MAX as usize - BatchHeader::SIZE;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_filter_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            record_count in -2_i32..6,
            attributes in 0_i16..128,
            base_timestamp_ms in any::<i64>(),
        ) {
            let keys = KeyMap::new(10, 1_000);
            let filter = Filter {
                keys: &keys,
                now_ms: 5,
                delete_retention_ms: i64::MAX,
                producers: HashMap::new(),
                bound: i64::MAX,
            };
            let header = BatchHeader {
                base_offset: i64::MAX - 3,
                length: 0,
                partition_leader_epoch: 0,
                crc: 0,
                attributes: crate::model::batch::Attributes(attributes),
                last_offset_delta: 5,
                base_timestamp_ms,
                max_timestamp_ms: 0,
                producer_id: 3,
                producer_epoch: 0,
                base_sequence: 0,
                record_count,
            };
            let _ = filter.judge(&header, &payload);
            let _ = visit_keys(&header, &payload, keys.hashing(), |_, _| true);
        }
    }
}
