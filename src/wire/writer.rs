//! Primitives of Kafka's encoding, in the fixed and in the flexible (KIP-482) form.

use bytes::{BufMut, BytesMut};

use super::codec::EncodeError;

/// Whether lengths are fixed-size numbers or varints of length plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Fixed,
    Flexible,
}

impl Form {
    pub(super) fn of(version: i16, flexible_from: i16) -> Self {
        if version >= flexible_from { Self::Flexible } else { Self::Fixed }
    }

    pub(super) fn is_flexible(self) -> bool {
        self == Self::Flexible
    }
}

pub(super) fn put_unsigned_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(super) fn put_string(out: &mut BytesMut, form: Form, value: &str) -> Result<(), EncodeError> {
    match form {
        Form::Fixed => out.put_i16(i16::try_from(value.len()).map_err(|_| EncodeError::TooLong(value.len()))?),
        Form::Flexible => put_unsigned_varint(out, compact_len(value.len())?),
    }
    out.put_slice(value.as_bytes());
    Ok(())
}

pub(super) fn put_nullable_string(out: &mut BytesMut, form: Form, value: Option<&str>) -> Result<(), EncodeError> {
    match (value, form) {
        (Some(value), _) => put_string(out, form, value)?,
        (None, Form::Fixed) => out.put_i16(-1),
        (None, Form::Flexible) => out.put_u8(0),
    }
    Ok(())
}

/// The length in front of an array or of bytes; the content follows.
pub(super) fn put_length(out: &mut BytesMut, form: Form, length: usize) -> Result<(), EncodeError> {
    match form {
        Form::Fixed => out.put_i32(i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?),
        Form::Flexible => put_unsigned_varint(out, compact_len(length)?),
    }
    Ok(())
}

/// The length of an array that is null.
pub(super) fn put_null_length(out: &mut BytesMut, form: Form) {
    match form {
        Form::Fixed => out.put_i32(-1),
        Form::Flexible => out.put_u8(0),
    }
}

/// The end of a structure that has no tagged field; nothing in the fixed form.
pub(super) fn put_no_tags(out: &mut BytesMut, form: Form) {
    if form.is_flexible() {
        out.put_u8(0);
    }
}

fn compact_len(length: usize) -> Result<u32, EncodeError> {
    // Java reads the varint into an int, so that the length plus one must fit in one.
    i32::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(1))
        .map(i32::cast_unsigned)
        .ok_or(EncodeError::TooLong(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reader::Reader;

    #[test]
    fn varints_are_read_as_written() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX] {
            let mut out = BytesMut::new();
            put_unsigned_varint(&mut out, value);
            assert_eq!(Reader::new(&out, Form::Flexible, 0).unsigned_varint(), Ok(value));
        }
    }

    #[test]
    fn a_string_too_long_for_its_length_is_refused() {
        let long = "a".repeat(32_768);
        assert_eq!(put_string(&mut BytesMut::new(), Form::Fixed, &long), Err(EncodeError::TooLong(32_768)));
        assert_eq!(put_string(&mut BytesMut::new(), Form::Flexible, &long), Ok(()));
    }
}
