//! Putting a cleaned copy in its place while the log is in use; [`swap`](super::swap) is the part of it that a crash cannot
//! break.

use std::sync::Arc;

use super::{
    CompactError,
    pass::Cleaned,
    swap::{Manifest, cleaned_name, forget},
};
use crate::{
    log::{
        files::log_name,
        partition::{PartitionLog, Status},
        segment::Segment,
    },
    storage::StorageError,
};

impl PartitionLog {
    /// Puts `cleaned` in the place of `originals`, unless they are not all there any more.
    pub(super) fn replace(&self, originals: &[Arc<Segment>], cleaned: Cleaned) -> Result<(), CompactError> {
        let _replacing = self.replacing.lock();
        let (store, partition) = (&*self.store, &self.partition);
        let base_offset = cleaned.segment.base_offset;
        let manifest = Manifest {
            base_offset,
            size_bytes: cleaned.segment.file.size_bytes(),
            others: originals.iter().skip(1).map(|segment| segment.base_offset).collect(),
        };
        let ready = self.check_replaceable(originals).and_then(|()| {
            manifest.store(store, partition)?;
            // Readers may have the old segments still: their handles must not open the new file.
            originals.iter().try_for_each(|segment| segment.retire())?;
            Ok(store.rename(partition, &cleaned_name(base_offset), &log_name(base_offset))?)
        });
        let file = match ready {
            Ok(file) => file,
            Err(error) => {
                if let Err(error) = manifest.undo(store, partition) {
                    tracing::warn!(%partition, %error, "a cleaned segment that was given up could not be removed");
                }
                return Err(error);
            }
        };
        let segment = Arc::new(cleaned.segment.placed(file));
        self.install(originals, Arc::clone(&segment));
        manifest.remove_replaced(store, partition)?;
        if let Err(error) = segment.finish_indexes(store, partition).and_then(|_| segment.sync_indexes()) {
            // In memory they serve as well, and a start builds them anew.
            tracing::warn!(%partition, %error, "indexes of a cleaned segment were not written");
        }
        Ok(forget(store, partition)?)
    }

    /// Finishes what an error has cut short.
    pub(super) fn finish_replacing(&self) -> Result<(), CompactError> {
        let _replacing = self.replacing.lock();
        let (store, partition) = (&*self.store, &self.partition);
        let Some(manifest) = Manifest::load(store, partition)? else { return Ok(()) };
        let name = cleaned_name(manifest.base_offset);
        if store.list(partition)?.iter().any(|file| file.name == name) {
            return Ok(manifest.undo(store, partition)?);
        }
        manifest.remove_replaced(store, partition)?;
        let segments = self.state.lock().segments.to_vec();
        if let Some(segment) = segments.iter().find(|segment| segment.base_offset == manifest.base_offset) {
            segment.forget_indexes(store, partition)?;
        }
        Ok(forget(store, partition)?)
    }

    /// The originals are in the list still, one behind the other, and a restart reads nothing before their end.
    fn check_replaceable(&self, originals: &[Arc<Segment>]) -> Result<(), CompactError> {
        let state = self.state.lock();
        let is_wanted = self.config.load().compact && matches!(state.status, Status::Open);
        let from = originals.first().map_or(0, |first| state.segment_at(first.base_offset));
        let present = state.segments.iter().skip(from).take(originals.len());
        let are_there = present.len() == originals.len()
            && present.zip(originals).all(|(present, original)| Arc::ptr_eq(present, original));
        let next_base = state.segments.get(from + originals.len()).map(|next| next.base_offset);
        let is_behind = next_base.is_some_and(|next| state.last_checkpoint.segment >= next);
        match is_wanted && are_there && is_behind {
            true => Ok(()),
            false => Err(CompactError::Stopped),
        }
    }

    /// Shows readers the new segment. Whoever takes segments out of the list holds `replacing` for it: the originals are
    /// there.
    fn install(&self, originals: &[Arc<Segment>], segment: Arc<Segment>) {
        let mut state = self.state.lock();
        let from = state.segment_at(segment.base_offset);
        let to = (from + originals.len()).min(state.segments.len());
        let replaced = state.segments.change().splice(from..to, [segment]).collect::<Vec<_>>();
        // Positions that readers remember are of the old files.
        state.replacements += 1;
        drop(state);
        drop(replaced);
    }

    /// Makes sure that a restart begins to read at `offset` or behind it: a checkpoint that names a position in a segment that
    /// was replaced would lead astray.
    pub(super) fn checkpoint_behind(&self, offset: i64) -> Result<(), CompactError> {
        for _ in 0..CHECKPOINT_ATTEMPTS_MAX {
            if self.state.lock().last_checkpoint.segment >= offset {
                return Ok(());
            }
            self.check_wanted()?;
            self.checkpoint_now();
        }
        Err(StorageError::Unavailable("no checkpoint could be written".to_owned()).into())
    }
}

const CHECKPOINT_ATTEMPTS_MAX: u32 = 2;
