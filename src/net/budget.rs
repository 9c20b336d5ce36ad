//! Memory that request frames may hold, over all connections.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Bytes of requests that may be in memory at once (`queued.max.request.bytes`).
///
/// Frames take their memory in steps and keep it while they wait for more, so all of it can be in frames of which none
/// is complete. To keep them from waiting for each other, one frame at a time may go beyond the budget.
#[derive(Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
    patience: Duration,
}

impl Budget {
    /// A budget of `bytes_max`; a frame that still waits for memory at twice the age of `patience` is given up.
    pub(super) fn new(bytes_max: u64, patience: Duration) -> Self {
        let units = usize::try_from(bytes_max / UNIT_BYTES).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), overdraft: Arc::new(Semaphore::new(1)), patience }
    }

    /// What a frame holds before it has asked for anything.
    pub(super) fn none(&self) -> Charge {
        Charge::default()
    }

    /// Lets `charge` grow to at least `bytes`, waiting for others to give memory back. Cancel safe: its place in the
    /// queue and its deadline are kept in the charge. The deadline counts from when the frame `began`: those that
    /// stopped halfway before it run out of theirs before it does.
    pub(super) async fn grow(&self, charge: &mut Charge, bytes: u64, began: Instant) -> Result<(), BudgetExhausted> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        while let Some(missing) = charge.missing(wanted) {
            let units = Arc::clone(&self.units);
            if charge.pending.is_none()
                && let Ok(permit) = units.try_acquire_many_owned(missing)
            {
                charge.add(Granted::Units(permit));
                continue;
            }
            let granted = charge.pending.get_or_insert_with(|| Box::pin(self.clone().wait(missing, began))).await;
            charge.pending = None;
            charge.add(granted?);
        }
        Ok(())
    }

    async fn wait(self, units: u32, began: Instant) -> Result<Granted, BudgetExhausted> {
        let granted = async {
            tokio::select! {
                biased;
                permit = self.units.acquire_many_owned(units) => permit.map(Granted::Units),
                permit = self.overdraft.acquire_owned() => permit.map(Granted::Overdraft),
            }
        };
        let granted = tokio::time::timeout_at(began + self.patience * 2, granted).await;
        granted.map_err(|_| BudgetExhausted)?.map_err(|_| BudgetExhausted)
    }
}

type Wait = Pin<Box<dyn Future<Output = Result<Granted, BudgetExhausted>> + Send>>;

/// What a frame that waited was given.
enum Granted {
    Units(OwnedSemaphorePermit),
    /// Whatever it still needs.
    Overdraft(OwnedSemaphorePermit),
}

/// Memory taken from the budget; given back when dropped.
#[derive(Default)]
pub(super) struct Charge {
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
    pending: Option<Wait>,
}

impl Charge {
    /// Whether others may be waiting for what this holds, or was given while nobody looked.
    pub(super) fn is_held(&self) -> bool {
        self.permit.is_some() || self.overdraft.is_some() || self.pending.is_some()
    }

    /// Whether its frame cannot go on for want of memory.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// How many units are to be acquired for `wanted`, if any.
    fn missing(&self, wanted: u32) -> Option<u32> {
        let held = self.permit.as_ref().map_or(0, |permit| u32::try_from(permit.num_permits()).unwrap_or(u32::MAX));
        wanted.checked_sub(held).filter(|&missing| missing > 0 && self.overdraft.is_none())
    }

    fn add(&mut self, granted: Granted) {
        match (granted, &mut self.permit) {
            (Granted::Overdraft(permit), _) => self.overdraft = Some(permit),
            (Granted::Units(permit), Some(held)) => held.merge(permit),
            (Granted::Units(permit), none) => *none = Some(permit),
        }
    }
}

/// Nobody gave memory back for too long.
#[derive(Debug, thiserror::Error)]
#[error("no memory for the request within the time allowed (queued.max.request.bytes)")]
pub(super) struct BudgetExhausted;

const UNIT_BYTES: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);
    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn frames_that_hold_everything_are_completed_one_after_the_other() {
        let budget = Budget::new(4 * UNIT_BYTES, PATIENCE);
        let (mut first, mut second) = (budget.none(), budget.none());
        assert!(budget.grow(&mut first, 2 * UNIT_BYTES, Instant::now()).await.is_ok());
        assert!(budget.grow(&mut second, 2 * UNIT_BYTES, Instant::now()).await.is_ok());
        assert!(budget.grow(&mut first, 4 * UNIT_BYTES, Instant::now()).await.is_ok(), "one may go beyond");
        assert!(budget.grow(&mut first, 8 * UNIT_BYTES, Instant::now()).await.is_ok(), "up to its end");
        let waiting = tokio::time::timeout(SOON, budget.grow(&mut second, 4 * UNIT_BYTES, Instant::now())).await;
        assert!(waiting.is_err(), "but not two");
        drop(first);
        assert!(budget.grow(&mut second, 4 * UNIT_BYTES, Instant::now()).await.is_ok());
        drop(second);
        assert_eq!((budget.units.available_permits(), budget.overdraft.available_permits()), (4, 1));
    }

    #[tokio::test]
    async fn a_wait_that_is_cancelled_again_and_again_ends_in_time() {
        let budget = Budget::new(UNIT_BYTES, PATIENCE);
        let (mut all, mut beyond, mut late) = (budget.none(), budget.none(), budget.none());
        assert!(budget.grow(&mut all, UNIT_BYTES, Instant::now()).await.is_ok());
        assert!(budget.grow(&mut beyond, UNIT_BYTES, Instant::now()).await.is_ok());
        let began = Instant::now();
        while tokio::time::timeout(SOON, budget.grow(&mut late, UNIT_BYTES, Instant::now())).await.is_err() {
            assert!(began.elapsed() < 10 * PATIENCE, "the deadline starts anew");
        }
        assert!(budget.grow(&mut late, 0, Instant::now()).await.is_ok(), "nothing is owed for nothing");
    }
}
