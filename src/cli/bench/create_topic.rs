//! CreateTopics of many partitions until all of them are shown and served; then Metadata of everything as fast as it
//! goes.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use kafka_protocol::messages::MetadataRequest;
use tokio::time::sleep;

use super::{
    Target,
    connection::Connection,
    driver::{self, Tally, Worker},
    frames::Frame,
    produce::at_least_one,
    reader::Reader,
    report::Report,
    topic::Topic,
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Partitions of the new topic
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = at_least_one)]
    partitions: usize,
    /// Connections that ask for the metadata
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    connections: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    let mut admin = target.connect().await?;
    let topic = Topic::planned(target, i32::try_from(flags.partitions)?);
    let before = target.server_anonymous_kib()?;
    let begin = Instant::now();
    topic.create(&mut admin).await?;
    let answered = begin.elapsed();
    let result = async {
        wait_until_visible(&topic, &mut admin).await?;
        let visible = begin.elapsed();
        topic.wait_until_served(&mut admin).await?;
        let served = begin.elapsed();
        sleep(SETTLE).await;
        let after = target.server_anonymous_kib()?;
        anyhow::Ok((visible, served, after, read_metadata(target, flags).await?))
    }
    .await;
    let begin = Instant::now();
    let deletion = topic.delete(&mut admin).await;
    let deleted = begin.elapsed();
    let (visible, served, after, measured) = result?;
    deletion?;
    let settings =
        format!("{} partitions; Metadata of everything on {} connections", flags.partitions, flags.connections);
    let mut report = Report::new("create-topic", target, settings, measured)?
        .figure("create_answered_ms", "CreateTopics answered, ms", answered.as_secs_f64() * 1e3)
        .figure("create_visible_ms", "all partitions in Metadata, ms", visible.as_secs_f64() * 1e3)
        .figure("create_served_ms", "all partitions served, ms", served.as_secs_f64() * 1e3)
        .figure("delete_answered_ms", "DeleteTopics answered, ms", deleted.as_secs_f64() * 1e3);
    if let Some((before, after)) = before.zip(after) {
        let bytes = (after as f64 - before as f64) * 1024.0 / flags.partitions as f64;
        report = report.figure("idle_bytes_per_partition", "anonymous memory a partition, bytes", bytes);
    }
    Ok(report)
}

async fn wait_until_visible(topic: &Topic, admin: &mut Connection) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !topic.is_visible(admin).await? {
        ensure!(begin.elapsed() < PATIENCE, "Metadata does not show all partitions");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn read_metadata(target: &Target, flags: &Flags) -> anyhow::Result<driver::Measured> {
    let frame = Frame::encode(VERSION, &MetadataRequest::default().with_topics(None))?;
    let readers = target.connect_many(flags.connections).await?.into_iter().map(|connection| MetadataReader {
        connection,
        frame: frame.clone(),
        partitions: flags.partitions,
    });
    Ok(driver::run(readers.collect(), &target.timed()).await?.0)
}

struct MetadataReader {
    connection: Connection,
    frame: Frame,
    partitions: usize,
}

impl Worker for MetadataReader {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        self.connection.send(&mut self.frame).await?;
        let reply = self.connection.receive().await?;
        let partitions = count_partitions(reply.body).context("Metadata response")?;
        ensure!(partitions >= self.partitions, "Metadata shows {partitions} partitions of {}", self.partitions);
        tally.request(reply.latency, 0, 0);
        Ok(true)
    }
}

fn count_partitions(mut body: Reader<'_>) -> anyhow::Result<usize> {
    body.tags()?;
    // Throttle time.
    body.skip(4)?;
    for _ in 0..body.array_length()? {
        // Node, host, port, rack.
        body.skip(4)?;
        body.bytes()?;
        body.skip(4)?;
        body.bytes()?;
        body.tags()?;
    }
    // Cluster, controller.
    body.bytes()?;
    body.skip(4)?;
    let mut partitions = 0;
    for _ in 0..body.array_length()? {
        body.no_error(|| "a topic".to_owned())?;
        body.bytes()?;
        // Whether it is internal.
        body.skip(1)?;
        for _ in 0..body.array_length()? {
            body.no_error(|| "a partition".to_owned())?;
            // Index, leader and its epoch; replicas, those in sync, those offline.
            body.skip(12)?;
            for _ in 0..3 {
                let nodes = body.array_length()?;
                body.skip(4 * usize::try_from(nodes)?)?;
            }
            body.tags()?;
            partitions += 1;
        }
        // Authorized operations.
        body.skip(4)?;
        body.tags()?;
    }
    body.skip(4)?;
    body.tags()?;
    body.end()?;
    Ok(partitions)
}

const VERSION: i16 = 9;
const PATIENCE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_millis(200);
