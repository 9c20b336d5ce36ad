//! What all files of the store have in common: the way to the journal, and a bound on what is in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::{manifest::FILES, objects::Objects};
use crate::storage::{
    JournalRecord, StorageError,
    filer::journal::{Engine, Pending},
};

/// What all files share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) objects: Objects,
    /// Of the objects that this gateway stores.
    pub(super) next_number: AtomicU64,
    /// Bytes of all files that are not objects yet.
    pub(super) held_bytes: AtomicU64,
    pub(super) held_bytes_max: u64,
    /// There may be something to upload.
    pub(super) grown: Notify,
    /// There is room again.
    pub(super) shrunk: Condvar,
    pub(super) shrinking: Mutex<()>,
    pub(super) patience: Duration,
}

/// An append to the journal that somebody waits for.
pub(super) struct Ticket(std::sync::mpsc::Receiver<Result<(), StorageError>>);

impl Ticket {
    pub(super) fn wait(self) -> Result<(), StorageError> {
        self.0.recv().unwrap_or(Err(StorageError::Closed))
    }
}

impl Shared {
    /// Takes a place in the journal's order; what is accepted is stored sooner or later.
    pub(super) fn log(
        &self,
        records: Vec<JournalRecord>,
        then: impl FnOnce(bool) + Send + 'static,
    ) -> Result<Ticket, StorageError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let done = move |outcome: Result<(), StorageError>| {
            then(outcome.is_ok());
            let _ = tell.try_send(outcome);
        };
        match self.engine.append(Pending::new(FILES, records, Box::new(done))) {
            Ok(()) => Ok(Ticket(told)),
            // Nobody must hear of it twice.
            Err((error, _)) => Err(error),
        }
    }

    /// Waits until everything that was logged is durable.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        self.log(Vec::new(), |_| ())?.wait()
    }

    /// A name that no other object has: of this start of the gateway, and numbered in it.
    pub(super) fn object_path(&self, stem: &str) -> String {
        let (epoch, number) = (self.engine.epoch(), self.next_number.fetch_add(1, Ordering::Relaxed));
        format!("{stem}.{epoch:020}.{number:010}")
    }

    pub(super) fn held(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shrunk.notify_all();
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) > self.held_bytes_max / 2
    }

    /// Waits for room; a filer that takes records more slowly than they come is felt by whoever sends them.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), StorageError> {
        let has_room = || self.held_bytes.load(Ordering::Relaxed) + bytes <= self.held_bytes_max;
        if has_room() {
            return Ok(());
        }
        self.grown.notify_one();
        let mut guard = self.shrinking.lock();
        let mut waits = 0;
        while !has_room() {
            let is_late = self.shrunk.wait_for(&mut guard, self.patience / WAITS).timed_out();
            waits += u32::from(is_late);
            if waits >= WAITS {
                let max = self.held_bytes_max;
                return Err(StorageError::Full(format!("{max} bytes of records wait for the filer")));
            }
        }
        Ok(())
    }
}

/// Looks in the time that somebody waits for room.
const WAITS: u32 = 4;
