//! What the tests of the log share.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    clock::MockClock,
    config::Durability,
    log::{
        Compression, InspectedTopic, Isolation, LogConfig, LogContext, Pace, PartitionInfo, PartitionLog,
        compress::Compressor, decompress, inspect,
    },
    model::{
        Records, TopicId, TopicPartition,
        batch::{Attributes, BatchBuilder, BatchView, Codec, batches},
    },
    storage::{Finding, Severity, disk::DiskSegments, memory::MemorySegments, segment::SegmentStore},
};

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// What a test opens logs with; reopening keeps store and clock.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn SegmentStore>,
    pub(crate) clock: MockClock,
    pub(crate) config: LogConfig,
    pub(crate) durability: Durability,
    pub(crate) log_start_offset: i64,
    pub(crate) topic_id: TopicId,
}

impl Bench {
    pub(crate) fn over(store: Arc<dyn SegmentStore>) -> Self {
        Self {
            store,
            clock: MockClock::at(NOW_MS),
            config: LogConfig::default(),
            durability: Durability::Sync,
            log_start_offset: 0,
            topic_id: TopicId::from_u128(7),
        }
    }

    pub(crate) fn memory() -> Self {
        Self::memory_of(1 << 30)
    }

    pub(crate) fn memory_of(bytes_max: u64) -> Self {
        Self::over(Arc::new(MemorySegments::new(bytes_max)))
    }

    pub(crate) fn disk(directory: &Path) -> Self {
        Self::over(Arc::new(DiskSegments::open(directory, Durability::Sync, 256).unwrap()))
    }

    /// The store of a directory whose segments lost all but their first bytes, of each partition so many.
    pub(crate) fn disk_store(directory: &Path, sizes: &[u64]) -> Arc<dyn SegmentStore> {
        for (partition, size_bytes) in sizes.iter().enumerate() {
            let path = directory.join(format!("topics/orders-{partition}/{:020}.log", 0));
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(*size_bytes).unwrap();
        }
        Arc::new(DiskSegments::open(directory, Durability::Sync, 256).unwrap())
    }

    pub(crate) fn context(&self) -> Arc<LogContext> {
        LogContext::new(Arc::new(self.clock.clone()), self.durability, Duration::from_secs(86_400))
    }

    /// For passes that never rest.
    pub(crate) fn pace(&self) -> Pace {
        Pace::full(Arc::new(self.clock.clone()))
    }

    pub(crate) fn open(&self) -> Arc<PartitionLog> {
        let info = PartitionInfo {
            topic: Arc::from("orders"),
            topic_id: self.topic_id,
            partition: 3,
            log_start_offset: self.log_start_offset,
        };
        PartitionLog::open(Arc::clone(&self.store), info, Arc::new(self.config.clone()), self.context()).unwrap()
    }
}

impl PartitionLog {
    pub(crate) fn segment_count(&self) -> usize {
        self.state.lock().segments.len()
    }
}

/// A batch of `count` records with values of `value_bytes` bytes.
pub(crate) fn batch_of(count: usize, value_bytes: usize) -> Bytes {
    batch_at(NOW_MS, count, value_bytes)
}

pub(crate) fn batch_at(timestamp_ms: i64, count: usize, value_bytes: usize) -> Bytes {
    (0..count)
        .fold(BatchBuilder::new(), |builder, index| {
            let value = vec![(index % 251) as u8; value_bytes];
            builder.record(timestamp_ms, Some(format!("k{index}").as_bytes()), Some(&value))
        })
        .build()
}

pub(crate) fn idempotent(id: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    (0..count)
        .fold(BatchBuilder::new().producer(id, epoch, sequence), |builder, _| builder.record(NOW_MS, None, Some(b"v")))
        .build()
}

/// The base and last offsets of the batches in `records`.
pub(crate) fn ranges(records: &Records) -> Vec<(i64, i64)> {
    let records = records.read().unwrap();
    crate::model::batch::batches(&records)
        .map(|batch| batch.unwrap().header)
        .map(|header| (header.base_offset, header.last_offset()))
        .collect()
}

/// Asserts that the offline check finds nothing worse than what a crash may leave.
pub(crate) fn assert_undamaged(bench: &Bench, note: &str) {
    let topic = InspectedTopic {
        topic_id: bench.topic_id,
        log_start_offset: bench.log_start_offset,
        is_compacted: bench.config.compact,
    };
    let partition = TopicPartition::new("orders", 3);
    let mut report = |finding: Finding| assert_eq!(finding.severity, Severity::Note, "{note}: {finding}");
    inspect(&*bench.store, &partition, Some(&topic), &mut report).unwrap();
}

/// Copies a data directory as a kill would leave it.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

/// The records of a batch, whatever its codec.
pub(crate) fn records_of(batch: &BatchView<'_>) -> Vec<Seen> {
    let codec = batch.header.attributes.codec().unwrap();
    let mut bytes = Vec::new();
    if batch.header.record_count > 0 {
        decompress::reader(codec, batch.payload()).read_to_end(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    let mut seen = Vec::new();
    for _ in 0..batch.header.record_count {
        let (mut record, behind) = {
            let length = varlong(&mut rest) as usize;
            rest.split_at(length)
        };
        rest = behind;
        record = &record[1..];
        let timestamp_ms = batch.header.base_timestamp_ms + varlong(&mut record);
        let offset = batch.header.base_offset + varlong(&mut record);
        let (key, value) = (text(&mut record), text(&mut record));
        seen.push(Seen { offset, timestamp_ms, key, value });
    }
    assert!(rest.is_empty());
    seen
}

/// Reads the log from its start to its end, `bytes_max` at a time, as a consumer does.
pub(crate) fn consume(log: &PartitionLog, bytes_max: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut at = log.log_start();
    loop {
        let read = log.read(at, bytes_max, true, Isolation::ReadUncommitted).unwrap();
        let records = read.records.read().unwrap();
        for batch in batches(&records) {
            let batch = batch.unwrap();
            assert!(batch.is_intact());
            assert!(batch.header.base_offset >= at || seen.is_empty(), "offset {at} was served already");
            seen.extend(records_of(&batch));
            at = batch.header.next_offset();
        }
        at = at.max(read.next_offset);
        if read.records.is_empty() {
            assert!(at >= read.high_watermark || read.next_offset == at);
            let start = log.log_start();
            seen.retain(|record| record.offset >= start);
            return seen;
        }
    }
}

fn varlong(bytes: &mut &[u8]) -> i64 {
    let (mut raw, mut shift) = (0_u64, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        raw |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (raw >> 1) as i64 ^ -((raw & 1) as i64);
        }
    }
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varlong(bytes)).ok()?;
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(String::from_utf8(text.to_vec()).unwrap())
}

/// A batch of one record with a key.
pub(crate) fn keyed(timestamp_ms: i64, key: &str, value: Option<&str>) -> Bytes {
    BatchBuilder::new().record(timestamp_ms, Some(key.as_bytes()), value.map(str::as_bytes)).build()
}

/// The same batch packed with another codec.
pub(crate) fn packed(builder: BatchBuilder, codec: Codec) -> Bytes {
    let attributes = Attributes::default().with_codec(codec).0;
    builder.attributes(attributes).build_with(|plain| {
        let mut out = Compressor::new(Compression::of(codec), usize::MAX, None).unwrap();
        out.write_all(&plain).unwrap();
        out.finish().unwrap()
    })
}
