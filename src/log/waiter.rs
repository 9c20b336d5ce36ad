//! Long polls that wait for a log to change.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One request that waits on any number of logs. A wake-up between two waits is not lost.
#[derive(Debug, Default)]
pub struct Waiter {
    notify: Notify,
}

impl Waiter {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Resolves after the first [`wake`](Self::wake) since the last wait ended.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    pub fn wake(&self) {
        self.notify.notify_one();
    }
}

/// The waiters of one log, held weakly: dropping the waiter ends its registration.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Mutex<Vec<Weak<Waiter>>>,
}

impl Waiters {
    pub(super) fn register(&self, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        // Each long poll leaves one entry behind; they go whenever the list would have to grow.
        if list.len() == list.capacity() {
            list.retain(|waiter| waiter.strong_count() > 0);
        }
        list.push(Arc::downgrade(waiter));
    }

    pub(super) fn wake_all(&self) {
        let mut list = self.list.lock();
        list.retain(|waiter| match waiter.upgrade() {
            Some(waiter) => {
                waiter.wake();
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_that_gave_up_are_forgotten() {
        let waiters = Waiters::default();
        for _ in 0..10_000 {
            waiters.register(&Waiter::new());
        }
        assert!(waiters.list.lock().capacity() <= 8);
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let waiters = Waiters::default();
        let waiter = Waiter::new();
        waiters.register(&waiter);
        waiters.wake_all();
        waiter.wait().await;
    }
}
