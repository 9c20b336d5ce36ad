//! What a restart need not look at again: everything before a point is whole and durable, and this is the state there.

use bytes::{Buf, BufMut};

use super::{producers::Producers, sealed::Seal, segment::IndexMark};

/// A place between two batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// The next offset.
    pub(super) offset: i64,
    /// Base offset of the segment that it lies in.
    pub(super) segment: i64,
    pub(super) position: u64,
}

/// A point and the state that the records before it add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) point: Point,
    pub(super) index: IndexMark,
    pub(super) producers: Producers,
}

impl Checkpoint {
    /// The file that says so.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(self.point.offset);
        body.put_i64(self.point.segment);
        body.put_u64(self.point.position);
        body.put_u64(self.index.offset_entries);
        body.put_u64(self.index.time_entries);
        body.put_u64(self.index.bytes_since_entry);
        body.put_i64(self.index.max_timestamp_ms);
        body.put_i64(self.index.offset_of_max);
        body.put_i64(self.index.first_timestamp_ms);
        self.producers.encode(&mut body);
        SEAL.put_on(&body)
    }

    /// None when the file is damaged or of another version: then the restart looks at everything.
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let mut rest = SEAL.open(file)?;
        let point = Point {
            offset: rest.try_get_i64().ok()?,
            segment: rest.try_get_i64().ok()?,
            position: rest.try_get_u64().ok()?,
        };
        let index = IndexMark {
            offset_entries: rest.try_get_u64().ok()?,
            time_entries: rest.try_get_u64().ok()?,
            bytes_since_entry: rest.try_get_u64().ok()?,
            max_timestamp_ms: rest.try_get_i64().ok()?,
            offset_of_max: rest.try_get_i64().ok()?,
            first_timestamp_ms: rest.try_get_i64().ok()?,
        };
        let producers = Producers::decode(&mut rest)?;
        Some(Self { point, index, producers })
    }
}

const SEAL: Seal = Seal { magic: b"TGCP", version: 1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_with_any_flipped_bit_is_not_read() {
        let checkpoint = Checkpoint {
            point: Point { offset: 10, segment: 5, position: 900 },
            index: IndexMark { offset_entries: 3, ..IndexMark::default() },
            producers: Producers::default(),
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::parse(&bytes), Some(checkpoint));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::parse(&damaged), None, "bit {bit}");
        }
    }
}
