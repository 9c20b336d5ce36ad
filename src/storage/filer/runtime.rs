//! Threads of the filer backend's own. Callers may block on what these do, whichever thread they are on.

use std::{future::Future, sync::mpsc, time::Duration};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::storage::StorageError;

/// A small runtime; what runs on it ends when it is dropped.
pub(super) struct FilerRuntime {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl FilerRuntime {
    pub(super) fn start() -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("filer").enable_all().build();
        let runtime =
            runtime.map_err(|error| StorageError::Unavailable(format!("cannot start the filer's threads: {error}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` there and waits as a future.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.handle.spawn(work).await.unwrap_or(Err(StorageError::Closed))
    }

    /// Runs `work` there and blocks the calling thread, for no longer than `patience` where there is one.
    pub(super) fn block_on<T: Send + 'static>(
        &self,
        patience: Option<Duration>,
        work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.handle.spawn(async move { drop(tell.send(work.await)) });
        let answer = match patience {
            Some(patience) => told.recv_timeout(patience).ok(),
            None => told.recv().ok(),
        };
        answer.unwrap_or(Err(StorageError::Closed))
    }
}

impl Drop for FilerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

const THREADS: usize = 2;
