//! Accepts connections and gives each a task; drains them when told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::net::sockopt::set_tcp_congestion;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tracing::{debug, info, warn};

use crate::{api::Gateway, config::NetSettings};

use super::{budget::Budget, connection, shutdown::Shutdown, threads::Threads};

/// A bound socket that serves the Kafka protocol.
pub struct Listener {
    socket: TcpListener,
    settings: NetSettings,
}

impl Listener {
    /// Binds `address`; port 0 takes a free port.
    pub fn bind(address: SocketAddr, settings: NetSettings) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit it: a peer whose machine is gone is noticed although nothing is sent to it.
        socket.set_keepalive(true)?;
        // So are the buffers. What the kernel would grow to is more than the processor's cache holds.
        if let Some(bytes) = settings.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = settings.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, settings })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves on `threads` until `shutdown` says stop, then waits for the connections, but not longer than the drain
    /// time.
    pub async fn run(self, gateway: Arc<Gateway>, threads: Arc<Threads>, mut shutdown: Shutdown) {
        let Self { socket, settings } = self;
        let slots = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
        let budget = Budget::new(settings.in_flight_bytes_max, settings.read_timeout);
        let settings = Arc::new(settings);
        let stopped = shutdown.clone();
        let mut connections = JoinSet::new();
        let mut refusing = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.given() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                }
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                            if !std::mem::replace(&mut refusing, true) {
                                warn!(%peer, "connections are refused: max.connections reached");
                            }
                            continue;
                        };
                        refusing = false;
                        let (Some(stream), Some((runtime, place))) = (released(stream, peer), threads.place()) else { continue };
                        let connection =
                            connection::serve(stream, peer, Arc::clone(&gateway), Arc::clone(&settings), budget.clone(), stopped.clone());
                        let connection = async move {
                            connection.await;
                            drop((slot, place));
                        };
                        connections.spawn_on(connection, runtime);
                    }
                    Err(error) => {
                        // Out of descriptors, mostly: the ones in use go on, and a pause keeps this from spinning.
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        info!(connections = connections.len(), "draining");
        let drained = tokio::time::timeout(settings.drain, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            info!(connections = connections.len(), "connections that did not end in time are cut");
        }
    }
}

/// Ready for the thread that will serve it.
fn released(stream: TcpStream, peer: SocketAddr) -> Option<std::net::TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    if is_on_this_machine(&stream, peer)
        && let Err(error) = set_tcp_congestion(&stream, CONGESTION_CONTROL_LOCAL)
    {
        debug!(%error, "cannot set TCP_CONGESTION");
    }
    stream.into_std().inspect_err(|error| warn!(%error, "cannot serve a connection")).ok()
}

fn is_on_this_machine(stream: &TcpStream, peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback() || stream.local_addr().is_ok_and(|local| local.ip() == peer.ip())
}

/// Nothing between two ends on one machine is ever congested. BBR, which some machines have for all connections, sends
/// at a pace all the same, and half as much. Every kernel has this one and lets every process use it.
const CONGESTION_CONTROL_LOCAL: &str = "reno";
const BACKLOG: u32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
