//! What a group has by topic, small: most groups have one topic or a few.

use std::sync::Arc;

use crate::model::TopicName;

/// A map in the order of the topics' names, without the room that maps keep free.
#[derive(Debug)]
pub(super) struct Topics<T>(Vec<(TopicName, T)>);

impl<T> Topics<T> {
    pub(super) fn get(&self, topic: &str) -> Option<&T> {
        self.0.get(self.position(topic).ok()?).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, topic: &str) -> Option<&mut T> {
        let at = self.position(topic).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, topic: &str) {
        if let Ok(at) = self.position(topic) {
            self.0.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicName, &T)> {
        self.0.iter().map(|(topic, value)| (topic, value))
    }

    /// The same topics with other values; those that become none are left out.
    pub(super) fn filter_map<U>(self, mut change: impl FnMut(T) -> Option<U>) -> Topics<U> {
        let mut changed: Vec<_> =
            self.0.into_iter().filter_map(|(topic, value)| Some((topic, change(value)?))).collect();
        changed.shrink_to_fit();
        Topics(changed)
    }

    fn position(&self, topic: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(topic))
    }
}

impl<T: Default> Topics<T> {
    /// The value of a topic, which is put there if need be.
    pub(super) fn entry(&mut self, topic: &TopicName) -> &mut T {
        let at = self.position(topic).unwrap_or_else(|at| {
            if self.0.len() == self.0.capacity() {
                // By a quarter, where a vector by itself would double.
                self.0.reserve_exact(self.0.len() / 4 + 1);
            }
            self.0.insert(at, (Arc::clone(topic), T::default()));
            at
        });
        #[expect(clippy::indexing_slicing, reason = "found or put there a line above")]
        &mut self.0[at].1
    }
}

impl<T> Default for Topics<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
