//! Sending replies: what is in memory in gathered writes, what is in a file by the kernel's own hand (sendfile).

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    time::Duration,
};

use bytes::Buf;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, send, sendmsg},
};
use tokio::{io::Interest, net::TcpStream, task::consume_budget};

use crate::model::{Chunk, FileRange};

/// Why replies did not leave.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer takes no replies")]
    Stalled,
}

/// Writes everything, as long as the peer takes some of it within each `patience`. On `Err` a part of it is left.
pub(super) async fn write_all(
    stream: &TcpStream,
    chunks: &mut VecDeque<Chunk>,
    patience: Duration,
) -> Result<(), WriteError> {
    chunks.retain(|chunk| !chunk.is_empty());
    while !chunks.is_empty() {
        let write = || match chunks.front() {
            Some(Chunk::File(range)) => send_file(stream, range),
            _ => send_heap(stream, chunks),
        };
        let written = match stream.try_io(Interest::WRITABLE, write) {
            // Only who has to wait for the peer needs a timer.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let written = stream.async_io(Interest::WRITABLE, write);
                tokio::time::timeout(patience, written).await.map_err(|_| WriteError::Stalled)??
            }
            written => written?,
        };
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        advance(chunks, written);
        if !chunks.is_empty() {
            // A peer that takes it as fast as it is written would have the thread for all of it.
            consume_budget().await;
        }
    }
    Ok(())
}

/// The chunks up to the next that lies in a file; that one follows at once, so they need not leave as a packet of their own.
fn send_heap(stream: &TcpStream, chunks: &VecDeque<Chunk>) -> io::Result<usize> {
    // Nearly every reply: the kernel need not read a list.
    if let (1, Some(Chunk::Heap(bytes))) = (chunks.len(), chunks.front()) {
        return Ok(send(stream, bytes, SendFlags::NOSIGNAL)?);
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let heap = chunks.iter().map_while(|chunk| match chunk {
        Chunk::Heap(bytes) => Some(bytes),
        Chunk::File(_) => None,
    });
    let filled = slices.iter_mut().zip(heap).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count();
    let more = if filled < chunks.len() { SendFlags::MORE } else { SendFlags::empty() };
    let slices = slices.get(..filled).unwrap_or_default();
    Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL | more)?)
}

fn send_file(stream: &TcpStream, range: &FileRange) -> io::Result<usize> {
    let mut position = range.position;
    match rustix::fs::sendfile(stream, &*range.file, Some(&mut position), range.len) {
        // Some file systems do not have it.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let piece = FileRange { len: range.len.min(COPIED_BYTES_MAX), ..range.clone() };
            let bytes = piece.read()?;
            Ok(send(stream, &bytes, SendFlags::NOSIGNAL)?)
        }
        result => Ok(result?),
    }
}

fn advance(chunks: &mut VecDeque<Chunk>, mut written: usize) {
    while let Some(first) = chunks.front_mut().filter(|_| written > 0) {
        let step = written.min(first.len());
        match first {
            Chunk::Heap(bytes) => bytes.advance(step),
            Chunk::File(range) => {
                range.position += step as u64;
                range.len -= step;
            }
        }
        written -= step;
        if first.is_empty() {
            chunks.pop_front();
        }
    }
}

const SLICES_MAX: usize = 64;
const COPIED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use bytes::Bytes;
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_does_not_hold_a_write_for_ever() {
        let (_client, server) = pair().await;
        let mut chunks = VecDeque::from([Bytes::from(vec![0; 64 << 20]).into()]);
        let written = write_all(&server, &mut chunks, Duration::from_millis(50)).await;
        assert!(matches!(written, Err(WriteError::Stalled)));
    }

    #[tokio::test]
    async fn chunks_of_memory_and_of_files_arrive_in_their_order() {
        let mut file = tempfile::tempfile().unwrap();
        let contents: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
        file.write_all(&contents).unwrap();
        let file = Arc::new(file);
        let range = |position: u64, len| Chunk::File(FileRange { file: Arc::clone(&file), position, len });
        let chunks = [
            Chunk::Heap(Bytes::from_static(b"head")),
            range(10, 2_500_000),
            range(0, 7),
            Chunk::Heap(Bytes::from_static(b"between")),
            Chunk::Heap(Bytes::from_static(b"and more")),
            range(2_999_990, 10),
        ];
        let expected =
            [b"head", &contents[10..2_500_010], &contents[..7], b"betweenand more", &contents[2_999_990..]].concat();
        let (mut client, server) = pair().await;
        let sent = async {
            write_all(&server, &mut VecDeque::from(chunks), Duration::from_secs(10)).await.unwrap();
            drop(server);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(sent, client.read_to_end(&mut received));
        read.unwrap();
        assert!(received == expected, "{} bytes of {} arrived", received.len(), expected.len());
    }

    #[tokio::test]
    async fn a_file_that_ends_before_its_range_is_an_error_and_no_hang() {
        let (_client, server) = pair().await;
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut chunks = VecDeque::from([Chunk::File(FileRange { file, position: 0, len: 5 })]);
        assert!(matches!(write_all(&server, &mut chunks, Duration::from_secs(10)).await, Err(WriteError::Io(_))));
    }
}
