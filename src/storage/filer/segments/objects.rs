//! Objects of records on the filer: written once, read by ranges, removed when nobody reads them any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::cache::BlockCache;
use crate::storage::{
    StorageError,
    filer::{client::FilerClient, runtime::FilerRuntime},
};

/// Reads and removes objects.
pub(super) struct Objects {
    pub(super) client: Arc<FilerClient>,
    runtime: Arc<FilerRuntime>,
    cache: Arc<BlockCache>,
    next_serial: AtomicU64,
    garbage: mpsc::UnboundedSender<String>,
}

/// An object. Once nothing durable names it, it is doomed, and goes with the last reader.
pub(super) struct Object {
    /// Below the filer's folder.
    pub(super) path: String,
    serial: u64,
    is_doomed: AtomicBool,
    garbage: mpsc::UnboundedSender<String>,
}

impl Object {
    pub(super) fn doom(&self) {
        self.is_doomed.store(true, Ordering::Release);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.is_doomed.load(Ordering::Acquire) {
            // Nobody listens at the end of the process; the next start removes it.
            let _ = self.garbage.send(std::mem::take(&mut self.path));
        }
    }
}

impl Objects {
    pub(super) fn new(client: Arc<FilerClient>, runtime: Arc<FilerRuntime>, cache_bytes_max: u64) -> Self {
        let (garbage, doomed) = mpsc::unbounded_channel();
        runtime.handle().spawn(collect(Arc::clone(&client), doomed));
        let cache = Arc::new(BlockCache::new(cache_bytes_max));
        Self { client, runtime, cache, next_serial: AtomicU64::new(0), garbage }
    }

    pub(super) fn object(&self, path: String) -> Arc<Object> {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        Arc::new(Object { path, serial, is_doomed: AtomicBool::new(false), garbage: self.garbage.clone() })
    }

    /// Stores an object, in one attempt. Blocks. After an error it may be there all the same, and is removed.
    pub(super) fn store(&self, path: String, bytes: &Bytes, patience: Duration) -> Result<Arc<Object>, StorageError> {
        let (client, to, contents) = (Arc::clone(&self.client), path.clone(), bytes.clone());
        let put = async move {
            let stored = tokio::time::timeout(patience, client.put_once(&to, contents, None)).await;
            Ok(stored.map_err(|_| StorageError::Unavailable("the filer is too slow".to_owned()))??)
        };
        if let Err(error) = self.runtime.block_on(None, put) {
            let _ = self.garbage.send(path);
            return Err(error);
        }
        let object = self.object(path);
        self.remember(&object, bytes);
        Ok(object)
    }

    /// Keeps what was just written for those who read it soon.
    pub(super) fn remember(&self, object: &Object, bytes: &Bytes) {
        for (block, position) in (0..bytes.len()).step_by(BLOCK_BYTES).enumerate() {
            let end = bytes.len().min(position + BLOCK_BYTES);
            // A copy: a slice would keep all of it in memory.
            let copy = bytes.get(position..end).map(Bytes::copy_from_slice);
            self.cache.put((object.serial, block as u64), copy.unwrap_or_default());
        }
    }

    /// `length` bytes from `position` on of an object with `size` bytes. Blocks.
    pub(super) fn read(
        &self,
        object: &Arc<Object>,
        size: u64,
        position: u64,
        length: usize,
    ) -> Result<Bytes, StorageError> {
        let end = position + length as u64;
        let mut bytes = BytesMut::new();
        let mut at = position;
        while at < end {
            let index = at / BLOCK_BYTES as u64;
            let begin = index * BLOCK_BYTES as u64;
            let block = self.block(object, size, index)?;
            let from = usize::try_from(at - begin).unwrap_or(usize::MAX);
            let to = usize::try_from(end - begin).unwrap_or(usize::MAX).min(block.len());
            let Some(part) = block.get(from..to).filter(|part| !part.is_empty()) else {
                return Err(StorageError::Corrupt(format!("{} ends too early", object.path)));
            };
            at += part.len() as u64;
            if at == end && bytes.is_empty() {
                return Ok(block.slice(from..to));
            }
            bytes.extend_from_slice(part);
        }
        Ok(bytes.freeze())
    }

    fn block(&self, object: &Arc<Object>, size: u64, index: u64) -> Result<Bytes, StorageError> {
        if let Some(block) = self.cache.get((object.serial, index)) {
            return Ok(block);
        }
        let block = self.runtime.block_on(None, fetch(self.fetched(object), size, index))?;
        // Whoever reads one block usually reads on.
        if (index + 1) * (BLOCK_BYTES as u64) < size {
            self.runtime.handle().spawn(fetch(self.fetched(object), size, index + 1));
        }
        Ok(block)
    }

    fn fetched(&self, object: &Arc<Object>) -> Fetched {
        Fetched { client: Arc::clone(&self.client), cache: Arc::clone(&self.cache), object: Arc::clone(object) }
    }
}

struct Fetched {
    client: Arc<FilerClient>,
    cache: Arc<BlockCache>,
    object: Arc<Object>,
}

async fn fetch(from: Fetched, size: u64, index: u64) -> Result<Bytes, StorageError> {
    let position = index * BLOCK_BYTES as u64;
    let length = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX).min(BLOCK_BYTES);
    let bytes = from.client.get_range(&from.object.path, position, length).await?;
    from.cache.put((from.object.serial, index), bytes.clone());
    Ok(bytes)
}

/// Removes objects one by one; what fails is left to the next start.
async fn collect(client: Arc<FilerClient>, mut doomed: mpsc::UnboundedReceiver<String>) {
    while let Some(path) = doomed.recv().await {
        if let Err(error) = client.delete(&path).await {
            tracing::warn!(%error, path, "an object is left over; the next start removes it");
        }
    }
}

const BLOCK_BYTES: usize = 1 << 20;
