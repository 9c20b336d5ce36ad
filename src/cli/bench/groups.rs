//! Consumer groups of the workloads: their coordinator is awaited, their offsets are requested, and they are deleted.

use std::time::{Duration, Instant};

use anyhow::ensure;
use kafka_protocol::{
    messages::{
        DeleteGroupsRequest, FindCoordinatorRequest, GroupId, OffsetFetchRequest,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
    protocol::StrBytes,
};
use tokio::time::sleep;

use super::{
    connection::Connection,
    frames::Frame,
    reader::{Reader, broker_error},
    topic::Topic,
};

/// Fresh names, each with a coordinator that answers.
pub async fn prepare(connection: &mut Connection, count: usize) -> anyhow::Result<Vec<GroupId>> {
    let run = fastrand::u32(..);
    let name = |index| GroupId(StrBytes::from_string(format!("tidegate-bench-{run:08x}-{index}")));
    let groups: Vec<_> = (0..count).map(name).collect();
    for group in &groups {
        wait_for_coordinator(connection, group).await?;
    }
    Ok(groups)
}

/// A group without members goes with its offsets.
pub async fn delete(connection: &mut Connection, groups: Vec<GroupId>) -> anyhow::Result<()> {
    let request = DeleteGroupsRequest::default().with_groups_names(groups);
    for group in connection.call(2, &request).await?.results {
        if group.error_code != 0 {
            return Err(broker_error(group.error_code, &format!("delete group {}", group.group_id.as_str())));
        }
    }
    Ok(())
}

/// An OffsetFetch of one group, of every partition of the topic or of whatever it has.
pub fn offset_fetch(group: &GroupId, topic: Option<&Topic>) -> anyhow::Result<Frame> {
    let topic = topic.map(|topic| {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic.name.clone())
            .with_partition_indexes((0..topic.partitions).collect());
        vec![topic]
    });
    let group = OffsetFetchRequestGroup::default().with_group_id(group.clone()).with_topics(topic);
    Frame::encode(OFFSET_FETCH_VERSION, &OffsetFetchRequest::default().with_groups(vec![group]))
}

/// How many partitions an OffsetFetch answered; each must have this offset.
pub fn check_offsets(mut body: Reader<'_>, expected: i64) -> anyhow::Result<usize> {
    body.tags()?;
    // Throttle time.
    body.skip(4)?;
    let mut partitions = 0;
    for _ in 0..body.array_length()? {
        body.bytes()?;
        for _ in 0..body.array_length()? {
            body.bytes()?;
            for _ in 0..body.array_length()? {
                let index = body.i32()?;
                let offset = body.i64()?;
                // Leader epoch.
                body.skip(4)?;
                body.bytes()?;
                body.no_error(|| format!("offset of partition {index}"))?;
                ensure!(offset == expected, "partition {index} has offset {offset} where {expected} was committed");
                body.tags()?;
                partitions += 1;
            }
            body.tags()?;
        }
        body.no_error(|| "OffsetFetch".to_owned())?;
        body.tags()?;
    }
    body.tags()?;
    body.end()?;
    Ok(partitions)
}

/// Kafka makes its topic of offsets when it is first asked for a coordinator, and needs a moment to load it.
async fn wait_for_coordinator(connection: &mut Connection, group: &GroupId) -> anyhow::Result<()> {
    let begin = Instant::now();
    while let Err(error) = ask_coordinator(connection, group).await {
        ensure!(begin.elapsed() < PATIENCE, "group {} is not served: {error:#}", group.as_str());
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn ask_coordinator(connection: &mut Connection, group: &GroupId) -> anyhow::Result<()> {
    let found = connection.call(3, &FindCoordinatorRequest::default().with_key(group.0.clone())).await?;
    if found.error_code != 0 {
        return Err(broker_error(found.error_code, "FindCoordinator"));
    }
    let reply = connection.exchange(&mut offset_fetch(group, None)?).await?;
    check_offsets(reply.body, 0).map(drop)
}

const OFFSET_FETCH_VERSION: i16 = 8;
const PATIENCE: Duration = Duration::from_secs(30);
