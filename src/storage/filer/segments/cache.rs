//! Blocks of objects that were read lately.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;

/// Block `1` of an object is its second mebibyte.
type Key = (u64, u64);

/// The least recently used blocks go first.
pub(super) struct BlockCache {
    bytes_max: u64,
    blocks: Mutex<Blocks>,
}

#[derive(Default)]
struct Blocks {
    by_key: HashMap<Key, (Bytes, u64)>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
}

impl BlockCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, blocks: Mutex::default() }
    }

    pub(super) fn get(&self, key: Key) -> Option<Bytes> {
        let mut blocks = self.blocks.lock();
        let blocks = &mut *blocks;
        blocks.uses += 1;
        let (bytes, used) = blocks.by_key.get_mut(&key)?;
        blocks.by_use.remove(used);
        *used = blocks.uses;
        blocks.by_use.insert(blocks.uses, key);
        Some(bytes.clone())
    }

    pub(super) fn put(&self, key: Key, bytes: Bytes) {
        let mut blocks = self.blocks.lock();
        let blocks = &mut *blocks;
        blocks.uses += 1;
        blocks.bytes += bytes.len() as u64;
        if let Some((old, used)) = blocks.by_key.insert(key, (bytes, blocks.uses)) {
            blocks.by_use.remove(&used);
            blocks.bytes -= old.len() as u64;
        }
        blocks.by_use.insert(blocks.uses, key);
        while blocks.bytes > self.bytes_max
            && let Some((_, key)) = blocks.by_use.pop_first()
        {
            let bytes = blocks.by_key.remove(&key).map_or(0, |(bytes, _)| bytes.len());
            blocks.bytes -= bytes as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = BlockCache::new(10);
        let bytes = Bytes::from_static(b"12345");
        cache.put((1, 0), bytes.clone());
        cache.put((1, 1), bytes.clone());
        assert!(cache.get((1, 0)).is_some());
        cache.put((1, 2), bytes.clone());
        assert!(cache.get((1, 1)).is_none() && cache.get((1, 0)).is_some() && cache.get((1, 2)).is_some());
        cache.put((1, 2), Bytes::from_static(b"123456"));
        assert!(cache.get((1, 0)).is_none() && cache.get((1, 2)).is_some());
    }
}
