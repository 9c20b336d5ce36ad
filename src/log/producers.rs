//! Sequences of idempotent producers (KIP-98; `ProducerStateManager`, `ProducerAppendInfo`).

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::error::AppendError;
use crate::model::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP};

/// What DescribeProducers tells of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
}

/// The latest batches of every producer that wrote to the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    entries: HashMap<i64, Producer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    last_timestamp_ms: i64,
    /// Oldest first, at most [`BATCHES_MAX`].
    batches: Vec<AppendedBatch>,
}

/// A batch that was appended: enough to recognise it when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AppendedBatch {
    pub(super) first_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) timestamp_ms: i64,
}

impl Producers {
    /// Whether the batch may be appended; the earlier batch when it was appended already.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Option<AppendedBatch>, AppendError> {
        if !header.has_producer_id() {
            return Ok(None);
        }
        let Some(producer) = self.entries.get(&header.producer_id) else {
            // Never seen, or forgotten: any sequence is taken.
            return Ok(None);
        };
        let (epoch, first, last) = (header.producer_epoch, header.base_sequence, header.last_sequence());
        if epoch == producer.epoch {
            let is_same = |batch: &&AppendedBatch| batch.first_sequence == first && batch.last_sequence == last;
            if let Some(batch) = producer.batches.iter().find(is_same) {
                return Ok(Some(*batch));
            }
        }
        if epoch < producer.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch,
                current_epoch: producer.epoch,
            });
        }
        let last_sequence = producer.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence);
        let is_in_order = if epoch == producer.epoch {
            i64::from(first) == i64::from(last_sequence) + 1 || (first == 0 && last_sequence == i32::MAX)
        } else {
            first == 0 || producer.epoch == NO_PRODUCER_EPOCH
        };
        if is_in_order {
            return Ok(None);
        }
        Err(AppendError::OutOfOrderSequence { producer_id: header.producer_id, sequence: first, last_sequence })
    }

    /// Notes a batch that is in the log, base offset included.
    pub(super) fn note(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() || header.attributes.is_control() {
            return;
        }
        if self.entries.len() >= PRODUCERS_MAX && !self.entries.contains_key(&header.producer_id) {
            self.forget_oldest();
        }
        let producer = self.entries.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            last_timestamp_ms: NO_TIMESTAMP,
            batches: Vec::new(),
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() >= BATCHES_MAX {
            producer.batches.remove(0);
        }
        producer.batches.push(AppendedBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp_ms: header.max_timestamp_ms,
        });
        producer.last_timestamp_ms = header.max_timestamp_ms;
    }

    /// Forgets producers whose last batch is older than `expiration_ms`.
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, producer| now_ms.saturating_sub(producer.last_timestamp_ms) < expiration_ms);
        if self.entries.is_empty() {
            self.entries = HashMap::new();
        }
    }

    /// Makes room: a client may name any number of producers. Forgets a tenth, the longest idle ones.
    fn forget_oldest(&mut self) {
        let mut times: Vec<i64> = self.entries.values().map(|producer| producer.last_timestamp_ms).collect();
        let (_, cut, _) = times.select_nth_unstable(PRODUCERS_MAX / 10);
        let cut = *cut;
        let mut excess = PRODUCERS_MAX / 10;
        self.entries.retain(|_, producer| {
            let goes = excess > 0 && producer.last_timestamp_ms <= cut;
            excess -= usize::from(goes);
            !goes
        });
    }

    /// The last offset of every producer (`lastRecordsOfActiveProducers`).
    pub(super) fn last_offsets(&self) -> HashMap<i64, i64> {
        let last = |(id, producer): (&i64, &Producer)| Some((*id, producer.batches.last()?.last_offset));
        self.entries.iter().filter_map(last).collect()
    }

    pub(super) fn highest_id(&self) -> Option<i64> {
        self.entries.keys().copied().max()
    }

    pub(super) fn list(&self) -> Vec<ProducerInfo> {
        let mut list: Vec<_> = self
            .entries
            .iter()
            .map(|(id, producer)| ProducerInfo {
                producer_id: *id,
                producer_epoch: producer.epoch,
                last_sequence: producer.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence),
                last_timestamp_ms: producer.last_timestamp_ms,
            })
            .collect();
        list.sort_unstable_by_key(|producer| producer.producer_id);
        list
    }

    /// Kafka's snapshot file, version 1: the last batch of each producer.
    pub(super) fn encode_snapshot(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in entries {
            let last = producer.batches.last();
            body.put_i64(*id);
            body.put_i16(producer.epoch);
            body.put_i32(last.map_or(NO_SEQUENCE, |batch| batch.last_sequence));
            body.put_i64(last.map_or(-1, |batch| batch.last_offset));
            body.put_i32(last.map_or(0, |batch| i32::try_from(batch.last_offset - batch.base_offset).unwrap_or(0)));
            body.put_i64(producer.last_timestamp_ms);
            body.put_i32(-1);
            body.put_i64(-1);
        }
        let mut out = Vec::with_capacity(6 + body.len());
        out.put_i16(SNAPSHOT_VERSION);
        out.put_u32(crc_fast::crc32_iscsi(&body));
        out.extend_from_slice(&body);
        out
    }

    /// None when the file is damaged or of another version.
    pub(super) fn parse_snapshot(mut contents: &[u8]) -> Option<Self> {
        if contents.len() < 10 || contents.get_i16() != SNAPSHOT_VERSION {
            return None;
        }
        if contents.get_u32() != crc_fast::crc32_iscsi(contents) {
            return None;
        }
        let count = contents.get_u32();
        let mut entries = HashMap::new();
        for _ in 0..count {
            if contents.len() < SNAPSHOT_ENTRY_BYTES {
                return None;
            }
            let id = contents.get_i64();
            let epoch = contents.get_i16();
            let last_sequence = contents.get_i32();
            let last_offset = contents.get_i64();
            let delta = contents.get_i32();
            let timestamp_ms = contents.get_i64();
            let _coordinator_epoch = contents.get_i32();
            let _transaction_start = contents.get_i64();
            let batch = AppendedBatch {
                first_sequence: sequence_before(last_sequence, delta),
                last_sequence,
                base_offset: last_offset.saturating_sub(i64::from(delta)),
                last_offset,
                timestamp_ms,
            };
            let batches = if last_offset >= 0 { vec![batch] } else { Vec::new() };
            entries.insert(id, Producer { epoch, last_timestamp_ms: timestamp_ms, batches });
        }
        Some(Self { entries })
    }

    /// The whole state, for our own checkpoint: Kafka's snapshot forgets all but the last batch.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for (id, producer) in &self.entries {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.last_timestamp_ms);
            out.put_u8(u8::try_from(producer.batches.len()).unwrap_or(0));
            for batch in &producer.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset);
                out.put_i64(batch.last_offset);
                out.put_i64(batch.timestamp_ms);
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(contents: &mut &[u8]) -> Option<Self> {
        let count = contents.try_get_u32().ok()?;
        let mut entries = HashMap::new();
        for _ in 0..count {
            let id = contents.try_get_i64().ok()?;
            let epoch = contents.try_get_i16().ok()?;
            let last_timestamp_ms = contents.try_get_i64().ok()?;
            let mut batches = Vec::new();
            for _ in 0..contents.try_get_u8().ok()? {
                batches.push(AppendedBatch {
                    first_sequence: contents.try_get_i32().ok()?,
                    last_sequence: contents.try_get_i32().ok()?,
                    base_offset: contents.try_get_i64().ok()?,
                    last_offset: contents.try_get_i64().ok()?,
                    timestamp_ms: contents.try_get_i64().ok()?,
                });
            }
            entries.insert(id, Producer { epoch, last_timestamp_ms, batches });
        }
        Some(Self { entries })
    }
}

/// `DefaultRecordBatch.decrementSequence`
fn sequence_before(sequence: i32, by: i32) -> i32 {
    if sequence == NO_SEQUENCE || sequence >= by {
        return sequence.saturating_sub(if sequence == NO_SEQUENCE { 0 } else { by });
    }
    let wrapped = i64::from(i32::MAX) - (i64::from(by) - i64::from(sequence)) + 1;
    i32::try_from(wrapped).unwrap_or(NO_SEQUENCE)
}

/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`: as many as a client may have in flight.
const BATCHES_MAX: usize = 5;
/// Producers remembered for a partition.
const PRODUCERS_MAX: usize = 50_000;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

#[cfg(test)]
mod tests;
