//! Where each leader epoch began (`LeaderEpochFileCache`, KIP-101).

/// Epochs with their first offsets, both rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeaderEpochs {
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// Notes that a batch of `epoch` begins at `offset`; whether that was news.
    pub(super) fn assign(&mut self, epoch: i32, offset: i64) -> bool {
        let is_news = epoch >= 0 && self.entries.last().is_none_or(|(last, _)| epoch > *last);
        if is_news {
            self.entries.push((epoch, offset));
        }
        is_news
    }

    pub(super) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch of every record, when there was only one.
    pub(super) fn only(&self) -> Option<i32> {
        match self.entries.as_slice() {
            [(epoch, _)] => Some(*epoch),
            _ => None,
        }
    }

    /// The epoch in which `offset` was written.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        self.entries.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The largest epoch that is not above `epoch`, and where it ended (`LeaderEpochFileCache.endOffsetFor`); none for
    /// an epoch that never was.
    pub(super) fn end_offset(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let higher = self.entries.partition_point(|(entry, _)| *entry <= epoch);
        let (_, end) = self.entries.get(higher)?;
        let floor = higher.checked_sub(1).and_then(|floor| self.entries.get(floor));
        Some((floor.map_or(epoch, |(floor, _)| *floor), *end))
    }

    /// Forgets epochs that begin at or behind `log_end`.
    pub(super) fn truncate_end(&mut self, log_end: i64) {
        self.entries.retain(|(_, start)| *start < log_end);
    }

    /// Forgets epochs that ended before `log_start`; the one that it falls into begins there.
    pub(super) fn truncate_start(&mut self, log_start: i64) {
        let floor = self.entries.partition_point(|(_, start)| *start <= log_start);
        if let Some(first) = floor.checked_sub(1) {
            self.entries.drain(..first);
            if let Some((_, start)) = self.entries.first_mut() {
                *start = log_start;
            }
        }
    }

    /// Kafka's `leader-epoch-checkpoint`.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text
    }

    /// None when the file means nothing.
    pub(super) fn parse(contents: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(contents).ok()?.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut entries = Vec::new();
        for line in lines.take(count) {
            let (epoch, start) = line.trim().split_once(' ')?;
            entries.push((epoch.parse().ok()?, start.parse().ok()?));
        }
        let rises = entries.is_sorted_by(|a: &(i32, i64), b| a.0 < b.0 && a.1 <= b.1);
        (entries.len() == count && rises).then_some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let mut epochs = LeaderEpochs::default();
        assert_eq!(epochs.end_offset(0, 10), None);
        assert!(epochs.assign(1, 0) && epochs.assign(3, 5) && !epochs.assign(3, 7) && !epochs.assign(2, 8));
        assert_eq!(epochs.end_offset(3, 10), Some((3, 10)));
        assert_eq!(epochs.end_offset(2, 10), Some((1, 5)));
        assert_eq!(epochs.end_offset(1, 10), Some((1, 5)));
        assert_eq!(epochs.end_offset(0, 10), Some((0, 0)));
        assert_eq!(epochs.end_offset(4, 10), None);
        assert_eq!((epochs.at(4), epochs.at(5)), (Some(1), Some(3)));
        assert_eq!(LeaderEpochs::parse(epochs.encode().as_bytes()), Some(epochs.clone()));
        epochs.truncate_start(6);
        assert_eq!(epochs.entries, [(3, 6)]);
        epochs.truncate_end(6);
        assert_eq!(epochs.entries, []);
    }

    #[test]
    fn a_damaged_file_is_not_read() {
        for text in ["", "1\n0\n", "0\n2\n0 0\n", "0\n2\n5 0\n4 9\n", "0\nx\n", "0\n1\n0\n"] {
            assert_eq!(LeaderEpochs::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
