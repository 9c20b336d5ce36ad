//! Which coordinator shard owns a group.

/// The shard of `group` among `shards`: Java's `String.hashCode` (over UTF-16 units) without its sign bit, modulo
/// the number of shards. The number of shards must not change while there is stored state; 0 counts as 1.
pub fn shard_of(group: &str, shards: u16) -> u16 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let shard = (hash & i32::MAX) % i32::from(shards.max(1));
    u16::try_from(shard).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_java_strings() {
        // "hello".hashCode() is 99162322; "polygenelubricants".hashCode() is i32::MIN.
        assert_eq!(shard_of("hello", 50), (99_162_322 % 50) as u16);
        assert_eq!(shard_of("polygenelubricants", 50), 0);
        assert_eq!(shard_of("", 50), 0);
    }

    #[test]
    fn every_group_has_a_shard_below_the_count() {
        for shards in [0, 1, 2, 50, u16::MAX] {
            for group in ["a", "schema-registry", "grüppe", "🦀", "\u{0}"] {
                assert!(shard_of(group, shards) < shards.max(1));
            }
        }
    }
}
