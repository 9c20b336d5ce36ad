//! Small files of our own that are believed whole or not at all: magic, version, length, checksum, contents.

use bytes::{Buf, BufMut};

/// What tells one kind of file from the others.
pub(super) struct Seal {
    pub(super) magic: &'static [u8; 4],
    pub(super) version: u16,
}

impl Seal {
    /// The file that has these contents.
    pub(super) fn put_on(&self, contents: &[u8]) -> Vec<u8> {
        let mut file = Vec::with_capacity(PREFIX_BYTES + contents.len());
        file.extend_from_slice(self.magic);
        file.put_u16(self.version);
        file.put_u32(u32::try_from(contents.len()).unwrap_or(u32::MAX));
        file.put_u32(crc_fast::crc32_iscsi(contents));
        file.extend_from_slice(contents);
        file
    }

    /// The contents of a file; none when it is damaged, of another kind or of another version.
    pub(super) fn open<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = file.strip_prefix(self.magic)?;
        if rest.try_get_u16().ok()? != self.version {
            return None;
        }
        let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let checksum = rest.try_get_u32().ok()?;
        (rest.len() == length && crc_fast::crc32_iscsi(rest) == checksum).then_some(rest)
    }
}

const PREFIX_BYTES: usize = 14;
