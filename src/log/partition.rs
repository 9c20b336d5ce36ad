//! One partition's log: what it holds and what it tells.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use super::{
    checkpoint::{Checkpoint, Point},
    compaction::Cleaning,
    config::LogConfig,
    context::LogContext,
    epochs::LeaderEpochs,
    error::LogError,
    flush::DurableTicket,
    producers::{ProducerInfo, Producers},
    read::Hints,
    recovery,
    segments::Segments,
    waiter::{Waiter, Waiters},
};
use crate::{
    config::Durability,
    model::{TopicId, TopicName, TopicPartition},
    storage::{StorageError, segment::SegmentStore},
};

/// Which partition a log belongs to, and what the catalogue knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub topic: TopicName,
    pub topic_id: TopicId,
    pub partition: i32,
    /// The log start that DeleteRecords was answered with; 0 when there was none. Records below it are gone even when
    /// their segment is still there.
    pub log_start_offset: i64,
}

/// The log of one partition. Shared between tasks; calls are short but for disk access, and none awaits with a lock.
pub struct PartitionLog {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) store: Arc<dyn SegmentStore>,
    pub(super) context: Arc<LogContext>,
    pub(super) config: ArcSwap<LogConfig>,
    /// Held during a pass of compaction; who ends the log waits for it. Taken before every other lock.
    pub(super) cleaning: Mutex<Cleaning>,
    /// Held while segments other than the last leave the list and their files go: by retention, DeleteRecords, repair, and
    /// by compaction when it puts a segment in the place of others. Taken before `appending`.
    pub(super) replacing: Mutex<()>,
    /// Held while a note of progress is written or removed. Taken before `appending`.
    pub(super) noting: Mutex<()>,
    /// Held while a batch is written or files are cut, so that nobody who only looks waits for the disk. Taken before
    /// `state`, never after it.
    pub(super) appending: Mutex<()>,
    pub(super) state: Mutex<State>,
    /// Held by whoever reads or removes files of the log. A deletion waits for all of them once: what comes after that
    /// finds the log closed, and never a file of a new topic that has the same name. Taken before the other two.
    pub(super) in_use: RwLock<()>,
    /// Told when a flush has ended.
    pub(super) flushed: Condvar,
    pub(super) waiters: Waiters,
    pub(super) hints: Mutex<Hints>,
    pub(super) me: Weak<PartitionLog>,
}

/// What a log's lock protects.
pub(super) struct State {
    /// Ascending; the last one grows. Empty until the first record.
    pub(super) segments: Segments,
    pub(super) log_start: i64,
    /// The log end.
    pub(super) end: Point,
    /// Readers see what lies before it.
    pub(super) high_watermark: Point,
    /// Everything before it survives a power cut.
    pub(super) durable: Point,
    /// Everything before it does so in its own segment; what lies between may be elsewhere in the store still.
    pub(super) settled: Point,
    pub(super) last_checkpoint: Point,
    /// How far the last note of progress says that the log has come.
    pub(super) noted: Point,
    pub(super) producers: Producers,
    pub(super) epochs: LeaderEpochs,
    pub(super) status: Status,
    /// Counts the times that records were cut off the end after a failed sync.
    pub(super) generation: u32,
    /// Where they were cut off the last time.
    pub(super) cut_at: i64,
    /// Who waits until the records below an offset are durable.
    pub(super) waits: VecDeque<(i64, oneshot::Sender<Result<(), LogError>>)>,
    /// The log was closed or deleted, and nothing will become durable any more.
    pub(super) has_ended: bool,
    /// A flush is queued or under way.
    pub(super) is_flushing: bool,
    /// A repair that failed is tried again in a moment.
    pub(super) is_repair_awaited: bool,
    /// Files were created or removed that no directory sync has seen.
    pub(super) directory_dirty: bool,
    /// Counts the times that segments were replaced: positions in files are of one such time.
    pub(super) replacements: u64,
    /// State at the latest roll, until it is stored.
    pub(super) rolled: Option<Box<Checkpoint>>,
    pub(super) active_since_ms: i64,
}

/// Whether a log takes writes.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Open,
    /// A sync or a write failed: nothing is written until the files were cut to `keep`.
    Failed {
        keep: Point,
        reason: StorageError,
        tried_at: Option<Duration>,
    },
    /// Closed or deleted, or about to be.
    Closed,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// -1 when the producer's timestamps stay.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// The batch was there already: the offsets are those of the first time (KIP-98).
    pub is_duplicate: bool,
    /// For [`PartitionLog::wait_durable`].
    pub ticket: DurableTicket,
}

/// The end of what readers saw of a log at some time.
#[derive(Clone, Copy, Debug)]
pub struct VisibleEnd {
    point: Point,
    log_start: i64,
    replacements: u64,
}

/// The offsets that bound a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    pub log_start: i64,
    pub high_watermark: i64,
    /// The high watermark: there are no transactions yet.
    pub last_stable: i64,
    pub log_end: i64,
}

impl PartitionLog {
    /// Opens what is stored of the partition and brings it in order after a crash; blocks while it reads. Nothing is
    /// created before the first append.
    pub fn open(
        store: Arc<dyn SegmentStore>,
        info: PartitionInfo,
        config: Arc<LogConfig>,
        context: Arc<LogContext>,
    ) -> Result<Arc<Self>, LogError> {
        let partition = TopicPartition::new(Arc::clone(&info.topic), info.partition);
        let storage = |source| LogError::Storage { partition: partition.clone(), source };
        recovery::discard_strangers(&*store, &partition, info.topic_id).map_err(storage)?;
        let recovered = recovery::recover(&*store, &partition, &config, info.log_start_offset).map_err(storage)?;
        let end = recovered.end;
        let mut producers = recovered.producers;
        producers.expire(context.clock.wall_ms(), context.producer_expiration_ms);
        let is_durable = recovered.scanned_from == recovered.checkpoint && recovered.scanned_bytes == 0;
        let durable = if is_durable { end } else { recovered.checkpoint };
        let state = State {
            log_start: recovered.log_start,
            end,
            high_watermark: end,
            durable,
            settled: durable,
            last_checkpoint: recovered.checkpoint,
            noted: recovered.scanned_from,
            producers,
            epochs: recovered.epochs,
            status: Status::Open,
            generation: 0,
            cut_at: 0,
            waits: VecDeque::new(),
            is_flushing: false,
            is_repair_awaited: false,
            has_ended: false,
            directory_dirty: false,
            replacements: 0,
            rolled: None,
            active_since_ms: context.clock.wall_ms(),
            segments: recovered.segments.into(),
        };
        let log = Arc::new_cyclic(|me| Self {
            partition: partition.clone(),
            topic_id: info.topic_id,
            store,
            context,
            config: ArcSwap::new(config),
            cleaning: Mutex::default(),
            replacing: Mutex::new(()),
            noting: Mutex::new(()),
            appending: Mutex::new(()),
            state: Mutex::new(state),
            in_use: RwLock::default(),
            flushed: Condvar::new(),
            waiters: Waiters::default(),
            hints: Mutex::default(),
            me: Weak::clone(me),
        });
        let is_much = recovered.scanned_bytes >= CHECKPOINT_WORTH_BYTES;
        match log.context.durability {
            // What a killed process had written is visible now; it must not vanish with a power cut after that.
            Durability::Sync if !is_durable => log.flush_now(is_much).map_err(storage)?,
            Durability::Os if is_much => {
                if let Err(error) = log.note_progress(1) {
                    tracing::warn!(partition = %log.partition, %error, "the next start reads the same again");
                }
            }
            _ => {}
        }
        Ok(log)
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Applies changed topic configs to what comes.
    pub fn update_config(&self, config: Arc<LogConfig>) {
        self.config.store(config);
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Whether batches may be packed anew when they are appended.
    pub fn compresses(&self) -> bool {
        self.config.load().compression.is_some()
    }

    pub fn offsets(&self) -> LogOffsets {
        let state = self.state.lock();
        LogOffsets {
            log_start: state.log_start,
            high_watermark: state.high_watermark.offset,
            last_stable: state.high_watermark.offset,
            log_end: state.end.offset,
        }
    }

    pub fn log_start(&self) -> i64 {
        self.state.lock().log_start
    }

    /// Bytes of records.
    pub fn size_bytes(&self) -> u64 {
        self.state.lock().segments.iter().map(|segment| segment.file.size_bytes()).sum()
    }

    /// Where the part that readers see ends at the moment, for [`seen_since`](Self::seen_since).
    pub fn visible_end(&self) -> VisibleEnd {
        let state = self.state.lock();
        VisibleEnd { point: state.high_watermark, log_start: state.log_start, replacements: state.replacements }
    }

    /// How many bytes readers see more than they did `then`; none when that cannot be told, because records went away
    /// or the log was closed. Looks at positions only.
    pub fn seen_since(&self, then: &VisibleEnd) -> Option<u64> {
        let state = self.state.lock();
        if matches!(state.status, Status::Closed) || state.log_start != then.log_start {
            return None;
        }
        let (from, to) = (then.point, state.high_watermark);
        if from.segment == to.segment {
            return to.position.checked_sub(from.position);
        }
        if state.replacements != then.replacements {
            return None;
        }
        let mut between = state.segments.iter().skip(state.segment_at(from.segment)).peekable();
        between.peek().filter(|first| first.base_offset == from.segment && from.segment < to.segment)?;
        let whole: u64 = between
            .take_while(|segment| segment.base_offset < to.segment)
            .map(|segment| segment.file.size_bytes())
            .sum();
        whole.checked_sub(from.position)?.checked_add(to.position)
    }

    /// Why writes are refused until a repair; none when they are not.
    pub fn trouble(&self) -> Option<StorageError> {
        match &self.state.lock().status {
            Status::Failed { reason, .. } => Some(reason.clone()),
            Status::Open | Status::Closed => None,
        }
    }

    /// The largest leader epoch that is not above `epoch`, and the offset at which it ended (OffsetForLeaderEpoch);
    /// none when there was no such epoch.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let state = self.state.lock();
        state.epochs.end_offset(epoch, state.end.offset)
    }

    /// The leader epoch of the last batch; none before the first.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.state.lock().epochs.latest()
    }

    /// Idempotent producers that the log remembers.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.state.lock().producers.list()
    }

    /// The highest id of those.
    pub fn highest_producer_id(&self) -> Option<i64> {
        self.state.lock().producers.highest_id()
    }

    /// Wakes `waiter` from now on, until it is dropped, whenever the high watermark or the log start moves or the log
    /// is closed. Register first, then look: nothing is missed.
    pub fn register(&self, waiter: &Arc<Waiter>) {
        self.waiters.register(waiter);
    }
}

impl std::fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionLog").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl State {
    /// Index of the segment in which `offset` lies, if it is in the log.
    pub(super) fn segment_at(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    pub(super) fn forget_old_spans(&self, now: Duration) {
        self.segments.iter().for_each(|segment| segment.spans.lock().expire(now));
    }
}

/// What a start has read is not read again by the next when it was this much.
const CHECKPOINT_WORTH_BYTES: u64 = 1 << 20;
