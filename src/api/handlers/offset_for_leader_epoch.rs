//! OffsetForLeaderEpoch v2–4: where a leader's epoch ended (KIP-101, KIP-320), so that consumers notice truncation.

use kafka_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::TopicRef,
};

use super::domain_name;

pub fn handle(request: Request) -> Handled {
    let body: OffsetForLeaderEpochRequest = request.decode()?;
    let topics = body
        .topics
        .into_iter()
        .map(|topic| {
            let target = TopicRef::Name(domain_name(&topic.topic));
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let found = request.broker().end_offset_of_epoch(
                        &target,
                        asked.partition,
                        asked.current_leader_epoch,
                        asked.leader_epoch,
                    );
                    let end = EpochEndOffset::default().with_partition(asked.partition);
                    match found {
                        Ok((epoch, offset)) => end.with_leader_epoch(epoch).with_end_offset(offset),
                        Err(error) => end.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
                    }
                })
                .collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
        })
        .collect();
    request.ready(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}
