//! The threads of the network (`num.network.threads`).
//!
//! A connection stays on one of them, and each is told of its own connections only: the thread that learns of a request
//! is the one that reads, answers and sends, and no other is woken for it
//! (docs/decisions/0014-a-connection-stays-on-one-thread.md).

use std::{io, sync::Arc};

use tokio::runtime::{Builder, Handle, Runtime};

/// Runtimes of one thread each. Once this is dropped they end, and with them what runs on them, soon after.
pub struct Threads {
    threads: Vec<Thread>,
}

struct Thread {
    runtime: Runtime,
    /// Each of its connections has one more of it.
    place: Place,
}

/// Counts one connection until this is dropped.
pub(super) type Place = Arc<()>;

impl Threads {
    /// Starts `count` threads, at least one.
    pub fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count.max(1)).map(|_| Thread::start()).collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// A place on the thread with the fewest connections; none only while there are no threads.
    pub(super) fn place(&self) -> Option<(&Handle, Place)> {
        let fewest = self.threads.iter().min_by_key(|thread| thread.connections())?;
        Some((fewest.runtime.handle(), Arc::clone(&fewest.place)))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.threads.drain(..).for_each(|thread| thread.runtime.shutdown_background());
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        // Not a current-thread runtime: only in this kind may what takes long have its thread for a while.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("network").enable_all().build()?;
        Ok(Self { runtime, place: Place::default() })
    }

    fn connections(&self) -> usize {
        Arc::strong_count(&self.place) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_the_fewest_are() {
        let threads = Threads::start(2).unwrap();
        let counts = || threads.threads.iter().map(Thread::connections).collect::<Vec<_>>();
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
