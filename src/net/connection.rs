//! One connection: reads requests, dispatches them in order, sends replies in the order of the requests.
//!
//! A single task does both, so that an idle connection is small and a request needs no hand-over. Dispatch takes a
//! request's place in whatever queue it goes to; a reply that is not there by then is awaited at the head of the queue of
//! replies. That is how pipelined produces and commits share one sync and yet nothing overtakes anything (design.md, "A
//! request").

use std::{collections::VecDeque, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use kafka_protocol::messages::ApiKey;
use prometheus::IntGauge;
use tokio::{
    io::Interest,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::block_in_place,
    time::Instant,
};
use tracing::{debug, warn};

use crate::{
    api::{Gateway, Outcome, Reply, RequestError, Session},
    config::NetSettings,
    model::Chunk,
    wire::frame::ResponseFrame,
};

use super::{
    budget::{Budget, Charge},
    reader::{Frame, FrameReader, ReadError},
    shutdown::Shutdown,
    writer::{WriteError, write_all},
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
    #[error("the peer left before it was answered")]
    Left,
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("replies that were owed at the end took too long")]
    Unfinished,
}

/// Serves one client until it leaves, misbehaves, idles or the gateway stops; on the runtime that polls this first.
pub(super) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    gateway: Arc<Gateway>,
    settings: Arc<NetSettings>,
    budget: Budget,
    shutdown: Shutdown,
) {
    let _counted = Counted::new(&gateway.metrics.connections);
    let mut stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return warn!(%peer, %error, "cannot serve a connection"),
    };
    let session = Arc::new(Session::new(peer));
    let mut connection = Connection {
        gateway: &gateway,
        session,
        settings: &settings,
        queue: VecDeque::new(),
        outgoing: VecDeque::new(),
    };
    match connection.run(&mut stream, budget, shutdown).await {
        Ok(()) => debug!(%peer, "connection closed"),
        Err(reason) => debug!(%peer, %reason, "connection closed"),
    }
}

/// One in a gauge, also when the task is cut or panics.
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Connection<'a> {
    gateway: &'a Arc<Gateway>,
    session: Arc<Session>,
    settings: &'a NetSettings,
    queue: VecDeque<Waiting>,
    /// What is being sent; kept for its room.
    outgoing: VecDeque<Chunk>,
}

/// A dispatched request whose reply was not sent; a Produce holds the memory of its records until then.
struct Waiting {
    reply: Reply,
    /// Nothing after it is decoded before it was answered.
    alone: bool,
    charge: Charge,
}

impl Connection<'_> {
    async fn run(&mut self, stream: &mut TcpStream, budget: Budget, shutdown: Shutdown) -> Result<(), Closed> {
        let (mut input, mut output) = stream.split();
        let mut reader = FrameReader::new(budget, self.settings.request_bytes_max, crate::api::frame_bytes_max);
        let mut guard = IdleGuard::new(self.settings);
        let mut word = shutdown.clone();
        // One wait for the whole life of the connection: to begin and to end one takes a lock that all share.
        let mut word = pin!(word.given());
        let mut stopping = false;
        loop {
            // A connection whose input or replies are always ready would not get to `word` below.
            stopping = stopping || shutdown.is_given();
            if stopping && self.queue.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                reply = head(&mut self.queue), if !self.queue.is_empty() => {
                    self.queue.pop_front();
                    self.send(&mut output, reply?, reader.is_charged()).await?;
                    guard.touch();
                }
                frame = reader.next(&mut input), if !stopping && self.accepts() => {
                    let ready = match frame {
                        Ok(Some(frame)) => self.dispatch(frame),
                        Ok(None) => return self.finish(&mut output).await,
                        Err(ReadError::Io(error)) => return Err(error.into()),
                        Err(reason) => Err(reason.into()),
                    };
                    match ready {
                        Ok(None) => guard.touch(),
                        Ok(Some(ready)) => {
                            self.send(&mut output, ready, reader.is_charged()).await?;
                            guard.touch();
                        }
                        Err(reason) => {
                            // What came before it is answered, as it was taken.
                            self.finish(&mut output).await?;
                            return Err(reason);
                        }
                    }
                }
                () = &mut word, if !stopping => stopping = true,
                () = guard.alarm() => self.check(&mut guard, &reader, &input)?,
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
        // Only records live on in what a Produce leaves behind; everything else is decoded, and may wait for long.
        let keeps = bytes.starts_with(&(ApiKey::Produce as i16).to_be_bytes());
        // What is decoded of a large one takes long and many times its room, and stays until it is answered.
        let is_large = !keeps && bytes.len() > PIPELINED_BYTES_MAX;
        let dispatch = || crate::api::dispatch(self.gateway, &self.session, bytes);
        let outcome = if is_large { block_in_place(dispatch) } else { dispatch() }?;
        let charge = if keeps { charge } else { Charge::default() };
        let (reply, alone) = match outcome {
            Outcome::NoReply => return Ok(None),
            Outcome::Ready(frame) if self.queue.is_empty() => return Ok(Some(frame)),
            Outcome::Ready(frame) => (Reply::Ready(Some(frame)), is_large),
            Outcome::Pending(reply) => (Reply::Waiting(reply), is_large),
            Outcome::Alone(reply) => (Reply::Waiting(reply), true),
        };
        self.queue.push_back(Waiting { reply, alone, charge });
        Ok(None)
    }

    /// Sends `first` and every reply behind it that is ready too, with as few writes as possible. A peer that reads
    /// nothing meanwhile has less time when its next frame is `charged`: others may wait for that memory.
    async fn send(&mut self, output: &mut WriteHalf<'_>, first: ResponseFrame, charged: bool) -> Result<(), Closed> {
        let mut bytes = first.len();
        first.append_to(&mut self.outgoing);
        while self.outgoing.len() < CHUNKS_MAX && bytes < MERGED_BYTES_MAX {
            match self.queue.front_mut() {
                Some(Waiting { reply: Reply::Ready(ready), .. }) => {
                    if let Some(frame) = ready.take() {
                        bytes = bytes.saturating_add(frame.len());
                        frame.append_to(&mut self.outgoing);
                    }
                    self.queue.pop_front();
                }
                _ => break,
            }
        }
        // A consumer that works on what it has reads nothing for minutes, and may.
        let charged = charged || self.queue.iter().any(|waiting| waiting.charge.is_held());
        let patience = if charged { self.settings.read_timeout } else { self.settings.idle };
        write_all(output.as_ref(), &mut self.outgoing, patience).await?;
        // A large fetch may have made it long.
        self.outgoing.shrink_to(CHUNKS_KEPT);
        Ok(())
    }

    /// No more is read, but the peer may still read: what it asked for is answered, within the time of an idle
    /// connection.
    async fn finish(&mut self, output: &mut WriteHalf<'_>) -> Result<(), Closed> {
        let idle = self.settings.idle;
        let answered = async {
            while !self.queue.is_empty() {
                let reply = head(&mut self.queue).await;
                self.queue.pop_front();
                self.send(output, reply?, false).await?;
            }
            Ok(())
        };
        tokio::time::timeout(idle, answered).await.unwrap_or(Err(Closed::Unfinished))
    }

    /// What is due whenever the guard's timer rings.
    fn check(&self, guard: &mut IdleGuard, reader: &FrameReader, input: &ReadHalf<'_>) -> Result<(), Closed> {
        // A frame loses no time while it waits: behind a request that is answered alone, or for memory.
        let arriving = reader.in_frame_since().filter(|_| self.accepts() && !reader.is_waiting());
        if arriving.is_some_and(|began| began.max(guard.quiet_since).elapsed() >= guard.read_timeout) {
            return Err(Closed::Slow);
        }
        let idle = guard.quiet_since.elapsed() >= guard.idle;
        match peer(input) {
            Peer::Gone => return Err(Closed::Left),
            // Perhaps it only has no more to ask: its answers are worth a while.
            Peer::Silent if idle => return Err(Closed::Left),
            _ if idle && self.queue.is_empty() => return Err(Closed::Idle),
            _ => {}
        }
        guard.rearm();
        Ok(())
    }
}

/// What is known of the other side without reading from it.
enum Peer {
    Here,
    /// It sends no more; whether it still reads cannot be told.
    Silent,
    Gone,
}

fn peer(input: &ReadHalf<'_>) -> Peer {
    match input.ready(Interest::READABLE | Interest::WRITABLE | Interest::ERROR).now_or_never() {
        Some(Ok(ready)) if ready.is_error() || ready.is_write_closed() => Peer::Gone,
        Some(Ok(ready)) if ready.is_read_closed() => Peer::Silent,
        Some(Err(_)) => Peer::Gone,
        _ => Peer::Here,
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

/// Tells when to look for connections that are idle (`connections.max.idle.ms`), left alone or stopped in the middle of
/// a frame. One coarse timer a connection, so that a request costs no timer operation.
struct IdleGuard {
    timer: std::pin::Pin<Box<tokio::time::Sleep>>,
    period: Duration,
    idle: Duration,
    read_timeout: Duration,
    /// A request or a reply went through since the timer last rang.
    touched: bool,
    /// The ring that noticed the last one; the beginning when there was none.
    quiet_since: Instant,
}

impl IdleGuard {
    fn new(settings: &NetSettings) -> Self {
        let period = settings.idle.min(settings.read_timeout / 4).max(Duration::from_millis(10));
        Self {
            timer: Box::pin(tokio::time::sleep(period)),
            period,
            idle: settings.idle,
            read_timeout: settings.read_timeout,
            touched: false,
            quiet_since: Instant::now(),
        }
    }

    /// Does not look at the clock, for it is called for every request.
    fn touch(&mut self) {
        self.touched = true;
    }

    async fn alarm(&mut self) {
        self.timer.as_mut().await;
        if std::mem::take(&mut self.touched) {
            self.quiet_since = Instant::now();
        }
    }

    fn rearm(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.period);
    }
}

/// Requests without records that are larger are answered before the next is decoded.
const PIPELINED_BYTES_MAX: usize = 64 * 1024;
/// Replies that are ready together leave together up to about this many chunks.
const CHUNKS_MAX: usize = 64;
/// And not many more once they have about this many bytes.
const MERGED_BYTES_MAX: usize = 1024 * 1024;
/// Room for so many chunks is kept from one reply to the next.
const CHUNKS_KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn pair() -> Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        Ok((client, listener.accept().await?.0))
    }

    #[tokio::test]
    async fn a_peer_that_left_is_told_from_one_that_only_stopped_sending() -> Result<()> {
        let (mut client, mut server) = pair().await?;
        client.write_all(b"pipelined").await?;
        tokio::time::sleep(SOON).await;
        assert!(matches!(peer(&server.split().0), Peer::Here));
        client.shutdown().await?;
        tokio::time::sleep(SOON).await;
        assert!(matches!(peer(&server.split().0), Peer::Silent));
        // What it did not read makes its close a reset.
        server.write_all(b"reply").await?;
        tokio::time::sleep(SOON).await;
        drop(client);
        tokio::time::sleep(SOON).await;
        assert!(matches!(peer(&server.split().0), Peer::Gone));
        Ok(())
    }
}
