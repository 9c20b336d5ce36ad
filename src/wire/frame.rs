//! A response on its way to the socket: its length, its header and its body, in as few copies as possible.

use std::{collections::VecDeque, slice};

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::model::Chunk;

/// A whole response, the four bytes of its length included, as chunks to be sent one behind the other.
#[derive(Clone, Debug)]
pub struct ResponseFrame {
    chunks: Chunks,
    len: usize,
}

impl ResponseFrame {
    /// The chunks in the order of the wire; none is empty.
    pub fn chunks(&self) -> &[Chunk] {
        match &self.chunks {
            Chunks::One(chunk) => slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
        }
    }

    /// Puts the chunks at the end of what is to be written.
    pub fn append_to(self, out: &mut VecDeque<Chunk>) {
        match self.chunks {
            Chunks::One(chunk) => out.push_back(chunk),
            Chunks::Many(chunks) => out.extend(chunks),
        }
    }

    /// Bytes on the wire, with the length in front.
    #[expect(clippy::len_without_is_empty, reason = "a frame has at least its length, so it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The frame in one piece.
    #[cfg(test)]
    pub(crate) fn to_bytes(&self) -> bytes::Bytes {
        let mut all = crate::model::Records::default();
        self.chunks().iter().for_each(|chunk| all.push(chunk.clone()));
        all.read().unwrap()
    }
}

/// Most responses are one chunk, which needs no list.
#[derive(Clone, Debug)]
enum Chunks {
    One(Chunk),
    Many(Vec<Chunk>),
}

/// Builds a [`ResponseFrame`]: fixed parts are written into one buffer, large parts are taken by reference between them.
#[derive(Debug)]
pub struct FrameWriter {
    fixed: BytesMut,
    /// Parts by reference, each with the length of `fixed` at which it goes in.
    shared: Vec<(usize, Chunk)>,
    shared_bytes: usize,
}

impl FrameWriter {
    /// `capacity` is a guess at the bytes of the fixed parts.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut fixed = BytesMut::with_capacity(LENGTH_BYTES.saturating_add(capacity));
        fixed.put_bytes(0, LENGTH_BYTES);
        Self { fixed, shared: Vec::new(), shared_bytes: 0 }
    }

    /// Where the fixed parts are appended. Only append: what is there has its place already.
    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.fixed
    }

    /// Puts `part` next, by reference; a small one is copied, which costs less than one more chunk.
    pub fn put_shared(&mut self, part: impl Into<Chunk>) {
        match part.into() {
            Chunk::Heap(part) if part.len() <= COPIED_BYTES_MAX => self.fixed.put_slice(&part),
            part => {
                self.shared_bytes = self.shared_bytes.saturating_add(part.len());
                self.shared.push((self.fixed.len(), part));
            }
        }
    }

    /// Writes the length in front and gives the frame away.
    pub fn finish(mut self) -> Result<ResponseFrame, FrameTooLarge> {
        let len = self.fixed.len().saturating_add(self.shared_bytes);
        let size = i32::try_from(len.saturating_sub(LENGTH_BYTES)).map_err(|_| FrameTooLarge(len))?;
        if let Some(prefix) = self.fixed.first_chunk_mut::<LENGTH_BYTES>() {
            *prefix = size.to_be_bytes();
        }
        let mut fixed = self.fixed.freeze();
        if self.shared.is_empty() {
            return Ok(ResponseFrame { chunks: Chunks::One(fixed.into()), len });
        }
        let mut chunks = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut written = 0;
        for (position, part) in self.shared {
            if position > written {
                chunks.push(fixed.split_to((position - written).min(fixed.len())).into());
                written = position;
            }
            chunks.push(part);
        }
        if !fixed.is_empty() {
            chunks.push(fixed.into());
        }
        Ok(ResponseFrame { chunks: Chunks::Many(chunks), len })
    }
}

/// A response whose size does not fit in the four bytes in front of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a response of {0} bytes does not fit in a frame")]
pub struct FrameTooLarge(pub usize);

const LENGTH_BYTES: usize = 4;

/// Up to here a copy (some 10 ns) is cheaper than one more buffer for the kernel to gather.
const COPIED_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_plain_response_is_one_chunk_with_its_length_in_front() {
        let mut frame = FrameWriter::with_capacity(0);
        frame.out().put_slice(b"abc");
        let frame = frame.finish().unwrap();
        assert_eq!((frame.chunks().len(), &frame.to_bytes()[..]), (1, &b"\0\0\0\x03abc"[..]));
        assert_eq!(frame.len(), 7);
    }

    #[test]
    fn large_parts_go_out_by_reference_in_their_place() {
        let part = Bytes::from(vec![7; COPIED_BYTES_MAX + 1]);
        let mut frame = FrameWriter::with_capacity(16);
        frame.put_shared(part.clone());
        frame.put_shared(part.clone());
        frame.out().put_slice(b"between");
        frame.put_shared(Bytes::from_static(b"small"));
        frame.put_shared(part.clone());
        let frame = frame.finish().unwrap();

        let size = (3 * part.len() + 12) as i32;
        let expected = [&size.to_be_bytes()[..], &part, &part, b"betweensmall", &part].concat();
        assert_eq!(frame.to_bytes(), expected);
        assert_eq!(frame.len(), expected.len());
        assert_eq!(frame.chunks().len(), 5);
        for chunk in [1, 2, 4] {
            assert!(matches!(&frame.chunks()[chunk], Chunk::Heap(bytes) if bytes.as_ptr() == part.as_ptr()));
        }
    }

    #[test]
    fn what_follows_the_last_large_part_is_kept() {
        let mut frame = FrameWriter::with_capacity(0);
        frame.put_shared(Bytes::from(vec![1; 1000]));
        frame.out().put_u8(9);
        let frame = frame.finish().unwrap();
        assert_eq!(frame.to_bytes()[1003..], [1, 9]);
        assert!(frame.chunks().iter().all(|chunk| !chunk.is_empty()));
    }

    #[test]
    fn a_frame_beyond_its_length_field_is_refused() {
        let part = Bytes::from(vec![0; 1 << 20]);
        let mut frame = FrameWriter::with_capacity(0);
        for _ in 0..2048 {
            frame.put_shared(part.clone());
        }
        assert_eq!(frame.finish().unwrap_err(), FrameTooLarge((2 << 30) + 4));
    }
}
