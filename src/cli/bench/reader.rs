//! Walks a reply of a flexible version (KIP-482) in place. A broker may be wrong: every step is checked.

use anyhow::{Context, bail, ensure};
use kafka_protocol::error::ResponseError;

/// A cursor over a reply.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn i16(&mut self) -> anyhow::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> anyhow::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> anyhow::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// How many elements an array has; none for null.
    pub fn array_length(&mut self) -> anyhow::Result<u32> {
        Ok(self.unsigned_varint()?.saturating_sub(1))
    }

    /// A string, or bytes; empty for null.
    pub fn bytes(&mut self) -> anyhow::Result<&'a [u8]> {
        let length = self.unsigned_varint()?.saturating_sub(1);
        self.take(length.try_into()?)
    }

    pub fn tags(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            self.take(length.try_into()?)?;
        }
        Ok(())
    }

    pub fn skip(&mut self, count: usize) -> anyhow::Result<()> {
        self.take(count).map(drop)
    }

    /// An error code, which must be that of success.
    pub fn no_error(&mut self, what: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self.i16()? {
            0 => Ok(()),
            code => Err(broker_error(code, &what())),
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> anyhow::Result<()> {
        ensure!(self.rest.is_empty(), "{} bytes behind the reply", self.rest.len());
        Ok(())
    }

    pub fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).context(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const SIZE: usize>(&mut self) -> anyhow::Result<[u8; SIZE]> {
        let (taken, rest) = self.rest.split_first_chunk().context(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn unsigned_varint(&mut self) -> anyhow::Result<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a varint of more than 5 bytes in a reply")
    }
}

/// What a broker answered, by the name that Kafka gives it.
pub fn broker_error(code: i16, what: &str) -> anyhow::Error {
    match ResponseError::try_from_code(code) {
        Some(error) => anyhow::anyhow!("{what}: the broker answered {error:?} ({code})"),
        None => anyhow::anyhow!("{what}: the broker answered error {code}"),
    }
}

const CUT: &str = "the reply ends too early";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_walked_to_its_end() {
        let mut reader = Reader::new(&[0, 7, 3, b'a', b'b', 0, 2, 0x85, 0x01, 1, 9, 0x06, 0]);
        assert_eq!(reader.i16().unwrap(), 7);
        assert_eq!(reader.bytes().unwrap(), b"ab");
        assert_eq!(reader.bytes().unwrap(), b"");
        reader.tags().unwrap();
        reader.end().unwrap();
    }

    #[test]
    fn what_is_cut_or_too_long_is_an_error() {
        Reader::new(&[0]).i16().unwrap_err();
        Reader::new(&[5, 1, 2, 3]).bytes().unwrap_err();
        Reader::new(&[0xff; 9]).array_length().unwrap_err();
        Reader::new(&[1]).end().unwrap_err();
        let error = Reader::new(&[0, 3]).no_error(|| "produce".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "produce: the broker answered UnknownTopicOrPartition (3)");
    }
}
