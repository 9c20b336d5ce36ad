//! Cuts the byte stream of a connection into frames: a big-endian i32 length, then that many bytes.
//!
//! Nothing is allocated because a length says so: the buffer is reserved in steps, and the budget charged, as bytes
//! arrive. Small frames share one buffer; a large one has an allocation of its own, since its records may outlive it. A small
//! frame that comes in one piece is gone again at once, and not charged.

use std::{future::poll_fn, io};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{io::AsyncReadExt, net::tcp::ReadHalf, time::Instant};

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
    /// When the first of what is in the buffer arrived.
    began: Option<Instant>,
    charge: Charge,
    budget: Budget,
    /// Largest frame by its API key, which is the first thing within it.
    limit: fn(api_key: i16, request_bytes_max: u32) -> u32,
    request_bytes_max: u32,
}

impl FrameReader {
    pub(super) fn new(budget: Budget, request_bytes_max: u32, limit: fn(i16, u32) -> u32) -> Self {
        let charge = budget.none();
        Self { buffer: BytesMut::new(), began: None, charge, budget, limit, request_bytes_max }
    }

    /// Since when a frame has been arriving, if one is.
    pub(super) fn in_frame_since(&self) -> Option<Instant> {
        self.began
    }

    /// Whether the frame that is arriving holds memory that others may wait for.
    pub(super) fn is_charged(&self) -> bool {
        self.charge.is_held()
    }

    /// Whether it is for want of memory that the frame does not go on.
    pub(super) fn is_waiting(&self) -> bool {
        self.charge.is_waiting()
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
                poll_fn(|context| stream.as_ref().poll_read_ready(context)).await?;
            } else {
                self.began.get_or_insert_with(Instant::now);
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
            if wanted > 0 {
                // It did not come in one piece, and may take its time: thousands of such would be more than the budget.
                let began = self.began.unwrap_or_else(Instant::now);
                self.budget.grow(&mut self.charge, wanted as u64, began).await?;
            }
            self.buffer.reserve(SMALL_BYTES.saturating_sub(self.buffer.len()).max(1));
            return Ok(stream.read_buf(&mut self.buffer).await?);
        }
        let missing = wanted - self.buffer.len();
        let step = missing.min(STEP_BYTES);
        let began = self.began.unwrap_or_else(Instant::now);
        self.budget.grow(&mut self.charge, (self.buffer.len() + step) as u64, began).await?;
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
        self.began = (!self.buffer.is_empty()).then(Instant::now);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::{Context, Result};
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        Ok((client, listener.accept().await?.0))
    }

    fn reader() -> FrameReader {
        FrameReader::new(Budget::new(1 << 20, Duration::from_secs(1)), 1 << 20, |_, max| max)
    }

    #[tokio::test]
    async fn a_frame_begins_with_its_first_byte() -> Result<()> {
        let (mut client, mut server) = pair().await?;
        let (mut input, _output) = server.split();
        let mut reader = reader();
        // One frame and the first byte of another, so that the second begins when the first is cut.
        client.write_all(&[0, 0, 0, 3, 0, 1, 7, 0]).await?;
        let frame = reader.next(&mut input).await?.context("a frame")?;
        assert_eq!(frame.bytes.as_ref(), [0, 1, 7]);
        assert!(reader.in_frame_since().is_some());
        client.write_all(&[0, 0, 2, 0, 1]).await?;
        assert_eq!(reader.next(&mut input).await?.context("a frame")?.bytes.as_ref(), [0, 1]);
        assert!(reader.in_frame_since().is_none());
        drop(client);
        assert!(reader.next(&mut input).await?.is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_large_frame_is_charged_until_it_is_dropped() -> Result<()> {
        let (mut client, mut server) = pair().await?;
        let (mut input, _output) = server.split();
        let mut reader = reader();
        let body = vec![0; 100_000];
        client.write_all(&100_000_i32.to_be_bytes()).await?;
        client.write_all(&body).await?;
        let frame = reader.next(&mut input).await?.context("a frame")?;
        assert!(frame.charge.is_held() && !reader.is_charged());
        assert_eq!(frame.bytes.len(), body.len());
        Ok(())
    }

    #[tokio::test]
    async fn small_frames_are_charged_when_they_come_in_pieces() -> Result<()> {
        let budget = Budget::new(16 << 10, Duration::from_secs(10));
        let mut waiting = 0;
        let mut open = Vec::new();
        for _ in 0..3 {
            let (mut client, mut server) = pair().await?;
            let mut reader = FrameReader::new(budget.clone(), 1 << 20, |_, max| max);
            client.write_all(&[0, 0, 0, 2, 0, 1, 0, 0, 0x27, 0x10, 0, 1]).await?;
            let frame = reader.next(&mut server.split().0).await?.context("a whole frame")?;
            assert!(!frame.charge.is_held());
            let rest = tokio::time::timeout(Duration::from_millis(50), reader.next(&mut server.split().0)).await;
            assert!(rest.is_err() && reader.is_charged());
            waiting += usize::from(reader.is_waiting());
            open.push((client, server, reader));
        }
        assert_eq!(waiting, 1, "one has the budget, one goes beyond it");
        for (mut client, mut server, mut reader) in open {
            client.write_all(&[7; 9_998]).await?;
            let frame = reader.next(&mut server.split().0).await?.context("the frame")?;
            assert!(frame.bytes.len() == 10_000 && frame.charge.is_held() && !reader.is_charged());
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_frame_that_ends_early_or_is_too_long_is_refused() -> Result<()> {
        let (mut client, mut server) = pair().await?;
        client.write_all(&[0, 0, 0, 9, 1]).await?;
        drop(client);
        assert!(matches!(reader().next(&mut server.split().0).await, Err(ReadError::Torn)));
        let (mut client, mut server) = pair().await?;
        client.write_all(&[0x7f, 0, 0, 0]).await?;
        assert!(matches!(reader().next(&mut server.split().0).await, Err(ReadError::BadLength { .. })));
        Ok(())
    }
}
