//! Cuts the byte stream of a connection into frames: a big-endian i32 length, then that many bytes.
//!
//! Nothing is allocated because a length says so: the buffer is reserved in steps, and the budget charged, as bytes
//! arrive. Small frames share one buffer; a large one has an allocation of its own, since its records may outlive it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{io::AsyncReadExt, net::tcp::ReadHalf};

use super::budget::{Budget, BudgetExhausted, Charge};

/// A whole request without its length, and the memory it holds.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) charge: Charge,
}

/// Why a connection's input ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("frame of {length} bytes, allowed are 0 to {limit}")]
    BadLength { length: i32, limit: u32 },
    #[error("closed by the peer within a frame")]
    Torn,
    #[error(transparent)]
    Budget(#[from] BudgetExhausted),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames; keeps what arrived between calls.
pub(super) struct FrameReader {
    buffer: BytesMut,
    charge: Charge,
    budget: Budget,
    /// Largest frame by its API key, which is the first thing within it.
    limit: fn(api_key: i16, request_bytes_max: u32) -> u32,
    request_bytes_max: u32,
}

impl FrameReader {
    pub(super) fn new(budget: Budget, request_bytes_max: u32, limit: fn(i16, u32) -> u32) -> Self {
        let charge = budget.none();
        Self { buffer: BytesMut::new(), charge, budget, limit, request_bytes_max }
    }

    /// Whether a frame has begun to arrive and is not complete.
    pub(super) fn in_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame; none when the peer closed between two. Cancel safe.
    pub(super) async fn next(&mut self, stream: &mut ReadHalf<'_>) -> Result<Option<Frame>, ReadError> {
        loop {
            let wanted = match self.announced()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => return Ok(Some(self.cut(length))),
                Some(length) => LENGTH_BYTES + length,
                None => 0,
            };
            if self.buffer.is_empty() {
                // An idle connection holds no buffer.
                self.buffer = BytesMut::new();
                stream.readable().await?;
            }
            if self.fill(stream, wanted).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ReadError::Torn) };
            }
        }
    }

    /// The length that the buffer begins with, once it is there and was checked.
    fn announced(&self) -> Result<Option<usize>, ReadError> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        let limit = match rest.first_chunk::<2>() {
            Some(key) => (self.limit)(i16::from_be_bytes(*key), self.request_bytes_max),
            None => self.request_bytes_max,
        };
        match u32::try_from(length) {
            Ok(positive) if positive <= limit => Ok(Some(positive as usize)),
            _ => Err(ReadError::BadLength { length, limit }),
        }
    }

    async fn fill(&mut self, stream: &mut ReadHalf<'_>, wanted: usize) -> Result<usize, ReadError> {
        if wanted <= SMALL_BYTES {
            self.buffer.reserve(SMALL_BYTES.saturating_sub(self.buffer.len()).max(1));
            return Ok(stream.read_buf(&mut self.buffer).await?);
        }
        let missing = wanted - self.buffer.len();
        let step = missing.min(STEP_BYTES);
        self.budget.grow(&mut self.charge, (self.buffer.len() + step) as u64).await?;
        if self.buffer.capacity() - self.buffer.len() < step {
            // Doubling keeps the copies of a growing frame below its size; address space that no byte
            // touches costs nothing, so the first reservation is generous.
            self.buffer.reserve(missing.min(self.buffer.len().max(RESERVE_BYTES)));
        }
        Ok(stream.read_buf(&mut (&mut self.buffer).limit(step)).await?)
    }

    fn cut(&mut self, length: usize) -> Frame {
        self.buffer.advance(LENGTH_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        Frame { bytes, charge: std::mem::take(&mut self.charge) }
    }
}

const LENGTH_BYTES: usize = 4;
/// Frames up to this size are read into a buffer that several of them share.
const SMALL_BYTES: usize = 16 * 1024;
/// How far the budget is charged ahead of what has arrived.
const STEP_BYTES: usize = 256 * 1024;
/// How much of a large frame is reserved at once.
const RESERVE_BYTES: usize = 1024 * 1024;
