//! Group commit: at most one sync of a partition is under way, and the next covers everything appended meanwhile. After
//! a failed sync the log is cut back to what is durable before it takes writes again.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::{
    checkpoint::{Checkpoint, Point},
    error::LogError,
    files::{CHECKPOINT, LEADER_EPOCHS, PARTITION_METADATA, PROGRESS, partition_metadata, snapshot_name},
    flush_queue,
    partition::{PartitionLog, State, Status},
    progress::{PROGRESS_BYTES, unnoted_bytes},
    recovery,
    segment::Segment,
};
use crate::{config::Durability, storage::StorageError};

/// Names the end of an append, and that the log was not cut back since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableTicket {
    pub(super) offset: i64,
    pub(super) generation: u32,
}

/// The end of a log's active segment that is to become durable.
pub(super) struct TailFlush {
    pub(super) segment: Arc<Segment>,
    pub(super) from: u64,
    to: Point,
}

impl TailFlush {
    pub(super) fn to(&self) -> u64 {
        self.to.position
    }
}

/// One flush: what is to be synced, and what may be said once it is.
struct Flush {
    target: Point,
    segments: Vec<Arc<Segment>>,
    checkpoint: Option<Box<Checkpoint>>,
    /// Those whose indexes no checkpoint has vouched for yet, and this one does.
    indexed: Vec<Arc<Segment>>,
    directory: Option<String>,
}

impl PartitionLog {
    /// Resolves when everything up to the append that gave `ticket` is as durable as the settings ask for; an error
    /// when it was cut off instead, so that it is not in the log.
    pub fn wait_durable(&self, ticket: DurableTicket) -> impl Future<Output = Result<(), LogError>> + Send + 'static {
        let outcome = self.durability_of(ticket);
        let partition = self.partition.clone();
        async move {
            match outcome {
                Ok(None) => Ok(()),
                Ok(Some(receiver)) => receiver.await.unwrap_or(Err(LogError::Closed(partition))),
                Err(error) => Err(error),
            }
        }
    }

    fn durability_of(
        &self,
        ticket: DurableTicket,
    ) -> Result<Option<oneshot::Receiver<Result<(), LogError>>>, LogError> {
        let mut state = self.state.lock();
        if ticket.generation != state.generation {
            // What was durable before the cut is in the log still.
            let is_last_cut = ticket.generation.wrapping_add(1) == state.generation;
            if is_last_cut && ticket.offset <= state.cut_at {
                return Ok(None);
            }
            let source = StorageError::Unavailable("the records were cut off after a failed sync".to_owned());
            return Err(LogError::Storage { partition: self.partition.clone(), source });
        }
        if ticket.offset <= state.high_watermark.offset {
            return Ok(None);
        }
        if state.has_ended {
            return Err(LogError::Closed(self.partition.clone()));
        }
        let (sender, receiver) = oneshot::channel();
        state.waits.push_back((ticket.offset, sender));
        Ok(Some(receiver))
    }

    /// Makes everything durable, writes what the next start wants to know, and refuses further use. Blocks.
    pub fn close(&self) -> Result<(), LogError> {
        let Some(before) = self.shut() else { return Ok(()) };
        let _cleaning = self.cleaning.lock();
        let _noting = self.noting.lock();
        let _appending = self.appending.lock();
        let mut state = self.state.lock();
        let is_healthy = matches!(before, Status::Open) && !state.segments.is_empty();
        let result = if is_healthy { self.close_files(&mut state) } else { Ok(()) };
        self.end(state);
        result.map_err(|source| LogError::Storage { partition: self.partition.clone(), source })
    }

    /// Deletes everything that is stored of the partition. Blocks.
    pub fn delete(&self) -> Result<(), LogError> {
        self.shut();
        drop(self.in_use.write());
        let _cleaning = self.cleaning.lock();
        let _noting = self.noting.lock();
        let _appending = self.appending.lock();
        let mut state = self.state.lock();
        let segments = std::mem::take(&mut state.segments);
        self.end(state);
        drop(segments);
        self.store
            .delete_partition(&self.partition)
            .map_err(|source| LogError::Storage { partition: self.partition.clone(), source })
    }

    /// Refuses further use and waits for the flush that is under way. Answers the status before; none when the log was
    /// closed already.
    fn shut(&self) -> Option<Status> {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.status, Status::Closed);
        while state.is_flushing {
            self.flushed.wait(&mut state);
        }
        (!matches!(before, Status::Closed)).then_some(before)
    }

    fn end(&self, mut state: MutexGuard<'_, State>) {
        state.has_ended = true;
        for (_, wait) in state.waits.drain(..) {
            let _ = wait.send(Err(LogError::Closed(self.partition.clone())));
        }
        drop(state);
        self.waiters.wake_all();
    }

    fn close_files(&self, state: &mut State) -> Result<(), StorageError> {
        let end = state.end;
        let mut flush = self.plan(state, end, true);
        self.run(&mut flush)?;
        let snapshot = state.producers.encode_snapshot();
        self.store.write_whole(&self.partition, &snapshot_name(end.offset), &snapshot, true)?;
        self.store.sync_directory(&self.partition)?;
        self.complete(state, &flush);
        Ok(())
    }

    /// Whether there is something that only a flush can do.
    pub(super) fn needs_flush(&self, state: &State) -> bool {
        match &state.status {
            Status::Closed => false,
            Status::Failed { tried_at, .. } => tried_at
                .is_none_or(|tried_at| self.context.clock.monotonic().saturating_sub(tried_at) >= REPAIR_INTERVAL),
            Status::Open => {
                let is_behind =
                    self.context.durability == Durability::Sync && state.high_watermark.offset < state.end.offset;
                let is_far = self.context.durability == Durability::Os && unnoted_bytes(state) >= PROGRESS_BYTES;
                is_behind || is_far || state.rolled.is_some()
            }
        }
    }

    pub(super) fn submit_flush(&self) {
        if let Some(me) = self.me.upgrade() {
            flush_queue::submit(&self.context, me);
        }
    }

    /// Flushes in this thread: for the start, when nobody else has the log.
    pub(super) fn flush_now(&self, with_checkpoint: bool) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let end = state.end;
        let mut flush = self.plan(&mut state, end, with_checkpoint);
        drop(state);
        self.store.sync_directory(&self.partition)?;
        self.run(&mut flush)?;
        self.complete(&mut self.state.lock(), &flush);
        Ok(())
    }

    /// Flushes in this thread, with a checkpoint of the present end, when no other flush is under way; else waits for that
    /// one.
    pub(super) fn checkpoint_now(&self) {
        let mut state = self.state.lock();
        while state.is_flushing {
            self.flushed.wait(&mut state);
        }
        if !matches!(state.status, Status::Open) {
            return;
        }
        state.is_flushing = true;
        drop(state);
        let flush = AssertUnwindSafe(|| {
            let mut state = self.state.lock();
            let end = state.end;
            let flush = self.plan(&mut state, end, true);
            drop(state);
            self.carry_out(flush);
        });
        if let Err(panic) = catch_unwind(flush) {
            self.flush_panicked();
            resume_unwind(panic);
        }
        if self.next_flush() {
            self.submit_flush();
        }
    }

    /// What a flush would make durable, when it is so little that many such can share one sync. Only ever called by the
    /// one who holds `is_flushing`.
    pub(super) fn plan_tail(&self) -> Option<TailFlush> {
        let state = self.state.lock();
        let is_plain = matches!(state.status, Status::Open)
            && self.context.durability == Durability::Sync
            && state.rolled.is_none()
            && !state.directory_dirty;
        let (from, to) = (state.durable, state.end);
        let is_small = from.segment == to.segment && to.position.saturating_sub(from.position) <= TAIL_BYTES_MAX;
        // Now and then the segment itself is synced, and a checkpoint written.
        let is_checkpoint_due = state.last_checkpoint.bytes_to(to) >= CHECKPOINT_BYTES;
        let segment = state.segments.last().filter(|_| is_plain && is_small && !is_checkpoint_due)?;
        Some(TailFlush { segment: Arc::clone(segment), from: from.position, to })
    }

    /// Says that a tail is durable, or that it is not; whether more is to be flushed.
    pub(super) fn tail_flushed(&self, tail: &TailFlush, result: Result<(), StorageError>) -> bool {
        match result {
            Ok(()) => {
                self.advance(&mut self.state.lock(), tail.to);
                self.waiters.wake_all();
            }
            Err(error) => self.sync_failed(error),
        }
        self.next_flush()
    }

    /// Does what is due, once; whether more is due. Only ever called by the one who holds `is_flushing`.
    pub(super) fn flush_once(&self) -> bool {
        let mut state = self.state.lock();
        let target = match (&state.status, self.context.durability) {
            (Status::Failed { keep, .. }, _) => {
                let keep = *keep;
                drop(state);
                self.repair(keep);
                return self.next_flush();
            }
            (Status::Closed, _) => None,
            (Status::Open, Durability::Sync) => Some(state.end),
            (Status::Open, Durability::Os) => state.rolled.as_ref().map(|checkpoint| checkpoint.point),
        };
        let Some(target) = target else {
            drop(state);
            if let Err(error) = self.note_progress(PROGRESS_BYTES) {
                tracing::warn!(partition = %self.partition, %error, "the next start has more to read");
            }
            return self.next_flush();
        };
        let flush = self.plan(&mut state, target, false);
        drop(state);
        self.carry_out(flush);
        self.next_flush()
    }

    /// Gives up `is_flushing` for a flush that ended in a panic: what it was to make durable fails as with a failed sync, and
    /// the next append has the log repaired. Does nothing that could panic once more.
    pub(super) fn flush_panicked(&self) {
        let error = StorageError::Unavailable("a flush ended in a panic".to_owned());
        let now = self.context.clock.monotonic();
        let mut state = self.state.lock();
        if matches!(state.status, Status::Open) && self.context.durability == Durability::Sync {
            self.fail_undurable(&mut state, &error);
        }
        if let Status::Failed { tried_at, .. } = &mut state.status {
            *tried_at = Some(now);
        }
        state.is_flushing = false;
        drop(state);
        self.flushed.notify_all();
        tracing::error!(partition = %self.partition, "a flush ended in a panic");
    }

    /// Gives up `is_flushing` unless there is more to do.
    fn next_flush(&self) -> bool {
        let mut state = self.state.lock();
        // A repair too: whoever found the log broken meanwhile has left it to this flush.
        state.is_flushing = self.needs_flush(&state);
        if !state.is_flushing {
            self.flushed.notify_all();
        }
        state.is_flushing
    }

    /// Decides what a flush up to `target` covers.
    fn plan(&self, state: &mut State, target: Point, with_checkpoint: bool) -> Flush {
        let is_covered = |segment: &&Arc<Segment>| {
            let is_before = segment.base_offset < target.segment;
            segment.base_offset >= state.settled.segment
                && (is_before || (segment.base_offset == target.segment && target.position > 0))
        };
        let segments = state.segments.iter().filter(is_covered).map(Arc::clone).collect();
        let mut checkpoint = state.rolled.take();
        if (with_checkpoint || state.last_checkpoint.bytes_to(target) >= CHECKPOINT_BYTES)
            && target == state.end
            && let Some(active) = state.segments.last()
        {
            match active.flush_indexes(&*self.store, &self.partition) {
                Ok(index) => {
                    checkpoint =
                        Some(Box::new(Checkpoint { point: target, index, producers: state.producers.clone() }));
                }
                Err(error) => tracing::warn!(partition = %self.partition, %error, "no checkpoint is written"),
            }
        }
        let directory = std::mem::take(&mut state.directory_dirty).then(|| state.epochs.encode());
        let is_vouched_for = |segment: &&Arc<Segment>| {
            let up_to = checkpoint.as_ref().map(|checkpoint| checkpoint.point.segment);
            up_to.is_some_and(|up_to| (state.last_checkpoint.segment..=up_to).contains(&segment.base_offset))
        };
        let indexed = state.segments.iter().filter(is_vouched_for).map(Arc::clone).collect();
        Flush { target, segments, checkpoint, indexed, directory }
    }

    /// Does what was planned, and lets everybody know what came of it.
    fn carry_out(&self, mut flush: Flush) {
        match self.run(&mut flush) {
            Ok(()) => {
                self.complete(&mut self.state.lock(), &flush);
                self.waiters.wake_all();
            }
            Err(error) => self.sync_failed(error),
        }
    }

    fn run(&self, flush: &mut Flush) -> Result<(), StorageError> {
        if let Some(epochs) = &flush.directory {
            let metadata = partition_metadata(self.topic_id);
            for (name, contents) in [(PARTITION_METADATA, &metadata), (LEADER_EPOCHS, epochs)] {
                if let Err(error) = self.store.write_whole(&self.partition, name, contents.as_bytes(), true) {
                    // Both were written before, if not durably, and the records do without them.
                    tracing::warn!(partition = %self.partition, %error, "a file beside the records was not written");
                }
            }
            self.store.sync_directory(&self.partition)?;
        }
        for segment in &flush.segments {
            segment.file.sync()?;
        }
        if let Some(checkpoint) = &flush.checkpoint
            && let Err(error) = self.store_checkpoint(checkpoint, &flush.indexed)
        {
            // It only spares the next start some work, but nobody must take it for stored.
            tracing::warn!(partition = %self.partition, %error, "no checkpoint was written");
            flush.checkpoint = None;
        }
        Ok(())
    }

    fn store_checkpoint(&self, checkpoint: &Checkpoint, segments: &[Arc<Segment>]) -> Result<(), StorageError> {
        for segment in segments {
            segment.sync_indexes()?;
        }
        if checkpoint.point.position == 0 {
            let snapshot = checkpoint.producers.encode_snapshot();
            self.store.write_whole(&self.partition, &snapshot_name(checkpoint.point.offset), &snapshot, true)?;
        }
        self.store.write_whole(&self.partition, CHECKPOINT, &checkpoint.encode(), true)
    }

    fn complete(&self, state: &mut State, flush: &Flush) {
        state.settled = flush.target;
        if let Some(checkpoint) = &flush.checkpoint {
            state.last_checkpoint = checkpoint.point;
        }
        self.advance(state, flush.target);
    }

    /// Tells everyone that what lies before `durable` is so.
    fn advance(&self, state: &mut State, durable: Point) {
        state.durable = durable;
        if self.context.durability == Durability::Os {
            return;
        }
        state.high_watermark = durable;
        let mut index = 0;
        while let Some((offset, _)) = state.waits.get(index) {
            if *offset > durable.offset {
                index += 1;
            } else if let Some((_, wait)) = state.waits.swap_remove_back(index) {
                let _ = wait.send(Ok(()));
            }
        }
    }

    fn sync_failed(&self, error: StorageError) {
        let mut state = self.state.lock();
        if self.context.durability == Durability::Os {
            // Nothing was promised; a restart looks at the records from the last checkpoint on.
            tracing::error!(partition = %self.partition, %error, "a background sync failed");
            return;
        }
        tracing::error!(
            partition = %self.partition, %error, durable_offset = state.durable.offset, log_end = state.end.offset,
            "a sync failed, writes are refused until the log is cut back to what is durable"
        );
        let keep = state.durable;
        if self.fail_undurable(&mut state, &error) {
            drop(state);
            self.repair(keep);
        }
    }

    /// Tells whoever waits that what is not durable never will be, and refuses writes until it was cut off; false when the
    /// log is closed.
    fn fail_undurable(&self, state: &mut State, error: &StorageError) -> bool {
        let keep = state.durable;
        state.generation = state.generation.wrapping_add(1);
        state.cut_at = keep.offset;
        for (_, wait) in state.waits.drain(..) {
            let _ = wait.send(Err(LogError::Storage { partition: self.partition.clone(), source: error.clone() }));
        }
        let is_open = !matches!(state.status, Status::Closed);
        if is_open {
            state.status = Status::Failed { keep, reason: error.clone(), tried_at: None };
        }
        is_open
    }

    /// Cuts the files to `keep` and reads the state from them again. On failure the log stays as it is, readable, and it is
    /// tried again in a moment.
    fn repair(&self, keep: Point) {
        let _replacing = self.replacing.lock();
        let _noting = self.noting.lock();
        let _appending = self.appending.lock();
        let (segments, log_start) = {
            let state = self.state.lock();
            if !matches!(state.status, Status::Failed { .. }) {
                return;
            }
            (state.segments.to_vec(), state.log_start)
        };
        let result = self.cut(&segments, keep).and_then(|()| {
            let recovered = recovery::recover(&*self.store, &self.partition, &self.config.load(), log_start)?;
            match recovered.end.offset == keep.offset {
                true => Ok(recovered),
                false => Err(StorageError::Corrupt(format!(
                    "the log ends at offset {} and not at {}",
                    recovered.end.offset, keep.offset
                ))),
            }
        });
        let mut state = self.state.lock();
        let tried = Some(self.context.clock.monotonic());
        let Status::Failed { tried_at, .. } = &mut state.status else { return };
        match result {
            Ok(recovered) => {
                state.status = Status::Open;
                state.end = recovered.end;
                if state.high_watermark.offset == keep.offset {
                    // It may name a segment that was cut off, and then all of this one would be visible.
                    state.high_watermark = recovered.end;
                }
                state.segments = recovered.segments.into();
                state.producers = recovered.producers;
                state.epochs = recovered.epochs;
                state.rolled = None;
                state.last_checkpoint = recovered.checkpoint;
                state.noted = recovered.scanned_from;
                state.directory_dirty = true;
                state.replacements += 1;
                tracing::info!(partition = %self.partition, log_end = keep.offset, "the log takes writes again");
            }
            Err(error) => {
                let is_first = std::mem::replace(tried_at, tried).is_none();
                if !std::mem::replace(&mut state.is_repair_awaited, true) {
                    self.repair_later();
                }
                match is_first {
                    true => {
                        tracing::error!(partition = %self.partition, %error, "the log is not repaired; trying again")
                    }
                    false => tracing::debug!(partition = %self.partition, %error, "the log is not repaired yet"),
                }
            }
        }
    }

    /// Has a repair tried again without anybody who appends: there may be nobody for a long time. Where there is no runtime,
    /// as in a tool, only an append does it.
    fn repair_later(&self) {
        let Some(runtime) = &self.context.runtime else { return };
        let me = self.me.clone();
        runtime.spawn(async move {
            tokio::time::sleep(REPAIR_INTERVAL).await;
            let Some(me) = me.upgrade() else { return };
            let mut state = me.state.lock();
            state.is_repair_awaited = false;
            let is_broken = matches!(state.status, Status::Failed { .. });
            let is_ours = is_broken && !std::mem::replace(&mut state.is_flushing, true);
            drop(state);
            if is_ours {
                me.submit_flush();
            }
        });
    }

    fn cut(&self, segments: &[Arc<Segment>], keep: Point) -> Result<(), StorageError> {
        // It may know of what is cut off, and other records will be there.
        self.store.delete(&self.partition, PROGRESS)?;
        for segment in segments.iter().rev() {
            if segment.base_offset > keep.segment {
                segment.delete(&*self.store, &self.partition)?;
            } else if segment.base_offset == keep.segment {
                segment.file.truncate(keep.position)?;
            }
        }
        self.store.sync_directory(&self.partition)
    }
}

/// From here on writing a batch twice costs more than a sync.
const TAIL_BYTES_MAX: u64 = 32 << 10;
/// Records after which a checkpoint is worth two small writes.
const CHECKPOINT_BYTES: u64 = 32 << 20;
const REPAIR_INTERVAL: Duration = Duration::from_secs(1);
