//! The one task that makes objects of what waits and tells what came of them.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream::FuturesOrdered};
use parking_lot::{Mutex, RwLock};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    live::{Live, Merge},
    names,
    object::{self, Change, Head, ObjectBuilder},
    store::{Created, Store},
    takeover::{self, Takeover},
};
use crate::{
    clock::Clock,
    config::FilerSettings,
    storage::{
        Completion, JournalRecord, ShardId, StorageError,
        filer::{error::FilerError, owner::Heart},
    },
};

/// An append that waits for its object.
pub(in crate::storage::filer) struct Pending {
    shard: ShardId,
    records: Vec<JournalRecord>,
    /// None once it was told that it takes too long.
    done: Option<Completion>,
    bytes: usize,
    since: Duration,
}

impl Pending {
    pub(in crate::storage::filer) fn new(shard: ShardId, records: Vec<JournalRecord>, done: Completion) -> Self {
        let bytes = records.iter().map(object::size_of).sum();
        Self { shard, records, done: Some(done), bytes, since: Duration::ZERO }
    }
}

/// What the journal is made of.
pub(in crate::storage::filer) struct Engine {
    settings: FilerSettings,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    heart: Heart,
    epoch: u64,
    queue: Mutex<Queue>,
    live: RwLock<Live>,
    /// There is something to do.
    work: Notify,
    /// Every completion; what waits for the queue to empty, or for the state to change, looks again.
    moved: Notify,
    /// Why this gateway may not write any more.
    lost: watch::Sender<Option<StorageError>>,
    layout: Mutex<LayoutState>,
}

/// What the readable files are behind with.
struct LayoutState {
    /// Keys of the coordinator that changed.
    dirty: HashSet<Bytes>,
    since: Option<Duration>,
    /// Everything up to this number is in the files, so that deletions may be forgotten.
    written_up_to: u64,
    noted_at: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    waiting_bytes: usize,
    under_way: usize,
    /// The number of the next object.
    next: u64,
    acknowledged: u64,
    is_closed: bool,
    has_left: bool,
    /// The filer takes too long, or refuses; appends are refused until everything before is stored.
    trouble: Option<StorageError>,
    /// The last error of an attempt, for messages.
    last_error: Option<String>,
}

/// An object under way.
struct Flush {
    head: Head,
    appends: Vec<Pending>,
}

impl Engine {
    pub(super) fn start(
        settings: FilerSettings,
        clock: Arc<dyn Clock>,
        store: Store,
        heart: Heart,
        begun: Takeover,
        runtime: &Handle,
    ) -> Arc<Self> {
        let queue = Queue { next: begun.next, acknowledged: begun.next - 1, ..Queue::default() };
        let written_up_to = begun.live.get(LAYOUT, WRITTEN_UP_TO).and_then(|mut value| value.try_get_u64().ok());
        let written_up_to = written_up_to.unwrap_or_default();
        let dirty: HashSet<_> = begun
            .live
            .changed_since(written_up_to, |shard| shard.group_index().is_some())
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        let now = clock.monotonic();
        let since = (!dirty.is_empty()).then_some(now);
        let layout = LayoutState { dirty, since, written_up_to, noted_at: now };
        let engine = Arc::new(Self {
            settings,
            clock,
            store: Arc::new(store),
            heart,
            epoch: begun.epoch,
            queue: Mutex::new(queue),
            live: RwLock::new(begun.live),
            work: Notify::new(),
            moved: Notify::new(),
            lost: watch::Sender::new(None),
            layout: Mutex::new(layout),
        });
        runtime.spawn(Arc::clone(&engine).run());
        runtime.spawn(Arc::clone(&engine).live_on());
        runtime.spawn(takeover::remove_strays(Arc::clone(&engine.store), begun.strays));
        engine
    }

    /// Takes a place in the order. What is accepted is stored, sooner or later, unless the gateway ends before.
    pub(in crate::storage::filer) fn append(&self, mut append: Pending) -> Result<(), (StorageError, Completion)> {
        let mut queue = self.queue.lock();
        let refusal = if let Some(lost) = &*self.lost.borrow() {
            Some(lost.clone())
        } else if queue.is_closed {
            Some(StorageError::Closed)
        } else if let Some(trouble) = &queue.trouble {
            Some(trouble.clone())
        } else if append.bytes > APPEND_BYTES_MAX {
            Some(StorageError::Full(format!("an append is larger than {APPEND_BYTES_MAX} bytes")))
        } else if queue.waiting_bytes + append.bytes > QUEUE_BYTES_MAX {
            Some(StorageError::Unavailable(format!("{QUEUE_BYTES_MAX} bytes wait for the filer")))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            drop(queue);
            let done = append.done.take().unwrap_or_else(|| Box::new(|_| ()));
            return Err((refusal, done));
        }
        append.since = self.clock.monotonic();
        queue.waiting_bytes += append.bytes;
        queue.waiting.push_back(append);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    pub(in crate::storage::filer) fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        // What was answered with an error is on its way still, and must be in the answer or never come.
        let queue = self.queue.lock();
        if let Some(trouble) = &queue.trouble {
            return Err(trouble.clone());
        }
        if let Some(lost) = &*self.lost.borrow() {
            return Err(lost.clone());
        }
        Ok(self.live.read().shard(shard))
    }

    /// The number of this gateway's fence, which no other has.
    pub(in crate::storage::filer) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(in crate::storage::filer) fn is_filer_resting(&self) -> bool {
        self.store.client.health().is_err()
    }

    pub(in crate::storage::filer) fn object_count(&self) -> u64 {
        self.live.read().object_count() as u64
    }

    pub(in crate::storage::filer) fn waiting_bytes(&self) -> u64 {
        self.queue.lock().waiting_bytes as u64
    }

    pub(super) fn health(&self) -> Result<(), StorageError> {
        if let Some(lost) = &*self.lost.borrow() {
            return Err(lost.clone());
        }
        if let Some(trouble) = &self.queue.lock().trouble {
            return Err(trouble.clone());
        }
        Ok(self.store.client.health()?)
    }

    /// Keys of the coordinator that changed and are not in the readable files, and up to which number that is all.
    pub(in crate::storage::filer) fn take_dirty(&self) -> (Vec<Bytes>, u64) {
        // What is acknowledged by now is among the keys or in the files; the other order would miss some.
        let up_to = self.queue.lock().acknowledged;
        let mut layout = self.layout.lock();
        (layout.dirty.drain().collect(), up_to)
    }

    pub(in crate::storage::filer) fn group_value(&self, key: &Bytes) -> Option<Bytes> {
        self.live.read().group_value(key)
    }

    /// Nothing of the coordinator changed up to this number but what is in the files.
    pub(in crate::storage::filer) fn nothing_dirty(&self, up_to: u64) {
        self.layout.lock().written_up_to = up_to;
    }

    /// What was taken is in the files, but for `failed`.
    pub(in crate::storage::filer) fn dirty_written(&self, failed: Vec<Bytes>, up_to: u64) {
        let now = self.clock.monotonic();
        let mut layout = self.layout.lock();
        let is_complete = failed.is_empty();
        layout.dirty.extend(failed);
        if is_complete {
            layout.written_up_to = up_to;
            layout.since = (!layout.dirty.is_empty()).then_some(now);
        }
        if !is_complete || now.saturating_sub(layout.noted_at) < NOTE_PERIOD {
            return;
        }
        layout.noted_at = now;
        drop(layout);
        let record = JournalRecord {
            key: Bytes::from_static(WRITTEN_UP_TO),
            value: Some(Bytes::copy_from_slice(&up_to.to_be_bytes())),
        };
        // Without the note the next start writes more files again than it must.
        let _ = self.append(Pending::new(LAYOUT, vec![record], Box::new(|_| ())));
    }

    pub(in crate::storage::filer) fn layout_lag(&self) -> Duration {
        let layout = self.layout.lock();
        layout
            .since
            .map_or(Duration::ZERO, |since| self.clock.monotonic().saturating_sub(since).max(Duration::from_millis(1)))
    }

    pub(super) async fn lost(&self) -> StorageError {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(StorageError::Closed),
            Err(_) => StorageError::Closed,
        }
    }

    /// Stores what waits, refuses what comes, and leaves the folder to others.
    pub(super) async fn close(&self) -> Result<(), StorageError> {
        self.queue.lock().is_closed = true;
        self.work.notify_one();
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(lost) = &*self.lost.borrow() {
                return Err(lost.clone());
            }
            {
                let mut queue = self.queue.lock();
                if let Some(trouble) = &queue.trouble {
                    return Err(trouble.clone());
                }
                if queue.waiting.is_empty() && queue.under_way == 0 {
                    if std::mem::replace(&mut queue.has_left, true) {
                        return Ok(());
                    }
                    break;
                }
            }
            moved.await;
        }
        if let Err(error) = self.heart.leave().await {
            tracing::warn!(%error, "the next gateway has to wait for the lease");
        }
        Ok(())
    }

    async fn run(self: Arc<Self>) {
        let mut uploads = FuturesOrdered::new();
        let mut under_way: VecDeque<Flush> = VecDeque::new();
        let mut merging: Option<JoinHandle<()>> = None;
        loop {
            while let Some(flush) = self.next_flush(under_way.len()) {
                uploads.push_back(tokio::spawn(Arc::clone(&self).upload(flush.head, encode(&flush))));
                under_way.push_back(flush);
            }
            let linger = self.linger_left(under_way.len());
            let patience = self.patience_left(under_way.front());
            tokio::select! {
                biased;
                Some(outcome) = uploads.next() => {
                    let Some(flush) = under_way.pop_front() else { continue };
                    match outcome.unwrap_or(Err(StorageError::Closed)) {
                        Ok(names) => self.complete(flush, names),
                        Err(reason) => return self.give_up(reason, flush, under_way),
                    }
                    if merging.as_ref().is_none_or(JoinHandle::is_finished) {
                        merging = self.start_merge();
                    }
                }
                () = self.work.notified() => {}
                () = tokio::time::sleep(linger), if linger < Duration::MAX => {}
                () = tokio::time::sleep(patience), if patience < Duration::MAX => self.begin_trouble(&mut under_way),
            }
            if self.lost.borrow().is_some() {
                let reason = self.lost.borrow().clone().unwrap_or(StorageError::Closed);
                let Some(flush) = under_way.pop_front() else {
                    let head = Head { epoch: self.epoch, first: 0, last: 0, durable: 0 };
                    return self.give_up(reason, Flush { head, appends: Vec::new() }, under_way);
                };
                return self.give_up(reason, flush, under_way);
            }
        }
    }

    /// What goes into the next object, when it is time for one.
    fn next_flush(&self, under_way: usize) -> Option<Flush> {
        let mut queue = self.queue.lock();
        let oldest = queue.waiting.front()?.since;
        let is_due = under_way == 0
            || queue.is_closed
            || queue.waiting_bytes >= OBJECT_BYTES
            || self.clock.monotonic().saturating_sub(oldest) >= self.settings.linger;
        if !is_due || under_way >= UNDER_WAY_MAX {
            return None;
        }
        let mut bytes = 0;
        let mut appends = Vec::new();
        while bytes < OBJECT_BYTES
            && let Some(append) = queue.waiting.pop_front()
        {
            bytes += append.bytes;
            appends.push(append);
        }
        queue.waiting_bytes -= bytes;
        queue.under_way += 1;
        let number = queue.next;
        queue.next += 1;
        let head = Head { epoch: self.epoch, first: number, last: number, durable: queue.acknowledged };
        Some(Flush { head, appends })
    }

    /// How long what waits may go on waiting for company.
    fn linger_left(&self, under_way: usize) -> Duration {
        if under_way >= UNDER_WAY_MAX {
            return Duration::MAX;
        }
        let oldest = self.queue.lock().waiting.front().map(|append| append.since);
        oldest.map_or(Duration::MAX, |oldest| left(self.settings.linger, self.clock.monotonic(), oldest))
    }

    fn patience_left(&self, front: Option<&Flush>) -> Duration {
        let is_told = self.queue.lock().trouble.is_some();
        let oldest = front.and_then(|flush| flush.appends.first()).map(|append| append.since);
        match oldest {
            Some(oldest) if !is_told => left(self.settings.timeout, self.clock.monotonic(), oldest),
            _ => Duration::MAX,
        }
    }

    /// Stores one object, however long that takes. Answers the names that it has, or why this gateway may not go on.
    async fn upload(self: Arc<Self>, head: Head, object: Bytes) -> Result<Vec<String>, StorageError> {
        let mut names = vec![names::single(head.first)];
        let mut attempt = 0;
        let single = if self.store.fits_inline(&object) {
            object
        } else {
            loop {
                attempt += 1;
                let name = names::body(head.first, head.epoch, attempt);
                names.push(name.clone());
                match self.store.put(&name, object.clone()).await {
                    Ok(()) => break object::body(head, &name, object.len() as u64),
                    Err(error) => self.pause(&error, attempt).await,
                }
            }
        };
        attempt = 0;
        loop {
            attempt += 1;
            match self.store.create(head.first, &single).await {
                Ok(Created::Done) => return Ok(names),
                Ok(Created::Taken { by } | Created::Fenced { by }) => {
                    return Err(StorageError::Unavailable(format!("{by} has taken over the filer's folder")));
                }
                Err(error) => self.pause(&error, attempt).await,
            }
        }
    }

    async fn pause(&self, error: &FilerError, attempt: u32) {
        self.queue.lock().last_error = Some(error.to_string());
        match attempt {
            1 => tracing::debug!(%error, "an object of the journal was not stored; trying again"),
            _ => tracing::warn!(%error, attempt, "an object of the journal was not stored; trying again"),
        }
        tokio::time::sleep(self.store.client.backoff(attempt)).await;
    }

    fn complete(&self, flush: Flush, names: Vec<String>) {
        let mut changes = Vec::new();
        let mut completions = Vec::with_capacity(flush.appends.len());
        for append in flush.appends {
            let records = append.records.into_iter();
            changes.extend(records.map(|record| Change { shard: append.shard, key: record.key, value: record.value }));
            completions.extend(append.done);
        }
        let is_of_group = |change: &&Change| change.shard.group_index().is_some();
        let dirty: Vec<_> = changes.iter().filter(is_of_group).map(|change| change.key.clone()).collect();
        self.live.write().apply(flush.head, names, false, changes);
        if !dirty.is_empty() {
            let mut layout = self.layout.lock();
            layout.since.get_or_insert_with(|| self.clock.monotonic());
            layout.dirty.extend(dirty);
        }
        let mut queue = self.queue.lock();
        queue.acknowledged = flush.head.last;
        queue.under_way -= 1;
        let is_over = queue.under_way == 0 && queue.waiting.is_empty() && queue.trouble.take().is_some();
        drop(queue);
        if is_over {
            tracing::info!("the filer has stored everything that waited; appends are taken again");
        }
        completions.into_iter().for_each(|done| done(Ok(())));
        self.moved.notify_waiters();
    }

    /// Answers everything that waits: it has waited too long. It is stored all the same, and until it is, nothing is
    /// accepted.
    fn begin_trouble(&self, under_way: &mut VecDeque<Flush>) {
        let mut queue = self.queue.lock();
        let reason = queue.last_error.clone().unwrap_or_else(|| "it does not answer".to_owned());
        let error = StorageError::Unavailable(format!("the filer takes too long: {reason}"));
        tracing::error!(%reason, "the filer takes too long; appends are refused until it has stored what waits");
        queue.trouble = Some(error.clone());
        let mut completions: Vec<Completion> = Vec::new();
        completions.extend(under_way.iter_mut().flat_map(|flush| &mut flush.appends).filter_map(|it| it.done.take()));
        completions.extend(queue.waiting.iter_mut().filter_map(|append| append.done.take()));
        drop(queue);
        completions.into_iter().for_each(|done| done(Err(error.clone())));
        self.moved.notify_waiters();
    }

    /// Another gateway has the journal: nothing of what waits will ever be part of it.
    fn give_up(&self, reason: StorageError, flush: Flush, under_way: VecDeque<Flush>) {
        tracing::error!(error = %reason, "this gateway stops writing");
        self.lost.send_if_modified(|lost| {
            let is_first = lost.is_none();
            lost.get_or_insert_with(|| reason.clone());
            is_first
        });
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        let under_way = std::iter::once(flush).chain(under_way).flat_map(|flush| flush.appends);
        for append in under_way.chain(waiting) {
            if let Some(done) = append.done {
                done(Err(reason.clone()));
            }
        }
        self.moved.notify_waiters();
    }

    fn start_merge(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let merge = {
            let live = self.live.read();
            if live.object_count() < MERGE_OBJECTS_MIN {
                return None;
            }
            live.plan_merge(self.layout.lock().written_up_to)?
        };
        Some(tokio::spawn(Arc::clone(self).merge(merge)))
    }

    async fn merge(self: Arc<Self>, merge: Merge) {
        let (first, last) = (merge.first, merge.last);
        let (builder, keys) = merge.into_parts();
        let object = builder.finish(Head { epoch: self.epoch, first, last, durable: last });
        let name = names::merged(first, last, self.epoch);
        let mut attempt = 1;
        while let Err(error) = self.store.put(&name, object.clone()).await {
            // Only this gateway writes the name, and always the same bytes.
            self.pause(&error, attempt).await;
            attempt += 1;
        }
        let parts = self.live.write().merged(first, last, keys, name);
        tracing::debug!(first, last, bytes = object.len(), parts = parts.len(), "merged objects of the journal");
        tidy(Arc::clone(&self.store), parts).await;
    }

    /// Signs of life, until another gateway has taken over.
    async fn live_on(self: Arc<Self>) {
        if let Err(error) = self.heart.forget_predecessors().await {
            tracing::debug!(%error, "signs of former gateways stay");
        }
        for beat in 1.. {
            tokio::time::sleep(self.settings.lease / BEATS_A_LEASE).await;
            if self.queue.lock().has_left || self.lost.borrow().is_some() {
                return;
            }
            match self.heart.beat(beat).await {
                Ok(true) => {}
                Ok(false) => {
                    let reason = "another gateway has taken over the filer's folder".to_owned();
                    self.lost.send_replace(Some(StorageError::Unavailable(reason)));
                    self.work.notify_one();
                    return;
                }
                Err(error) => tracing::warn!(%error, "no sign of life could be given"),
            }
        }
    }
}

fn left(whole: Duration, now: Duration, since: Duration) -> Duration {
    whole.saturating_sub(now.saturating_sub(since))
}

fn encode(flush: &Flush) -> Bytes {
    let mut builder = ObjectBuilder::new(flush.appends.iter().map(|append| append.bytes).sum());
    for append in &flush.appends {
        for record in &append.records {
            builder.push(append.shard, &record.key, record.value.as_deref());
        }
    }
    builder.finish(flush.head)
}

/// Removes objects that nothing needs; what cannot be removed is left to the next start.
async fn tidy(store: Arc<Store>, names: Vec<String>) {
    let store = &*store;
    let removals = futures_util::stream::iter(names).map(|name| async move {
        if let Err(error) = store.delete(&name).await {
            tracing::debug!(%error, name, "an object of the journal is left over");
        }
    });
    removals.buffer_unordered(REMOVALS_AT_ONCE).collect::<()>().await;
}

/// Objects under way at once; far fewer than a fence takes numbers.
const UNDER_WAY_MAX: usize = 8;
const OBJECT_BYTES: usize = 1 << 20;
const APPEND_BYTES_MAX: usize = 256 << 20;
const QUEUE_BYTES_MAX: usize = 512 << 20;
const MERGE_OBJECTS_MIN: usize = 32;
/// The journal's shard of what it knows of itself.
const LAYOUT: ShardId = ShardId(901);
const WRITTEN_UP_TO: &[u8] = b"written up to";
const NOTE_PERIOD: Duration = Duration::from_secs(2);
const REMOVALS_AT_ONCE: usize = 8;
const BEATS_A_LEASE: u32 = 4;
