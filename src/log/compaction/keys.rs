//! Which offset of each key is the latest (`SkimpyOffsetMap`): 24 bytes a key, whatever its size.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
};

/// From a key's hash to its last offset.
pub(super) struct KeyMap {
    hashing: KeyHashing,
    /// Two halves of a hash, and the offset plus 1; 0 marks an empty slot. The kernel gives zeros page by page, so that
    /// only slots in use cost memory.
    slots: Vec<[u64; 3]>,
    used: usize,
    used_max: usize,
    next_offset: i64,
}

impl KeyMap {
    /// For at most `keys` keys, within `bytes_max` bytes; always for one.
    pub(super) fn new(keys: u64, bytes_max: u64) -> Self {
        let affordable = bytes_max / SLOT_BYTES;
        let wanted = keys.saturating_mul(100) / LOAD_PERCENT + 2;
        let slots = usize::try_from(affordable.min(wanted)).unwrap_or(usize::MAX).max(2);
        Self {
            hashing: KeyHashing { first: RandomState::new(), second: RandomState::new() },
            slots: vec![[0; 3]; slots],
            used: 0,
            used_max: (slots.saturating_mul(LOAD_PERCENT as usize) / 100).max(1),
            next_offset: 0,
        }
    }

    /// How this map's keys are hashed.
    pub(super) fn hashing(&self) -> &KeyHashing {
        &self.hashing
    }

    /// Notes a key; false when there is no room for it.
    pub(super) fn put(&mut self, key: KeyHash, offset: i64) -> bool {
        let index = self.find(key);
        let Some(slot) = self.slots.get_mut(index) else { return false };
        let is_new = slot[2] == 0;
        if is_new && self.used >= self.used_max {
            return false;
        }
        *slot = [key.0, key.1, offset.cast_unsigned() + 1];
        self.used += usize::from(is_new);
        self.advance(offset.saturating_add(1));
        true
    }

    /// The last offset of a key; none for one that was not noted.
    pub(super) fn get(&self, key: KeyHash) -> Option<i64> {
        let slot = self.slots.get(self.find(key))?;
        slot[2].checked_sub(1).map(u64::cast_signed)
    }

    /// Every key below this offset was noted.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Tells that there are no keys up to `offset` besides those noted.
    pub(super) fn advance(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// The slot of a key, or the empty one where it would be. There is always an empty one.
    fn find(&self, key: KeyHash) -> usize {
        let count = self.slots.len();
        let mut index = (key.0 % count as u64) as usize;
        while let Some(slot) = self.slots.get(index) {
            if slot[2] == 0 || (slot[0], slot[1]) == (key.0, key.1) {
                break;
            }
            index = if index + 1 == count { 0 } else { index + 1 };
        }
        index
    }
}

/// Two SipHashes under keys that nobody knows: nobody can choose keys that collide.
#[derive(Clone, Debug)]
pub(super) struct KeyHashing {
    first: RandomState,
    second: RandomState,
}

impl KeyHashing {
    /// For the bytes of one key.
    pub(super) fn hasher(&self) -> KeyHasher {
        KeyHasher { first: self.first.build_hasher(), second: self.second.build_hasher() }
    }
}

/// 128 bits that stand for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash(u64, u64);

/// Hashes what is written to it.
pub(super) struct KeyHasher {
    first: std::hash::DefaultHasher,
    second: std::hash::DefaultHasher,
}

impl KeyHasher {
    pub(super) fn finish(&self) -> KeyHash {
        KeyHash(self.first.finish(), self.second.finish())
    }
}

impl Write for KeyHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.first.write(bytes);
        self.second.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SLOT_BYTES: u64 = 24;
/// `log.cleaner.io.buffer.load.factor`
const LOAD_PERCENT: u64 = 90;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn hash(map: &KeyMap, key: &[u8]) -> KeyHash {
        let mut hasher = map.hashing().hasher();
        hasher.write_all(key).unwrap();
        hasher.finish()
    }

    #[test]
    fn the_last_offset_of_every_key_is_found() {
        let mut map = KeyMap::new(1_000, 1 << 20);
        let mut expected = HashMap::new();
        for offset in 0..5_000_i64 {
            let key = (offset * offset % 997).to_string();
            let hash = hash(&map, key.as_bytes());
            assert!(map.put(hash, offset));
            expected.insert(key, offset);
        }
        for (key, offset) in expected {
            assert_eq!(map.get(hash(&map, key.as_bytes())), Some(offset));
        }
        assert_eq!(map.get(hash(&map, b"never")), None);
        assert_eq!(map.next_offset(), 5_000);
    }

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = KeyMap::new(u64::MAX, 240);
        let hashes: Vec<_> = (0..10_u8).map(|key| hash(&map, &[key])).collect();
        for (offset, key) in hashes.iter().enumerate() {
            assert_eq!(map.put(*key, offset as i64), offset < 9, "{offset}");
        }
        assert!(map.put(hashes[0], 77));
        assert_eq!((map.get(hashes[0]), map.get(hashes[9])), (Some(77), None));
        assert_eq!(map.next_offset(), 78);
    }

    #[test]
    fn a_key_hashes_the_same_in_pieces() {
        let map = KeyMap::new(1, 1 << 10);
        let mut pieces = map.hashing().hasher();
        pieces.write_all(b"one ").unwrap();
        pieces.write_all(b"key").unwrap();
        assert_eq!(pieces.finish(), hash(&map, b"one key"));
        assert_ne!(pieces.finish(), hash(&map, b"one kez"));
    }
}
