//! Who uses the folder: a sign of life that others watch. It decides nothing: the journal's exclusive objects do. It says
//! whether a start should wait, give up, or go on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{client::FilerClient, error::FilerError};
use crate::{clock::Clock, storage::StorageError};

/// `owners/{epoch}` on the filer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) name: String,
    /// Counts signs of life.
    pub(super) beat: u64,
    /// It has stopped and left everything in order.
    pub(super) has_left: bool,
}

/// Returns when nobody uses the folder: at once where nobody does or the last has left, else when the last one was silent
/// for `lease`. An error names the one that is alive.
pub(super) async fn await_silence(
    client: &FilerClient,
    clock: &dyn Clock,
    lease: Duration,
) -> Result<(), StorageError> {
    let Some((epoch, mut seen)) = latest(client).await? else { return Ok(()) };
    if seen.has_left {
        return Ok(());
    }
    tracing::info!(owner = %seen.name, ?lease, "waiting whether the gateway that used this filer is gone");
    let mut since = clock.monotonic();
    let mut beats = 0;
    while clock.monotonic().saturating_sub(since) < lease {
        tokio::time::sleep(lease / POLLS_A_LEASE).await;
        let Some((now_epoch, now)) = latest(client).await? else { return Ok(()) };
        if now.has_left {
            return Ok(());
        }
        if now_epoch != epoch || now.beat != seen.beat {
            beats += 1;
            since = clock.monotonic();
        }
        // Its last sign of life may have been on its way.
        if now_epoch != epoch || beats > 1 {
            return Err(StorageError::Unavailable(format!(
                "the filer's folder {} is in use by {}; one gateway at a time",
                client.folder(),
                now.name
            )));
        }
        seen = now;
    }
    Ok(())
}

/// The owner of the highest epoch.
async fn latest(client: &FilerClient) -> Result<Option<(u64, Owner)>, FilerError> {
    let epochs = client.list(FOLDER, "").await?.into_iter().filter_map(|entry| entry.name.parse::<u64>().ok());
    let Some(epoch) = epochs.max() else { return Ok(None) };
    let found = client.get(&path(epoch), OWNER_BYTES_MAX).await?;
    let owner = found.and_then(|found| serde_json::from_slice(&found.bytes).ok());
    Ok(owner.map(|owner| (epoch, owner)))
}

/// Gives signs of life for one epoch.
pub(super) struct Heart {
    client: Arc<FilerClient>,
    epoch: u64,
    name: String,
}

impl Heart {
    pub(super) fn new(client: Arc<FilerClient>, epoch: u64, name: String) -> Self {
        Self { client, epoch, name }
    }

    /// Tells that this gateway is alive, and answers whether it still is the last one that started.
    pub(super) async fn beat(&self, beat: u64) -> Result<bool, FilerError> {
        self.tell(beat, false).await?;
        let later = self.client.list(FOLDER, &format!("{:020}", self.epoch)).await?;
        Ok(!later.iter().any(|entry| entry.name.parse::<u64>().is_ok_and(|epoch| epoch > self.epoch)))
    }

    /// Tells that it has stopped, so that nobody need wait.
    pub(super) async fn leave(&self) -> Result<(), FilerError> {
        self.tell(u64::MAX, true).await
    }

    /// Removes the signs of those before.
    pub(super) async fn forget_predecessors(&self) -> Result<(), FilerError> {
        for entry in self.client.list(FOLDER, "").await? {
            if entry.name.parse::<u64>().is_ok_and(|epoch| epoch < self.epoch) {
                self.client.delete(&format!("{FOLDER}/{}", entry.name)).await?;
            }
        }
        Ok(())
    }

    async fn tell(&self, beat: u64, has_left: bool) -> Result<(), FilerError> {
        let owner = Owner { name: self.name.clone(), beat, has_left };
        let json = serde_json::to_vec(&owner).map_err(|error| FilerError::Corrupt(error.to_string()))?;
        self.client.put_once(&path(self.epoch), Bytes::from(json), None).await
    }
}

fn path(epoch: u64) -> String {
    format!("{FOLDER}/{epoch:020}")
}

const FOLDER: &str = "owners";
const POLLS_A_LEASE: u32 = 12;
const OWNER_BYTES_MAX: usize = 64 << 10;
