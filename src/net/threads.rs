//! The threads of the network (`num.network.threads`).
//!
//! A connection stays on one of them, and each is told of its own connections only: the thread that learns of a request
//! is the one that reads, answers and sends, and no other is woken for it
//! (docs/decisions/0014-a-connection-stays-on-one-thread.md).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::{Builder, Handle, Runtime};

/// Runtimes of one thread each. Once this is dropped they end, and with them what runs on them, soon after.
pub struct Threads {
    threads: Vec<Thread>,
}

struct Thread {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    connections: Arc<AtomicUsize>,
}

/// Where one connection runs, and counts until this is dropped.
pub(super) struct Place {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Threads {
    /// Starts `count` threads, at least one.
    pub fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count.max(1)).map(|_| Thread::start()).collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// A place on the thread with the fewest connections; none only while there are no threads.
    pub(super) fn place(&self) -> Option<Place> {
        let fewest = self.threads.iter().min_by_key(|thread| thread.connections.load(Ordering::Relaxed))?;
        let runtime = fewest.runtime.as_ref()?.handle().clone();
        fewest.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place { runtime, connections: Arc::clone(&fewest.connections) })
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        // Not a current-thread runtime: only in this kind may what takes long have its thread for a while.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("network").enable_all().build()?;
        Ok(Self { runtime: Some(runtime), connections: Arc::default() })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_the_fewest_are() {
        let threads = Threads::start(2).unwrap();
        let counts =
            || threads.threads.iter().map(|thread| thread.connections.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut places: Vec<_> = (0..5).map(|_| threads.place().unwrap()).collect();
        assert_eq!(counts(), [3, 2]);
        // Those of the first thread leave.
        let mut turn = 0..;
        places.retain(|_| turn.next().is_some_and(|index| index % 2 == 1));
        assert_eq!(counts(), [0, 2]);
        let more: Vec<_> = (0..2).map(|_| threads.place().unwrap()).collect();
        assert_eq!(counts(), [2, 2]);
        drop(more);
    }
}
