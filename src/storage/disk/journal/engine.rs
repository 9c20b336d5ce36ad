//! The queue before the writer, and the thread that works it off and looks after the files.

use std::{
    collections::{HashMap, HashSet},
    mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use super::{
    JournalOptions, JournalStats, TICK,
    compact::Compaction,
    contents::{FileSet, Fold, LogEnd, StoredFile, fold_frame, is_large, visit_log},
    frame::Frame,
    reader::corrupt,
    recover::prepare_log,
    writer::{Pending, Status, Writer},
};
use crate::{
    clock::Clock,
    config::Durability,
    storage::{ShardId, Stalls, StorageError, disk::files::Files},
};

/// What the handle, its thread and a running compaction share. Locks are taken in the order of the fields.
pub(super) struct Engine {
    writer: Mutex<Writer>,
    set: Mutex<FileSet>,
    queue: Mutex<Queue>,
    /// Something for the thread to do.
    wake: Condvar,
    files: Files,
    dir: PathBuf,
    options: JournalOptions,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    /// Size of the logs at which the next compaction begins.
    compact_at_bytes: AtomicU64,
    /// The start of the gateway comes first.
    compaction_held: AtomicBool,
    compacting: AtomicBool,
    stop_compaction: AtomicBool,
    compactions: AtomicU64,
    /// Of writes on a caller's thread.
    stalls: Stalls,
    closed: watch::Sender<Option<Result<(), StorageError>>>,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// The thread has something to look after besides `pending`.
    upkeep: bool,
    /// The thread wakes up by itself, to sync or to repair.
    ticking: bool,
    closed: bool,
    /// What opening read of small shards that are not `claimed`; those of them that are not here are empty.
    unclaimed: Fold,
    /// Small shards that were replayed or appended to since.
    claimed: HashSet<ShardId>,
}

impl Engine {
    pub(super) fn new(
        files: Files,
        dir: PathBuf,
        options: JournalOptions,
        clock: Arc<dyn Clock>,
        writer: Writer,
        set: FileSet,
        fold: Fold,
    ) -> Self {
        // As after the last compaction.
        let live_bytes = set.snapshot.as_ref().map_or(0, |snapshot| snapshot.size_bytes);
        let compact_at_bytes = options.compact_bytes_min.max(live_bytes);
        Self {
            status: Arc::clone(writer.status()),
            writer: Mutex::new(writer),
            set: Mutex::new(set),
            // A compaction that is due waits for a tick at least: starting comes first.
            queue: Mutex::new(Queue { unclaimed: fold, ticking: true, ..Queue::default() }),
            wake: Condvar::new(),
            files,
            dir,
            compaction_held: AtomicBool::new(options.waits_for_start),
            options,
            clock,
            compact_at_bytes: AtomicU64::new(compact_at_bytes),
            compacting: AtomicBool::new(false),
            stop_compaction: AtomicBool::new(false),
            compactions: AtomicU64::new(0),
            stalls: Stalls::default(),
            closed: watch::Sender::new(None),
        }
    }

    /// Gives `pending` its place in the order, and sees to it that it is written.
    pub(super) fn append(&self, shard: ShardId, pending: Pending) {
        let mut queue = self.queue.lock();
        let refusal = if queue.closed {
            Some(StorageError::Closed)
        } else if queue.pending_bytes > self.options.queue_bytes_max {
            Some(StorageError::Unavailable("too much waits to be written to the journal".to_owned()))
        } else {
            None
        };
        if let Some(error) = refusal {
            drop(queue);
            return (pending.done)(Err(error));
        }
        if !is_large(shard) && queue.claimed.insert(shard) {
            // What opening has read of this shard is not the latest any more.
            queue.unclaimed.remove(&shard);
        }
        queue.pending_bytes += pending.frame.len_bytes();
        queue.pending.push(pending);
        drop(queue);
        match self.options.durability {
            // A caller need not wait for a slow disk: the thread can.
            Durability::Os if !self.stalls.is_slow(&*self.clock) => self.write_here(),
            Durability::Os | Durability::Sync => _ = self.wake.notify_one(),
        }
    }

    /// Writes what waits on the caller's thread. When somebody else is writing, he takes it along: he looks at the queue
    /// once more after he has let go of the writer.
    fn write_here(&self) {
        for _ in 0..ROUNDS_MAX {
            let Some(mut writer) = self.writer.try_lock() else { return };
            if writer.is_broken() {
                // Repairing waits for the disk: that is for the thread.
                break;
            }
            self.stalls.watch(&*self.clock, || self.work_off(&mut writer));
            self.plan_upkeep(writer);
            if self.queue.lock().pending.is_empty() {
                return;
            }
        }
        // The thread goes on: one caller should not write for all others for ever.
        self.ask_for_upkeep();
    }

    /// Commits what waits now. After a failure all that was waiting by then fails too: it may rest on what has failed.
    fn work_off(&self, writer: &mut Writer) {
        let pending = self.take_pending();
        if pending.is_empty() {
            return;
        }
        if let Err(error) = writer.commit(pending) {
            for pending in self.take_pending() {
                (pending.done)(Err(error.clone()));
            }
        }
    }

    fn take_pending(&self) -> Vec<Pending> {
        let mut queue = self.queue.lock();
        queue.pending_bytes = 0;
        mem::take(&mut queue.pending)
    }

    /// Wakes the thread when `writer` needs it, and lets go of the writer.
    fn plan_upkeep(&self, writer: MutexGuard<'_, Writer>) {
        let much = writer.unsynced_bytes() >= self.options.background_sync_bytes || self.wants_compaction();
        let now = much && !writer.is_broken();
        let later = writer.unsynced_bytes() > 0 || writer.is_broken();
        drop(writer);
        if now || later {
            let mut queue = self.queue.lock();
            let wake = (now && !queue.upkeep) || (later && !queue.ticking);
            queue.upkeep |= now;
            queue.ticking |= later;
            if wake {
                self.wake.notify_one();
            }
        }
    }

    fn ask_for_upkeep(&self) {
        self.queue.lock().upkeep = true;
        self.wake.notify_one();
    }

    /// The thread's life.
    pub(super) fn run(self: Arc<Self>) {
        let mut compaction: Option<JoinHandle<()>> = None;
        loop {
            let closing = self.wait_for_work();
            self.work_off(&mut self.writer.lock());
            if closing {
                break;
            }
            self.look_after(&mut compaction);
        }
        self.stop_compaction.store(true, Ordering::Relaxed);
        if let Some(compaction) = compaction {
            join(compaction);
        }
        // Nothing can have been appended since the queue was closed and worked off.
        let outcome = self.writer.lock().close();
        self.closed.send_replace(Some(outcome));
    }

    /// Returns when there is something to write or to look after; true when the journal is to be closed.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed || queue.upkeep || !queue.pending.is_empty() {
                queue.upkeep = false;
                return queue.closed;
            }
            if queue.ticking {
                if self.wake.wait_for(&mut queue, TICK).timed_out() {
                    queue.ticking = false;
                    return queue.closed;
                }
            } else {
                self.wake.wait(&mut queue);
            }
        }
    }

    /// Syncs, repairs and compacts as far as that is due. What takes time is done without holding the writer, so that
    /// appends go on meanwhile.
    fn look_after(self: &Arc<Self>, compaction: &mut Option<JoinHandle<()>>) {
        let mut writer = self.writer.lock();
        let mut next = None;
        if writer.recover().is_ok() && self.wants_compaction() {
            drop(writer);
            next = Some(prepare_log(&self.files, &self.dir, salt(&*self.clock)));
            writer = self.writer.lock();
        }
        if let Some(unsynced) = writer.unsynced() {
            drop(writer);
            let outcome = unsynced.sync();
            writer = self.writer.lock();
            // A failure is kept by the writer, and answers the appends that follow.
            _ = writer.synced(&unsynced, outcome);
        }
        if let Some(next) = next {
            if let Some(finished) = compaction.take() {
                join(finished);
            }
            match next.and_then(|next| writer.roll(next)) {
                Ok(sealed) => *compaction = self.begin_compaction(sealed),
                Err(error) => {
                    tracing::warn!(%error, "could not begin a new log of the journal");
                    self.compact_later();
                }
            }
        }
        self.plan_upkeep(writer);
    }

    fn wants_compaction(&self) -> bool {
        !self.compaction_held.load(Ordering::Relaxed)
            && !self.compacting.load(Ordering::Relaxed)
            && self.log_bytes() >= self.compact_at_bytes.load(Ordering::Relaxed)
    }

    /// A compaction may begin; one that is due does.
    pub(super) fn release_compaction(&self) {
        if self.compaction_held.swap(false, Ordering::Relaxed) {
            self.ask_for_upkeep();
        }
    }

    fn log_bytes(&self) -> u64 {
        self.set.lock().sealed_bytes() + self.status.end_bytes.load(Ordering::Relaxed)
    }

    /// Starts a thread that replaces everything sealed, `sealed` included, by a snapshot.
    fn begin_compaction(self: &Arc<Self>, sealed: Option<StoredFile>) -> Option<JoinHandle<()>> {
        let mut set = self.set.lock();
        set.sealed.extend(sealed);
        let nothing_sealed = set.sealed.is_empty();
        drop(set);
        if nothing_sealed {
            self.compact_later();
            return None;
        }
        self.compacting.store(true, Ordering::Relaxed);
        let engine = Arc::clone(self);
        let started = thread::Builder::new().name("journal-compact".to_owned()).spawn(move || {
            engine.compact();
            engine.compacting.store(false, Ordering::Relaxed);
        });
        if let Err(error) = &started {
            tracing::warn!(%error, "could not start a compaction of the journal");
            self.compacting.store(false, Ordering::Relaxed);
            self.compact_later();
        }
        started.ok()
    }

    fn compact(&self) {
        let replaced = self.set.lock().clone();
        let compaction = Compaction {
            files: &self.files,
            dir: &self.dir,
            slice_bytes: self.options.compact_slice_bytes,
            stop: &self.stop_compaction,
        };
        match compaction.run(&replaced, salt(&*self.clock)) {
            Ok(snapshot) => {
                let live_bytes = snapshot.size_bytes;
                self.replace(&replaced, snapshot);
                self.compact_at_bytes.store(self.options.compact_bytes_min.max(live_bytes), Ordering::Relaxed);
                self.compactions.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(files = replaced.sealed.len(), live_bytes, "compacted the journal");
                if let Err(error) = compaction.discard(&replaced) {
                    // They are found and removed when the journal is opened again.
                    tracing::warn!(%error, "could not remove what a snapshot of the journal has replaced");
                }
            }
            Err(StorageError::Closed) => {}
            Err(error) => {
                tracing::warn!(%error, "could not compact the journal");
                self.compact_later();
            }
        }
    }

    /// After a failure: not before the logs have grown once more by what makes a compaction worth it.
    fn compact_later(&self) {
        let at = self.log_bytes().saturating_add(self.options.compact_bytes_min);
        self.compact_at_bytes.store(at, Ordering::Relaxed);
    }

    fn replace(&self, replaced: &FileSet, snapshot: StoredFile) {
        let mut set = self.set.lock();
        set.snapshot = Some(snapshot);
        set.sealed.retain(|log| !replaced.sealed.iter().any(|gone| gone.path == log.path));
    }

    /// What opening read of `shard`, if it did and that is still the latest.
    pub(super) fn take_unclaimed(&self, shard: ShardId) -> Option<HashMap<Bytes, Bytes>> {
        if is_large(shard) {
            return None;
        }
        let mut queue = self.queue.lock();
        let unclaimed = queue.claimed.insert(shard);
        unclaimed.then(|| queue.unclaimed.remove(&shard).unwrap_or_default())
    }

    /// Reads the latest acknowledged values of `shard` from the files.
    pub(super) fn read_shard(&self, shard: ShardId) -> Result<HashMap<Bytes, Bytes>, StorageError> {
        let mut fold = Fold::new();
        let wanted = |of: ShardId| of == shard;
        self.read_shards(&wanted, &mut |step| match step {
            ReadStep::Begin => {
                fold.clear();
                Ok(())
            }
            ReadStep::Frame(frame) => fold_frame(&mut fold, frame),
        })?;
        Ok(fold.remove(&shard).unwrap_or_default())
    }

    /// Reads the files up to what is acknowledged now, and shows `take` every frame of the `wanted` shards; from the
    /// beginning once more when a compaction replaces the files meanwhile.
    pub(super) fn read_shards(
        &self,
        wanted: &dyn Fn(ShardId) -> bool,
        take: &mut dyn FnMut(ReadStep<'_>) -> Result<(), &'static str>,
    ) -> Result<(), StorageError> {
        let mut attempts = 0;
        loop {
            let writer = self.writer.lock();
            let (active, end) = writer.acknowledged();
            let set = self.set.lock().clone();
            drop(writer);
            // Who found the writer taken meanwhile relies on somebody to look.
            if !self.queue.lock().pending.is_empty() {
                self.wake.notify_one();
            }
            _ = take(ReadStep::Begin);
            let mut visit = |frame: &Frame<'_>| if wanted(frame.shard) { take(ReadStep::Frame(frame)) } else { Ok(()) };
            let read = set.visit(&mut visit).and_then(|mut next_sequence| {
                let LogEnd { offset, broken, .. } = visit_log(&active, Some(end), &mut next_sequence, &mut visit)?;
                broken.map_or(Ok(()), |what| Err(corrupt(&active, offset, what)))
            });
            attempts += 1;
            match read {
                Ok(()) => return Ok(()),
                // A compaction may have replaced the files meanwhile.
                Err(_) if attempts < READ_ATTEMPTS_MAX && self.set_changed(&set) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn set_changed(&self, since: &FileSet) -> bool {
        !self.set.lock().paths().eq(since.paths())
    }

    pub(super) fn health(&self) -> Result<(), StorageError> {
        if self.queue.lock().closed {
            return Err(StorageError::Closed);
        }
        self.status.health()
    }

    pub(super) fn stats(&self) -> JournalStats {
        let snapshot_bytes = self.set.lock().snapshot.as_ref().map_or(0, |snapshot| snapshot.size_bytes);
        JournalStats {
            appends: self.status.appends.load(Ordering::Relaxed),
            syncs: self.status.syncs.load(Ordering::Relaxed),
            compactions: self.compactions.load(Ordering::Relaxed),
            log_bytes: self.log_bytes(),
            snapshot_bytes,
        }
    }

    /// Refuses appends from now on; the thread finishes what waits.
    pub(super) fn begin_close(&self) {
        self.queue.lock().closed = true;
        self.stop_compaction.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// The outcome of closing, when the thread has come to it.
    pub(super) async fn closed(&self) -> Result<(), StorageError> {
        let mut closed = self.closed.subscribe();
        let outcome = closed.wait_for(Option::is_some).await;
        outcome.map_or(Err(StorageError::Closed), |outcome| outcome.clone().unwrap_or(Err(StorageError::Closed)))
    }
}

/// What reading shards comes to.
pub(super) enum ReadStep<'a> {
    /// What was shown before counts no more.
    Begin,
    Frame(&'a Frame<'a>),
}

/// A salt for a new file.
pub(super) fn salt(clock: &dyn Clock) -> u32 {
    clock.uuid().as_u128() as u32
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a compaction of the journal panicked");
    }
}

const READ_ATTEMPTS_MAX: u32 = 16;
/// Batches that a caller writes before it leaves the rest to the thread.
const ROUNDS_MAX: u32 = 4;
