//! How far a log was cleaned: a small file in its directory. Losing it costs a pass, and nothing else.

/// Offsets that compaction remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct CleanerPoint {
    /// Records before it were cleaned.
    pub(in crate::log) first_dirty: i64,
    /// Offsets before it may be missing because of compaction: the end of the latest pass, finished or not.
    pub(in crate::log) touched: i64,
}

impl CleanerPoint {
    /// Version, the offsets, checksum of the lines before.
    pub(super) fn encode(&self) -> String {
        let body = format!("{VERSION}\n{}\n{}\n", self.first_dirty, self.touched);
        let checksum = crc_fast::crc32_iscsi(body.as_bytes());
        format!("{body}{checksum:08x}\n")
    }

    /// None when the file is damaged or of another version.
    pub(in crate::log) fn parse(contents: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(contents).ok()?.strip_suffix('\n')?;
        let (body, checksum) = text.split_at_checked(text.rfind('\n')? + 1)?;
        if u32::from_str_radix(checksum, 16).ok()? != crc_fast::crc32_iscsi(body.as_bytes()) || checksum.len() != 8 {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let first_dirty = lines.next()?.parse().ok()?;
        let touched = lines.next()?.parse().ok()?;
        lines.next().is_none().then_some(Self { first_dirty, touched })
    }
}

const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_with_any_flipped_bit_is_not_read() {
        let point = CleanerPoint { first_dirty: 1_234, touched: 5_678 };
        let text = point.encode();
        assert_eq!(CleanerPoint::parse(text.as_bytes()), Some(point));
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Only the letters of the checksum may be of another case.
            assert!(CleanerPoint::parse(&damaged).is_none_or(|parsed| parsed == point), "bit {bit}");
        }
        assert_eq!(CleanerPoint::parse(b""), None);
    }
}
