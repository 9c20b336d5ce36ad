//! The start of a gateway: what the journal holds is read, and a fence put behind it, so that whoever wrote it before can
//! write no more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    live::Live,
    names::{self, Name},
    object::{self, Change, Head},
    store::{Created, Read, Store},
};
use crate::storage::{StorageError, filer::error::FilerError};

/// What a gateway begins with.
pub(super) struct Takeover {
    pub(super) live: Live,
    /// The number of the fence.
    pub(super) epoch: u64,
    /// The first number that is ours to give.
    pub(super) next: u64,
    /// Objects that stand for nothing any more, fences excepted.
    pub(super) strays: Vec<String>,
}

/// Reads the journal and fences it off in the name of `owner`.
pub(super) async fn take_over(store: &Store, owner: &str) -> Result<Takeover, StorageError> {
    for _ in 0..ATTEMPTS_MAX {
        // None: objects were merged away while they were read.
        let Some(mut walk) = walk(store).await? else { continue };
        let epoch = walk.next;
        let head = Head { epoch, first: epoch, last: epoch + WINDOW - 1, durable: epoch - 1 };
        match create_fence(store, epoch, &object::fence(head, owner)).await? {
            Created::Done => {
                walk.live.apply(head, vec![names::single(epoch)], true, Vec::new());
                return Ok(Takeover { live: walk.live, epoch, next: epoch + WINDOW, strays: walk.strays });
            }
            Created::Fenced { by } => {
                let folder = store.client.folder();
                let message = format!("{by} has just begun to use the filer's folder {folder}; one gateway at a time");
                return Err(StorageError::Unavailable(message));
            }
            // The last words of the one before, or more: the next look tells.
            Created::Taken { by } => tracing::info!(%by, sequence = epoch, "the journal moved on; reading it again"),
        }
    }
    Err(StorageError::Unavailable("another gateway goes on writing to the journal".to_owned()))
}

async fn create_fence(store: &Store, epoch: u64, fence: &Bytes) -> Result<Created, StorageError> {
    let mut attempt = 1;
    loop {
        match store.create(epoch, fence).await {
            Err(error) if error.is_worth_another_attempt() && attempt < FENCE_ATTEMPTS_MAX => {
                tokio::time::sleep(store.client.backoff(attempt)).await;
                attempt += 1;
            }
            outcome => return outcome.map_err(explained),
        }
    }
}

/// Without the exclusive way there is no safe start, and the operator must hear what to do.
fn explained(error: FilerError) -> StorageError {
    match error {
        FilerError::Unreachable(reason) | FilerError::Refused(reason) => StorageError::Unavailable(format!(
            "exclusive use of the filer's folder cannot be had: {reason}; filer.grpc-url must name the filer's gRPC \
             address, or filer.exclusive = \"trust-me\" say that there is never a second gateway"
        )),
        error => error.into(),
    }
}

struct Walk {
    live: Live,
    /// The first number that nothing stands for.
    next: u64,
    strays: Vec<String>,
}

/// Reads all objects in the order of their numbers, from 1 to the first that is missing.
async fn walk(store: &Store) -> Result<Option<Walk>, StorageError> {
    let listed = store.names().await?;
    let parsed: Vec<_> = listed.iter().filter_map(|name| Some((names::parse(name)?, name.clone()))).collect();
    let merged: Vec<(u64, u64, &String)> = parsed
        .iter()
        .filter_map(|(parsed, name)| match parsed {
            Name::Merged { first, last } => Some((*first, *last, name)),
            _ => None,
        })
        .collect();
    let is_within = |first: u64, last: u64, but: &String| {
        merged
            .iter()
            .any(|(from, to, name)| *name != but && *from <= first && last <= *to && (*from, *to) != (first, last))
    };
    let wanted = parsed.iter().filter(|(parsed, name)| match parsed {
        Name::Single(sequence) => {
            !is_within(*sequence, *sequence, name)
                && !merged.iter().any(|(from, to, _)| from == sequence && to == sequence)
        }
        Name::Merged { first, last } => !is_within(*first, *last, name),
        Name::Body(_) => false,
    });
    let wanted: Vec<String> = wanted.map(|(_, name)| name.clone()).collect();
    let reads = stream::iter(wanted.into_iter().map(|name| async move {
        let read = store.read(&name).await;
        (name, read)
    }));
    let mut reads = reads.buffer_unordered(READS_AT_ONCE);
    let mut objects: HashMap<String, Read> = HashMap::new();
    while let Some((name, read)) = reads.next().await {
        let Some(read) = read? else { return Ok(None) };
        objects.insert(name, read);
    }
    drop(reads);
    let durable = objects.values().map(|read| read.head.durable).max().unwrap_or_default();
    let mut walk = Walk { live: Live::default(), next: 1, strays: Vec::new() };
    let mut used: HashSet<String> = HashSet::new();
    loop {
        let covering = merged
            .iter()
            .filter(|(first, last, name)| *first <= walk.next && walk.next <= *last && objects.contains_key(*name));
        let name = covering.max_by_key(|(_, last, _)| *last).map(|(_, _, name)| (*name).clone());
        let name = name.unwrap_or_else(|| names::single(walk.next));
        let Some(read) = objects.remove(&name) else { break };
        used.extend(read.names.iter().cloned());
        let is_right = match names::parse(&name) {
            Some(Name::Single(sequence)) => read.head.first == sequence,
            Some(Name::Merged { first, last }) => (read.head.first, read.head.last) == (first, last),
            _ => false,
        };
        if !is_right {
            return Err(StorageError::Corrupt(format!("{name} in the journal says that it is another object")));
        }
        // Where it begins before, that part is in what was read already.
        let head = Head { first: walk.next, ..read.head };
        walk.next = head.last + 1;
        walk.live.apply(head, read.names, read.fence_of.is_some(), read.changes.into_iter().map(compact).collect());
    }
    if durable >= walk.next {
        return Err(StorageError::Corrupt(format!(
            "object {} of the journal is missing, and it was there: number {durable} was acknowledged",
            names::single(walk.next)
        )));
    }
    if listed.is_empty() && !store.client.list("topics", "").await?.is_empty() {
        return Err(StorageError::Corrupt(format!(
            "there is no journal in {0}/wal, and without it the records in {0}/topics belong to no topic; put it back, or \
             move the records away",
            store.client.folder()
        )));
    }
    walk.strays = strays(&parsed, &used, walk.next);
    Ok(Some(walk))
}

/// What is left over: parts of merged objects, bodies that nothing names. Fences are among them.
fn strays(parsed: &[(Name, String)], used: &HashSet<String>, next: u64) -> Vec<String> {
    let unused = parsed.iter().filter(|(parsed, name)| match parsed {
        // Those behind the end may be of flushes under way, and the fence is about to cover them.
        Name::Single(sequence) | Name::Body(sequence) => *sequence < next && !used.contains(name),
        Name::Merged { .. } => !used.contains(name),
    });
    unused.map(|(_, name)| name.clone()).collect()
}

/// Removes strays, but no fences: they stay for ever, and keep a gateway that slept through its own succession from
/// writing on.
pub(super) async fn remove_strays(store: Arc<Store>, strays: Vec<String>) {
    let store = &*store;
    let removals = stream::iter(strays).map(|name| async move {
        let outcome = match names::parse(&name) {
            Some(Name::Single(_)) => match store.read(&name).await {
                Ok(Some(read)) if read.fence_of.is_none() => store.delete(&name).await,
                outcome => outcome.map(drop),
            },
            _ => store.delete(&name).await,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, name, "an object of the journal is left over");
        }
    });
    removals.buffer_unordered(REMOVALS_AT_ONCE).collect::<()>().await;
}

/// A copy that does not keep the whole object in memory.
fn compact(change: Change) -> Change {
    Change {
        key: Bytes::copy_from_slice(&change.key),
        value: change.value.map(|value| Bytes::copy_from_slice(&value)),
        ..change
    }
}

/// Numbers that a fence takes: more than a gateway can have under way.
pub(super) const WINDOW: u64 = 64;
const ATTEMPTS_MAX: u32 = 20;
const FENCE_ATTEMPTS_MAX: u32 = 6;
const READS_AT_ONCE: usize = 32;
const REMOVALS_AT_ONCE: usize = 8;
