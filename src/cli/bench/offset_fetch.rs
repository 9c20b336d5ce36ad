//! OffsetFetch: every connection asks for the offsets of all groups in turn.

use anyhow::{Context, ensure};
use clap::Args;

use super::{
    Target,
    connection::Connection,
    driver::{self, Tally, Worker},
    frames::Frame,
    groups,
    offset_commit::{self, Commits},
    report::Report,
    topic::Topic,
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(flatten)]
    load: offset_commit::Flags,
    /// Ask for all that a group has, and name no partitions
    #[arg(long)]
    all: bool,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    Topic::with(target, flags.load.partitions, async |topic, admin| fetch(target, flags, topic, admin).await).await
}

async fn fetch(target: &Target, flags: &Flags, topic: &Topic, admin: &mut Connection) -> anyhow::Result<Report> {
    let groups = groups::prepare(admin, flags.load.groups).await?;
    for group in &groups {
        let mut commits = Commits::new(group.clone(), topic)?;
        let reply = admin.exchange(commits.frame(COMMITTED)).await?;
        commits.check(reply.body)?;
    }
    let asked = if flags.all { None } else { Some(topic) };
    let frames: anyhow::Result<Vec<_>> = groups.iter().map(|group| groups::offset_fetch(group, asked)).collect();
    let (frames, partitions) = (frames?, usize::try_from(topic.partitions)?);
    let readers = target.connect_many(flags.load.connections).await?.into_iter().enumerate();
    // Not all begin with the same group.
    let readers = readers.map(|(next, connection)| Reader { connection, frames: frames.clone(), next, partitions });
    let (measured, _) = driver::run(readers.collect(), &target.timed()).await?;
    groups::delete(admin, groups).await?;
    let settings = format!(
        "{} connections, {} groups, {} partitions {}",
        flags.load.connections,
        flags.load.groups,
        topic.partitions,
        if flags.all { "that the group has" } else { "by name" }
    );
    Report::new(if flags.all { "offset-fetch-all" } else { "offset-fetch" }, target, settings, measured)
}

struct Reader {
    connection: Connection,
    frames: Vec<Frame>,
    next: usize,
    partitions: usize,
}

impl Worker for Reader {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        let index = self.next % self.frames.len().max(1);
        self.next += 1;
        self.connection.send(self.frames.get_mut(index).context("no group")?).await?;
        let reply = self.connection.receive().await?;
        let partitions = groups::check_offsets(reply.body, COMMITTED).context("OffsetFetch response")?;
        ensure!(partitions == self.partitions, "{partitions} partitions answered of {}", self.partitions);
        tally.request(reply.latency, 0, 0);
        Ok(true)
    }
}

const COMMITTED: i64 = 42;
