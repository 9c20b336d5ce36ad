//! One connection: reads requests, dispatches them in order, sends replies in the order of the requests.
//!
//! A single task does both, so that an idle connection is small and a request needs no hand-over. Dispatch takes a
//! request's place in whatever queue it goes to; its reply is awaited at the head of the queue of replies. That is
//! how pipelined produces and commits share one sync and yet nothing overtakes anything (design.md, "A request").

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, tcp::WriteHalf},
};
use tracing::debug;

use crate::{
    api::{Gateway, Outcome, Reply, RequestError, Session},
    config::NetSettings,
    wire::frame::ResponseFrame,
};

use super::{
    budget::{Budget, Charge},
    reader::{Frame, FrameReader, ReadError},
    shutdown::Shutdown,
};

/// Why a connection was closed by us or by the peer, other than in good order.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("idle")]
    Idle,
    #[error("a request took longer to arrive than request.read.timeout.ms")]
    Slow,
}

/// Serves one client until it leaves, misbehaves, idles or the gateway stops.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    gateway: Arc<Gateway>,
    settings: Arc<NetSettings>,
    budget: Budget,
    shutdown: Shutdown,
) {
    gateway.metrics.connections.inc();
    let session = Arc::new(Session { peer });
    let mut connection = Connection { gateway: &gateway, session, settings: &settings, queue: VecDeque::new() };
    match connection.run(&mut stream, budget, shutdown).await {
        Ok(()) => debug!(%peer, "connection closed"),
        Err(reason) => debug!(%peer, %reason, "connection closed"),
    }
    gateway.metrics.connections.dec();
}

struct Connection<'a> {
    gateway: &'a Arc<Gateway>,
    session: Arc<Session>,
    settings: &'a NetSettings,
    queue: VecDeque<Waiting>,
}

/// A dispatched request whose reply was not sent; holds the memory of its frame until then.
struct Waiting {
    reply: Reply,
    /// Nothing after it is decoded before it was answered.
    alone: bool,
    _charge: Charge,
}

impl Connection<'_> {
    async fn run(&mut self, stream: &mut TcpStream, budget: Budget, mut shutdown: Shutdown) -> Result<(), Closed> {
        let (mut input, mut output) = stream.split();
        let mut reader = FrameReader::new(budget, self.settings.request_bytes_max, crate::api::frame_bytes_max);
        let mut guard = IdleGuard::new(self.settings);
        let mut stopping = shutdown.is_given();
        loop {
            if stopping && self.queue.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                reply = head(&mut self.queue), if !self.queue.is_empty() => {
                    self.queue.pop_front();
                    guard.touch();
                    self.send(&mut output, reply?).await?;
                }
                frame = reader.next(&mut input), if !stopping && self.accepts() => {
                    let Some(frame) = frame? else { return self.finish(&mut output).await };
                    guard.touch();
                    if let Some(ready) = self.dispatch(frame)? {
                        self.send(&mut output, ready).await?;
                    }
                }
                () = shutdown.given(), if !stopping => stopping = true,
                () = guard.alarm() => guard.check(&self.queue, &reader)?,
            }
        }
    }

    /// Whether another request may be decoded now.
    fn accepts(&self) -> bool {
        self.queue.len() < self.settings.in_flight_requests_max && self.queue.back().is_none_or(|last| !last.alone)
    }

    /// Dispatches a request; its reply comes back at once when it is ready and nothing is before it.
    fn dispatch(&mut self, frame: Frame) -> Result<Option<ResponseFrame>, Closed> {
        let Frame { bytes, charge } = frame;
        let outcome = crate::api::dispatch(self.gateway, &self.session, bytes)?;
        let (reply, alone) = match outcome {
            Outcome::NoReply => return Ok(None),
            Outcome::Ready(frame) if self.queue.is_empty() => return Ok(Some(frame)),
            Outcome::Ready(frame) => (Reply::Ready(Some(frame)), false),
            Outcome::Pending(reply) => (Reply::Waiting(reply), false),
            Outcome::Alone(reply) => (Reply::Waiting(reply), true),
        };
        self.queue.push_back(Waiting { reply, alone, _charge: charge });
        Ok(None)
    }

    /// Sends `first` and every reply behind it that is ready too, with as few writes as possible.
    async fn send(&mut self, output: &mut WriteHalf<'_>, first: ResponseFrame) -> Result<(), Closed> {
        let mut chunks = VecDeque::new();
        first.append_to(&mut chunks);
        while chunks.len() < CHUNKS_MAX {
            match self.queue.front_mut() {
                Some(Waiting { reply: Reply::Ready(ready), .. }) => {
                    if let Some(frame) = ready.take() {
                        frame.append_to(&mut chunks);
                    }
                    self.queue.pop_front();
                }
                _ => break,
            }
        }
        write_all(output, chunks).await?;
        Ok(())
    }

    /// The peer sends no more but may still read: what it asked for is answered.
    async fn finish(&mut self, output: &mut WriteHalf<'_>) -> Result<(), Closed> {
        while !self.queue.is_empty() {
            let reply = head(&mut self.queue).await;
            self.queue.pop_front();
            self.send(output, reply?).await?;
        }
        Ok(())
    }
}

/// The reply of the oldest request. Cancel safe: the future stays in the queue.
async fn head(queue: &mut VecDeque<Waiting>) -> Result<ResponseFrame, RequestError> {
    match queue.front_mut().map(|waiting| &mut waiting.reply) {
        Some(Reply::Waiting(future)) => future.await,
        Some(Reply::Ready(frame)) => frame.take().ok_or(RequestError::NoReply),
        None => std::future::pending().await,
    }
}

async fn write_all(output: &mut WriteHalf<'_>, mut chunks: VecDeque<Bytes>) -> io::Result<()> {
    chunks.retain(|chunk| !chunk.is_empty());
    while !chunks.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = slices.iter_mut().zip(&chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count();
        let mut written = output.write_vectored(slices.get(..filled).unwrap_or_default()).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = chunks.front_mut().filter(|_| written > 0) {
            let step = written.min(first.len());
            first.advance(step);
            written -= step;
            if first.is_empty() {
                chunks.pop_front();
            }
        }
    }
    Ok(())
}

/// Closes connections that are idle (`connections.max.idle.ms`) or that stop in the middle of a frame. One coarse
/// timer a connection, so that a request costs no timer operation.
struct IdleGuard {
    timer: std::pin::Pin<Box<tokio::time::Sleep>>,
    period: Duration,
    idle: Duration,
    read_timeout: Duration,
    quiet_since: tokio::time::Instant,
}

impl IdleGuard {
    fn new(settings: &NetSettings) -> Self {
        let period = settings.idle.min(settings.read_timeout).max(Duration::from_millis(10));
        Self {
            timer: Box::pin(tokio::time::sleep(period)),
            period,
            idle: settings.idle,
            read_timeout: settings.read_timeout,
            quiet_since: tokio::time::Instant::now(),
        }
    }

    fn touch(&mut self) {
        self.quiet_since = tokio::time::Instant::now();
    }

    async fn alarm(&mut self) {
        self.timer.as_mut().await;
    }

    fn check(&mut self, queue: &VecDeque<Waiting>, reader: &FrameReader) -> Result<(), Closed> {
        let quiet = self.quiet_since.elapsed();
        if queue.is_empty() && reader.in_frame() && quiet >= self.read_timeout {
            return Err(Closed::Slow);
        }
        if queue.is_empty() && quiet >= self.idle {
            return Err(Closed::Idle);
        }
        self.timer.as_mut().reset(tokio::time::Instant::now() + self.period);
        Ok(())
    }
}

const SLICES_MAX: usize = 64;
/// Replies that are ready together leave together up to about this many chunks.
const CHUNKS_MAX: usize = 64;
