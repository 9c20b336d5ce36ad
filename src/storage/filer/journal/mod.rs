//! The journal on the filer: one object for everything that waits, numbered without a gap.
//!
//! ```text
//! append → queue → object {number}: created exclusively, several under way → completions, in the order of the numbers
//! wal/00000000000000000001-00000000000000000093-…   wal/00000000000000000094   wal/00000000000000000095
//! ```
//!
//! - *Whoever creates a number owns it.* A gateway that starts reads the journal to its end and creates the next number, a
//!   fence, before it does anything else. The one before cannot create that number any more, so nothing it writes from
//!   then on is ever acknowledged, whatever its clock says. Fences are never removed: the name must not become free.
//! - *Objects are merged, never rewritten.* The records are keyed and the latest wins, so neighbours can be replaced by one
//!   object with what is left of them. It is written first, and covers them from then on; then they are removed.
//! - *All that lives is in memory*, which is what merged objects are made of and what replays answer.

mod engine;
mod live;
mod names;
mod object;
mod store;
mod takeover;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

pub(super) use self::engine::{Engine, Pending};
use self::store::Store;
use super::{
    client::FilerClient,
    exclusive::Exclusive,
    owner::{self, Heart},
    runtime::FilerRuntime,
};
use crate::{
    clock::Clock,
    config::FilerSettings,
    storage::{Completion, Durable, Journal, JournalRecord, OrderedJournal, ShardId, StorageError},
};

/// The journal of the filer backend. Dropping it leaves the folder to the next gateway, as closing it does.
pub struct FilerJournal {
    engine: Arc<Engine>,
    runtime: Arc<FilerRuntime>,
    close_patience: Duration,
}

impl FilerJournal {
    /// Waits until nobody else uses the folder, reads the journal, and makes it this gateway's. `name` is what others are
    /// told of it; it must be different for each start.
    pub(super) async fn open(
        settings: &FilerSettings,
        client: Arc<FilerClient>,
        runtime: Arc<FilerRuntime>,
        clock: Arc<dyn Clock>,
        name: String,
    ) -> Result<Self, StorageError> {
        let close_patience = settings.timeout * 2;
        let (settings, handle) = (settings.clone(), runtime.handle().clone());
        let engine = runtime
            .run(async move {
                owner::await_silence(&client, &*clock, settings.lease).await?;
                let exclusive = Exclusive::new(&settings, client.tls(), Arc::clone(&clock))?;
                let store = Store::new(Arc::clone(&client), exclusive);
                let begun = takeover::take_over(&store, &name).await?;
                let heart = Heart::new(client, begun.epoch, name);
                heart.beat(0).await?;
                Ok(Engine::start(settings, clock, store, heart, begun, &handle))
            })
            .await?;
        Ok(Self { engine, runtime, close_patience })
    }

    /// Resolves with the reason when another gateway has taken over; this one must end.
    pub async fn lost(&self) -> StorageError {
        self.engine.lost().await
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

impl OrderedJournal for FilerJournal {
    fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion) {
        if let Err((error, done)) = self.engine.append(Pending::new(shard, records, done)) {
            done(Err(error));
        }
    }
}

#[async_trait]
impl Journal for FilerJournal {
    fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable {
        let (tell, told) = oneshot::channel();
        // Nobody listens when the caller has given up; the append stands.
        self.append_then(shard, records, Box::new(move |outcome| drop(tell.send(outcome))));
        Box::pin(async move { told.await.unwrap_or(Err(StorageError::Closed)) })
    }

    async fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.engine.replay(shard)
    }

    fn health(&self) -> Result<(), StorageError> {
        self.engine.health()
    }

    async fn close(&self) -> Result<(), StorageError> {
        let engine = Arc::clone(&self.engine);
        self.runtime.run(async move { engine.close().await }).await
    }
}

impl Drop for FilerJournal {
    fn drop(&mut self) {
        let engine = Arc::clone(&self.engine);
        if let Err(error) = self.runtime.block_on(Some(self.close_patience), async move { engine.close().await }) {
            tracing::warn!(%error, "the filer's folder was not left in order; the next gateway waits for the lease");
        }
    }
}
