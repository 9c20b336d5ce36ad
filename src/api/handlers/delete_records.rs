//! DeleteRecords v0–2: moves the start of partitions up (KIP-107). The new start is durable before the answer.

use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::TopicRef,
};

use super::domain_name;

pub fn handle(request: Request) -> Handled {
    let body: DeleteRecordsRequest = request.decode()?;
    request.alone(|request| async move {
        let mut topics = Vec::with_capacity(body.topics.len());
        // Kafka does not answer for topics without partitions.
        for topic in body.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            let target = TopicRef::Name(domain_name(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let index = asked.partition_index;
                let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
                partitions.push(match request.broker().delete_records(&target, index, asked.offset).await {
                    Ok(start) => result.with_low_watermark(start),
                    Err(error) => result.with_low_watermark(-1).with_error_code(error.code()),
                });
            }
            topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
        }
        DeleteRecordsResponse::default().with_topics(topics)
    })
}
