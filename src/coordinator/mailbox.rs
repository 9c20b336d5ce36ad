//! A shard's mailbox, and who works it off: whoever puts a request into it while nobody does.
//!
//! Mostly that is the one who asks. His request is stepped, stored and answered before his call returns, and no other
//! task wakes up for it. Where storage has to be waited for, or there is no end to it, the work goes on in a task of its
//! own; whoever asks meanwhile leaves his request and goes.

use std::{
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tracing::error;

use super::{
    GroupError, Reply,
    gate::Gate,
    shard::{Answer, Ask, Message, NEVER_MS, Shard},
};
use crate::clock::{Clock, monotonic_ms};

pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    pub gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    /// For [`keep_time`](Self::keep_time).
    alarm: Notify,
}

struct Inner {
    waiting: Vec<Message>,
    shard: Seat,
    /// When the timekeeper wakes up by itself.
    alarm_at_ms: u64,
}

/// What the timekeeper has to do.
enum Due {
    Now(Shift),
    At(u64),
    NeverAgain,
}

/// Where the shard is.
enum Seat {
    Idle(Box<Shard>),
    AtWork,
    /// It was shut down, or panicked.
    Gone,
}

impl Mailbox {
    pub fn new(shard: Shard, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { waiting: Vec::new(), shard: Seat::Idle(Box::new(shard)), alarm_at_ms: NEVER_MS };
        Self { inner: Mutex::new(inner), gate, clock, alarm: Notify::new() }
    }

    /// Puts a request in and, if nobody does, works it off as far as that goes without waiting. The answer comes on the
    /// channel.
    pub fn ask(self: &Arc<Self>, ask: Ask) -> Result<oneshot::Receiver<Result<Reply, GroupError>>, GroupError> {
        let mut inner = self.inner.lock();
        if matches!(inner.shard, Seat::Gone) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if inner.waiting.len() >= SIZE_MAX {
            return Err(GroupError::CoordinatorLoadInProgress);
        }
        let (sender, receiver) = oneshot::channel();
        let change = ask.changes_offsets().then(|| self.gate.announce_change());
        inner.waiting.push(Message::Ask { ask, answer: Answer::new(sender, change) });
        if let Some(shift) = self.begin(inner) {
            let mut work = Box::pin(shift.work());
            // The request that panics may be another's: it is the shard that goes, and not the one who asks.
            let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
            // What is not done by now is polled again, by the task that it becomes.
            if matches!(polled, Ok(Poll::Pending)) {
                tokio::spawn(work);
            }
        }
        Ok(receiver)
    }

    /// Puts in what need not be answered before the call returns, however many wait. A shard that is gone needs no word.
    pub fn tell(&self, message: Message) {
        let mut inner = self.inner.lock();
        if !matches!(inner.shard, Seat::Gone) {
            inner.waiting.push(message);
            drop(inner);
            self.alarm.notify_one();
        }
    }

    /// Does what time alone brings, and what was told; until the shard is gone.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let now_ms = monotonic_ms(&*self.clock);
            match self.due(now_ms) {
                Due::Now(shift) => {
                    shift.work().await;
                    // A shard with much to do of itself leaves room for others.
                    tokio::task::yield_now().await;
                }
                Due::At(alarm_at_ms) => {
                    tokio::select! {
                        () = self.alarm.notified() => {}
                        () = sleep(alarm_at_ms, now_ms) => {}
                    }
                }
                Due::NeverAgain => return,
            }
        }
    }

    fn due(self: &Arc<Self>, now_ms: u64) -> Due {
        let mut inner = self.inner.lock();
        inner.alarm_at_ms = match &inner.shard {
            Seat::Gone => return Due::NeverAgain,
            // Who has it looks at the time as well, and says when the next alarm is due.
            Seat::AtWork => NEVER_MS,
            Seat::Idle(_) if !inner.waiting.is_empty() => now_ms,
            Seat::Idle(shard) => shard.wake_at_ms(),
        };
        let alarm_at_ms = inner.alarm_at_ms;
        match (alarm_at_ms <= now_ms).then(|| self.begin(inner)).flatten() {
            Some(shift) => Due::Now(shift),
            None => Due::At(alarm_at_ms),
        }
    }

    /// Takes the shard to work, with all that waits for it; none when it is at work already.
    fn begin(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) -> Option<Shift> {
        match std::mem::replace(&mut inner.shard, Seat::AtWork) {
            Seat::Idle(shard) => {
                let inbox = std::mem::take(&mut inner.waiting);
                Some(Shift { mailbox: Arc::clone(self), shard: Some(shard), inbox })
            }
            other => {
                inner.shard = other;
                None
            }
        }
    }
}

/// The shard at work. If it is not brought back, it is gone, and so is whatever waits for it.
struct Shift {
    mailbox: Arc<Mailbox>,
    shard: Option<Box<Shard>>,
    inbox: Vec<Message>,
}

impl Shift {
    /// Rounds until nothing waits.
    async fn work(mut self) {
        let mut rounds = 0;
        while let Some(shard) = &mut self.shard {
            if !shard.round(&mut self.inbox).await {
                break;
            }
            if self.finish() {
                return;
            }
            rounds += 1;
            if rounds >= ROUNDS_MAX {
                // One who asks should not work for all others for ever.
                rounds = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Brings the shard back, unless something has come in meanwhile.
    fn finish(&mut self) -> bool {
        let Some(shard) = self.shard.take() else { return true };
        let wake_at_ms = shard.wake_at_ms();
        let mut inner = self.mailbox.inner.lock();
        if !inner.waiting.is_empty() {
            std::mem::swap(&mut inner.waiting, &mut self.inbox);
            self.shard = Some(shard);
            return false;
        }
        inner.shard = Seat::Idle(shard);
        let sooner = wake_at_ms < inner.alarm_at_ms;
        drop(inner);
        if sooner {
            self.mailbox.alarm.notify_one();
        }
        true
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        let Some(shard) = self.shard.take() else { return };
        self.mailbox.gate.set_open(false);
        if !shard.has_ended() {
            error!("a coordinator shard ended abnormally");
        }
        let mut inner = self.mailbox.inner.lock();
        inner.shard = Seat::Gone;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        // Its senders tell those who wait.
        drop((waiting, shard));
        self.mailbox.alarm.notify_one();
    }
}

async fn sleep(until_ms: u64, now_ms: u64) {
    match until_ms {
        NEVER_MS => pending().await,
        _ => tokio::time::sleep(Duration::from_millis(until_ms.saturating_sub(now_ms))).await,
    }
}

/// Requests that may wait for one shard; more are told to come back.
pub(super) const SIZE_MAX: usize = 4096;
/// Rounds in a row before the one who works lets others have its thread.
const ROUNDS_MAX: u32 = 8;
