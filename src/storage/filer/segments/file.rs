//! A partition's file: objects on the filer, then bytes that are in the journal, then bytes that are only here.

mod moves;

use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{Arc, Weak},
};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};

pub(super) use self::moves::{SMALL_BYTES, TINY_BYTES};
use super::{
    manifest::{self, FileId, FileRecord, StoredFile},
    objects::Object,
    shared::{Shared, Ticket},
};
use crate::{
    model::TopicPartition,
    storage::{JournalRecord, SegmentFile, StorageError},
};

pub(super) struct FilerFile {
    id: FileId,
    shared: Arc<Shared>,
    state: Mutex<State>,
    me: Weak<FilerFile>,
}

pub(super) struct State {
    partition: TopicPartition,
    name: String,
    extents: Vec<Extent>,
    /// Behind the extents, in the journal.
    chunks: VecDeque<Chunk>,
    /// Behind those, not yet in the journal.
    open: BytesMut,
    size_bytes: u64,
    /// The end of what is acknowledged.
    durable: u64,
    is_sealed: bool,
    is_gone: bool,
    /// Its end is on its way into an object without the journal.
    is_storing: bool,
    /// There may be small objects that lie side by side.
    may_merge: bool,
    /// Counts cuts: what was begun before one means nothing after it.
    cuts: u64,
}

#[derive(Clone)]
struct Extent {
    object: Arc<Object>,
    position: u64,
    length: u64,
    /// It has a record of its own.
    is_keyed: bool,
}

struct Chunk {
    position: u64,
    bytes: Bytes,
    /// The journal has accepted it.
    is_logged: bool,
}

impl FilerFile {
    pub(super) fn new(shared: &Arc<Shared>, id: FileId, partition: TopicPartition, name: String) -> Arc<Self> {
        let state = State {
            partition,
            name,
            extents: Vec::new(),
            chunks: VecDeque::new(),
            open: BytesMut::new(),
            size_bytes: 0,
            durable: 0,
            is_sealed: false,
            is_gone: false,
            is_storing: false,
            may_merge: false,
            cuts: 0,
        };
        let shared = Arc::clone(shared);
        Arc::new_cyclic(|me| Self { id, shared, state: Mutex::new(state), me: Weak::clone(me) })
    }

    /// A file as the journal has it.
    pub(super) fn stored(shared: &Arc<Shared>, id: FileId, stored: StoredFile) -> Result<Arc<Self>, StorageError> {
        let corrupt = |what: &str| StorageError::Corrupt(format!("file {id} in the journal {what}"));
        let record = stored.record.ok_or_else(|| corrupt("has bytes and no name"))?;
        let file = Self::new(shared, id, record.partition, record.name);
        let mut state = file.state.lock();
        let listed = record.extents.into_iter().map(|(path, position, length)| (position, path, length, false));
        let keyed = stored.objects.into_iter().map(|(position, (path, length))| (position, path, length, true));
        let mut extents: Vec<_> = listed.chain(keyed).collect();
        extents.sort_unstable_by_key(|(position, ..)| *position);
        for (position, path, length, is_keyed) in extents {
            if position != state.size_bytes {
                return Err(corrupt("has a hole"));
            }
            state.extents.push(Extent { object: shared.objects.object(path), position, length, is_keyed });
            state.size_bytes += length;
        }
        state.may_merge = !state.extents.is_empty();
        for (position, bytes) in stored.chunks {
            if position != state.size_bytes {
                return Err(corrupt("has a hole"));
            }
            shared.held(bytes.len() as u64);
            state.size_bytes += bytes.len() as u64;
            state.chunks.push_back(Chunk { position, bytes, is_logged: true });
        }
        state.durable = state.size_bytes;
        drop(state);
        Ok(file)
    }

    /// What makes the file known to the journal; before anybody else has it.
    pub(super) fn created(&self) -> JournalRecord {
        self.state.lock().named(self.id)
    }

    /// Logs that the file has another name from now on, together with `records`.
    pub(super) fn rename(
        &self,
        name: &str,
        mut records: Vec<JournalRecord>,
        then: impl FnOnce(bool) + Send + 'static,
    ) -> Result<(), StorageError> {
        // Under the lock, as everything that logs the whole of a file: the order in the journal is that of the changes.
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.name, name.to_owned());
        records.push(state.named(self.id));
        let logged = self.shared.log(records, then);
        if logged.is_err() {
            state.name = before;
        }
        logged.map(drop)
    }

    /// The whole of a small file, which nothing is appended to.
    pub(super) fn fill(&self, contents: Bytes) -> Option<JournalRecord> {
        if contents.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        self.shared.held(contents.len() as u64);
        state.size_bytes = contents.len() as u64;
        state.chunks.push_back(Chunk { position: 0, bytes: contents.clone(), is_logged: true });
        Some(manifest::set(manifest::chunk_key(self.id, 0), contents))
    }

    /// The file is about to lose its name: nothing of it is logged any more. Answers what the journal is to forget, and the
    /// objects to remove when it has.
    pub(super) fn begin_removal(&self) -> (Vec<JournalRecord>, Vec<Arc<Object>>) {
        let mut state = self.state.lock();
        state.is_gone = true;
        let chunks = state.chunks.iter().map(|chunk| manifest::chunk_key(self.id, chunk.position));
        let keyed = state.extents.iter().filter(|extent| extent.is_keyed);
        let objects = keyed.map(|extent| manifest::object_key(self.id, extent.position));
        let keys = std::iter::once(manifest::file_key(self.id)).chain(chunks).chain(objects);
        let records = keys.map(manifest::forget).collect();
        (records, state.extents.iter().map(|extent| Arc::clone(&extent.object)).collect())
    }

    /// It keeps its name after all.
    pub(super) fn undo_removal(&self) {
        self.state.lock().is_gone = false;
    }

    fn is_durable(&self) -> bool {
        let state = self.state.lock();
        state.durable >= state.size_bytes
    }

    fn durable_to(&self, end: u64, cuts: u64) {
        let mut state = self.state.lock();
        if state.cuts == cuts {
            state.durable = state.durable.max(end);
        }
    }

    /// A small file that was written whole is in the journal.
    pub(super) fn written(&self, is_durable: bool) {
        let mut state = self.state.lock();
        if is_durable && state.cuts == 0 {
            state.durable = state.size_bytes;
        }
    }

    fn read_parts(&self, position: u64, length: usize) -> (Vec<Part>, u64) {
        let state = self.state.lock();
        let end = position.saturating_add(length as u64).min(state.size_bytes);
        let mut parts = Vec::new();
        let overlap = |from: u64, size: u64| {
            let (low, high) = (position.max(from), end.min(from + size));
            (low < high).then(|| (low - from, usize::try_from(high - low).unwrap_or(usize::MAX)))
        };
        let first = state.extents.partition_point(|extent| extent.position + extent.length <= position);
        for extent in state.extents.iter().skip(first).take_while(|extent| extent.position < end) {
            if let Some((at, length)) = overlap(extent.position, extent.length) {
                parts.push(Part::Object(extent.clone(), at, length));
            }
        }
        let first = state.chunks.partition_point(|chunk| chunk.position + chunk.bytes.len() as u64 <= position);
        for chunk in state.chunks.range(first..).take_while(|chunk| chunk.position < end) {
            if let Some((at, length)) = overlap(chunk.position, chunk.bytes.len() as u64) {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                parts.push(Part::Memory(chunk.bytes.slice(at..at.saturating_add(length))));
            }
        }
        let open_from = state.size_bytes - state.open.len() as u64;
        if let Some((at, length)) = overlap(open_from, state.open.len() as u64) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let bytes = state.open.get(at..at.saturating_add(length)).map(Bytes::copy_from_slice);
            parts.push(Part::Memory(bytes.unwrap_or_default()));
        }
        (parts, end)
    }
}

enum Part {
    Object(Extent, u64, usize),
    Memory(Bytes),
}

impl SegmentFile for FilerFile {
    fn size_bytes(&self) -> u64 {
        self.state.lock().size_bytes
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.shared.make_room(bytes as u64)?;
        let mut state = self.state.lock();
        let position = state.size_bytes;
        parts.iter().for_each(|part| state.open.extend_from_slice(part));
        state.size_bytes += bytes as u64;
        self.shared.held(bytes as u64);
        // A sync that covers it all has less left to do then.
        if state.open.len() >= LOG_BYTES
            && !state.is_storing
            && let Err(error) = log_open(&self.shared, &mut [(self, state)])
        {
            tracing::debug!(%error, "the journal takes nothing at the moment; a sync tries again");
        }
        Ok(position)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let (parts, _) = self.read_parts(position, length);
        let mut read = Vec::with_capacity(parts.len());
        for part in parts {
            read.push(match part {
                Part::Memory(bytes) => bytes,
                Part::Object(extent, at, length) => {
                    self.shared.objects.read(&extent.object, extent.length, at, length)?
                }
            });
        }
        if read.len() <= 1 {
            return Ok(read.pop().unwrap_or_default());
        }
        let mut whole = BytesMut::with_capacity(read.iter().map(Bytes::len).sum());
        read.iter().for_each(|bytes| whole.extend_from_slice(bytes));
        Ok(whole.freeze())
    }

    fn sync(&self) -> Result<(), StorageError> {
        match self.is_durable() {
            true => Ok(()),
            false => self.sync_directly().unwrap_or_else(|| sync_files(&self.shared, vec![self])),
        }
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        let ticket = {
            let mut state = self.state.lock();
            let mut cut = Vec::new();
            let mut records = Vec::new();
            let mut extents = state.extents.clone();
            extents.retain_mut(|extent| {
                extent.length = extent.length.min(size_bytes.saturating_sub(extent.position));
                if extent.length == 0 {
                    cut.push(Arc::clone(&extent.object));
                }
                match extent.is_keyed {
                    true if extent.length == 0 => {
                        records.push(manifest::forget(manifest::object_key(self.id, extent.position)));
                    }
                    true if extent.position + extent.length == size_bytes => records.push(extent.named(self.id)),
                    _ => {}
                }
                extent.length > 0
            });
            let mut kept = VecDeque::new();
            for chunk in &state.chunks {
                let keep = usize::try_from(size_bytes.saturating_sub(chunk.position)).unwrap_or(usize::MAX);
                let key = manifest::chunk_key(self.id, chunk.position);
                if keep == 0 {
                    records.push(manifest::forget(key));
                    continue;
                }
                let bytes = chunk.bytes.slice(..keep.min(chunk.bytes.len()));
                // Again, also when it is whole: whether it was accepted the first time is not known after a failure.
                records.push(manifest::set(key, bytes.clone()));
                kept.push_back(Chunk { position: chunk.position, bytes, is_logged: true });
            }
            let open_from = state.size_bytes - state.open.len() as u64;
            let open_kept = usize::try_from(size_bytes.saturating_sub(open_from)).unwrap_or(usize::MAX);
            let before = std::mem::replace(&mut state.extents, extents);
            records.push(state.named(self.id));
            let is_gone = state.is_gone;
            let logged = self.shared.log(if is_gone { Vec::new() } else { records }, move |is_durable| {
                if is_durable {
                    cut.iter().for_each(|object| object.doom());
                }
            });
            let ticket = match logged {
                Ok(ticket) => ticket,
                Err(error) => {
                    state.extents = before;
                    return Err(error);
                }
            };
            let held_before = held_bytes(&state);
            state.chunks = kept;
            state.open.truncate(open_kept);
            state.size_bytes = state.size_bytes.min(size_bytes);
            state.durable = state.durable.min(size_bytes);
            state.cuts += 1;
            self.shared.let_go(held_before - held_bytes(&state));
            ticket
        };
        ticket.wait()?;
        // Bytes that were not in the journal before may be kept.
        self.sync()
    }

    fn seal(&self) {
        self.state.lock().is_sealed = true;
        self.shared.grown.notify_one();
    }
}

impl Drop for FilerFile {
    fn drop(&mut self) {
        self.shared.let_go(held_bytes(self.state.get_mut()));
    }
}

/// Makes several files durable with one append.
pub(super) fn sync_files(shared: &Arc<Shared>, mut files: Vec<&FilerFile>) -> Result<(), StorageError> {
    // Always in the same order, so that two who sync do not wait for each other.
    files.sort_by_key(|file| file.id);
    files.dedup_by_key(|file| file.id);
    let mut locked: Vec<_> = files.into_iter().map(|file| (file, file.state.lock())).collect();
    let ticket = log_open(shared, &mut locked)?;
    drop(locked);
    ticket.wait()
}

/// Logs what is in no record yet; what was, is durable with it.
fn log_open(shared: &Arc<Shared>, files: &mut [(&FilerFile, MutexGuard<'_, State>)]) -> Result<Ticket, StorageError> {
    let mut records = Vec::new();
    let mut ends = Vec::new();
    for (file, state) in &*files {
        ends.push((Weak::clone(&file.me), state.size_bytes, state.cuts));
    }
    for (file, state) in &mut *files {
        records.extend(state.unlogged(file.id));
    }
    let grown = Arc::clone(shared);
    let logged = shared.log(records, move |is_durable| {
        for (file, end, cuts) in ends.into_iter().filter(|_| is_durable) {
            if let Some(file) = file.upgrade() {
                file.durable_to(end, cuts);
            }
        }
        grown.grown.notify_one();
    });
    if logged.is_ok() {
        files.iter_mut().for_each(|(_, state)| state.mark_logged());
    }
    logged
}

impl Extent {
    fn named(&self, id: FileId) -> JournalRecord {
        let value = manifest::object_value(&self.object.path, self.length);
        manifest::set(manifest::object_key(id, self.position), value)
    }
}

impl State {
    fn path_stem(&self, position: u64) -> String {
        format!("{}/{}.{position:020}", super::folder_of(&self.partition), self.name)
    }

    /// What was appended is a chunk from now on.
    fn close_open(&mut self) {
        if !self.open.is_empty() {
            let bytes = self.open.split().freeze();
            let position = self.size_bytes - bytes.len() as u64;
            self.chunks.push_back(Chunk { position, bytes, is_logged: false });
        }
    }

    fn named(&self, id: FileId) -> JournalRecord {
        manifest::set(manifest::file_key(id), self.record().encode())
    }

    /// What the journal has not accepted yet.
    fn unlogged(&mut self, id: FileId) -> Vec<JournalRecord> {
        if self.is_gone {
            return Vec::new();
        }
        self.close_open();
        let unlogged = self.chunks.iter().rev().take_while(|chunk| !chunk.is_logged);
        unlogged.map(|chunk| manifest::set(manifest::chunk_key(id, chunk.position), chunk.bytes.clone())).collect()
    }

    fn mark_logged(&mut self) {
        self.chunks.iter_mut().rev().take_while(|chunk| !chunk.is_logged).for_each(|chunk| chunk.is_logged = true);
    }

    fn record(&self) -> FileRecord {
        let extents = self.extents.iter().filter(|extent| !extent.is_keyed);
        FileRecord {
            partition: self.partition.clone(),
            name: self.name.clone(),
            extents: extents.map(|extent| (extent.object.path.clone(), extent.position, extent.length)).collect(),
        }
    }
}

fn held_bytes(state: &State) -> u64 {
    state.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum::<u64>() + state.open.len() as u64
}

/// Bytes that go to the journal before anybody waits for them.
const LOG_BYTES: usize = 8 << 20;
