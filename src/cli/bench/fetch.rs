//! Fetch: every connection reads the whole topic from its start to its end, and begins again.

use anyhow::{Context, bail, ensure};
use clap::Args;
use kafka_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
};

use super::{
    Target,
    connection::Connection,
    driver::{self, Plan, Tally, Worker},
    frames::{Frame, Place, marker},
    produce::{self, at_least_one},
    reader::Reader,
    report::Report,
    topic::Topic,
    units::{self, size_text},
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Connections that read, each with a thread of its own
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    connections: usize,
    /// Partitions of the topic
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    partitions: usize,
    /// How much to write before, in batches of 64 KiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = units::size)]
    total_bytes: usize,
    /// Whether to write anything: false reads what --topic has
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    fill: bool,
    /// max.partition.fetch.bytes of the consumers
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    partition_max_bytes: usize,
    /// fetch.max.bytes of the consumers
    #[arg(long, value_name = "SIZE", default_value = "50MiB", value_parser = units::size)]
    max_bytes: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    Topic::with(target, flags.partitions, async |topic, admin| {
        fill(target, flags, topic, admin).await?;
        read(target, flags, topic, admin).await
    })
    .await
}

async fn fill(target: &Target, flags: &Flags, topic: &Topic, admin: &mut Connection) -> anyhow::Result<()> {
    if flags.fill {
        let load = produce::Flags {
            connections: usize::try_from(topic.partitions)?.min(FILLERS),
            in_flight: 5,
            batch_bytes: 64 << 10,
            record_bytes: 1 << 10,
            partitions: usize::try_from(topic.partitions)?,
            partitions_per_request: usize::try_from(topic.partitions)?.div_ceil(FILLERS),
            acks: "all".to_owned(),
            total_bytes: Some(flags.total_bytes),
        };
        produce::produce(target, &load, topic, admin, &target.until_done()).await.context("filling the topic")?;
        // A broker on this machine must not write it to the disk in the time that is measured.
        rustix::fs::sync();
    }
    Ok(())
}

async fn read(target: &Target, flags: &Flags, topic: &Topic, admin: &mut Connection) -> anyhow::Result<Report> {
    let log = Log { begins: topic.first_offsets(admin).await?, ends: topic.end_offsets(admin).await? };
    ensure!(log.record_count() > 0, "topic {} is empty", topic.name.as_str());
    let consumers: anyhow::Result<Vec<_>> = target
        .connect_many(flags.connections)
        .await?
        .into_iter()
        .map(|each| Consumer::new(each, flags, topic, &log))
        .collect();
    let (measured, consumers) = driver::run(consumers?, &Plan { own_threads: true, ..target.timed() }).await?;
    let passes: u64 = consumers.iter().map(|consumer| consumer.passes).sum();
    let settings = format!(
        "{} connections, {} records in {} partitions, {} a partition and {} a request",
        flags.connections,
        log.record_count(),
        topic.partitions,
        size_text(flags.partition_max_bytes),
        size_text(flags.max_bytes)
    );
    Ok(Report::new("fetch", target, settings, measured)?.figure("passes", "passes over the topic", passes as f64))
}

/// What there is to read, by partition.
#[derive(Clone)]
struct Log {
    begins: Vec<i64>,
    ends: Vec<i64>,
}

impl Log {
    fn record_count(&self) -> i64 {
        self.ends.iter().sum::<i64>() - self.begins.iter().sum::<i64>()
    }
}

struct Consumer {
    connection: Connection,
    frame: Frame,
    places: Vec<Place>,
    log: Log,
    /// The next offset of each partition.
    positions: Vec<i64>,
    /// In this pass.
    records: i64,
    passes: u64,
}

impl Consumer {
    fn new(connection: Connection, flags: &Flags, topic: &Topic, log: &Log) -> anyhow::Result<Self> {
        let partition_max_bytes = i32::try_from(flags.partition_max_bytes)?;
        let partition = |index: i32| -> anyhow::Result<FetchPartition> {
            Ok(FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(marker(usize::try_from(index)?))
                .with_partition_max_bytes(partition_max_bytes))
        };
        let partitions: anyhow::Result<_> = (0..topic.partitions).map(partition).collect();
        let frame = Frame::encode(VERSION, &request(topic, partitions?, i32::try_from(flags.max_bytes)?))?;
        let places: anyhow::Result<_> = (0..log.begins.len()).map(|index| frame.place_of(marker(index))).collect();
        let positions = log.begins.clone();
        Ok(Self { connection, frame, places: places?, log: log.clone(), positions, records: 0, passes: 0 })
    }

    fn end_pass(&mut self) -> anyhow::Result<()> {
        if self.positions == self.log.ends {
            let expected = self.log.record_count();
            ensure!(self.records == expected, "{} records read of {expected}", self.records);
            self.passes += 1;
            self.records = 0;
            self.positions.clone_from(&self.log.begins);
        }
        Ok(())
    }
}

impl Worker for Consumer {
    fn move_here(&mut self) -> anyhow::Result<()> {
        self.connection.move_here()
    }

    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        for (place, position) in self.places.iter().zip(&self.positions) {
            self.frame.set_i64(*place, *position);
        }
        self.connection.send(&mut self.frame).await?;
        let reply = self.connection.receive().await?;
        let read = walk(reply.body, &mut self.positions).context("Fetch response")?;
        ensure!(read.records > 0, "a Fetch before the end of the topic came back empty: {:?}", self.positions);
        self.records += i64::try_from(read.records)?;
        tally.request(reply.latency, read.records, read.bytes);
        self.end_pass()?;
        Ok(true)
    }
}

/// A sessionless Fetch, as old consumers send it, that a broker with data answers at once.
pub fn request(topic: &Topic, partitions: Vec<FetchPartition>, max_bytes: i32) -> FetchRequest {
    let topic = FetchTopic::default().with_topic(topic.name.clone()).with_partitions(partitions);
    FetchRequest::default()
        .with_max_wait_ms(MAX_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// What a response brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub records: u64,
    /// Of whole batches; what was cut off comes again with the next request.
    pub bytes: u64,
}

/// Goes through the batches of all partitions and moves the positions, which must be reached without a gap.
pub fn walk(mut body: Reader<'_>, positions: &mut [i64]) -> anyhow::Result<Read> {
    body.tags()?;
    // Throttle time.
    body.skip(4)?;
    body.no_error(|| "fetch".to_owned())?;
    // Session.
    body.skip(4)?;
    let mut read = Read::default();
    for _ in 0..body.array_length()? {
        body.bytes()?;
        for _ in 0..body.array_length()? {
            let index = body.i32()?;
            body.no_error(|| format!("fetch of partition {index}"))?;
            // High watermark, last stable offset, log start.
            body.skip(24)?;
            for _ in 0..body.array_length()? {
                body.skip(16)?;
                body.tags()?;
            }
            // Preferred read replica.
            body.skip(4)?;
            let position = positions.get_mut(usize::try_from(index)?).context("a partition that was not asked for")?;
            walk_batches(body.bytes()?, position, &mut read).with_context(|| format!("partition {index}"))?;
            body.tags()?;
        }
        body.tags()?;
    }
    body.tags()?;
    body.end()?;
    Ok(read)
}

fn walk_batches(mut rest: &[u8], position: &mut i64, read: &mut Read) -> anyhow::Result<()> {
    while rest.len() >= BATCH_HEADER_BYTES {
        let mut header = Reader::new(rest);
        let base_offset = header.i64()?;
        let size = usize::try_from(header.i32()?)? + LENGTH_COUNTS_FROM;
        if size > rest.len() {
            break;
        }
        // Leader epoch, magic, checksum, attributes.
        header.skip(4 + 1 + 4 + 2)?;
        let last_offset = base_offset + i64::from(header.i32()?);
        // Timestamps, producer id, epoch and sequence.
        header.skip(16 + 8 + 2 + 4)?;
        let records = u64::try_from(header.i32()?)?;
        if base_offset > *position {
            bail!("offsets {position} to {} are missing", base_offset - 1);
        }
        // Only the first batch may begin before the offset that was asked for.
        ensure!(last_offset >= *position, "offset {last_offset} came again where {position} is next");
        *position = last_offset + 1;
        read.records += records;
        read.bytes += u64::try_from(size)?;
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(())
}

pub const VERSION: i16 = 12;
const MAX_WAIT_MS: i32 = 500;
const FILLERS: usize = 4;
const BATCH_HEADER_BYTES: usize = 61;
/// The length of a batch counts what is behind it: not the base offset, and not itself.
const LENGTH_COUNTS_FROM: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::BatchBuilder;

    fn log(offsets: &[(i64, usize)]) -> Vec<u8> {
        let batch = |&(base_offset, count): &(i64, usize)| {
            let records = (0..count).fold(BatchBuilder::new(), |batch, _| batch.record(1, None, Some(b"value")));
            records.base_offset(base_offset).build().to_vec()
        };
        offsets.iter().flat_map(batch).collect()
    }

    #[test]
    fn whole_batches_move_the_position() {
        let bytes = log(&[(10, 5), (15, 1), (16, 3)]);
        let cut = bytes.len() - 1;
        for (length, position, records) in [(bytes.len(), 19, 9), (cut, 16, 6), (70, 10, 0)] {
            let (mut reached, mut read) = (10, Read::default());
            walk_batches(&bytes[..length], &mut reached, &mut read).unwrap();
            assert_eq!((reached, read.records), (position, records), "{length} bytes");
        }
        let (mut middle, mut read) = (12, Read::default());
        walk_batches(&bytes, &mut middle, &mut read).unwrap();
        assert_eq!(middle, 19, "the first batch may begin before");
    }

    #[test]
    fn a_gap_and_a_repetition_are_errors() {
        let message = |offsets: &[(i64, usize)]| {
            walk_batches(&log(offsets), &mut 10, &mut Read::default()).unwrap_err().to_string()
        };
        assert_eq!(message(&[(12, 1)]), "offsets 10 to 11 are missing");
        assert_eq!(message(&[(10, 2), (13, 2)]), "offsets 12 to 12 are missing");
        assert_eq!(message(&[(10, 2), (10, 2)]), "offset 11 came again where 12 is next");
    }
}
