//! One connection to the broker: requests out, replies in the order of the requests.

use std::{
    collections::VecDeque,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Decodable, HeaderVersion, Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{frames::Frame, reader::Reader};

pub struct Connection {
    stream: TcpStream,
    /// Bytes that were read, of which `start..end` belong to no reply yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    next_id: i32,
    outstanding: VecDeque<(i32, Instant)>,
    last_call: Instant,
}

/// A reply behind its correlation id.
pub struct Reply<'a> {
    pub body: Reader<'a>,
    /// From just before the request was written until the reply was read.
    pub latency: Duration,
}

impl Connection {
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            next_id: 1,
            outstanding: VecDeque::new(),
            last_call: Instant::now(),
        })
    }

    /// Requests that wait for their replies.
    pub fn in_flight(&self) -> usize {
        self.outstanding.len()
    }

    pub async fn send(&mut self, frame: &mut Frame) -> anyhow::Result<()> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        frame.set_correlation_id(id);
        self.outstanding.push_back((id, Instant::now()));
        self.stream.write_all(frame.bytes()).await.context("the broker takes no request")
    }

    /// The next reply. It waits for as long as that takes: in a measurement the driver sees when nothing goes on.
    pub async fn receive(&mut self) -> anyhow::Result<Reply<'_>> {
        let (id, sent) = self.outstanding.pop_front().context("no request is in flight")?;
        self.fill(4).await?;
        let length = usize::try_from(Reader::new(self.unread()).i32()?).context("a negative length")?;
        ensure!(length <= REPLY_BYTES_MAX, "the broker announces a reply of {length} bytes");
        self.fill(4 + length).await?;
        let latency = sent.elapsed();
        let at = self.start + 4;
        self.start += 4 + length;
        let mut body = Reader::new(self.buffer.get(at..at + length).unwrap_or_default());
        let answered = body.i32()?;
        ensure!(answered == id, "the broker answered request {answered} instead of {id}");
        Ok(Reply { body, latency })
    }

    /// One request and its reply, for which it does not wait for ever.
    pub async fn exchange(&mut self, frame: &mut Frame) -> anyhow::Result<Reply<'_>> {
        let answered = async {
            self.send(frame).await?;
            self.receive().await
        };
        timeout(PATIENCE, answered).await.context("no reply from the broker")?
    }

    /// Serves the connection on the runtime of this thread from now on.
    pub fn move_here(&mut self) -> anyhow::Result<()> {
        let stream = std::net::TcpStream::from(self.stream.as_fd().try_clone_to_owned()?);
        self.stream = TcpStream::from_std(stream)?;
        Ok(())
    }

    /// One request and its whole response: for what is not measured, or needs no lightness.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.renew().await?;
        self.last_call = Instant::now();
        let reply = self.exchange(&mut Frame::encode(version, request)?).await?;
        decode::<R>(version, reply.body)
    }

    /// Connects again after a long measurement: the broker has closed what was idle meanwhile (`connections.max.idle.ms`).
    pub async fn renew(&mut self) -> anyhow::Result<()> {
        if self.outstanding.is_empty() && self.last_call.elapsed() > RENEWED_AFTER {
            *self = Self::open(&self.stream.peer_addr()?.to_string()).await?;
        }
        Ok(())
    }

    /// The first half of a [`call`](Self::call).
    pub async fn send_request<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<()> {
        self.send(&mut Frame::encode(version, request)?).await
    }

    /// The second half of a [`call`](Self::call).
    pub async fn receive_response<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        decode::<R>(version, self.receive().await?.body)
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until `needed` bytes are there, and whatever else has come by then.
    async fn fill(&mut self, needed: usize) -> anyhow::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + needed > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.buffer.resize(needed.max(self.buffer.len()).max(BUFFER_BYTES_MIN), 0);
        }
        while self.end - self.start < needed {
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            let read = self.stream.read(free).await.context("no reply from the broker")?;
            ensure!(read > 0, "the broker closed the connection");
            self.end += read;
        }
        Ok(())
    }
}

fn decode<R: Request>(version: i16, mut body: Reader<'_>) -> anyhow::Result<R::Response> {
    // The correlation id was taken and checked; the codec wants to see it.
    let mut bytes = Bytes::from([&[0; 4], body.take(body.remaining())?].concat());
    ResponseHeader::decode(&mut bytes, R::Response::header_version(version))?;
    R::Response::decode(&mut bytes, version).with_context(|| format!("response of API {}", R::KEY))
}

const RENEWED_AFTER: Duration = Duration::from_secs(60);
/// A broker that says nothing for so long is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
const REPLY_BYTES_MAX: usize = 256 << 20;
const BUFFER_BYTES_MIN: usize = 4096;
