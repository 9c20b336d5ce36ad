//! A cursor over bytes of strangers. The one place of this crate that turns a length off the wire into an allocation.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;
use uuid::Uuid;

use super::writer::Form;

/// What is wrong with bytes that do not decode.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("needs {needed} bytes where {remaining} remain")]
    Truncated { needed: usize, remaining: usize },
    #[error("an array of {count} cannot fit in the {remaining} bytes that remain")]
    Count { count: usize, remaining: usize },
    #[error("null where the version has no null")]
    Null,
    #[error("negative length {0}")]
    NegativeLength(i64),
    #[error("a varint of more than 5 bytes")]
    Varint,
    #[error("{0} marks neither a structure nor null")]
    Presence(i8),
    #[error("tagged field {0} does not belong to this version")]
    Tag(u32),
    #[error("a string of more than 32767 bytes, maybe after its malformed characters were replaced")]
    StringTooLong,
    #[error("decodes to {needed} bytes of memory, over the limit of {limit}")]
    Memory { needed: u64, limit: u64 },
}

/// Reads one body in the form of its version, and counts the memory that decoding it takes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    form: Form,
    memory_bytes: u64,
    memory_bytes_max: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], form: Form, memory_bytes_max: u64) -> Self {
        Self { bytes, position: 0, form, memory_bytes: 0, memory_bytes_max }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// Memory that what was read so far takes when decoded.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Adds to the memory that decoding takes, and checks it against the limit before anything is allocated.
    pub(super) fn charge(&mut self, count: usize, bytes_each: usize) -> Result<(), Malformed> {
        let bytes = (count as u64).saturating_mul(bytes_each as u64);
        let needed = self.memory_bytes.saturating_add(bytes);
        if needed > self.memory_bytes_max {
            return Err(Malformed::Memory { needed, limit: self.memory_bytes_max });
        }
        self.memory_bytes = needed;
        Ok(())
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let truncated = Malformed::Truncated { needed: len, remaining: self.remaining() };
        let end = self.position.checked_add(len).ok_or(truncated.clone())?;
        let taken = self.bytes.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let remaining = self.remaining();
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let (head, _) = rest.split_first_chunk::<N>().ok_or(Malformed::Truncated { needed: N, remaining })?;
        self.position += N;
        Ok(*head)
    }

    pub(super) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, Malformed> {
        self.array().map(Uuid::from_bytes)
    }

    /// As `ByteUtils.readUnsignedVarint`: at most 5 bytes, bits beyond the 32nd are dropped.
    pub(super) fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }

    /// A string; `None` is null. Not checked for UTF-8.
    pub(super) fn nullable_string(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = match self.form {
            Form::Fixed => i64::from(self.i16()?),
            Form::Flexible => self.compact_length()?,
        };
        if length > i64::from(i16::MAX) {
            return Err(Malformed::StringTooLong);
        }
        self.take_length(length)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        self.nullable_string()?.ok_or(Malformed::Null)
    }

    /// Bytes; `None` is null.
    pub(super) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.length()?;
        self.take_length(length)
    }

    /// The count of an array whose elements take at least `element_bytes_min` on the wire and `element_memory_bytes`
    /// each when decoded, which is charged. `None` is null.
    pub(super) fn nullable_count(
        &mut self,
        element_bytes_min: usize,
        element_memory_bytes: usize,
    ) -> Result<Option<usize>, Malformed> {
        let Some(count) = checked_length(self.length()?)? else { return Ok(None) };
        let remaining = self.remaining();
        if count.checked_mul(element_bytes_min).is_none_or(|bytes| bytes > remaining) {
            return Err(Malformed::Count { count, remaining });
        }
        self.charge(count, element_memory_bytes)?;
        Ok(Some(count))
    }

    pub(super) fn count(&mut self, element_bytes_min: usize, element_memory_bytes: usize) -> Result<usize, Malformed> {
        self.nullable_count(element_bytes_min, element_memory_bytes)?.ok_or(Malformed::Null)
    }

    /// How many tagged fields follow; none in the fixed form.
    pub(super) fn tags(&mut self) -> Result<usize, Malformed> {
        if !self.form.is_flexible() {
            return Ok(0);
        }
        let count = self.unsigned_varint()? as usize;
        let remaining = self.remaining();
        if count.checked_mul(TAGGED_FIELD_BYTES_MIN).is_none_or(|bytes| bytes > remaining) {
            return Err(Malformed::Count { count, remaining });
        }
        Ok(count)
    }

    /// The tag and the size of one tagged field; its content follows.
    pub(super) fn tag(&mut self) -> Result<(u32, usize), Malformed> {
        Ok((self.unsigned_varint()?, self.unsigned_varint()? as usize))
    }

    /// Passes over the tagged fields of a structure for which none is known.
    pub(super) fn skip_tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.tags()? {
            let (_, size) = self.tag()?;
            self.take(size)?;
        }
        Ok(())
    }

    fn length(&mut self) -> Result<i64, Malformed> {
        match self.form {
            Form::Fixed => Ok(i64::from(self.i32()?)),
            Form::Flexible => self.compact_length(),
        }
    }

    fn compact_length(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from(self.unsigned_varint()?) - 1)
    }

    fn take_length(&mut self, length: i64) -> Result<Option<&'a [u8]>, Malformed> {
        match checked_length(length)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }
}

/// A string of `body` without a copy. Malformed UTF-8 is replaced by U+FFFD, as Java does when it decodes a string.
pub(super) fn shared_string(body: &Bytes, string: &[u8]) -> StrBytes {
    StrBytes::from_utf8(body.slice_ref(string))
        .unwrap_or_else(|_| StrBytes::from_string(String::from_utf8_lossy(string).into_owned()))
}

fn checked_length(length: i64) -> Result<Option<usize>, Malformed> {
    if length == -1 {
        return Ok(None);
    }
    usize::try_from(length).map(Some).map_err(|_| Malformed::NegativeLength(length))
}

/// A tag and a size of one byte each.
const TAGGED_FIELD_BYTES_MIN: usize = 2;
