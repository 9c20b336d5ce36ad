//! DescribeLogDirs v1–4: how large partitions are on disk (KIP-113), v4: room of the volume (KIP-827).

use std::collections::{BTreeMap, HashMap, HashSet};

use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};

use crate::{
    api::{Handled, Request},
    broker::{LogDirPartition, in_place},
    model::TopicName,
};

use super::{domain_name, text, topic_name};

pub fn handle(request: Request) -> Handled {
    // It asks the file system, which may have to wait for the disk.
    in_place(true, || describe(&request))
}

fn describe(request: &Request) -> Handled {
    let body: DescribeLogDirsRequest = request.decode()?;
    let wanted: Option<HashMap<TopicName, HashSet<i32>>> = body.topics.map(|topics| {
        topics.into_iter().map(|topic| (domain_name(&topic.topic), topic.partitions.into_iter().collect())).collect()
    });
    let is_wanted = |found: &LogDirPartition| match &wanted {
        None => true,
        Some(wanted) => wanted.get(&found.topic.name).is_some_and(|partitions| partitions.contains(&found.partition)),
    };
    let broker = request.broker();
    let mut by_topic: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for found in broker.log_dir().into_iter().filter(is_wanted) {
        by_topic.entry(found.topic.name.clone()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(found.partition)
                .with_partition_size(signed(found.size_bytes)),
        );
    }
    let topics = by_topic
        .into_iter()
        .map(|(name, partitions)| {
            DescribeLogDirsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
        })
        .collect();
    let volume = broker.volume();
    let result = DescribeLogDirsResult::default()
        .with_log_dir(text(broker.settings().data_dir.to_string_lossy()))
        .with_topics(topics)
        .with_total_bytes(volume.map_or(-1, |volume| signed(volume.total_bytes)))
        .with_usable_bytes(volume.map_or(-1, |volume| signed(volume.usable_bytes)));
    request.ready(&DescribeLogDirsResponse::default().with_results(vec![result]))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
