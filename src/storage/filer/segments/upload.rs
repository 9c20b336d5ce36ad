//! From the journal into objects of their partition, in the background.

use std::{
    collections::HashSet,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;

use super::{
    Directories,
    file::{FilerFile, SMALL_BYTES, TINY_BYTES},
    shared::Shared,
};
use crate::storage::{StorageError, filer::client::FilerClient};

/// Uploads what is ripe, until the store is gone.
pub(super) async fn run(directories: Weak<Directories>, shared: Arc<Shared>) {
    let mut last_stored = 0;
    loop {
        let Some(ripe) = ripe(&directories, &shared) else { return };
        for file in ripe {
            let outcome = match upload(&shared, &file).await {
                Ok(()) => merge(&shared, &file, TINY_BYTES).await,
                error => error,
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "records stay where they are for now");
                tokio::time::sleep(REST).await;
            }
        }
        // While objects are stored, merging would cost those who wait for that.
        let stored = shared.next_number.load(Ordering::Relaxed);
        if std::mem::replace(&mut last_stored, stored) == stored
            && let Some(file) = mergeable(&directories)
            && let Err(error) = merge(&shared, &file, SMALL_BYTES).await
        {
            tracing::debug!(%error, "small objects stay for now");
        }
        // Every sync says that something has grown; one look serves many.
        tokio::time::sleep(LOOK_PERIOD).await;
        let _ = tokio::time::timeout(PERIOD, shared.grown.notified()).await;
    }
}

/// Files with enough for an object; when memory is short, those with most, however little that is. None when the store is gone.
fn ripe(directories: &Weak<Directories>, shared: &Shared) -> Option<Vec<Arc<FilerFile>>> {
    let directories = directories.upgrade()?;
    let directories = directories.read();
    let mut candidates = Vec::new();
    for file in directories.values().flat_map(|files| files.values()) {
        let (bytes, is_ripe) = file.ripe_bytes();
        if bytes > 0 {
            candidates.push((bytes, is_ripe, Arc::clone(file)));
        }
    }
    candidates.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    let is_crowded = shared.is_crowded();
    let wanted = candidates.into_iter().filter(|(_, is_ripe, _)| *is_ripe || is_crowded);
    Some(wanted.take(AT_ONCE).map(|(.., file)| file).collect())
}

/// A file that may have small objects.
fn mergeable(directories: &Weak<Directories>) -> Option<Arc<FilerFile>> {
    let directories = directories.upgrade()?;
    let directories = directories.read();
    directories.values().flat_map(|files| files.values()).find(|file| file.may_merge()).map(Arc::clone)
}

async fn upload(shared: &Arc<Shared>, file: &FilerFile) -> Result<(), StorageError> {
    let Some(upload) = file.begin_upload() else { return Ok(()) };
    let path = shared.object_path(&upload.path_stem);
    shared.objects.client.put(&path, upload.bytes.clone(), None).await?;
    let object = shared.objects.object(path);
    shared.objects.remember(&object, &upload.bytes);
    match file.finish_upload(&upload, &object) {
        Ok(true) => {
            tracing::debug!(path = object.path, bytes = upload.bytes.len(), "records moved to an object of their own");
            Ok(())
        }
        outcome => {
            object.doom();
            outcome.map(drop)
        }
    }
}

/// Makes one object of several small ones that lie side by side, if there are such.
async fn merge(shared: &Arc<Shared>, file: &FilerFile, small_bytes: u64) -> Result<(), StorageError> {
    let Some(merge) = file.begin_merge(small_bytes) else { return Ok(()) };
    let mut bytes = BytesMut::new();
    for (path, length) in &merge.parts {
        bytes.extend_from_slice(&shared.objects.client.get_range(path, 0, *length).await?);
    }
    let bytes = bytes.freeze();
    let path = shared.object_path(&merge.path_stem);
    shared.objects.client.put(&path, bytes.clone(), None).await?;
    let object = shared.objects.object(path);
    match file.finish_merge(&merge, &object, bytes.len() as u64) {
        Ok(true) => {
            tracing::debug!(path = object.path, parts = merge.parts.len(), "small objects became one");
            Ok(())
        }
        outcome => {
            object.doom();
            outcome.map(drop)
        }
    }
}

/// Removes objects of former gateways that no file is made of.
pub(super) async fn remove_unreferenced(client: Arc<FilerClient>, referenced: HashSet<String>, epoch: u64) {
    if let Err(error) = sweep(&client, &referenced, epoch).await {
        tracing::warn!(%error, "objects that nothing names stay until the next start");
    }
}

async fn sweep(client: &FilerClient, referenced: &HashSet<String>, epoch: u64) -> Result<(), StorageError> {
    let mut removed = 0_u64;
    for topic in client.list("topics", "").await?.into_iter().filter(|entry| entry.is_folder) {
        let topic = format!("topics/{}", topic.name);
        for partition in client.list(&topic, "").await?.into_iter().filter(|entry| entry.is_folder) {
            let folder = format!("{topic}/{}", partition.name);
            for object in client.list(&folder, "").await?.into_iter().filter(|entry| !entry.is_folder) {
                let path = format!("{folder}/{}", object.name);
                // Those of this gateway are being written, and files of others are none of its business.
                if epoch_of(&object.name).is_some_and(|written| written < epoch) && !referenced.contains(&path) {
                    client.delete(&path).await?;
                    removed += 1;
                }
            }
        }
    }
    if removed > 0 {
        tracing::info!(removed, "removed objects that nothing names");
    }
    Ok(())
}

/// Of `{file}.{position}.{epoch}.{number}`.
fn epoch_of(name: &str) -> Option<u64> {
    let mut parts = name.rsplit('.');
    parts.next()?.parse::<u64>().ok()?;
    let epoch = parts.next().filter(|epoch| epoch.len() == 20)?.parse().ok()?;
    parts.next()?.parse::<u64>().ok()?;
    Some(epoch)
}

const PERIOD: Duration = Duration::from_secs(1);
const LOOK_PERIOD: Duration = Duration::from_millis(50);
const REST: Duration = Duration::from_millis(500);
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_objects_have_an_epoch() {
        let name = format!("00000000000000000000.log.{:020}.{:020}.{:010}", 0, 7, 1);
        assert_eq!(epoch_of(&name), Some(7));
        for other in ["notes.txt", "a.1.2.3", "00000000000000000000.log", ""] {
            assert_eq!(epoch_of(other), None, "{other}");
        }
    }
}
