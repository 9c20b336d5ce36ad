//! The segments of a log in the order of their offsets, and what look-ups share: none of them walks the list.

use std::{ops::Deref, sync::Arc};

use parking_lot::Mutex;

use super::segment::Segment;
use crate::{
    model::TopicPartition,
    storage::{StorageError, segment::SegmentStore},
};

/// The list; the last one grows. Part of the log's state.
#[derive(Default)]
pub(super) struct Segments {
    list: Vec<Arc<Segment>>,
    /// As the list is now, once somebody asked.
    view: Option<Arc<View>>,
    maxima: Option<Arc<Maxima>>,
}

/// Of each sealed segment the largest timestamp in it and before it, as far as somebody asked. They rise, whatever the order
/// of the timestamps, so that the first segment with one that is not older can be searched for by halves.
type Maxima = Mutex<Vec<i64>>;

impl From<Vec<Arc<Segment>>> for Segments {
    fn from(list: Vec<Arc<Segment>>) -> Self {
        Self { list, view: None, maxima: None }
    }
}

impl Deref for Segments {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &[Arc<Segment>] {
        &self.list
    }
}

impl Segments {
    /// Adds one at the end, which seals the one before it.
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.view = None;
        self.list.push(segment);
    }

    /// For any other change. What is taken out is held by nobody who looks up nothing at the moment.
    pub(super) fn change(&mut self) -> &mut Vec<Arc<Segment>> {
        self.view = None;
        self.maxima = None;
        &mut self.list
    }

    /// The list as it is now; copied only when it has changed since the last time.
    pub(super) fn view(&mut self) -> Arc<View> {
        let maxima = self.maxima.get_or_insert_default();
        let view = self.view.get_or_insert_with(|| {
            Arc::new(View { segments: self.list.as_slice().into(), maxima: Arc::clone(maxima) })
        });
        Arc::clone(view)
    }

    /// Whether the list is as it was.
    pub(super) fn is(&self, view: &Arc<View>) -> bool {
        self.view.as_ref().is_some_and(|present| Arc::ptr_eq(present, view))
    }
}

/// The list at some moment.
pub(super) struct View {
    segments: Box<[Arc<Segment>]>,
    maxima: Arc<Maxima>,
}

impl Deref for View {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &[Arc<Segment>] {
        &self.segments
    }
}

impl View {
    /// The first segment with a timestamp that is at least `timestamp_ms`; the last one where no sealed one has any. Reads
    /// the indexes of those that nobody has asked about yet.
    pub(super) fn first_reaching(
        &self,
        timestamp_ms: i64,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<usize, StorageError> {
        let sealed = self.segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        loop {
            let (known, before) = {
                let maxima = self.maxima.lock();
                let before = maxima.last().copied().unwrap_or(i64::MIN);
                if before >= timestamp_ms {
                    return Ok(maxima.partition_point(|max| *max < timestamp_ms));
                }
                (maxima.len(), before)
            };
            let Some(next) = sealed.get(known) else { return Ok(sealed.len()) };
            let (max_timestamp_ms, _) = next.max_timestamp(store, partition)?;
            let mut maxima = self.maxima.lock();
            // Another look-up may have been here meanwhile.
            if maxima.len() == known {
                maxima.push(max_timestamp_ms.max(before));
            }
        }
    }

    /// The first segment with the largest timestamp of all.
    pub(super) fn first_with_max(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<Option<&Arc<Segment>>, StorageError> {
        let Some((active, sealed)) = self.segments.split_last() else { return Ok(None) };
        self.first_reaching(i64::MAX, store, partition)?;
        let (max_timestamp_ms, index) = {
            let maxima = self.maxima.lock();
            let max_timestamp_ms = maxima.last().copied().unwrap_or(i64::MIN);
            (max_timestamp_ms, maxima.partition_point(|max| *max < max_timestamp_ms))
        };
        match active.max_timestamp(store, partition)? {
            (active_ms, _) if active_ms > max_timestamp_ms => Ok(Some(active)),
            _ => Ok(sealed.get(index)),
        }
    }
}
