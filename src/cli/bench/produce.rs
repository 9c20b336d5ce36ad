//! Produce: the same batch again and again, with a window of requests in flight on every connection.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::{
    ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};

use super::{
    Target,
    connection::Connection,
    driver::{self, Plan, Tally, Worker},
    frames::Frame,
    reader::Reader,
    report::Report,
    topic::Topic,
    units::{self, size_text},
};
use crate::model::batch::BatchBuilder;

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Connections that send
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    pub connections: usize,
    /// Requests that a connection sends before it waits for a reply
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = at_least_one)]
    pub in_flight: usize,
    /// Size of a batch; one record is the least
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::message_size)]
    pub batch_bytes: usize,
    /// Size of a record's value
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = units::message_size)]
    pub record_bytes: usize,
    /// Partitions of the topic
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    pub partitions: usize,
    /// Partitions that one request writes to, one batch each
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = at_least_one)]
    pub partitions_per_request: usize,
    /// When the broker answers: all or 1
    #[arg(long, value_name = "ACKS", default_value = "all", value_parser = ["all", "1"])]
    pub acks: String,
    /// Stop after this much instead of after --duration, and measure from the first request
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub total_bytes: Option<usize>,
}

pub async fn run(name: &'static str, target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    let plan = if flags.total_bytes.is_some() { target.until_done() } else { target.timed() };
    let measured =
        Topic::with(target, flags.partitions, async |topic, admin| produce(target, flags, topic, admin, &plan).await)
            .await?;
    let Flags { connections, in_flight, partitions_per_request, acks, .. } = flags;
    let settings = format!(
        "{connections} connections, {in_flight} in flight, {partitions_per_request} × {} records of {} a request, acks={acks}",
        records_per_batch(flags),
        size_text(flags.record_bytes)
    );
    Report::new(name, target, settings, measured)
}

/// Runs the load and checks that the broker has as many records more as it has acknowledged.
pub async fn produce(
    target: &Target,
    flags: &Flags,
    topic: &Topic,
    admin: &mut Connection,
    plan: &Plan,
) -> anyhow::Result<driver::Measured> {
    let batch = batch(records_per_batch(flags), flags.record_bytes)?;
    let before = topic.record_count(admin).await?;
    let connections = target.connect_many(flags.connections).await?.into_iter().enumerate();
    let producers: anyhow::Result<Vec<_>> =
        connections.map(|(index, connection)| Producer::new(index, connection, flags, topic, &batch)).collect();
    let (measured, producers) = driver::run(producers?, plan).await?;
    let acknowledged: i64 = producers.iter().map(|producer| producer.acknowledged).sum();
    let kept = topic.record_count(admin).await? - before;
    ensure!(kept == acknowledged, "the broker acknowledged {acknowledged} records and has {kept}");
    Ok(measured)
}

/// A request of one record to the topic's first partition.
pub fn one_record(topic: &Topic, record_bytes: usize) -> anyhow::Result<Frame> {
    frame(0, 1, "all", topic, &batch(1, record_bytes)?)
}

/// The reply to [`one_record`].
pub fn check_one(body: Reader<'_>) -> anyhow::Result<()> {
    ensure!(check(body).context("Produce response")? == 1, "one partition was written to, and not one answered");
    Ok(())
}

struct Producer {
    connection: Connection,
    frame: Frame,
    in_flight: usize,
    /// Requests that are still to be sent; None: until the time is over.
    left: Option<u64>,
    partitions: usize,
    records: u64,
    bytes: u64,
    acknowledged: i64,
}

impl Producer {
    fn new(index: usize, connection: Connection, flags: &Flags, topic: &Topic, batch: &Bytes) -> anyhow::Result<Self> {
        let partitions = flags.partitions_per_request.min(usize::try_from(topic.partitions)?);
        let bytes = u64::try_from(partitions * batch.len())?;
        let share = |total: usize| total.div_ceil(flags.connections).div_ceil(partitions * batch.len());
        Ok(Self {
            connection,
            frame: frame(index * partitions, partitions, &flags.acks, topic, batch)?,
            in_flight: flags.in_flight,
            left: flags.total_bytes.map(|total| u64::try_from(share(total))).transpose()?,
            partitions,
            records: u64::try_from(partitions * records_per_batch(flags))?,
            bytes,
            acknowledged: 0,
        })
    }

    fn may_send(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    async fn receive(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let reply = self.connection.receive().await?;
        let partitions = check(reply.body).context("Produce response")?;
        ensure!(partitions == self.partitions, "{partitions} partitions answered of {}", self.partitions);
        tally.request(reply.latency, self.records, self.bytes);
        self.acknowledged += i64::try_from(self.records)?;
        Ok(())
    }
}

impl Worker for Producer {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        while self.connection.in_flight() < self.in_flight && self.may_send() {
            self.connection.send(&mut self.frame).await?;
        }
        if self.connection.in_flight() == 0 {
            return Ok(false);
        }
        self.receive(tally).await?;
        Ok(true)
    }

    async fn finish(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        while self.connection.in_flight() > 0 {
            self.receive(tally).await?;
        }
        Ok(())
    }
}

/// The partitions `first..first + count`, around the end of the topic.
fn frame(first: usize, count: usize, acks: &str, topic: &Topic, batch: &Bytes) -> anyhow::Result<Frame> {
    let partitions = (first..first + count).map(|index| {
        let index = i32::try_from(index)? % topic.partitions;
        Ok(PartitionProduceData::default().with_index(index).with_records(Some(batch.clone())))
    });
    let data = TopicProduceData::default()
        .with_name(topic.name.clone())
        .with_partition_data(partitions.collect::<anyhow::Result<_>>()?);
    let request = ProduceRequest::default()
        .with_acks(if acks == "all" { -1 } else { 1 })
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![data]);
    Frame::encode(VERSION, &request)
}

/// Values are random, so that nothing on the way compresses them; the time is now, so that retention leaves them.
fn batch(records: usize, record_bytes: usize) -> anyhow::Result<Bytes> {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut value = vec![0; record_bytes];
    let mut batch = BatchBuilder::new();
    for _ in 0..records {
        random.fill(&mut value);
        batch = batch.record(now_ms, None, Some(&value));
    }
    Ok(batch.build())
}

fn records_per_batch(flags: &Flags) -> usize {
    (flags.batch_bytes.saturating_sub(BATCH_HEADER_BYTES) / (flags.record_bytes + RECORD_BYTES_OVER_VALUE)).max(1)
}

/// How many partitions were answered, all without an error.
fn check(mut body: Reader<'_>) -> anyhow::Result<usize> {
    body.tags()?;
    let mut partitions = 0;
    for _ in 0..body.array_length()? {
        body.bytes()?;
        for _ in 0..body.array_length()? {
            let index = body.i32()?;
            body.no_error(|| format!("produce to partition {index}"))?;
            // Base offset, log append time, log start offset.
            body.skip(24)?;
            for _ in 0..body.array_length()? {
                body.skip(4)?;
                body.bytes()?;
                body.tags()?;
            }
            body.bytes()?;
            body.tags()?;
            partitions += 1;
        }
        body.tags()?;
    }
    body.skip(4)?;
    body.tags()?;
    body.end()?;
    Ok(partitions)
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

const VERSION: i16 = 9;
const TIMEOUT_MS: i32 = 30_000;
const BATCH_HEADER_BYTES: usize = 61;
/// Length, attributes, deltas, key and header count around a value of a few KiB.
const RECORD_BYTES_OVER_VALUE: usize = 10;
