//! The bytes of one object of the journal.
//!
//! ```text
//! object  "TGWJ" · version u8 · CRC-32C u32 · kind u8 · epoch u64 · first u64 · last u64 · durable u64 · rest
//! records shard u16 · key length u32 · value length u32 (all ones: deleted) · key · value, again and again
//! body    length u64 · name                       the records are in another object, which lies beside this one
//! fence   name of the gateway that begins here
//! ```
//!
//! Big-endian. The checksum covers what follows it. `first` to `last` are the sequence numbers that the object stands for.
//! `durable` is the highest one that was acknowledged when it was written: it tells an object that went missing from one
//! that never came.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::storage::{JournalRecord, ShardId};

/// What every object says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the gateway that wrote it: the sequence number of its fence.
    pub(super) epoch: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) durable: u64,
}

/// A change as it stands in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) shard: ShardId,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Records(Vec<Change>),
    /// The name of the object with the records, and its length.
    Body(String, u64),
    /// A gateway took over here; everything up to `last` that others wrote does not count.
    Fence(String),
}

/// Collects the records of one object.
pub(super) struct ObjectBuilder {
    bytes: BytesMut,
}

impl ObjectBuilder {
    /// With room for `bytes` of records.
    pub(super) fn new(bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEAD_BYTES + bytes);
        buffer.put_bytes(0, HEAD_BYTES);
        Self { bytes: buffer }
    }

    pub(super) fn push(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) {
        self.bytes.put_u16(shard.0);
        // Lengths were checked when the append was accepted.
        self.bytes.put_u32(u32::try_from(key.len()).unwrap_or(DELETED));
        self.bytes.put_u32(value.map_or(DELETED, |value| u32::try_from(value.len()).unwrap_or(DELETED)));
        self.bytes.put_slice(key);
        self.bytes.put_slice(value.unwrap_or_default());
    }

    pub(super) fn finish(self, head: Head) -> Bytes {
        seal(self.bytes, KIND_RECORDS, head)
    }
}

/// An object that only names another.
pub(super) fn body(head: Head, name: &str, length: u64) -> Bytes {
    let mut bytes = BytesMut::zeroed(HEAD_BYTES);
    bytes.put_u64(length);
    bytes.put_slice(name.as_bytes());
    seal(bytes, KIND_BODY, head)
}

pub(super) fn fence(head: Head, owner: &str) -> Bytes {
    let mut bytes = BytesMut::zeroed(HEAD_BYTES);
    bytes.put_slice(owner.as_bytes());
    seal(bytes, KIND_FENCE, head)
}

/// Bytes that a record takes in an object.
pub(super) fn size_of(record: &JournalRecord) -> usize {
    RECORD_OVERHEAD_BYTES + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

/// Reads an object; the error says what is wrong with it.
pub(super) fn parse(object: &Bytes) -> Result<(Head, Content), &'static str> {
    let mut rest = object.clone();
    if rest.len() < HEAD_BYTES || rest.split_to(MAGIC.len()) != MAGIC[..] {
        return Err("it is no object of the journal");
    }
    if rest.get_u8() != VERSION {
        return Err("it was written by another version of this program");
    }
    if rest.get_u32() != crc_fast::crc32_iscsi(&rest) {
        return Err("the checksum does not match");
    }
    let kind = rest.get_u8();
    let head = Head { epoch: rest.get_u64(), first: rest.get_u64(), last: rest.get_u64(), durable: rest.get_u64() };
    let content = match kind {
        KIND_RECORDS => Content::Records(records(rest)?),
        KIND_BODY => {
            let length = rest.try_get_u64().map_err(|_| SHORT)?;
            Content::Body(String::from_utf8_lossy(&rest).into_owned(), length)
        }
        KIND_FENCE => Content::Fence(String::from_utf8_lossy(&rest).into_owned()),
        _ => return Err("it is of a kind that this program does not know"),
    };
    match head.first <= head.last {
        true => Ok((head, content)),
        false => Err("its numbers are the wrong way round"),
    }
}

fn records(mut rest: Bytes) -> Result<Vec<Change>, &'static str> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let shard = ShardId(rest.try_get_u16().map_err(|_| SHORT)?);
        let key_bytes = rest.try_get_u32().map_err(|_| SHORT)? as usize;
        let value_bytes = rest.try_get_u32().map_err(|_| SHORT)?;
        let mut take = |length: usize| {
            if length > rest.len() {
                return Err(SHORT);
            }
            Ok(rest.split_to(length))
        };
        let key = take(key_bytes)?;
        let value = if value_bytes == DELETED { None } else { Some(take(value_bytes as usize)?) };
        changes.push(Change { shard, key, value });
    }
    Ok(changes)
}

fn seal(mut bytes: BytesMut, kind: u8, head: Head) -> Bytes {
    let mut front = Vec::with_capacity(HEAD_BYTES);
    front.put_slice(MAGIC);
    front.put_u8(VERSION);
    front.put_u32(0);
    front.put_u8(kind);
    for number in [head.epoch, head.first, head.last, head.durable] {
        front.put_u64(number);
    }
    if let Some(place) = bytes.get_mut(..HEAD_BYTES) {
        place.copy_from_slice(&front);
    }
    let checksum = bytes.get(CHECKED_FROM..).map_or(0, crc_fast::crc32_iscsi);
    if let Some(place) = bytes.get_mut(CHECKED_FROM - 4..CHECKED_FROM) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    bytes.freeze()
}

const MAGIC: &[u8; 4] = b"TGWJ";
const VERSION: u8 = 1;
const KIND_RECORDS: u8 = 0;
const KIND_BODY: u8 = 1;
const KIND_FENCE: u8 = 2;
const CHECKED_FROM: usize = 4 + 1 + 4;
const HEAD_BYTES: usize = CHECKED_FROM + 1 + 4 * 8;
const RECORD_OVERHEAD_BYTES: usize = 2 + 4 + 4;
const DELETED: u32 = u32::MAX;
const SHORT: &str = "a record is cut off";

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { epoch: 3, first: 8, last: 9, durable: 7 };

    fn object() -> (Bytes, Vec<Change>) {
        let change = |key: &'static str, value: Option<&'static str>| Change {
            shard: ShardId(1000),
            key: Bytes::from(key),
            value: value.map(Bytes::from),
        };
        let changes = vec![change("a", Some("1")), change("", None), change("b", Some(""))];
        let mut builder = ObjectBuilder::new(0);
        for change in &changes {
            builder.push(change.shard, &change.key, change.value.as_deref());
        }
        (builder.finish(HEAD), changes)
    }

    #[test]
    fn objects_read_back() {
        let (bytes, changes) = object();
        assert_eq!(parse(&bytes), Ok((HEAD, Content::Records(changes))));
        assert_eq!(parse(&body(HEAD, "name", 5)), Ok((HEAD, Content::Body("name".to_owned(), 5))));
        assert_eq!(parse(&fence(HEAD, "me")), Ok((HEAD, Content::Fence("me".to_owned()))));
    }

    #[test]
    fn a_flipped_bit_or_a_missing_end_is_noticed() {
        let (bytes, _) = object();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged.into()).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(parse(&bytes.slice(..length)).is_err(), "{length} bytes");
        }
    }
}
