//! The partition log: append, read, look-up, checksum and validation, and how they grow with segments and with logs.
//!
//! Directories lie below the target folder, because a directory for temporary files may be memory.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says so and ends")]

use std::{cell::Cell, hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tidegate::{
    clock::{Clock, MockClock, SystemClock},
    config::Durability,
    log::{Appended, Compression, Isolation, LogConfig, LogContext, PartitionInfo, PartitionLog, ReadResult},
    model::{
        TopicId,
        batch::{BatchBuilder, BatchHeader, Codec, checksum},
    },
    storage::{disk::DiskSegments, memory::MemorySegments, segment::SegmentStore},
};
use tokio::runtime::Runtime;

/// A backend and what logs in it share; a directory lives as long as they do.
struct Backend {
    name: &'static str,
    durability: Durability,
    store: Arc<dyn SegmentStore>,
    context: Arc<LogContext>,
    opened: Cell<i32>,
    _dir: Option<TempDir>,
}

impl Backend {
    fn memory(clock: impl Clock) -> Self {
        Self::over("memory", Arc::new(MemorySegments::new(1 << 30)), Durability::Os, clock, None)
    }

    fn disk(name: &'static str, durability: Durability, clock: impl Clock) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let store = DiskSegments::open(dir.path(), durability, OPEN_FILES_MAX).expect("an empty store");
        Self::over(name, Arc::new(store), durability, clock, Some(dir))
    }

    fn over(
        name: &'static str,
        store: Arc<dyn SegmentStore>,
        durability: Durability,
        clock: impl Clock,
        dir: Option<TempDir>,
    ) -> Self {
        let context = LogContext::new(Arc::new(clock), durability, Duration::from_secs(86_400));
        Self { name, durability, store, context, opened: Cell::new(0), _dir: dir }
    }

    /// A new, empty log.
    fn log(&self, config: LogConfig) -> Arc<PartitionLog> {
        let partition = self.opened.replace(self.opened.get() + 1);
        let info =
            PartitionInfo { topic: "topic".into(), topic_id: TopicId::from_u128(7), partition, log_start_offset: 0 };
        PartitionLog::open(Arc::clone(&self.store), info, Arc::new(config), Arc::clone(&self.context)).expect("a log")
    }
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    // Flushes go to the runtime's threads, as in the gateway.
    let _entered = runtime.enter();
    append(criterion, &runtime);
    read(criterion);
    look_up(criterion);
    check(criterion);
    with_segments(criterion);
    with_logs(criterion);
}

/// One batch at a time, durable with `sync` before the next, and one batch in each of many logs, durable together.
fn append(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("append");
    let backends = [
        Backend::memory(SystemClock::new()),
        Backend::disk("disk-os", Durability::Os, SystemClock::new()),
        Backend::disk("disk-sync", Durability::Sync, SystemClock::new()),
    ];
    for backend in &backends {
        for (size, batch) in [("64 KiB", large_batch()), ("100 B", small_batch())] {
            let log = backend.log(rolling_config());
            group.throughput(Throughput::Bytes(batch.len() as u64));
            group.bench_function(BenchmarkId::new(backend.name, size), |bencher| {
                bencher.iter_custom(|iterations| {
                    in_rounds(iterations, &log, || {
                        let ticket = append_to(&log, &batch).ticket;
                        if backend.durability == Durability::Sync {
                            runtime.block_on(log.wait_durable(ticket)).expect("a sync");
                        }
                    })
                });
            });
        }
        let logs: Vec<_> = (0..LOGS_TOGETHER).map(|_| backend.log(LogConfig::default())).collect();
        let batch = small_batch();
        group.throughput(Throughput::Elements(LOGS_TOGETHER));
        group.bench_function(BenchmarkId::new(backend.name, "100 B in each of 100 logs"), |bencher| {
            bencher.iter(|| {
                let waits: Vec<_> = logs.iter().map(|log| log.wait_durable(append_to(log, &batch).ticket)).collect();
                runtime.block_on(try_join_all(waits)).expect("a sync")
            });
        });
    }
}

/// The batch that was just appended, by a consumer that has read up to it; and the first MiB of a log, when it was
/// checked a moment ago and when that was long ago.
fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    let clock = MockClock::at(START_MS);
    for backend in [Backend::memory(clock.clone()), Backend::disk("disk-os", Durability::Os, clock.clone())] {
        for (size, batch) in [("tail, 64 KiB", large_batch()), ("tail, 100 B", small_batch())] {
            let log = backend.log(rolling_config());
            group.throughput(Throughput::Bytes(batch.len() as u64));
            tail_read(&mut group, BenchmarkId::new(backend.name, size), &batch, || &log);
        }
        let log = backend.log(LogConfig::default());
        let batch = large_batch();
        for _ in 0..4 * BATCHES_PER_MIB {
            append_to(&log, &batch);
        }
        group.throughput(Throughput::Bytes((BATCHES_PER_MIB * batch.len()) as u64));
        group.bench_function(BenchmarkId::new(backend.name, "1 MiB, known"), |bencher| {
            bencher.iter(|| black_box(read_from(&log, 0)));
        });
        group.bench_function(BenchmarkId::new(backend.name, "1 MiB, unknown"), |bencher| {
            bencher.iter(|| {
                clock.advance(LONG_AGO);
                black_box(read_from(&log, 0))
            });
        });
    }
}

/// Any offset and any timestamp of a log of a few segments.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    let clock = MockClock::at(START_MS);
    for backend in [Backend::memory(clock.clone()), Backend::disk("disk-os", Durability::Os, clock.clone())] {
        let log = backend.log(LogConfig { segment_bytes: 16 << 20, ..LogConfig::default() });
        fill(&log, 4);
        look_up_offset(&mut group, BenchmarkId::new(backend.name, "offset"), || &log);
        look_up_timestamp(&mut group, BenchmarkId::new(backend.name, "timestamp"), || &log);
    }
}

/// The checksum alone, and the append of batches that differ in their codec only: what a walk over all records costs.
fn check(criterion: &mut Criterion) {
    let plain = large_batch();
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("checksum", |bencher| bencher.iter(|| checksum(black_box(&plain))));
    let backend = Backend::memory(SystemClock::new());
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = packed(&backend, &plain, codec);
        let log = backend.log(rolling_config());
        group.bench_function(BenchmarkId::new("append", format!("{codec:?}").to_lowercase()), |bencher| {
            bencher.iter_custom(|iterations| in_rounds(iterations, &log, || _ = append_to(&log, &batch)));
        });
    }
}

/// One log of more and more segments.
fn with_segments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segments");
    for segments in SCALES {
        let backend = Backend::disk("disk-os", Durability::Os, SystemClock::new());
        let log = backend.log(LogConfig { segment_bytes: SEGMENT_BYTES_MIN, ..LogConfig::default() });
        fill(&log, segments);
        // What the measurement itself appends begins no more of them.
        log.update_config(Arc::new(LogConfig::default()));
        scale(&mut group, segments, || &log);
    }
}

/// More and more logs of one segment, any of them at a time.
fn with_logs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("logs");
    for count in SCALES {
        let backend = Backend::disk("disk-os", Durability::Os, SystemClock::new());
        let logs: Vec<_> = (0..count).map(|_| backend.log(LogConfig::default())).collect();
        for log in logs.iter().flat_map(|log| std::iter::repeat_n(log, BATCHES_PER_LOG)) {
            append_next(log);
        }
        let mut rng = Rng::with_seed(SEED);
        scale(&mut group, count, || rng.choice(&logs).expect("a log"));
    }
}

/// Look-ups first: what the others append is not meant to be found.
fn scale<'a>(group: &mut BenchmarkGroup<'_, WallTime>, count: usize, mut log: impl FnMut() -> &'a Arc<PartitionLog>) {
    look_up_offset(group, BenchmarkId::new("look-up of an offset", count), &mut log);
    look_up_timestamp(group, BenchmarkId::new("look-up of a timestamp", count), &mut log);
    let batch = small_batch();
    tail_read(group, BenchmarkId::new("tail read", count), &batch, &mut log);
    group.bench_function(BenchmarkId::new("append", count), |bencher| bencher.iter(|| append_to(log(), &batch)));
}

fn tail_read<'a>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    batch: &Bytes,
    mut log: impl FnMut() -> &'a Arc<PartitionLog>,
) {
    let mut appended = 0_u64;
    group.bench_function(id, |bencher| {
        let append = || {
            let log = log();
            appended += batch.len() as u64;
            if appended > TRIM_BYTES {
                appended = 0;
                trim(log);
            }
            (log, append_to(log, batch).base_offset)
        };
        bencher.iter_batched(append, |(log, offset)| read_from(log, offset), BatchSize::PerIteration);
    });
}

/// A read that may not look at a record ends when it has found where the offset is, as a read from a cold file does.
fn look_up_offset<'a>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    mut log: impl FnMut() -> &'a Arc<PartitionLog>,
) {
    let mut rng = Rng::with_seed(SEED);
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let log = log();
            let offset = rng.i64(0..log.offsets().log_end);
            let read = log.try_read(offset, 1, true, Isolation::ReadUncommitted, &mut 0).expect("a look-up");
            assert!(read.is_none(), "records were read");
        });
    });
}

fn look_up_timestamp<'a>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    mut log: impl FnMut() -> &'a Arc<PartitionLog>,
) {
    let mut rng = Rng::with_seed(SEED);
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let log = log();
            let offset = rng.i64(0..log.offsets().log_end);
            let found = log.offset_for_timestamp(START_MS + offset).expect("a look-up");
            assert_eq!(found.map(|found| found.offset), Some(offset));
        });
    });
}

/// How long `iterations` take, without the time for trimming the log in between, which keeps the disk from filling.
fn in_rounds(iterations: u64, log: &PartitionLog, mut operation: impl FnMut()) -> Duration {
    let clock = SystemClock::new();
    let mut took = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let round = left.min(TRIM_BYTES / LARGE_BYTES);
        let start = clock.monotonic();
        (0..round).for_each(|_| operation());
        took += clock.monotonic().saturating_sub(start);
        left -= round;
        trim(log);
    }
    took
}

/// Lets go of whole segments.
fn trim(log: &PartitionLog) {
    log.delete_records(log.offsets().high_watermark).expect("a trimmed log");
}

fn append_to(log: &PartitionLog, batch: &Bytes) -> Appended {
    log.append(batch.clone(), 0).expect("an append")
}

fn read_from(log: &PartitionLog, offset: i64) -> ReadResult {
    let read = log.read(offset, 1 << 20, true, Isolation::ReadUncommitted).expect("a read");
    assert!(!read.records.is_empty());
    read
}

/// Appends batches of 4 KiB until there are about so many segments.
fn fill(log: &PartitionLog, segments: usize) {
    while log.size_bytes() < segments as u64 * u64::from(SEGMENT_BYTES_MIN) {
        append_next(log);
    }
}

/// A batch in which every record has its offset as a timestamp.
fn append_next(log: &PartitionLog) {
    append_to(log, &batch_of(START_MS + log.offsets().log_end, 4, 1000));
}

fn large_batch() -> Bytes {
    batch_of(START_MS, 64, 1000)
}

fn small_batch() -> Bytes {
    batch_of(START_MS, 1, 100)
}

/// Values are text of random words, which every codec can pack.
fn batch_of(timestamp_ms: i64, count: i64, value_bytes: usize) -> Bytes {
    let mut rng = Rng::with_seed(SEED);
    let mut value = || {
        let mut text = String::new();
        while text.len() < value_bytes {
            text.push_str(rng.choice(&WORDS).expect("a word"));
            text.push_str(&rng.u8(..).to_string());
        }
        text.truncate(value_bytes);
        text
    };
    (0..count)
        .fold(BatchBuilder::new(), |builder, index| {
            builder.record(timestamp_ms + index, None, Some(value().as_bytes()))
        })
        .build()
}

/// The same records in another codec, packed by a log that is told to.
fn packed(backend: &Backend, plain: &Bytes, codec: Codec) -> Bytes {
    if codec == Codec::None {
        return plain.clone();
    }
    let log = backend.log(LogConfig { compression: Some(Compression::of(codec)), ..LogConfig::default() });
    append_to(&log, plain);
    let batch = read_from(&log, 0).records.read().expect("records");
    let header = BatchHeader::parse(&batch).expect("a batch");
    assert_eq!(header.attributes.codec(), Some(codec));
    batch
}

fn rolling_config() -> LogConfig {
    LogConfig { segment_bytes: 64 << 20, ..LogConfig::default() }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .nresamples(5_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
}

const START_MS: i64 = 1_700_000_000_000;
const SEED: u64 = 7;
const WORDS: [&str; 8] = ["tide ", "gate ", "stream ", "partition ", "offset ", "record ", "epoch ", "leader "];
/// 1x, 10x and 100x.
const SCALES: [usize; 3] = [5, 50, 500];
const LOGS_TOGETHER: u64 = 100;
const BATCHES_PER_LOG: usize = 16;
const BATCHES_PER_MIB: usize = 16;
/// What was checked before is not known to be good any more.
const LONG_AGO: Duration = Duration::from_secs(3_600);
const LARGE_BYTES: u64 = 64 << 10;
const TRIM_BYTES: u64 = 64 << 20;
const SEGMENT_BYTES_MIN: u32 = 64 << 10;
const OPEN_FILES_MAX: usize = 4096;

criterion_group!(name = benches; config = quick(); targets = bench);
criterion_main!(benches);
