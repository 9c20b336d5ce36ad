//! Accepts connections and gives each a task; drains them when told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
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
    /// The machine's congestion control, where accepted sockets inherit another from the listener's.
    congestion_control: Option<String>,
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
        let congestion_control = set_local_congestion_control(&socket)
            .inspect_err(|error| debug!(%error, "connections from this machine keep its congestion control"))
            .unwrap_or_default();
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, settings, congestion_control })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves on `threads` until `shutdown` says stop, then waits for the connections, but not longer than the drain
    /// time.
    pub async fn run(self, gateway: Arc<Gateway>, threads: Arc<Threads>, mut shutdown: Shutdown) {
        let Self { socket, settings, congestion_control } = self;
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
                        let released = released(stream, peer, congestion_control.as_deref());
                        let (Some(stream), Some((runtime, place))) = (released, threads.place()) else { continue };
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

/// For connections from this machine, and answers what others are to have in its place. Set here and not on the accepted
/// socket: one that began with BBR stays paced (docs/decisions/0015-connections-from-this-machine-are-not-paced.md).
fn set_local_congestion_control(listener: &TcpSocket) -> io::Result<Option<String>> {
    let usual = tcp_congestion(listener)?;
    if usual == CONGESTION_CONTROL_LOCAL {
        return Ok(None);
    }
    set_tcp_congestion(listener, CONGESTION_CONTROL_LOCAL)?;
    Ok(Some(usual))
}

/// Ready for the thread that will serve it; with `congestion_control` if it is from another machine.
fn released(stream: TcpStream, peer: SocketAddr, congestion_control: Option<&str>) -> Option<std::net::TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    if let Some(usual) = congestion_control
        && !stream.local_addr().is_ok_and(|local| is_on_this_machine(local, peer))
        && let Err(error) = set_tcp_congestion(&stream, usual)
    {
        debug!(%error, "cannot set TCP_CONGESTION");
    }
    stream.into_std().inspect_err(|error| warn!(%error, "cannot serve a connection")).ok()
}

fn is_on_this_machine(local: SocketAddr, peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback() || local.ip() == peer.ip()
}

/// Every kernel has it, and it sends what it has. Nothing between two ends on one machine is ever congested.
const CONGESTION_CONTROL_LOCAL: &str = "reno";
const BACKLOG: u32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_on_this_machine_when_nothing_is_between() {
        let cases = [
            ("192.0.2.1:9092", "192.0.2.1:40000", true),
            ("127.0.0.1:9092", "127.0.0.7:40000", true),
            ("[::1]:9092", "[::1]:40000", true),
            ("[::ffff:127.0.0.1]:9092", "[::ffff:127.0.0.1]:40000", true),
            ("192.0.2.1:9092", "192.0.2.2:40000", false),
            ("[2001:db8::1]:9092", "[2001:db8::2]:40000", false),
        ];
        for (local, peer, expected) in cases {
            assert_eq!(is_on_this_machine(local.parse().unwrap(), peer.parse().unwrap()), expected, "{local} {peer}");
        }
    }

    #[tokio::test]
    async fn a_connection_has_the_congestion_control_of_where_it_comes_from() {
        let listener = TcpSocket::new_v4().unwrap();
        let machine = tcp_congestion(&listener).unwrap();
        let usual = set_local_congestion_control(&listener).unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        for (peer, expected) in [("127.0.0.1:1", CONGESTION_CONTROL_LOCAL), ("192.0.2.1:1", machine.as_str())] {
            let _client = TcpStream::connect(address).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let released = released(accepted, peer.parse().unwrap(), usual.as_deref()).unwrap();
            assert_eq!(tcp_congestion(&released).unwrap(), expected);
        }
    }
}
