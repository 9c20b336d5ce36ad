//! Memory that request frames may hold, over all connections.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests that may be in memory at once (`queued.max.request.bytes`).
#[derive(Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    patience: Duration,
}

impl Budget {
    /// A budget of `bytes_max`; a connection that waits for memory longer than `patience` is given up.
    pub(super) fn new(bytes_max: u64, patience: Duration) -> Self {
        let units = usize::try_from(bytes_max / UNIT_BYTES).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), patience }
    }

    /// What a frame holds before it has asked for anything.
    pub(super) fn none(&self) -> Charge {
        Charge { permit: None }
    }

    /// Lets `charge` grow to at least `bytes`, waiting for others to give memory back. Cancel safe.
    pub(super) async fn grow(&self, charge: &mut Charge, bytes: u64) -> Result<(), BudgetExhausted> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let held = charge.permit.as_ref().map_or(0, |permit| u32::try_from(permit.num_permits()).unwrap_or(u32::MAX));
        let Some(missing) = wanted.checked_sub(held).filter(|&missing| missing > 0) else { return Ok(()) };
        let acquired = match Arc::clone(&self.units).try_acquire_many_owned(missing) {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(self.patience, Arc::clone(&self.units).acquire_many_owned(missing))
                .await
                .map_err(|_| BudgetExhausted)?
                .map_err(|_| BudgetExhausted)?,
        };
        match &mut charge.permit {
            Some(permit) => permit.merge(acquired),
            none => *none = Some(acquired),
        }
        Ok(())
    }
}

/// Memory taken from the budget; given back when dropped.
#[derive(Default)]
pub(super) struct Charge {
    permit: Option<OwnedSemaphorePermit>,
}

/// Nobody gave memory back for too long.
#[derive(Debug, thiserror::Error)]
#[error("no memory for the request within the time allowed (queued.max.request.bytes)")]
pub(super) struct BudgetExhausted;

const UNIT_BYTES: u64 = 1024;
