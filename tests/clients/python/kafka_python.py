"""A member by kafka-python."""

import member
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from member import ARGUMENTS


class Listener(ConsumerRebalanceListener):
    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        member.assigned(partition.partition for partition in self._consumer.assignment())


def main() -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=ARGUMENTS.bootstrap,
        group_id=ARGUMENTS.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=member.SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=member.HEARTBEAT_INTERVAL_MS,
    )
    consumer.subscribe([ARGUMENTS.topic], listener=Listener(consumer))
    while True:
        try:
            take(consumer)
        except KafkaError as error:
            member.failed(error)


def take(consumer: KafkaConsumer) -> None:
    offsets = {}
    for partition, records in consumer.poll(timeout_ms=100).items():
        for record in records:
            member.read(record.partition, record.offset)
        offsets[partition] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
    if offsets:
        consumer.commit(offsets)
        for partition, offset in offsets.items():
            member.committed(partition.partition, offset.offset)


if __name__ == "__main__":
    main()
