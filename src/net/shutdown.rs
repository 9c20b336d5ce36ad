//! The word to stop, from the composition root to whoever serves.

use tokio::sync::watch;

/// Gives the word.
pub struct Stop(watch::Sender<bool>);

/// Hears the word: take no further request, and end when what is in flight was answered.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Stop {
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    pub fn give(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    pub fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once the word was given, or nobody is left to give it. Cancel safe.
    pub async fn given(&mut self) {
        // The guard that `wait_for` answers with is not `Send`: it must not reach the caller.
        drop(self.0.wait_for(|given| *given).await);
    }
}
