//! The bytes of one append.
//!
//! ```text
//! frame   length u32 · CRC-32C u32 · version u8 · shard u16 · sequence u64 · durable u64 · count u32 · records
//! record  key length u32 · key · value length i32 (-1: deleted) · value
//! ```
//!
//! Big-endian, as Kafka's wire. `length` counts what follows the checksum. The checksum covers length and rest and
//! begins with the file's random salt, so that neither bytes of a client inside a record nor blocks of an older file
//! can pass for a frame. `durable` is the highest sequence that was known to be on the disk when the frame was written:
//! it tells a torn tail, which nobody was promised, from damage to what was.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};

use crate::storage::ShardId;

/// One append as read back, where it lies in what was read.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub(super) shard: ShardId,
    pub(super) sequence: u64,
    pub(super) durable: u64,
    count: u32,
    records: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks and splits `body`, which is everything after the checksum; the error says what is wrong with it.
    pub(super) fn parse(head: FrameHead, mut body: &'a [u8], salt: u32) -> Result<Self, &'static str> {
        if body.len() != head.length as usize {
            return Err("the frame is cut off");
        }
        if checksum(salt, head.length, body) != head.checksum {
            return Err("the checksum does not match");
        }
        // The checks below cannot fail on what this version wrote: the checksum matched.
        let version = body.try_get_u8().map_err(|_| SHORT)?;
        if version != VERSION {
            return Err("the frame has a version that this program does not know");
        }
        let shard = ShardId(body.try_get_u16().map_err(|_| SHORT)?);
        let sequence = body.try_get_u64().map_err(|_| SHORT)?;
        let durable = body.try_get_u64().map_err(|_| SHORT)?;
        let count = body.try_get_u32().map_err(|_| SHORT)?;
        Ok(Self { shard, sequence, durable, count, records: body })
    }

    /// The records in the order of the append; an item is an error when the bytes are not as many records as the frame
    /// says, and then it is the last one.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<RecordRef<'a>, &'static str>> + use<'a> {
        let (mut left, mut bytes) = (self.count, self.records);
        std::iter::from_fn(move || {
            if left == 0 {
                let trailing = !std::mem::take(&mut bytes).is_empty();
                return trailing.then_some(Err("bytes follow the last record of a frame"));
            }
            left -= 1;
            let record = take_record(&mut bytes).ok_or("a record of a frame is cut off");
            if record.is_err() {
                left = 0;
                bytes = &[];
            }
            Some(record)
        })
    }
}

/// A record where it lies in its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordRef<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

/// What stands before the checked part of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) checksum: u32,
}

impl FrameHead {
    /// None when no frame of at most `room_bytes` (its head included) can begin like this.
    pub(super) fn parse(bytes: [u8; HEAD_BYTES], room_bytes: u64) -> Option<Self> {
        let mut bytes = &bytes[..];
        let head = Self { length: bytes.get_u32(), checksum: bytes.get_u32() };
        (head.length >= BODY_BYTES_MIN
            && head.length <= FRAME_BODY_BYTES_MAX
            && u64::from(head.length) + HEAD_BYTES as u64 <= room_bytes)
            .then_some(head)
    }
}

/// What a frame says of the order, unchecked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) sequence: u64,
    pub(super) durable: u64,
}

impl Claim {
    /// Reads the claim of what may be a frame's `body`; none when this version wrote no such frame.
    pub(super) fn peek(mut body: &[u8]) -> Option<Self> {
        (body.try_get_u8().ok()? == VERSION).then_some(())?;
        body.try_get_u16().ok()?;
        Some(Self { sequence: body.try_get_u64().ok()?, durable: body.try_get_u64().ok()? })
    }
}

/// Writes frames into a buffer: [`begin`](Self::begin), [`push`](Self::push) each record, [`seal`](Self::seal).
#[derive(Debug)]
pub(super) struct FrameBuilder {
    buffer: Vec<u8>,
    count: u32,
}

impl FrameBuilder {
    pub(super) fn begin(shard: ShardId, capacity_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity_bytes.saturating_add(FRAME_BYTES_MIN));
        buffer.put_bytes(0, HEAD_BYTES);
        buffer.put_u8(VERSION);
        buffer.put_u16(shard.0);
        buffer.put_bytes(0, 8 + 8 + 4);
        Self { buffer, count: 0 }
    }

    /// Adds a record; false, and nothing changed, when the frame would become larger than a frame may be.
    #[must_use]
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let room_bytes = (FRAME_BODY_BYTES_MAX as usize).saturating_sub(self.buffer.len());
        let value_bytes = value.map_or(0, <[u8]>::len);
        if key.len().saturating_add(value_bytes).saturating_add(RECORD_OVERHEAD_BYTES) > room_bytes {
            return false;
        }
        // Both lengths are below FRAME_BODY_BYTES_MAX, which is below i32::MAX.
        self.buffer.put_u32(key.len() as u32);
        self.buffer.put_slice(key);
        self.buffer.put_i32(value.map_or(-1, |value| value.len() as i32));
        self.buffer.put_slice(value.unwrap_or_default());
        self.count += 1;
        true
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The finished frame.
    pub(super) fn seal(mut self, salt: u32, sequence: u64, durable: u64) -> Vec<u8> {
        let length = (self.buffer.len() - HEAD_BYTES) as u32;
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = self.buffer.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(0, &length.to_be_bytes());
        put(SEQUENCE_AT, &sequence.to_be_bytes());
        put(SEQUENCE_AT + 8, &durable.to_be_bytes());
        put(SEQUENCE_AT + 16, &self.count.to_be_bytes());
        let checksum = checksum(salt, length, self.buffer.get(HEAD_BYTES..).unwrap_or_default());
        put_checksum(&mut self.buffer, checksum);
        self.buffer
    }
}

/// What a record takes in a frame beside its key and value.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 4 + 4;
/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 4 + 4;
/// A frame without records.
pub(super) const FRAME_BYTES_MIN: usize = HEAD_BYTES + BODY_BYTES_MIN as usize;
/// More than the largest request that a gateway takes; bounds what a damaged length can ask for.
pub(super) const FRAME_BODY_BYTES_MAX: u32 = 256 << 20;

fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<RecordRef<'a>> {
    let key_bytes = bytes.try_get_u32().ok()? as usize;
    let key = bytes.split_off(..key_bytes)?;
    let value = match bytes.try_get_i32().ok()? {
        -1 => None,
        value_bytes => Some(bytes.split_off(..usize::try_from(value_bytes).ok()?)?),
    };
    Some(RecordRef { key, value })
}

fn checksum(salt: u32, length: u32, body: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(salt));
    digest.update(&length.to_be_bytes());
    digest.update(body);
    digest.finalize() as u32
}

fn put_checksum(frame: &mut [u8], checksum: u32) {
    if let Some(place) = frame.get_mut(4..HEAD_BYTES) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

const VERSION: u8 = 1;
const SEQUENCE_AT: usize = HEAD_BYTES + 1 + 2;
const BODY_BYTES_MIN: u32 = 1 + 2 + 8 + 8 + 4;
const SHORT: &str = "the frame is too short";

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(records: &[(&[u8], Option<&[u8]>)], salt: u32) -> Vec<u8> {
        let mut frame = FrameBuilder::begin(ShardId(7), 0);
        for (key, value) in records {
            assert!(frame.push(key, *value));
        }
        frame.seal(salt, 41, 40)
    }

    fn parse(bytes: &[u8], salt: u32) -> Result<Frame<'_>, &'static str> {
        let (head, body) = bytes.split_first_chunk().ok_or("no head")?;
        let head = FrameHead::parse(*head, bytes.len() as u64).ok_or("impossible length")?;
        Frame::parse(head, body, salt)
    }

    #[test]
    fn a_frame_reads_back() {
        let bytes = sealed(&[(b"a", Some(b"1")), (b"", Some(b"")), (b"gone", None)], 5);
        let frame = parse(&bytes, 5).unwrap();
        assert_eq!((frame.shard, frame.sequence, frame.durable), (ShardId(7), 41, 40));
        let records: Vec<_> = frame.records().map(Result::unwrap).map(|record| (record.key, record.value)).collect();
        let expected: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"1")), (b"", Some(b"")), (b"gone", None)];
        assert_eq!(records, expected);
    }

    #[test]
    fn a_flipped_bit_a_lost_byte_or_another_files_salt_is_noticed() {
        let bytes = sealed(&[(b"key", Some(b"value"))], 5);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&flipped, 5).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length], 5).is_err(), "{length} bytes");
        }
        assert!(parse(&bytes, 6).is_err());
    }

    #[test]
    fn zeros_are_no_frame() {
        assert!(parse(&[0; 64], 0).is_err());
    }

    #[test]
    fn a_frame_whose_records_do_not_add_up_ends_in_an_error() {
        let mut frame = FrameBuilder::begin(ShardId(0), 0);
        assert!(frame.push(b"key", Some(b"value")));
        frame.count = 2;
        let bytes = frame.seal(0, 1, 0);
        let frame = parse(&bytes, 0).unwrap();
        assert_eq!(frame.records().map(|record| record.is_ok()).collect::<Vec<_>>(), [true, false]);
        let mut frame = FrameBuilder::begin(ShardId(0), 0);
        assert!(frame.push(b"key", Some(b"value")));
        frame.count = 0;
        let bytes = frame.seal(0, 1, 0);
        let frame = parse(&bytes, 0).unwrap();
        assert_eq!(frame.records().map(|record| record.is_ok()).collect::<Vec<_>>(), [false]);
    }
}
