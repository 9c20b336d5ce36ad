//! The records inside a batch: their framing, not their contents. Works over plain bytes and over a decompressor.

use std::io::{self, Read, Write};

use super::builder::put_varlong;

/// What the framing of one record says (`org.apache.kafka.common.record.DefaultRecord`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub has_key: bool,
    pub has_value: bool,
    /// Bytes of the record with its length field.
    pub size_bytes: u64,
}

/// Reads records one after the other; stops for good at the first error.
#[derive(Debug)]
pub struct RecordWalker<S> {
    source: S,
    remaining: i32,
}

impl<S: Source> RecordWalker<S> {
    /// A walk over the `count` records that the batch's header announces.
    pub fn new(source: S, count: i32) -> Self {
        Self { source, remaining: count.max(0) }
    }

    /// Bytes of the records so far, unpacked.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// Whether the records were followed by nothing.
    pub fn is_at_end(&mut self) -> Result<bool, RecordError> {
        self.source.is_at_end()
    }

    /// The next record, its key written to `key`; none behind the last.
    pub fn next_keyed(&mut self, key: &mut impl Write) -> Option<Result<RecordInfo, RecordError>> {
        if self.remaining == 0 {
            return None;
        }
        let result = self.read(key);
        self.remaining = if result.is_ok() { self.remaining - 1 } else { 0 };
        Some(result)
    }

    /// Copies the next record to `out`, the timestamp that it states moved by `shift_ms`. What it holds is not looked at.
    pub fn copy_next(&mut self, shift_ms: i64, out: &mut impl Write) -> Result<(), RecordError> {
        if self.remaining == 0 {
            return Err(RecordError::Truncated);
        }
        self.remaining -= 1;
        let source = &mut self.source;
        let length = varint(source)?;
        let body = usize::try_from(length).map_err(|_| RecordError::Length(length))?;
        let start = source.position();
        let attributes = source.byte()?;
        let timestamp_delta = varlong(source)?.saturating_add(shift_ms);
        let read = usize::try_from(source.position() - start).unwrap_or(usize::MAX);
        let rest = body.checked_sub(read).ok_or(RecordError::Length(length))?;
        let mut front = vec![attributes];
        put_varlong(&mut front, timestamp_delta);
        let mut prefix = Vec::new();
        put_varlong(&mut prefix, i64::try_from(front.len() + rest).unwrap_or(i64::MAX));
        prefix.append(&mut front);
        out.write_all(&prefix).map_err(|_| RecordError::Compression)?;
        source.copy(rest, out)
    }

    fn read(&mut self, key: &mut impl Write) -> Result<RecordInfo, RecordError> {
        let source = &mut self.source;
        let start = source.position();
        let length = varint(source)?;
        let body = u64::try_from(length).map_err(|_| RecordError::Length(length))?;
        let body_start = source.position();
        let _attributes = source.byte()?;
        let timestamp_delta = varlong(source)?;
        let offset_delta = varint(source)?;
        let has_key = match field_length(source)? {
            Some(length) => source.copy(length, key).map(|()| true)?,
            None => false,
        };
        let has_value = field(source)?;
        let header_count = varint(source)?;
        if header_count < 0 {
            return Err(RecordError::HeaderCount(header_count));
        }
        for _ in 0..header_count {
            if !field(source)? {
                return Err(RecordError::FieldLength(-1));
            }
            field(source)?;
        }
        let read = source.position() - body_start;
        if read != body {
            return Err(RecordError::Size { announced: body, read });
        }
        Ok(RecordInfo { offset_delta, timestamp_delta, has_key, has_value, size_bytes: source.position() - start })
    }
}

impl<S: Source> Iterator for RecordWalker<S> {
    type Item = Result<RecordInfo, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_keyed(&mut io::sink())
    }
}

/// Where records are read from.
pub trait Source {
    fn byte(&mut self) -> Result<u8, RecordError>;
    fn skip(&mut self, count: usize) -> Result<(), RecordError>;
    /// Reads `count` bytes and writes them to `out`.
    fn copy(&mut self, count: usize, out: &mut impl Write) -> Result<(), RecordError>;
    /// Bytes read and skipped so far.
    fn position(&self) -> u64;
    fn is_at_end(&mut self) -> Result<bool, RecordError>;
}

/// Records that are not compressed.
#[derive(Clone, Copy, Debug)]
pub struct SliceSource<'a> {
    rest: &'a [u8],
    position: u64,
}

impl<'a> SliceSource<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }
}

impl Source for SliceSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        let (first, rest) = self.rest.split_first().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        self.position += 1;
        Ok(*first)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), RecordError> {
        self.rest = self.rest.get(count..).ok_or(RecordError::Truncated)?;
        self.position += count as u64;
        Ok(())
    }

    #[inline]
    fn copy(&mut self, count: usize, out: &mut impl Write) -> Result<(), RecordError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(RecordError::Truncated)?;
        out.write_all(bytes).map_err(|_| RecordError::Compression)?;
        self.rest = rest;
        self.position += count as u64;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.position
    }

    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(self.rest.is_empty())
    }
}

/// Records behind a decompressor, read through a small buffer and never more than `limit` bytes of them.
#[derive(Debug)]
pub struct ReadSource<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    position: u64,
    limit: u64,
}

impl<R: Read> ReadSource<R> {
    pub fn new(input: R, limit: u64) -> Self {
        Self { input, buffer: Vec::new(), at: 0, position: 0, limit }
    }

    /// Whether there is at least one more byte in the buffer, after reading when it ran out.
    fn fill(&mut self) -> Result<bool, RecordError> {
        if self.at < self.buffer.len() {
            return Ok(true);
        }
        if self.position >= self.limit {
            return Err(RecordError::TooLarge(self.limit));
        }
        self.buffer.resize(READ_BYTES, 0);
        self.at = 0;
        let read = self.input.read(&mut self.buffer);
        let length = read.as_ref().map_or(0, |length| *length);
        self.buffer.truncate(length);
        read.map(|length| length > 0).map_err(|_| RecordError::Compression)
    }
}

impl<R: Read> Source for ReadSource<R> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        if !self.fill()? {
            return Err(RecordError::Truncated);
        }
        let byte = self.buffer.get(self.at).copied().ok_or(RecordError::Truncated)?;
        self.at += 1;
        self.position += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordError> {
        self.copy(count, &mut io::sink())
    }

    fn copy(&mut self, mut count: usize, out: &mut impl Write) -> Result<(), RecordError> {
        while count > 0 {
            if !self.fill()? {
                return Err(RecordError::Truncated);
            }
            let step = count.min(self.buffer.len() - self.at);
            let bytes = self.buffer.get(self.at..self.at + step).unwrap_or_default();
            out.write_all(bytes).map_err(|_| RecordError::Compression)?;
            self.at += step;
            self.position += step as u64;
            count -= step;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(!self.fill()?)
    }
}

/// What is wrong with the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the records end early")]
    Truncated,
    #[error("a number of variable length is too long")]
    Varint,
    #[error("record length {0} is negative")]
    Length(i32),
    #[error("length {0} of a key, value or header is negative")]
    FieldLength(i32),
    #[error("number of headers {0} is negative")]
    HeaderCount(i32),
    #[error("a record announces {announced} bytes and has {read}")]
    Size { announced: u64, read: u64 },
    #[error("offset delta {0} is out of order")]
    OffsetDelta(i32),
    #[error("bytes follow the last record")]
    Trailing,
    #[error("the records do not decompress")]
    Compression,
    #[error("the records decompress to more than {0} bytes")]
    TooLarge(u64),
}

/// Skips a nullable field; whether it was there.
fn field<S: Source>(source: &mut S) -> Result<bool, RecordError> {
    match field_length(source)? {
        Some(length) => source.skip(length).map(|()| true),
        None => Ok(false),
    }
}

/// Length of a nullable field; none for null.
fn field_length<S: Source>(source: &mut S) -> Result<Option<usize>, RecordError> {
    match varint(source)? {
        -1 => Ok(None),
        // Kafka takes any negative length for null; its consumers do not all, so nothing else gets in.
        length => usize::try_from(length).map(Some).map_err(|_| RecordError::FieldLength(length)),
    }
}

#[inline]
fn varint<S: Source>(source: &mut S) -> Result<i32, RecordError> {
    let raw = unsigned(source, 5)?;
    let raw = u32::try_from(raw).map_err(|_| RecordError::Varint)?;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

#[inline]
fn varlong<S: Source>(source: &mut S) -> Result<i64, RecordError> {
    let raw = unsigned(source, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn unsigned<S: Source>(source: &mut S, bytes_max: u32) -> Result<u64, RecordError> {
    let mut value = 0_u64;
    for index in 0..bytes_max {
        let byte = source.byte()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte of a varlong has room for one bit.
        if index == 9 && bits > 1 {
            return Err(RecordError::Varint);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(RecordError::Varint)
}

const READ_BYTES: usize = 8 * 1024;
