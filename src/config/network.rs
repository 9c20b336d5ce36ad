//! Limits of connections and requests.

use super::{
    definition::{
        Check::{AtLeast, Between},
        ConfigType::{Int, Long},
        Definition,
    },
    table::MS_MAX,
};

pub(super) static NETWORK: &[Definition] = &[
    Definition::unset(
        "num.network.threads",
        Int,
        "4",
        Between(1, 1024),
        "Threads that serve connections; each connection stays on one of them. By default one for every two processors.",
    ),
    Definition::new(
        "max.connections",
        Int,
        "20000",
        Between(1, 1_000_000),
        "Open connections; further ones are closed.",
    ),
    Definition::new(
        "connections.max.idle.ms",
        Long,
        "600000",
        Between(1, MS_MAX),
        "A connection silent for so long is closed.",
    ),
    Definition::new(
        "socket.send.buffer.bytes",
        Int,
        "102400",
        AtLeast(-1),
        "The kernel's buffer for replies on each connection (SO_SNDBUF); -1 leaves it to the kernel. Where round trips \
         take long, more of it sends faster; on a local network more is slower.",
    ),
    Definition::new(
        "socket.receive.buffer.bytes",
        Int,
        "262144",
        AtLeast(-1),
        "The kernel's buffer for requests on each connection (SO_RCVBUF); -1 leaves it to the kernel.",
    ),
    Definition::new(
        "socket.request.max.bytes",
        Int,
        "104857600",
        AtLeast(1024),
        "Size of a request; a larger one closes its connection.",
    ),
    Definition::new(
        "queued.max.request.bytes",
        Long,
        "268435456",
        Between(1024, 1 << 50),
        "Request bytes in memory at once, of all connections together; above it reading waits.",
    ),
    Definition::new(
        "max.in.flight.requests.per.connection",
        Int,
        "64",
        Between(1, 10_000),
        "Requests of one connection that may wait for their answer; above it reading waits.",
    ),
    Definition::new(
        "request.read.timeout.ms",
        Int,
        "30000",
        AtLeast(1),
        "How long a request may take to arrive once its first byte is there.",
    ),
];
