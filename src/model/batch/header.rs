//! The 61 bytes before the records.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};

/// The fields of a batch's header, parsed and bounds-checked, its meaning not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes behind this field: the batch's size less 12.
    pub length: i32,
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 61;
    /// Bytes up to and with the magic byte: the least that tells a batch's size and format.
    pub const PREFIX_SIZE: usize = MAGIC_AT + 1;
    /// The only record format that is stored.
    pub const MAGIC: i8 = 2;

    /// Reads the header at the front of `buffer`, which may end before the batch does.
    pub fn parse(buffer: &[u8]) -> Result<Self, BatchError> {
        let Some(prefix) = buffer.first_chunk::<{ Self::PREFIX_SIZE }>() else {
            return Err(BatchError::Truncated { needed: Self::PREFIX_SIZE, available: buffer.len() });
        };
        let mut prefix = prefix.as_slice();
        let base_offset = prefix.get_i64();
        let length = prefix.get_i32();
        let partition_leader_epoch = prefix.get_i32();
        let magic = prefix.get_i8();
        if length < LEGACY_LENGTH_MIN {
            return Err(BatchError::Length(length));
        }
        if magic != Self::MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if length < LENGTH_MIN {
            return Err(BatchError::Length(length));
        }
        let Some(header) = buffer.first_chunk::<{ Self::SIZE }>() else {
            return Err(BatchError::Truncated { needed: Self::SIZE, available: buffer.len() });
        };
        let mut rest = header.as_slice();
        rest.advance(Self::PREFIX_SIZE);
        Ok(Self {
            base_offset,
            length,
            partition_leader_epoch,
            crc: rest.get_u32(),
            attributes: Attributes(rest.get_i16()),
            last_offset_delta: rest.get_i32(),
            base_timestamp_ms: rest.get_i64(),
            max_timestamp_ms: rest.get_i64(),
            producer_id: rest.get_i64(),
            producer_epoch: rest.get_i16(),
            base_sequence: rest.get_i32(),
            record_count: rest.get_i32(),
        })
    }

    /// The header as it goes to disk.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut out = bytes.as_mut_slice();
        out.put_i64(self.base_offset);
        out.put_i32(self.length);
        out.put_i32(self.partition_leader_epoch);
        out.put_i8(Self::MAGIC);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp_ms);
        out.put_i64(self.max_timestamp_ms);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
        bytes
    }

    /// The whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.length).unwrap_or(0)
    }

    /// Offset of the last record; saturates on a header that lies.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset that follows the batch; saturates on a header that lies.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Whether an idempotent producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence of the last record, which wraps at the largest i32 (`DefaultRecordBatch.incrementSequence`).
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        let next = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let wrapped = if next > i64::from(i32::MAX) { next - i64::from(i32::MAX) - 1 } else { next };
        i32::try_from(wrapped).unwrap_or(NO_SEQUENCE)
    }

    /// Stamps the batch with the broker's time: the type, the largest timestamp and, since both lie inside it, the
    /// checksum, for which `payload` is needed (message.timestamp.type=LogAppendTime).
    pub fn set_log_append_time(&mut self, now_ms: i64, payload: &[u8]) {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.set_max_timestamp(now_ms, payload);
    }

    /// Replaces the largest timestamp and the checksum.
    pub fn set_max_timestamp(&mut self, max_timestamp_ms: i64, payload: &[u8]) {
        self.max_timestamp_ms = max_timestamp_ms;
        self.crc = checksum_of(&self.encode(), payload);
    }

    /// Makes length and checksum those of `payload`; every other field is set before.
    pub fn seal(&mut self, payload: &[u8]) {
        self.length = i32::try_from(payload.len() + Self::SIZE - LOG_OVERHEAD).unwrap_or(i32::MAX);
        self.crc = checksum_of(&self.encode(), payload);
    }
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    /// The attributes of a batch of which nothing was checked yet; none when it ends before them.
    pub fn peek(batch: &[u8]) -> Option<Self> {
        batch.get(CRC_FROM..)?.first_chunk().map(|bytes| Self(i16::from_be_bytes(*bytes)))
    }

    /// Compression; none for a number that Kafka does not know.
    pub fn codec(self) -> Option<Codec> {
        match self.0 & 0x07 {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & 0x08 == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & 0x10 != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// KIP-534: the base timestamp of a compacted batch is the time at which its tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & 0x40 != 0
    }

    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !0x08),
            TimestampType::LogAppendTime => Self(self.0 | 0x08),
        }
    }

    pub fn with_codec(self, codec: Codec) -> Self {
        let number = match codec {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        };
        Self(self.0 & !0x07 | number)
    }

    pub fn with_delete_horizon(self, has: bool) -> Self {
        if has { Self(self.0 | 0x40) } else { Self(self.0 & !0x40) }
    }
}

/// `org.apache.kafka.common.record.CompressionType`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `message.timestamp.type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

/// Why bytes are no batch of format 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch header ends early: {available} of {needed} bytes")]
    Truncated { needed: usize, available: usize },
    #[error("magic byte {0} is not 2")]
    Magic(i8),
    #[error("batch length {0} is below the size of a header")]
    Length(i32),
}

/// The checksum that `batch` should carry; none when it is shorter than a header.
pub fn checksum(batch: &[u8]) -> Option<u32> {
    batch.get(CRC_FROM..).filter(|_| batch.len() >= BatchHeader::SIZE).map(crc_fast::crc32_iscsi)
}

/// The checksum of a batch whose header and payload lie apart.
pub fn checksum_of(header: &[u8; BatchHeader::SIZE], payload: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(header.get(CRC_FROM..).unwrap_or_default());
    digest.update(payload);
    // A 32-bit algorithm leaves the upper half empty.
    digest.finalize() as u32
}

/// Producer id of a batch that no idempotent producer wrote.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_TIMESTAMP: i64 = -1;

/// Base offset and length.
const LOG_OVERHEAD: usize = 12;
const MAGIC_AT: usize = 16;
/// The checksum begins behind itself, with the attributes.
const CRC_FROM: usize = 21;
const LENGTH_MIN: i32 = (BatchHeader::SIZE - LOG_OVERHEAD) as i32;
/// `LegacyRecord.RECORD_OVERHEAD_V0`: no format has anything shorter.
const LEGACY_LENGTH_MIN: i32 = 14;
