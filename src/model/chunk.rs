//! Bytes on their way out: in memory, or a part of a file that the kernel sends by itself.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;

/// One piece of what is sent.
#[derive(Clone, Debug)]
pub enum Chunk {
    Heap(Bytes),
    File(FileRange),
}

impl Chunk {
    pub fn len(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            Self::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self::Heap(bytes)
    }
}

/// A part of a file, which stays readable when the file loses its name.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub file: Arc<File>,
    pub position: u64,
    pub len: usize,
}

impl FileRange {
    /// The bytes themselves; blocks.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes.into())
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        Arc::ptr_eq(&self.file, &next.file) && self.position + self.len as u64 == next.position
    }
}

/// Record batches, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Records {
    chunks: Vec<Chunk>,
    len: usize,
}

impl Records {
    pub fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        self.len = self.len.saturating_add(chunk.len());
        match (self.chunks.last_mut(), chunk) {
            (Some(Chunk::File(last)), Chunk::File(next)) if last.is_followed_by(&next) => last.len += next.len,
            (_, chunk) => self.chunks.push(chunk),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn into_chunks(self) -> impl Iterator<Item = Chunk> {
        self.chunks.into_iter()
    }

    /// All of them in one piece; blocks for what lies in files.
    pub fn read(&self) -> io::Result<Bytes> {
        match self.chunks.as_slice() {
            [Chunk::Heap(bytes)] => Ok(bytes.clone()),
            chunks => {
                let mut out = Vec::with_capacity(self.len);
                for chunk in chunks {
                    match chunk {
                        Chunk::Heap(bytes) => out.extend_from_slice(bytes),
                        Chunk::File(range) => out.extend_from_slice(&range.read()?),
                    }
                }
                Ok(out.into())
            }
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        let mut records = Self::default();
        records.push(bytes.into());
        records
    }
}
