//! The first bytes of every journal file, and the files' names.
//!
//! ```text
//! header  magic "TIDEGJNL" · format version u16 · kind u8 · 0 u8 · salt u32 · sequence u64 · 0 u32 · CRC-32C u32
//! ```

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

/// What a journal file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Appends in their order. The name's sequence is that of the first; the header is written before it is known.
    Log,
    /// The latest value of each key; the sequence, in header and name, is the last append that it includes.
    Snapshot,
}

/// What a file's first [`HEADER_BYTES`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: FileKind,
    /// Random, of this file only: where the checksums of its frames begin.
    pub(super) salt: u32,
    /// 0 in a log.
    pub(super) sequence: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u8(match self.kind {
            FileKind::Log => KIND_LOG,
            FileKind::Snapshot => KIND_SNAPSHOT,
        });
        bytes.put_u8(0);
        bytes.put_u32(self.salt);
        bytes.put_u64(self.sequence);
        bytes.put_u32(0);
        let checksum = crc_fast::crc32_iscsi(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    /// The error says what is wrong with `bytes`.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let (covered, mut checksum) = bytes.split_at(HEADER_BYTES - 4);
        let Some(mut rest) = covered.strip_prefix(MAGIC) else {
            return Err("this is not a journal file");
        };
        if crc_fast::crc32_iscsi(covered) != checksum.get_u32() {
            return Err("the checksum of the file's header does not match");
        }
        if rest.get_u16() != VERSION {
            return Err("the file has a format version that this program does not know");
        }
        let kind = match rest.get_u8() {
            KIND_LOG => FileKind::Log,
            KIND_SNAPSHOT => FileKind::Snapshot,
            _ => return Err("the file is of a kind that this program does not know"),
        };
        rest.advance(1);
        Ok(Self { kind, salt: rest.get_u32(), sequence: rest.get_u64() })
    }

    /// The file's name: the kind, and the sequence in 20 digits, so that names sort as the appends do.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        let extension = match self.kind {
            FileKind::Log => EXTENSION_LOG,
            FileKind::Snapshot => EXTENSION_SNAPSHOT,
        };
        dir.join(format!("{:020}.{extension}", self.sequence))
    }
}

/// The kind and sequence that a file's name gives; none for what is no journal file.
pub(super) fn parse_name(path: &Path) -> Option<(FileKind, u64)> {
    let kind = match path.extension()?.to_str()? {
        EXTENSION_LOG => FileKind::Log,
        EXTENSION_SNAPSHOT => FileKind::Snapshot,
        _ => return None,
    };
    let digits = path.file_stem()?.to_str()?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((kind, digits.parse().ok().filter(|_| well_formed)?))
}

pub(super) const HEADER_BYTES: usize = 32;
/// Of a file that is not complete; removed when the journal is opened.
pub(super) const EXTENSION_UNFINISHED: &str = "tmp";

const MAGIC: &[u8] = b"TIDEGJNL";
const VERSION: u16 = 1;
const KIND_LOG: u8 = 1;
const KIND_SNAPSHOT: u8 = 2;
const EXTENSION_LOG: &str = "log";
const EXTENSION_SNAPSHOT: &str = "snapshot";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let header = Header { kind: FileKind::Snapshot, salt: 0xdead_beef, sequence: u64::MAX - 1 };
        let bytes: [u8; HEADER_BYTES] = header.encode().try_into().unwrap();
        assert_eq!(Header::parse(&bytes), Ok(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn names_sort_as_sequences_and_read_back() {
        let log = |sequence| Header { kind: FileKind::Log, salt: 0, sequence }.path(Path::new("journal"));
        assert!(log(9) < log(10));
        assert_eq!(parse_name(&log(u64::MAX)), Some((FileKind::Log, u64::MAX)));
        for other in ["1.log", "00000000000000000001.tmp", "+0000000000000000001.log", "00000000000000000001"] {
            assert_eq!(parse_name(Path::new(other)), None, "{other}");
        }
    }
}
