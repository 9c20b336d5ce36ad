//! From memory and the journal into objects: in the background, or at once, and from small ones into large ones.

use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};

use super::{Extent, FilerFile, State, held_bytes};
use crate::storage::{
    StorageError,
    filer::segments::{manifest, objects::Object, shared::Ticket},
};

/// The front of a file's chunks, to become an object.
pub(in super::super) struct Upload {
    pub(in super::super) path_stem: String,
    pub(in super::super) position: u64,
    pub(in super::super) bytes: Bytes,
    cuts: u64,
}

/// Neighbouring objects of a file, to become one.
pub(in super::super) struct Merge {
    pub(in super::super) path_stem: String,
    position: u64,
    /// Paths, and as much of each as the file has of it.
    pub(in super::super) parts: Vec<(String, usize)>,
    cuts: u64,
}

impl FilerFile {
    /// Bytes that could become an object now, and whether they should.
    pub(in super::super) fn ripe_bytes(&self) -> (u64, bool) {
        let state = self.state.lock();
        let Some(first) = state.chunks.front() else { return (0, false) };
        if state.is_gone || state.is_storing {
            return (0, false);
        }
        let bytes = state.durable.saturating_sub(first.position);
        (bytes, bytes >= UPLOAD_BYTES || (state.is_sealed && bytes >= SEALED_UPLOAD_BYTES))
    }

    pub(in super::super) fn begin_upload(&self) -> Option<Upload> {
        let state = self.state.lock();
        let position = state.chunks.front()?.position;
        let mut bytes = BytesMut::new();
        for chunk in &state.chunks {
            let is_durable = chunk.position + chunk.bytes.len() as u64 <= state.durable;
            if !is_durable || (!bytes.is_empty() && bytes.len() + chunk.bytes.len() > UPLOAD_BYTES_MAX) {
                break;
            }
            bytes.extend_from_slice(&chunk.bytes);
        }
        let path_stem = state.path_stem(position);
        let upload = Upload { path_stem, position, bytes: bytes.freeze(), cuts: state.cuts };
        (!upload.bytes.is_empty() && !state.is_gone).then_some(upload)
    }

    /// What was uploaded is an object of the file from now on, unless it changed meanwhile.
    pub(in super::super) fn finish_upload(&self, upload: &Upload, object: &Arc<Object>) -> Result<bool, StorageError> {
        Ok(self.put_in_place(upload, object)?.is_some())
    }

    /// The append that says so; none when the file changed meanwhile.
    fn put_in_place(&self, upload: &Upload, object: &Arc<Object>) -> Result<Option<Ticket>, StorageError> {
        let mut state = self.state.lock();
        let length = upload.bytes.len() as u64;
        let (end, cuts) = (upload.position + length, upload.cuts);
        let is_same = state.cuts == cuts && !state.is_gone;
        if !is_same || state.chunks.front().is_none_or(|chunk| chunk.position != upload.position) {
            return Ok(None);
        }
        let count = state.chunks.iter().take_while(|chunk| chunk.position < end).count();
        let logged = state.chunks.iter().take(count).filter(|chunk| chunk.is_logged);
        let keys = logged.map(|chunk| manifest::chunk_key(self.id, chunk.position));
        let mut records: Vec<_> = keys.map(manifest::forget).collect();
        let extent = Extent { object: Arc::clone(object), position: upload.position, length, is_keyed: true };
        records.push(extent.named(self.id));
        let (me, grown) = (Weak::clone(&self.me), Arc::clone(&self.shared));
        let ticket = self.shared.log(records, move |is_durable| {
            if let Some(file) = me.upgrade().filter(|_| is_durable) {
                file.durable_to(end, cuts);
            }
            grown.grown.notify_one();
        })?;
        state.extents.push(extent);
        state.chunks.drain(..count);
        self.shared.let_go(length);
        Ok(Some(ticket))
    }

    /// Has a long end stored as an object at once, which the journal then only names: its bytes are written once. None when
    /// it is short, or when that did not work; then the journal takes it.
    pub(super) fn sync_directly(&self) -> Option<Result<(), StorageError>> {
        let upload = self.begin_storing()?;
        let outcome = self.store(&upload);
        self.state.lock().is_storing = false;
        outcome.map(|ticket| ticket.and_then(Ticket::wait))
    }

    fn store(&self, upload: &Upload) -> Option<Result<Ticket, StorageError>> {
        let object = match self.shared.objects.store(
            self.shared.object_path(&upload.path_stem),
            &upload.bytes,
            self.shared.patience / 2,
        ) {
            Ok(object) => object,
            Err(error) => {
                tracing::debug!(%error, partition = upload.path_stem, "records go to the journal: no object of their own");
                return None;
            }
        };
        let outcome = self.put_in_place(upload, &object);
        if !matches!(outcome, Ok(Some(_))) {
            object.doom();
        }
        outcome.transpose()
    }

    fn begin_storing(&self) -> Option<Upload> {
        let mut state = self.state.lock();
        let unlogged = state.chunks.iter().rev().take_while(|chunk| !chunk.is_logged).map(|chunk| chunk.bytes.len());
        let is_worth_it = unlogged.sum::<usize>() + state.open.len() >= DIRECT_BYTES;
        let is_too_much = held_bytes(&state) > UPLOAD_BYTES_MAX as u64;
        if !is_worth_it || is_too_much || state.is_gone || state.is_storing {
            return None;
        }
        state.close_open();
        // What is in the journal before it comes along: objects come before chunks.
        let (position, cuts) = (state.chunks.front()?.position, state.cuts);
        let bytes = match state.chunks.len() {
            1 => state.chunks.front()?.bytes.clone(),
            _ => {
                let mut bytes = BytesMut::with_capacity(usize::try_from(held_bytes(&state)).unwrap_or_default());
                state.chunks.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.bytes));
                bytes.freeze()
            }
        };
        state.is_storing = true;
        state.may_merge = true;
        Some(Upload { path_stem: state.path_stem(position), position, bytes, cuts })
    }

    /// Whether there may be small objects that lie side by side; nobody has looked since some came.
    pub(in super::super) fn may_merge(&self) -> bool {
        self.state.lock().may_merge
    }

    /// The first run of objects below `small_bytes` that is worth one of its own.
    pub(in super::super) fn begin_merge(&self, small_bytes: u64) -> Option<Merge> {
        let mut state = self.state.lock();
        let found = self.first_run(&state, small_bytes);
        if found.is_none() && small_bytes >= SMALL_BYTES {
            state.may_merge = false;
        }
        found
    }

    fn first_run(&self, state: &State, small_bytes: u64) -> Option<Merge> {
        let mut run: &[Extent] = &[];
        for end in 1..=state.extents.len() {
            let begin = end - run.len() - 1;
            run = state.extents.get(begin..end)?;
            let is_large = run.last().is_some_and(|extent| extent.length >= small_bytes);
            if is_large {
                run = &[];
            }
            if run.len() >= MERGE_PARTS {
                break;
            }
        }
        let first = run.first().filter(|_| run.len() >= MERGE_PARTS && !state.is_gone)?;
        let parts = run.iter().map(|extent| (extent.object.path.clone(), usize::try_from(extent.length).unwrap_or(0)));
        let path_stem = state.path_stem(first.position);
        Some(Merge { path_stem, position: first.position, parts: parts.collect(), cuts: state.cuts })
    }

    /// Puts the merged object in the place of its parts, unless the file was cut meanwhile.
    pub(in super::super) fn finish_merge(
        &self,
        merge: &Merge,
        object: &Arc<Object>,
        length: u64,
    ) -> Result<bool, StorageError> {
        let mut state = self.state.lock();
        if state.cuts != merge.cuts || state.is_gone {
            return Ok(false);
        }
        // Objects are only ever added behind them.
        let first = state.extents.partition_point(|extent| extent.position < merge.position);
        let range = first..first + merge.parts.len();
        let merged = Extent { object: Arc::clone(object), position: merge.position, length, is_keyed: true };
        let named = merged.named(self.id);
        let parts: Vec<Extent> = state.extents.splice(range, [merged]).collect();
        // The first part's key is that of the whole.
        let keyed = parts.iter().filter(|extent| extent.is_keyed && extent.position != merge.position);
        let forgotten = keyed.map(|extent| manifest::forget(manifest::object_key(self.id, extent.position)));
        let records = forgotten.chain([named, state.named(self.id)]).collect();
        let replaced: Vec<_> = parts.iter().map(|extent| Arc::clone(&extent.object)).collect();
        let logged = self.shared.log(records, move |is_durable| {
            if is_durable {
                replaced.iter().for_each(|object| object.doom());
            }
        });
        if let Err(error) = logged {
            state.extents.splice(first..=first, parts);
            return Err(error);
        }
        Ok(true)
    }
}

/// From here on they go straight into an object when somebody waits for them.
const DIRECT_BYTES: usize = 128 << 10;
/// From here on they are worth an object of their own.
const UPLOAD_BYTES: u64 = 4 << 20;
const SEALED_UPLOAD_BYTES: u64 = 64 << 10;
const UPLOAD_BYTES_MAX: usize = 16 << 20;
/// Objects below this are merged, so many at a time, when nothing waits to be stored: while something does, that would
/// write everything twice again.
pub(in super::super) const SMALL_BYTES: u64 = 1 << 20;
/// Those below this are merged at once.
pub(in super::super) const TINY_BYTES: u64 = DIRECT_BYTES as u64;
const MERGE_PARTS: usize = 8;
