//! Stretches of a segment that were found whole and good a moment ago: fetches send them from the file as they are.
//!
//! A flipped bit is never served, so what is read from the disk is checked. Checking costs a copy, which sending from
//! the file was to spare. So bytes that were checked, or written, within [`FRESH`] are not checked again: they are in the
//! page cache, and sending them does not wait for the disk either.

use std::time::Duration;

use crate::model::batch::BatchHeader;

/// The spans of one segment.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// In the order of their offsets.
    list: Vec<Kept>,
    writing: Option<Growing>,
}

/// Whole batches from one offset up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) next: i64,
    pub(super) position: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.end - self.position).unwrap_or(usize::MAX)
    }
}

/// A span whose end was not reached yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growing {
    from: i64,
    position: u64,
    end: u64,
}

impl Growing {
    pub(super) fn new(from: i64, position: u64) -> Self {
        Self { from, position, end: position }
    }

    /// Adds the batch that follows. A span ends with the batch that reaches over a multiple of [`STRIDE_BYTES`], so that
    /// readers who began at different offsets soon share spans.
    pub(super) fn add(&mut self, header: &BatchHeader) -> Option<Span> {
        let batch = self.end;
        self.end += header.size_bytes() as u64;
        if batch / STRIDE_BYTES == self.end / STRIDE_BYTES {
            return None;
        }
        let span = Span { from: self.from, next: header.next_offset(), position: self.position, end: self.end };
        *self = Self::new(span.next, span.end);
        Some(span)
    }
}

impl Spans {
    /// The span that begins with `offset` and ends within the first `limit` bytes.
    pub(super) fn find(&self, offset: i64, limit: u64, now: Duration) -> Option<Span> {
        let at = self.list.binary_search_by_key(&offset, |kept| kept.span.from).ok()?;
        self.list.get(at).filter(|kept| kept.is_fresh(now) && kept.span.end <= limit).map(|kept| kept.span)
    }

    /// Notes a batch that was just written at `position`.
    pub(super) fn note_written(&mut self, header: &BatchHeader, position: u64, now: Duration) {
        let growing = match &mut self.writing {
            Some(growing) if growing.end == position => growing,
            writing => writing.insert(Growing::new(header.base_offset, position)),
        };
        if let Some(span) = growing.add(header) {
            self.insert(span, now);
        }
    }

    pub(super) fn insert(&mut self, span: Span, now: Duration) {
        let kept = Kept { span, checked: now };
        match self.list.binary_search_by_key(&span.from, |kept| kept.span.from) {
            Ok(at) => {
                if let Some(there) = self.list.get_mut(at) {
                    *there = kept;
                }
            }
            Err(_) if self.list.len() >= SPANS_MAX => {
                // Whoever reads from ever other offsets begins ever new ones.
                self.list.clear();
                self.list.push(kept);
            }
            Err(at) => self.list.insert(at, kept),
        }
    }

    /// Forgets what was not checked for long.
    pub(super) fn expire(&mut self, now: Duration) {
        self.list.retain(|kept| kept.is_fresh(now));
        self.list.shrink_to_fit();
    }
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    span: Span,
    checked: Duration,
}

impl Kept {
    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.checked) < FRESH
    }
}

const STRIDE_BYTES: u64 = 128 << 10;
/// A segment of a GiB has 8192 when all begin where others end.
const SPANS_MAX: usize = 16 << 10;
const FRESH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::support::batch_of;

    const NOW: Duration = Duration::from_secs(100);

    fn batch(base_offset: i64, value_bytes: usize) -> BatchHeader {
        BatchHeader { base_offset, ..BatchHeader::parse(&batch_of(1, value_bytes)).unwrap() }
    }

    #[test]
    fn what_was_written_is_known_up_to_each_stride() {
        let mut spans = Spans::default();
        let mut position = 0;
        for offset in 0..10 {
            let header = batch(offset, 50_000);
            spans.note_written(&header, position, NOW);
            position += header.size_bytes() as u64;
        }
        let first = spans.find(0, u64::MAX, NOW).unwrap();
        assert_eq!((first.from, first.next, first.position), (0, 3, 0));
        let second = spans.find(3, u64::MAX, NOW).unwrap();
        assert_eq!((second.position, second.next), (first.end, 6));
        assert_eq!(spans.find(1, u64::MAX, NOW), None);
        assert_eq!(spans.find(0, first.end - 1, NOW), None, "beyond what may be read");
        assert_eq!(spans.find(0, u64::MAX, NOW + FRESH), None, "too old");
        spans.expire(NOW + FRESH);
        assert_eq!(spans.list.capacity(), 0);
    }

    #[test]
    fn a_batch_that_does_not_follow_the_last_one_begins_a_span() {
        let mut spans = Spans::default();
        spans.note_written(&batch(0, 50_000), 0, NOW);
        spans.note_written(&batch(7, 150_000), 60_000, NOW);
        assert_eq!(spans.find(0, u64::MAX, NOW), None);
        assert_eq!(spans.find(7, u64::MAX, NOW).map(|span| (span.position, span.next)), Some((60_000, 8)));
    }

    #[test]
    fn readers_from_ever_other_offsets_do_not_fill_the_memory() {
        let mut spans = Spans::default();
        for from in 0..SPANS_MAX as i64 * 2 {
            spans.insert(Span { from, next: from + 1, position: 0, end: 1 }, NOW);
            assert!(spans.list.len() <= SPANS_MAX);
        }
    }
}
