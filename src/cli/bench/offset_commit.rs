//! OffsetCommit: every connection commits all partitions for its groups in turn, an offset higher each time.

use anyhow::{Context, ensure};
use clap::Args;
use kafka_protocol::{
    messages::{
        GroupId, OffsetCommitRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
    protocol::StrBytes,
};

use super::{
    Target,
    connection::Connection,
    driver::{self, Tally, Worker},
    frames::{Frame, Place, marker},
    groups,
    produce::at_least_one,
    reader::Reader,
    report::Report,
    topic::Topic,
};

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// Connections, each with one request in flight
    #[arg(long, value_name = "COUNT", default_value = "16", value_parser = at_least_one)]
    pub connections: usize,
    /// Groups, each committed to by one connection
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = at_least_one)]
    pub groups: usize,
    /// Partitions in one request
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = at_least_one)]
    pub partitions: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    ensure!(flags.groups >= flags.connections, "every connection needs a group of its own");
    Topic::with(target, flags.partitions, async |topic, admin| commit(target, flags, topic, admin).await).await
}

async fn commit(target: &Target, flags: &Flags, topic: &Topic, admin: &mut Connection) -> anyhow::Result<Report> {
    let groups = groups::prepare(admin, flags.groups).await?;
    let committers: anyhow::Result<Vec<_>> = target
        .connect_many(flags.connections)
        .await?
        .into_iter()
        .enumerate()
        .map(|(index, connection)| {
            let own = groups.iter().skip(index).step_by(flags.connections);
            let groups: anyhow::Result<_> = own.map(|group| Commits::new(group.clone(), topic)).collect();
            Ok(Committer { connection, groups: groups?, next: 0 })
        })
        .collect();
    let (measured, committers) = driver::run(committers?, &target.timed()).await?;
    admin.renew().await?;
    for commits in committers.iter().flat_map(|committer| &committer.groups) {
        if commits.offset > 0 {
            let reply = admin.exchange(&mut groups::offset_fetch(&commits.group, Some(topic))?).await?;
            groups::check_offsets(reply.body, commits.offset).context("after the last commit")?;
        }
    }
    groups::delete(admin, groups).await?;
    let settings = format!(
        "{} connections, {} groups, {} partitions a request",
        flags.connections, flags.groups, topic.partitions
    );
    Report::new("offset-commit", target, settings, measured)
}

/// The commits of one group.
pub struct Commits {
    group: GroupId,
    frame: Frame,
    places: Vec<Place>,
    partitions: usize,
    /// That was committed last.
    offset: i64,
}

impl Commits {
    /// As a consumer that assigns its partitions itself: no member, no generation.
    pub fn new(group: GroupId, topic: &Topic) -> anyhow::Result<Self> {
        let partition = |index: i32| -> anyhow::Result<_> {
            Ok(OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(marker(usize::try_from(index)?))
                .with_committed_metadata(Some(StrBytes::default())))
        };
        let partitions: anyhow::Result<Vec<_>> = (0..topic.partitions).map(partition).collect();
        let commit = OffsetCommitRequestTopic::default().with_name(topic.name.clone()).with_partitions(partitions?);
        let request = OffsetCommitRequest::default()
            .with_group_id(group.clone())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![commit]);
        let frame = Frame::encode(VERSION, &request)?;
        let partitions = usize::try_from(topic.partitions)?;
        let places: anyhow::Result<_> = (0..partitions).map(|index| frame.place_of(marker(index))).collect();
        Ok(Self { group, places: places?, frame, partitions, offset: 0 })
    }

    /// The next commit.
    pub fn frame(&mut self, offset: i64) -> &mut Frame {
        for place in &self.places {
            self.frame.set_i64(*place, offset);
        }
        self.offset = offset;
        &mut self.frame
    }

    pub fn check(&self, body: Reader<'_>) -> anyhow::Result<()> {
        let partitions = check(body).context("OffsetCommit response")?;
        ensure!(partitions == self.partitions, "{partitions} partitions answered of {}", self.partitions);
        Ok(())
    }
}

struct Committer {
    connection: Connection,
    groups: Vec<Commits>,
    next: usize,
}

impl Worker for Committer {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        let index = self.next % self.groups.len().max(1);
        self.next += 1;
        let commits = self.groups.get_mut(index).context("a connection without a group")?;
        self.connection.send(commits.frame(commits.offset + 1)).await?;
        let reply = self.connection.receive().await?;
        commits.check(reply.body)?;
        tally.request(reply.latency, 0, 0);
        Ok(true)
    }
}

/// How many partitions were answered, all without an error.
fn check(mut body: Reader<'_>) -> anyhow::Result<usize> {
    body.tags()?;
    // Throttle time.
    body.skip(4)?;
    let mut partitions = 0;
    for _ in 0..body.array_length()? {
        body.bytes()?;
        for _ in 0..body.array_length()? {
            let index = body.i32()?;
            body.no_error(|| format!("commit of partition {index}"))?;
            body.tags()?;
            partitions += 1;
        }
        body.tags()?;
    }
    body.tags()?;
    body.end()?;
    Ok(partitions)
}

const VERSION: i16 = 8;
