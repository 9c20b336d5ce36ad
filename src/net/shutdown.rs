//! The word to stop, from the composition root to whoever serves.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

/// Gives the word.
pub struct Stop {
    sender: watch::Sender<bool>,
    is_given: Arc<AtomicBool>,
}

/// Hears the word: take no further request, and end when what is in flight was answered.
#[derive(Clone)]
pub struct Shutdown {
    receiver: watch::Receiver<bool>,
    /// The same once more, because reading a channel writes to memory that all connections share.
    is_given: Arc<AtomicBool>,
}

impl Stop {
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        let is_given = Arc::new(AtomicBool::new(false));
        (Self { sender, is_given: Arc::clone(&is_given) }, Shutdown { receiver, is_given })
    }

    pub fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.sender.send_replace(true);
    }
}

impl Shutdown {
    pub fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }

    /// Resolves once the word was given, or nobody is left to give it. Cancel safe.
    pub async fn given(&mut self) {
        // The guard that `wait_for` answers with is not `Send`: it must not reach the caller.
        drop(self.receiver.wait_for(|given| *given).await);
    }
}
