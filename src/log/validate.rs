//! What a batch from a client must satisfy (`LogValidator`, `UnifiedLog.analyzeAndValidateRecords`,
//! `ProduceRequest.validateRecords`), and a little more: a batch that would stop a consumer never gets in.

use std::{
    borrow::Cow,
    io::{self, ErrorKind},
};

use super::{
    compress::{Compression, Compressor},
    config::LogConfig,
    decompress,
    error::{AppendError, RecordErrorAt},
};
use crate::model::batch::{
    BatchError, BatchHeader, Codec, NO_TIMESTAMP, ReadSource, RecordError, RecordWalker, SliceSource, Source,
    TimestampType, checksum,
};

/// A batch that may be appended, its header as it goes to disk but for base offset and leader epoch.
#[derive(Debug)]
pub(super) struct ValidBatch<'a> {
    pub(super) header: BatchHeader,
    pub(super) payload: Cow<'a, [u8]>,
    /// The time that the broker stamped, -1 when the producer's stays.
    pub(super) log_append_time_ms: i64,
}

/// Checks what a produce request carries for one partition.
pub(super) fn validate<'a>(records: &'a [u8], config: &LogConfig, now_ms: i64) -> Result<ValidBatch<'a>, AppendError> {
    let (mut header, payload) = frame(records)?;
    let mut payload = Cow::Borrowed(payload);
    let size_bytes = records.len() as u64;
    if header.base_offset != 0 {
        return Err(invalid(format!(
            "the base offset of the record batch should be 0, but it is {}",
            header.base_offset
        )));
    }
    if size_bytes > u64::from(config.max_message_bytes) {
        return Err(AppendError::TooLarge { size_bytes, max_bytes: u64::from(config.max_message_bytes) });
    }
    if checksum(records) != Some(header.crc) {
        return Err(AppendError::Corrupt(format!("stored crc = {}", header.crc)));
    }
    if size_bytes > u64::from(config.segment_bytes) {
        return Err(AppendError::LargerThanSegment { size_bytes, max_bytes: u64::from(config.segment_bytes) });
    }
    check_header(&header)?;
    let Some(codec) = header.attributes.codec() else {
        return Err(AppendError::UnsupportedCompression(None));
    };
    let checked = match codec {
        Codec::None => check_records(SliceSource::new(&payload), &header, config, now_ms)?,
        codec => {
            let source = ReadSource::new(decompress::reader(codec, &payload), decompress::UNPACKED_BYTES_MAX);
            check_records(source, &header, config, now_ms)?
        }
    };
    if let Some(wanted) = config.compression.filter(|wanted| wanted.codec != codec) {
        payload = Cow::Owned(recompress(&payload, codec, wanted, checked.unpacked_bytes, config)?);
        header.attributes = header.attributes.with_codec(wanted.codec);
        header.seal(&payload);
    }
    let log_append_time_ms = match config.timestamp_type {
        TimestampType::LogAppendTime => {
            header.set_log_append_time(now_ms, &payload);
            now_ms
        }
        TimestampType::CreateTime => {
            let attributes = header.attributes.with_timestamp_type(TimestampType::CreateTime);
            if (header.attributes, header.max_timestamp_ms) != (attributes, checked.max_timestamp_ms) {
                header.attributes = attributes;
                header.set_max_timestamp(checked.max_timestamp_ms, &payload);
            }
            -1
        }
    };
    Ok(ValidBatch { header, payload, log_append_time_ms })
}

/// Packs the records with the codec of the topic. The bounds of size hold for the result as well.
fn recompress(
    payload: &[u8],
    from: Codec,
    to: Compression,
    unpacked_bytes: u64,
    config: &LogConfig,
) -> Result<Vec<u8>, AppendError> {
    let max_bytes = u64::from(config.max_message_bytes);
    let payload_max = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_sub(BatchHeader::SIZE);
    let packed = Compressor::new(to, payload_max, Some(unpacked_bytes)).and_then(|mut compressor| {
        io::copy(&mut decompress::reader(from, payload), &mut compressor)?;
        compressor.finish()
    });
    match packed {
        Ok(packed) => match (packed.len() + BatchHeader::SIZE) as u64 {
            size_bytes if size_bytes > u64::from(config.segment_bytes) => {
                Err(AppendError::LargerThanSegment { size_bytes, max_bytes: u64::from(config.segment_bytes) })
            }
            _ => Ok(packed),
        },
        // How large it would have been, nobody has seen.
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            Err(AppendError::TooLarge { size_bytes: max_bytes.saturating_add(1), max_bytes })
        }
        Err(error) => Err(AppendError::Corrupt(format!("the records cannot be packed anew: {error}"))),
    }
}

/// Exactly one batch of format 2 and nothing behind it.
fn frame(records: &[u8]) -> Result<(BatchHeader, &[u8]), AppendError> {
    let header = match BatchHeader::parse(records) {
        Ok(header) => header,
        Err(BatchError::Magic(0 | 1)) => {
            return Err(invalid("produce requests are only allowed to contain record batches with magic version 2"));
        }
        Err(BatchError::Truncated { .. }) => {
            return Err(invalid("produce requests must have at least one record batch per partition"));
        }
        Err(error @ (BatchError::Magic(_) | BatchError::Length(_))) => {
            return Err(AppendError::Corrupt(error.to_string()));
        }
    };
    match records.get(BatchHeader::SIZE..header.size_bytes()) {
        None => Err(invalid("produce requests must have at least one record batch per partition")),
        Some(payload) if records.len() == header.size_bytes() => Ok((header, payload)),
        Some(_) => Err(invalid("produce requests are only allowed to contain exactly one record batch per partition")),
    }
}

fn check_header(header: &BatchHeader) -> Result<(), AppendError> {
    let count_from_offsets = i64::from(header.last_offset_delta) + 1;
    if count_from_offsets <= 0 {
        return Err(invalid(format!("the batch has an invalid offset range, last delta {}", header.last_offset_delta)));
    }
    if header.record_count <= 0 {
        return Err(invalid(format!("invalid reported count for record batch: {}", header.record_count)));
    }
    if count_from_offsets != i64::from(header.record_count) {
        return Err(invalid(format!(
            "inconsistent batch offset range: last delta {} and count of records {}",
            header.last_offset_delta, header.record_count
        )));
    }
    if header.attributes.is_control() {
        return Err(invalid("clients are not allowed to write control records"));
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid(format!(
            "invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// What a walk over the records has found.
struct Checked {
    max_timestamp_ms: i64,
    unpacked_bytes: u64,
}

/// Walks every record.
fn check_records<S: Source>(
    source: S,
    header: &BatchHeader,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Checked, AppendError> {
    let mut walker = RecordWalker::new(source, header.record_count);
    let mut errors = Errors::default();
    let mut max_timestamp_ms = NO_TIMESTAMP;
    let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    for index in 0..header.record_count {
        let record = match walker.next() {
            Some(Ok(record)) => record,
            Some(Err(error)) => return Err(broken(index, error)),
            None => return Err(broken(index, RecordError::Truncated)),
        };
        if record.offset_delta != index {
            return Err(at(index, format!("offset delta {} where {index} is expected", record.offset_delta)));
        }
        let timestamp_ms = if stamped {
            header.max_timestamp_ms
        } else {
            header.base_timestamp_ms.saturating_add(record.timestamp_delta)
        };
        max_timestamp_ms = max_timestamp_ms.max(timestamp_ms);
        if config.compact && !record.has_key {
            errors.add(index, false, || "Compacted topic cannot accept message without key".to_owned());
        } else if config.timestamp_type == TimestampType::CreateTime && timestamp_ms != NO_TIMESTAMP {
            let age_ms = now_ms.saturating_sub(timestamp_ms);
            if age_ms > config.timestamp_before_max_ms || age_ms.saturating_neg() > config.timestamp_after_max_ms {
                errors.add(index, true, || {
                    let from = now_ms.saturating_sub(config.timestamp_before_max_ms);
                    let to = now_ms.saturating_add(config.timestamp_after_max_ms);
                    format!("Timestamp {timestamp_ms} is out of range. The timestamp should be within [{from}, {to}]")
                });
            }
        } else if stamped {
            errors.add(index, true, || "Producer should not set timestamp type to LogAppendTime".to_owned());
        }
    }
    match walker.is_at_end() {
        Ok(true) => {}
        Ok(false) => return Err(invalid("the batch has bytes behind its last record")),
        Err(error) => return Err(broken(header.record_count, error)),
    }
    errors.into_result().map(|()| Checked { max_timestamp_ms, unpacked_bytes: walker.position() })
}

/// Records that are refused for what they say; the first decides the kind, as in `LogValidator.processRecordErrors`.
#[derive(Debug, Default)]
struct Errors {
    records: Vec<RecordErrorAt>,
    is_timestamp: bool,
    count: u32,
}

impl Errors {
    fn add(&mut self, index: i32, is_timestamp: bool, message: impl FnOnce() -> String) {
        if self.count == 0 {
            self.is_timestamp = is_timestamp;
        }
        self.count = self.count.saturating_add(1);
        if self.records.len() < RECORD_ERRORS_MAX {
            self.records.push(RecordErrorAt { batch_index: index, message: message() });
        }
    }

    fn into_result(self) -> Result<(), AppendError> {
        match (self.count, self.is_timestamp) {
            (0, _) => Ok(()),
            (_, true) => Err(AppendError::InvalidTimestamp { records: self.records }),
            (count, false) => Err(AppendError::InvalidRecord {
                message: format!("One or more records have been rejected due to {count} record errors in total"),
                records: self.records,
            }),
        }
    }
}

fn invalid(message: impl Into<String>) -> AppendError {
    AppendError::InvalidRecord { message: message.into(), records: Vec::new() }
}

fn at(batch_index: i32, message: String) -> AppendError {
    AppendError::InvalidRecord { message: message.clone(), records: vec![RecordErrorAt { batch_index, message }] }
}

fn broken(index: i32, error: RecordError) -> AppendError {
    at(index, error.to_string())
}

/// Records named in one answer.
const RECORD_ERRORS_MAX: usize = 100;

#[cfg(test)]
mod tests;
