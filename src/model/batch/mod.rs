//! View of Kafka's record batch, format 2 (KIP-98): the header without a copy, the checksum, and the few fields that a
//! broker rewrites. `org.apache.kafka.common.record.DefaultRecordBatch` is the reference.

mod builder;
mod header;
mod records;

pub use builder::{BatchBuilder, BatchRecord};
pub use header::{
    Attributes, BatchError, BatchHeader, Codec, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    TimestampType, checksum, checksum_of,
};
pub use records::{ReadSource, RecordError, RecordInfo, RecordWalker, SliceSource, Source};

/// One whole batch inside a larger buffer.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    pub header: BatchHeader,
    /// Where the batch begins in the buffer.
    pub start: usize,
    /// The batch with its header.
    pub bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The part behind the header: records, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(BatchHeader::SIZE..).unwrap_or_default()
    }

    /// Whether the stored checksum is that of the bytes.
    pub fn is_intact(&self) -> bool {
        checksum(self.bytes) == Some(self.header.crc)
    }
}

/// Walks the batches that lie one behind the other in `buffer`. Ends before a batch that is not whole; a batch whose
/// header means nothing is an error, after which the walk is over.
pub fn batches(buffer: &[u8]) -> Batches<'_> {
    Batches { buffer, at: 0, failed: false }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    buffer: &'a [u8],
    at: usize,
    failed: bool,
}

impl Batches<'_> {
    /// Bytes of whole batches passed so far.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.buffer.get(self.at..)?;
        match BatchHeader::parse(rest) {
            Ok(header) => {
                let bytes = rest.get(..header.size_bytes())?;
                let start = self.at;
                self.at += bytes.len();
                Some(Ok(BatchView { header, start, bytes }))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
